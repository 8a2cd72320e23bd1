/* SPDX-License-Identifier: GPL-2.0-or-later */
/* symbols - System.map lines ("ffffffff81000000 T _text") and ELF64 symbol tables (gABI chapter
 * 4) */
#include "monitor/symbols.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

enum { FILE_MAX = 1 << 30, FAR = 1 << 30 };

typedef struct Symbol {
    uint64_t at;
    const char *name; /* within text */
} Symbol;

struct Symbols {
    char *text; /* the file, with a zero behind it */
    size_t size;
    Symbol *list; /* by address */
    size_t n, cap;
};

static void add(Symbols *s, uint64_t at, const char *name)
{
    if (s->n == s->cap) {
        s->cap = MAX(s->cap * 2, (size_t)1024);
        s->list = xrealloc(s->list, s->cap * sizeof *s->list);
    }
    s->list[s->n++] = (Symbol){at, name};
}

static void read_map(Symbols *s)
{
    for (char *line = s->text, *next; *line; line = next) {
        char *end = line + strcspn(line, "\n"), *p;
        uint64_t at = strtoull(line, &p, 16);

        next = *end ? end + 1 : end;
        *end = 0;
        if (p != line && p[0] == ' ' && p[1] && p[2] == ' ' && p[3])
            add(s, at, p + 3);
    }
}

/* @n entries of @size bytes at @at lie within the file. */
static bool is_inside(const Symbols *s, uint64_t at, uint64_t n, uint64_t size)
{
    return at <= s->size && size && n <= (s->size - at) / size;
}

static void read_table(Symbols *s, const Elf64_Shdr *table, const Elf64_Shdr *strings)
{
    uint64_t n = table->sh_size / sizeof(Elf64_Sym);

    if (!is_inside(s, table->sh_offset, n, sizeof(Elf64_Sym)) ||
        !is_inside(s, strings->sh_offset, strings->sh_size, 1) || !strings->sh_size ||
        s->text[strings->sh_offset + strings->sh_size - 1])
        return;
    for (uint64_t i = 0; i < n; i++) {
        Elf64_Sym sym;

        memcpy(&sym, s->text + table->sh_offset + i * sizeof sym, sizeof sym);
        if (sym.st_name && sym.st_name < strings->sh_size && sym.st_shndx != SHN_UNDEF &&
            ELF64_ST_TYPE(sym.st_info) <= STT_FUNC)
            add(s, sym.st_value, s->text + strings->sh_offset + sym.st_name);
    }
}

static void read_elf(Symbols *s)
{
    Elf64_Ehdr h;
    Elf64_Shdr table, strings;

    if (s->size < sizeof h)
        return;
    memcpy(&h, s->text, sizeof h);
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || !is_inside(s, h.e_shoff, h.e_shnum, sizeof table))
        return;
    for (unsigned i = 0; i < h.e_shnum; i++) {
        memcpy(&table, s->text + h.e_shoff + i * sizeof table, sizeof table);
        if (table.sh_type != SHT_SYMTAB || table.sh_link >= h.e_shnum)
            continue;
        memcpy(&strings, s->text + h.e_shoff + table.sh_link * sizeof strings, sizeof strings);
        read_table(s, &table, &strings);
    }
}

static bool read_file(Symbols *s, const char *path, Error *err)
{
    FILE *f = fopen(path, "rbe");
    long size;

    if (!f)
        return error_set_errno(err, errno, "could not open '%s'", path);
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    s->text = size > 0 && size < FILE_MAX ? try_alloc((size_t)size + 1) : NULL;
    s->size = s->text ? fread(s->text, 1, (size_t)size, f) : 0;
    fclose(f);
    return s->text || error_set(err, "'%s' is empty or too big", path);
}

static int by_address(const void *a, const void *b)
{
    const Symbol *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

Symbols *symbols_load(const char *path, Error *err)
{
    Symbols *s = xnew(Symbols);
    bool ok = read_file(s, path, err);

    if (ok && s->size > SELFMAG && !memcmp(s->text, ELFMAG, SELFMAG))
        read_elf(s);
    else if (ok)
        read_map(s);
    if (ok && !s->n)
        ok = error_set(err, "'%s' has no symbols: neither a System.map nor an ELF64 file with any",
                       path);
    if (!ok) {
        symbols_free(s);
        return NULL;
    }
    qsort(s->list, s->n, sizeof *s->list, by_address);
    return s;
}

void symbols_free(Symbols *s)
{
    if (!s)
        return;
    xfree(s->text);
    xfree(s->list);
    xfree(s);
}

const char *symbols_find(const Symbols *s, uint64_t at)
{
    size_t low = 0, high = s ? s->n : 0;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (s->list[mid].at <= at)
            low = mid + 1;
        else
            high = mid;
    }
    return low && at - s->list[low - 1].at < FAR ? s->list[low - 1].name : NULL;
}
