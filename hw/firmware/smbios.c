/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * smbios - structures 0 to 4, 11, 16, 17, 19, 32, 127 out of -smbios and the board; anchors
 *
 * Document: DMTF DSP0134 3.0, 5.2 (anchors), 6.1 (structures), 7 (their fields).  A structure is
 * its formatted area, then its strings; fields of strings hold their numbers from 1 on, 0: none.
 *
 * Fields of -smbios are gathered by type first (the last word on a field counts), so that -smbios
 * options may come in any order; a structure out of a file takes the place of the board's own.
 */
#include "hw/firmware/smbios.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/opts.h"
#include "hw/firmware/boot.h"

enum { TYPES = 128, KEYS_MAX = 10, STRINGS_MAX = 255, HEADER = 4, ANCHOR_32 = 31, ANCHOR_64 = 24 };
enum {
    BIOS = 0,
    SYSTEM = 1,
    BASE_BOARD = 2,
    CHASSIS = 3,
    CPU = 4,
    OEM = 11,
    ARRAY = 16,
    DIMM = 17,
    ARRAY_MAP = 19,
    BOOT_STATUS = 32,
    END = 127
};
enum { DIMM_SIZE_MAX_MIB = 16 * 1024 };

/* --- what -smbios takes --- */

typedef enum Kind { TEXT, NUMBER, UUID_TEXT, RELEASE, SWITCH, LINE, LINE_FILE } Kind;
typedef struct Key {
    const char *name;
    Kind kind;
} Key;
static const struct Fields {
    uint8_t type;
    Key keys[KEYS_MAX];
} fields[] = {
    {BIOS,
     {{"vendor", TEXT}, {"version", TEXT}, {"date", TEXT}, {"release", RELEASE}, {"uefi", SWITCH}}},
    {SYSTEM,
     {{"manufacturer", TEXT},
      {"product", TEXT},
      {"version", TEXT},
      {"serial", TEXT},
      {"uuid", UUID_TEXT},
      {"sku", TEXT},
      {"family", TEXT}}},
    {BASE_BOARD,
     {{"manufacturer", TEXT},
      {"product", TEXT},
      {"version", TEXT},
      {"serial", TEXT},
      {"asset", TEXT},
      {"location", TEXT}}},
    {CHASSIS,
     {{"manufacturer", TEXT}, {"version", TEXT}, {"serial", TEXT}, {"asset", TEXT}, {"sku", TEXT}}},
    {CPU,
     {{"sock_pfx", TEXT},
      {"manufacturer", TEXT},
      {"version", TEXT},
      {"serial", TEXT},
      {"asset", TEXT},
      {"part", TEXT},
      {"max-speed", NUMBER},
      {"current-speed", NUMBER},
      {"processor-id", NUMBER}}},
    {OEM, {{"value", LINE}, {"path", LINE_FILE}}},
    {DIMM,
     {{"loc_pfx", TEXT},
      {"bank", TEXT},
      {"manufacturer", TEXT},
      {"serial", TEXT},
      {"asset", TEXT},
      {"part", TEXT},
      {"speed", NUMBER}}},
};

/* All that was said. */
typedef struct Smbios {
    ByteBuf tables;
    unsigned n, largest;                    /* structures; bytes of the largest */
    uint64_t given[2], files[2];            /* types with fields, with a structure from a file */
    char *text[COUNT_OF(fields)][KEYS_MAX]; /* by row of fields */
    char **lines;                           /* of type 11 */
    unsigned n_lines;
} Smbios;

static bool has(const uint64_t *set, unsigned type)
{
    return set[type / 64] >> (type % 64) & 1;
}

static bool is_uuid(const char *s)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    for (unsigned i = 0; form[i]; i++)
        if (form[i] == '-' ? s[i] != '-' : !s[i] || !strchr("0123456789abcdefABCDEF", s[i]))
            return false;
    return strlen(s) == strlen(form);
}

static bool release(const char *s, unsigned *major, unsigned *minor)
{
    char end;

    return sscanf(s, "%u.%u%c", major, minor, &end) == 2 && *major < 256 && *minor < 256;
}

static bool check_value(const Key *k, unsigned type, const char *value, Error *err)
{
    unsigned major, minor;
    uint64_t v;
    bool on;

    switch (k->kind) {
    case UUID_TEXT: return is_uuid(value) || error_set(err, "Invalid UUID");
    case RELEASE: return release(value, &major, &minor) || error_set(err, "Invalid release");
    case SWITCH:
        return parse_bool(value, &on) ||
               error_set(err, "Parameter '%s' expects 'on' or 'off'", k->name);
    case NUMBER:
        if (!parse_u64(value, &v))
            return error_set(err, "Parameter '%s' expects a number", k->name);
        return v <= UINT16_MAX || strstr(k->name, "speed") == NULL ||
               error_set(err, "SMBIOS %s speed is too large (> %d)", type == CPU ? "CPU" : "DIMM",
                         UINT16_MAX);
    default: return true;
    }
}

static void add_line(Smbios *s, const char *text, size_t size)
{
    s->lines = xrealloc(s->lines, (s->n_lines + 1) * sizeof *s->lines);
    s->lines[s->n_lines++] = xasprintf("%.*s", (int)size, text);
}

/* A string out of a file, up to a null or the end. */
static bool add_line_file(Smbios *s, const char *path, Error *err)
{
    BootFile f;

    if (!boot_read_file(path, &f, err))
        return false;
    if (f.size > SMBIOS_ROOM / 2) {
        xfree(f.p);
        return error_set(err, "'%s' is too large for an SMBIOS string", path);
    }
    add_line(s, (char *)f.p, strnlen((char *)f.p, f.size));
    xfree(f.p);
    return true;
}

static bool take_value(Smbios *s, unsigned row, unsigned key, const char *value, Error *err)
{
    const Key *k = &fields[row].keys[key];

    if (k->kind == LINE) {
        add_line(s, value, strlen(value));
        return true;
    }
    if (k->kind == LINE_FILE)
        return add_line_file(s, value, err);
    xfree(s->text[row][key]);
    s->text[row][key] = xstrdup(value);
    return true;
}

static bool take_pair(Smbios *s, unsigned row, const Opt *o, Error *err)
{
    const char *names[KEYS_MAX], *near;
    unsigned k;

    for (k = 0; k < KEYS_MAX && fields[row].keys[k].name; k++) {
        names[k] = fields[row].keys[k].name;
        if (!strcmp(names[k], o->key))
            return check_value(&fields[row].keys[k], fields[row].type, o->value, err) &&
                   take_value(s, row, k, o->value, err);
    }
    near = nearest_name(o->key, names, k);
    return error_set(err,
                     near ? "Invalid parameter '%s'; did you mean '%s'?" : "Invalid parameter '%s'",
                     o->key, near);
}

static bool take_fields(Smbios *s, Opts *o, const char *type, Error *err)
{
    unsigned row = 0;
    uint64_t t;

    if (!parse_u64(type, &t) || t > UINT8_MAX)
        return error_set(err, "out of range!: type=%s", type);
    while (row < COUNT_OF(fields) && fields[row].type != t)
        row++;
    if (row == COUNT_OF(fields))
        return error_set(err, "Don't know how to build fields for SMBIOS type %" PRIu64, t);
    if (has(s->files, (unsigned)t))
        return error_set(err,
                         "can't process fields for type %" PRIu64
                         ", binary structure has already been specified",
                         t);
    s->given[t / 64] |= 1ull << (t % 64);
    for (unsigned i = 0; i < o->n; i++)
        if (strcmp(o->o[i].key, "type") && !take_pair(s, row, &o->o[i], err))
            return false;
    return true;
}

/* The size of the structure at @p: formatted area and strings; 0: it is cut off. */
static size_t structure_size(const uint8_t *p, size_t size)
{
    if (size < HEADER || p[1] < HEADER || p[1] + 2u > size)
        return 0;
    for (size_t i = p[1]; i + 1 < size; i++)
        if (!p[i] && !p[i + 1])
            return i + 2;
    return 0;
}

static void count(Smbios *s, size_t size)
{
    s->n++;
    s->largest = MAX(s->largest, (unsigned)size);
}

static bool take_file(Smbios *s, const char *path, Error *err)
{
    BootFile f;
    size_t size;
    bool ok = false;

    if (!boot_read_file(path, &f, err))
        return error_prefix(err, "Cannot read SMBIOS file %s: ", path);
    size = structure_size(f.p, f.size);
    if (!size || size != f.size || size > SMBIOS_ROOM / 2) {
        error_set(err,
                  "file %s is not one SMBIOS structure (header, fields, strings, two null bytes)",
                  path);
    } else if (f.p[0] < TYPES && has(s->given, f.p[0])) {
        error_set(err, "can't load type %d struct, fields already specified!", f.p[0]);
    } else if (f.p[0] == END) {
        error_set(err, "file %s: the end of the table cannot be given", path);
    } else {
        if (f.p[0] < TYPES)
            s->files[f.p[0] / 64] |= 1ull << (f.p[0] % 64);
        bytebuf_add(&s->tables, f.p, size);
        count(s, size);
        ok = true;
    }
    xfree(f.p);
    return ok;
}

static bool take_text(Smbios *s, const char *text, Error *err)
{
    const char *file, *type;
    bool ok = false;
    Opts o;

    if (!opts_parse(&o, text, NULL, err))
        return false;
    file = opts_get(&o, "file");
    type = opts_get(&o, "type");
    if (file && o.n > 1)
        error_set(err, "Invalid parameter '%s'",
                  strcmp(o.o[0].key, "file") ? o.o[0].key : o.o[1].key);
    else if (file)
        ok = take_file(s, file, err);
    else if (type)
        ok = take_fields(s, &o, type, err);
    else
        error_set(err, "Must specify type= or file=");
    opts_free(&o);
    return ok;
}

static void smbios_free(Smbios *s)
{
    for (unsigned r = 0; r < COUNT_OF(fields); r++)
        for (unsigned k = 0; k < KEYS_MAX; k++)
            xfree(s->text[r][k]);
    for (unsigned i = 0; i < s->n_lines; i++)
        xfree(s->lines[i]);
    xfree(s->lines);
    bytebuf_free(&s->tables);
}

bool smbios_check(const char *text, Error *err)
{
    Smbios s = {0};
    bool ok = take_text(&s, text, err);

    smbios_free(&s);
    return ok;
}

/* --- structures --- */

typedef struct Structure {
    uint8_t p[64];
    unsigned size;
    ByteBuf strings;
    unsigned n_strings;
} Structure;

static void structure_begin(Structure *t, uint8_t type, uint16_t handle, unsigned size)
{
    *t = (Structure){.size = size};
    t->p[0] = type;
    t->p[1] = (uint8_t)size;
    put_le16(t->p + 2, handle);
}

/* Field @at names this string. */
static void add_string(Structure *t, unsigned at, const char *text)
{
    if (!text || !*text || t->n_strings == STRINGS_MAX)
        return;
    bytebuf_add(&t->strings, text, strlen(text) + 1);
    t->n_strings++;
    if (at)
        t->p[at] = (uint8_t)t->n_strings;
}

static void structure_end(Smbios *s, Structure *t)
{
    size_t before = s->tables.len;

    bytebuf_add(&s->tables, t->p, t->size);
    bytebuf_add(&s->tables, t->strings.p, t->strings.len);
    bytebuf_add(&s->tables, "\0", t->n_strings ? 1 : 2);
    count(s, s->tables.len - before);
    bytebuf_free(&t->strings);
}

/* What -smbios said, or @fallback. */
static const char *said(const Smbios *s, unsigned type, const char *key, const char *fallback)
{
    for (unsigned r = 0; r < COUNT_OF(fields); r++)
        for (unsigned k = 0; fields[r].type == type && k < KEYS_MAX && fields[r].keys[k].name; k++)
            if (!strcmp(fields[r].keys[k].name, key) && s->text[r][k])
                return s->text[r][k];
    return fallback;
}

static uint64_t said_number(const Smbios *s, unsigned type, const char *key, uint64_t fallback)
{
    const char *text = said(s, type, key, NULL);

    if (text)
        parse_u64(text, &fallback);
    return fallback;
}

static void build_bios(Smbios *s, const SmbiosBoard *b)
{
    const char *r = said(s, BIOS, "release", NULL);
    unsigned major = 0, minor = 0;
    bool uefi = false;
    Structure t;

    structure_begin(&t, BIOS, 0, 0x18);
    add_string(&t, 4, said(s, BIOS, "vendor", b->bios_vendor));
    add_string(&t, 5, said(s, BIOS, "version", b->bios_version));
    put_le16(t.p + 6, 0xe800);
    add_string(&t, 8, said(s, BIOS, "date", b->bios_date));
    put_le64(t.p + 10, 0x08); /* characteristics are not supported */
    parse_bool(said(s, BIOS, "uefi", "off"), &uefi);
    t.p[19] = (uint8_t)(0x14 | (uefi ? 8 : 0)); /* a virtual machine; found by its tables */
    t.p[20] = t.p[21] = 0xff;
    if (r && release(r, &major, &minor)) {
        t.p[20] = (uint8_t)major;
        t.p[21] = (uint8_t)minor;
    }
    t.p[22] = t.p[23] = 0xff;
    structure_end(s, &t);
}

/* Text order to the order of the table: the first three numbers are little-endian. */
static void put_uuid(uint8_t *p, const char *text)
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

    for (unsigned i = 0; i < 16; text++) {
        unsigned v;

        if (*text == '-')
            continue;
        if (sscanf(text, "%2x", &v) != 1)
            return;
        p[order[i++]] = (uint8_t)v;
        text++;
    }
}

static void build_system(Smbios *s, const SmbiosBoard *b)
{
    const char *uuid = said(s, SYSTEM, "uuid", b->uuid);
    Structure t;

    structure_begin(&t, SYSTEM, 0x100, 0x1b);
    add_string(&t, 4, said(s, SYSTEM, "manufacturer", b->vendor));
    add_string(&t, 5, said(s, SYSTEM, "product", b->product));
    add_string(&t, 6, said(s, SYSTEM, "version", b->version));
    add_string(&t, 7, said(s, SYSTEM, "serial", NULL));
    if (uuid)
        put_uuid(t.p + 8, uuid);
    t.p[24] = 6; /* woken by the power switch */
    add_string(&t, 25, said(s, SYSTEM, "sku", NULL));
    add_string(&t, 26, said(s, SYSTEM, "family", NULL));
    structure_end(s, &t);
}

static void build_base_board(Smbios *s, const SmbiosBoard *b)
{
    Structure t;

    structure_begin(&t, BASE_BOARD, 0x200, 0x0f);
    add_string(&t, 4, said(s, BASE_BOARD, "manufacturer", b->vendor));
    add_string(&t, 5, said(s, BASE_BOARD, "product", b->product));
    add_string(&t, 6, said(s, BASE_BOARD, "version", b->version));
    add_string(&t, 7, said(s, BASE_BOARD, "serial", NULL));
    add_string(&t, 8, said(s, BASE_BOARD, "asset", NULL));
    t.p[9] = 1; /* hosting board */
    add_string(&t, 10, said(s, BASE_BOARD, "location", NULL));
    put_le16(t.p + 11, 0x300);
    t.p[13] = 0x0a; /* motherboard */
    structure_end(s, &t);
}

static void build_chassis(Smbios *s, const SmbiosBoard *b)
{
    Structure t;

    structure_begin(&t, CHASSIS, 0x300, 0x16);
    add_string(&t, 4, said(s, CHASSIS, "manufacturer", b->vendor));
    t.p[5] = 1; /* other */
    add_string(&t, 6, said(s, CHASSIS, "version", b->version));
    add_string(&t, 7, said(s, CHASSIS, "serial", NULL));
    add_string(&t, 8, said(s, CHASSIS, "asset", NULL));
    t.p[9] = t.p[10] = t.p[11] = 3; /* states: safe */
    t.p[12] = 2;                    /* security: unknown */
    add_string(&t, 21, said(s, CHASSIS, "sku", NULL));
    structure_end(s, &t);
}

static void build_cpu(Smbios *s, const SmbiosBoard *b, unsigned socket)
{
    const char *id = said(s, CPU, "processor-id", NULL);
    AUTO_FREE char *name = xasprintf("%s%2x", said(s, CPU, "sock_pfx", "CPU"), socket);
    Structure t;

    structure_begin(&t, CPU, (uint16_t)(0x400 + socket), 0x30);
    add_string(&t, 4, name);
    t.p[5] = 3; /* central processor */
    t.p[6] = 1; /* family: other */
    add_string(&t, 7, said(s, CPU, "manufacturer", b->vendor));
    if (id)
        put_le64(t.p + 8, said_number(s, CPU, "processor-id", 0));
    else {
        put_le32(t.p + 8, b->cpu_signature);
        put_le32(t.p + 12, b->cpu_features);
    }
    add_string(&t, 16, said(s, CPU, "version", b->version));
    put_le16(t.p + 20, (uint16_t)said_number(s, CPU, "max-speed", 2000));
    put_le16(t.p + 22, (uint16_t)said_number(s, CPU, "current-speed", 2000));
    t.p[24] = 0x41; /* populated, enabled */
    t.p[25] = 1;
    put_le16(t.p + 26, 0xffff); /* caches: not told of */
    put_le16(t.p + 28, 0xffff);
    put_le16(t.p + 30, 0xffff);
    add_string(&t, 32, said(s, CPU, "serial", NULL));
    add_string(&t, 33, said(s, CPU, "asset", NULL));
    add_string(&t, 34, said(s, CPU, "part", NULL));
    t.p[35] = t.p[36] = (uint8_t)MIN(b->cores, 255u);
    t.p[37] = (uint8_t)MIN(b->cores * b->threads, 255u);
    put_le16(t.p + 38, 2); /* characteristics: unknown */
    put_le16(t.p + 40, 1);
    put_le16(t.p + 42, (uint16_t)b->cores);
    put_le16(t.p + 44, (uint16_t)b->cores);
    put_le16(t.p + 46, (uint16_t)(b->cores * b->threads));
    structure_end(s, &t);
}

static void build_oem(Smbios *s)
{
    Structure t;

    structure_begin(&t, OEM, 0xe00, 5);
    for (unsigned i = 0; i < s->n_lines; i++)
        add_string(&t, 0, s->lines[i]);
    t.p[4] = (uint8_t)t.n_strings;
    structure_end(s, &t);
}

static void build_array(Smbios *s, const SmbiosBoard *b, unsigned n_dimms)
{
    Structure t;

    structure_begin(&t, ARRAY, 0x1000, 0x17);
    t.p[4] = 1; /* other */
    t.p[5] = 3; /* system memory */
    t.p[6] = 6; /* multi-bit ECC */
    if (b->ram_size / KIB < 0x80000000u)
        put_le32(t.p + 7, (uint32_t)(b->ram_size / KIB));
    else {
        put_le32(t.p + 7, 0x80000000u);
        put_le64(t.p + 15, b->ram_size);
    }
    put_le16(t.p + 11, 0xfffe); /* errors are not told of */
    put_le16(t.p + 13, (uint16_t)n_dimms);
    structure_end(s, &t);
}

static void build_dimm(Smbios *s, const SmbiosBoard *b, unsigned n)
{
    uint64_t mib = b->ram_size / MIB - (uint64_t)n * DIMM_SIZE_MAX_MIB;
    AUTO_FREE char *name = xasprintf("%s %u", said(s, DIMM, "loc_pfx", "DIMM"), n);
    uint16_t speed = (uint16_t)said_number(s, DIMM, "speed", 0);
    Structure t;

    mib = MIN(mib, (uint64_t)DIMM_SIZE_MAX_MIB);
    structure_begin(&t, DIMM, (uint16_t)(0x1100 + n), 0x28);
    put_le16(t.p + 4, 0x1000);
    put_le16(t.p + 6, 0xfffe);
    put_le16(t.p + 8, 0xffff);
    put_le16(t.p + 10, 0xffff);
    put_le16(t.p + 12, (uint16_t)mib);
    t.p[14] = 9; /* DIMM */
    add_string(&t, 16, name);
    add_string(&t, 17, said(s, DIMM, "bank", NULL));
    t.p[18] = 7; /* RAM */
    put_le16(t.p + 19, 2);
    put_le16(t.p + 21, speed);
    add_string(&t, 23, said(s, DIMM, "manufacturer", b->vendor));
    add_string(&t, 24, said(s, DIMM, "serial", NULL));
    add_string(&t, 25, said(s, DIMM, "asset", NULL));
    add_string(&t, 26, said(s, DIMM, "part", NULL));
    put_le16(t.p + 32, speed);
    structure_end(s, &t);
}

static void build_array_map(Smbios *s, unsigned n, const SmbiosRange *r)
{
    uint64_t start = r->at / KIB, end = (r->at + r->size) / KIB - 1;
    Structure t;

    structure_begin(&t, ARRAY_MAP, (uint16_t)(0x1300 + n), 0x1f);
    if (end < UINT32_MAX) {
        put_le32(t.p + 4, (uint32_t)start);
        put_le32(t.p + 8, (uint32_t)end);
    } else {
        put_le32(t.p + 4, UINT32_MAX);
        put_le32(t.p + 8, UINT32_MAX);
        put_le64(t.p + 15, r->at);
        put_le64(t.p + 23, r->at + r->size - 1);
    }
    put_le16(t.p + 12, 0x1000);
    t.p[14] = 1;
    structure_end(s, &t);
}

static void build_memory(Smbios *s, const SmbiosBoard *b)
{
    unsigned n = (unsigned)((b->ram_size / MIB + DIMM_SIZE_MAX_MIB - 1) / DIMM_SIZE_MAX_MIB);

    if (!has(s->files, ARRAY))
        build_array(s, b, n);
    for (unsigned i = 0; i < n && !has(s->files, DIMM); i++)
        build_dimm(s, b, i);
    for (unsigned i = 0; i < b->n_ram && !has(s->files, ARRAY_MAP); i++)
        build_array_map(s, i, &b->ram[i]);
}

static void build_all(Smbios *s, const SmbiosBoard *b)
{
    Structure t;

    if (has(s->given, BIOS) || (b->bios_vendor && !has(s->files, BIOS)))
        build_bios(s, b);
    if (!has(s->files, SYSTEM))
        build_system(s, b);
    if (has(s->given, BASE_BOARD))
        build_base_board(s, b);
    if (!has(s->files, CHASSIS))
        build_chassis(s, b);
    for (unsigned i = 0; i < b->sockets && !has(s->files, CPU); i++)
        build_cpu(s, b, i);
    if (has(s->given, OEM))
        build_oem(s);
    build_memory(s, b);
    if (!has(s->files, BOOT_STATUS)) { /* no errors detected */
        structure_begin(&t, BOOT_STATUS, 0x2000, 0x0b);
        structure_end(s, &t);
    }
    structure_begin(&t, END, 0x7f00, 4);
    structure_end(s, &t);
}

/* --- anchors --- */

static void sum_to_zero(uint8_t *p, size_t size, size_t at)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + p[i]);
    p[at] = (uint8_t)(p[at] - sum);
}

static void put_anchor_32(uint8_t *p, const Smbios *s, Gpa tables)
{
    memcpy(p, "_SM_", 4);
    p[5] = ANCHOR_32;
    p[6] = 2;
    p[7] = 8;
    put_le16(p + 8, (uint16_t)s->largest);
    memcpy(p + 16, "_DMI_", 5);
    put_le16(p + 22, (uint16_t)s->tables.len);
    put_le32(p + 24, (uint32_t)tables);
    put_le16(p + 28, (uint16_t)s->n);
    p[30] = 0x28;
    sum_to_zero(p + 16, 15, 5);
    sum_to_zero(p, ANCHOR_32, 4);
}

static void put_anchor_64(uint8_t *p, const Smbios *s, Gpa tables)
{
    memcpy(p, "_SM3_", 5);
    p[6] = ANCHOR_64;
    p[7] = 3;
    p[10] = 1;
    put_le32(p + 12, (uint32_t)s->tables.len);
    put_le64(p + 16, tables);
    sum_to_zero(p, ANCHOR_64, 5);
}

bool smbios_build(ByteBuf *out, const SmbiosBoard *board, Gpa at, Error *err)
{
    Smbios s = {0};
    uint8_t anchor[32] = {0};
    bool ok = true;

    for (unsigned i = 0; i < board->n_texts && ok; i++)
        ok = take_text(&s, board->texts[i], err) ||
             error_prefix(err, "-smbios %s: ", board->texts[i]);
    if (ok)
        build_all(&s, board);
    if (ok && s.tables.len > SMBIOS_ROOM - sizeof anchor)
        ok =
            error_set(err, "-smbios: the tables of %zu bytes do not fit into 64 KiB", s.tables.len);
    if (ok) {
        (board->entry64 ? put_anchor_64 : put_anchor_32)(anchor, &s, at + sizeof anchor);
        bytebuf_add(out, anchor, sizeof anchor);
        bytebuf_add(out, s.tables.p, s.tables.len);
    }
    smbios_free(&s);
    return ok;
}
