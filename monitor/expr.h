/* SPDX-License-Identifier: GPL-2.0-or-later */
/* expr - numbers as human commands take them: 0x10+$rip*2 */
#ifndef MONITOR_EXPR_H
#define MONITOR_EXPR_H

#include "core/cpu.h"

/* The number that @s begins with; *end: what follows.  Registers are those of @c, which may be
 * NULL. */
bool expr_parse(const char *s, const char **end, Cpu *c, int64_t *out, Error *err);

#endif
