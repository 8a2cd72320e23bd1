/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guest_memory - guest memory as debuggers see it: by physical or by a processor's virtual
 * addresses */
#ifndef MONITOR_GUEST_MEMORY_H
#define MONITOR_GUEST_MEMORY_H

#include "core/machine.h"

/* Where @va is for @c, without marking pages as used; false: nowhere.  The processor stands
 * still. */
bool guest_translate(Cpu *c, Gva va, Gpa *pa);
/* @n bytes from physical address @at, or where @v is not NULL from its virtual address; false:
 * not all is there. */
bool guest_read(Machine *m, Cpu *v, uint64_t at, void *buf, size_t n);
/* The same to a file; the message is QEMU's. */
bool guest_save(Machine *m, Cpu *v, uint64_t at, uint64_t n, const char *path, Error *err);

#endif
