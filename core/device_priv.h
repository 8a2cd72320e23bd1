/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device, between its files: reset of the register table, sections of the state stream */
#ifndef CORE_DEVICE_PRIV_H
#define CORE_DEVICE_PRIV_H

#include "core/device.h"

void device_regs_reset(Device *d); /* members of registers take their reset values */

/* A section: name, instance, length, payload.  Begin returns what end is to be given. */
size_t section_begin(ByteBuf *out, const char *name, uint32_t instance);
void section_end(ByteBuf *out, size_t began);
/* Take the next section of @in, which must be that one; *body is a view into @in. */
bool section_take(ByteBuf *in, const char *name, uint32_t instance, ByteBuf *body, Error *err);
bool section_finish(const ByteBuf *body, const char *name, Error *err); /* all was read */

#endif
