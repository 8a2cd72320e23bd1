/* SPDX-License-Identifier: GPL-2.0-or-later */
/* symbols - names of guest addresses, from a System.map or the symbol table of an ELF64 file */
#ifndef MONITOR_SYMBOLS_H
#define MONITOR_SYMBOLS_H

#include "base/error.h"

typedef struct Symbols Symbols;

Symbols *symbols_load(const char *path, Error *err);
void symbols_free(Symbols *s); /* NULL is fine */
/* The last symbol not above @at (and not a gigabyte below), or NULL; @s may be NULL. */
const char *symbols_find(const Symbols *s, uint64_t at);

#endif
