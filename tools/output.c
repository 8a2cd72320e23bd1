/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * output - JSON and text in the layout that scripts know from qemu-img
 *
 * Invariant: members of an object come in the order of QEMU's dictionaries, which is that of a hash
 * of the key, so that the output can be compared byte for byte.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/strbuf.h"
#include "tools/output.h"

/* --- the order of members --- */

/* The bucket of @key among 512: the hash that QEMU's dictionaries have used since they exist. */
static unsigned key_bucket(const char *key)
{
    uint32_t v = 0x238f13afu * (uint32_t)strlen(key);

    for (unsigned i = 0; key[i]; i++)
        v += (uint32_t)(unsigned char)key[i] << (i * 5 % 24);
    return (1103515243u * v + 12345u) % 512;
}

static int by_bucket(const void *a, const void *b)
{
    const JsonMember *x = a, *y = b;
    unsigned i = key_bucket(x->key), j = key_bucket(y->key);

    return i != j ? (i < j ? -1 : 1) : strcmp(x->key, y->key);
}

JsonMember *json_members(const json_t *object, size_t *n)
{
    JsonMember *all = xnew_n(JsonMember, json_object_size(object) + 1);
    const char *key;
    json_t *value;

    *n = 0;
    json_object_foreach ((json_t *)object, key, value)
        all[(*n)++] = (JsonMember){key, value};
    qsort(all, *n, sizeof *all, by_bucket);
    return all;
}

/* --- JSON --- */

static void json_add(StrBuf *out, const json_t *j, int indent);

static void json_add_scalar(StrBuf *out, const json_t *j)
{
    char *s = json_dumps(j, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

    strbuf_add(out, s ? s : "null");
    free(s);
}

static void json_add_string(StrBuf *out, const char *s)
{
    json_t *j = json_string(s);

    json_add_scalar(out, j);
    json_decref(j);
}

static void json_add_object(StrBuf *out, const json_t *j, int indent)
{
    size_t n;
    AUTO_FREE JsonMember *m = json_members(j, &n);

    strbuf_add(out, "{");
    for (size_t i = 0; i < n; i++) {
        strbuf_addf(out, "%s\n%*s", i ? "," : "", indent + JSON_INDENT_STEP, "");
        json_add_string(out, m[i].key);
        strbuf_add(out, ": ");
        json_add(out, m[i].value, indent + JSON_INDENT_STEP);
    }
    strbuf_addf(out, "\n%*s}", indent, "");
}

static void json_add(StrBuf *out, const json_t *j, int indent)
{
    if (json_is_object(j)) {
        json_add_object(out, j, indent);
    } else if (json_is_array(j)) {
        strbuf_add(out, "[");
        for (size_t i = 0; i < json_array_size(j); i++) {
            strbuf_addf(out, "%s\n%*s", i ? "," : "", indent + JSON_INDENT_STEP, "");
            json_add(out, json_array_get(j, i), indent + JSON_INDENT_STEP);
        }
        strbuf_addf(out, "\n%*s]", indent, "");
    } else {
        json_add_scalar(out, j);
    }
}

void json_show(const json_t *j)
{
    StrBuf b = {0};

    json_add(&b, j, 0);
    puts(strbuf_str(&b));
    strbuf_free(&b);
}

/* --- text --- */

static bool is_composite(const json_t *j)
{
    return json_is_object(j) || json_is_array(j);
}

/* The value behind "key:"; composites begin on the next line. */
static void show_value(const json_t *j, int indent)
{
    if (is_composite(j)) {
        putchar('\n');
        json_show_human(j, indent + JSON_INDENT_STEP);
    } else if (json_is_string(j)) {
        printf(" %s\n", json_string_value(j));
    } else {
        StrBuf b = {0};

        json_add_scalar(&b, j);
        printf(" %s\n", strbuf_str(&b));
        strbuf_free(&b);
    }
}

void json_show_human(const json_t *j, int indent)
{
    if (json_is_object(j)) {
        size_t n;
        AUTO_FREE JsonMember *m = json_members(j, &n);

        for (size_t i = 0; i < n; i++) {
            printf("%*s", indent, "");
            for (const char *s = m[i].key; *s; s++)
                putchar(*s == '-' ? ' ' : *s);
            putchar(':');
            show_value(m[i].value, indent);
        }
    } else {
        for (size_t i = 0; i < json_array_size(j); i++) {
            printf("%*s[%zu]:", indent, "", i);
            show_value(json_array_get(j, i), indent);
        }
    }
}

void size_text(char *out, size_t cap, uint64_t bytes)
{
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    unsigned unit = 0;

    /* From 1000 of a unit on it is 0.98 of the next: three digits always suffice. */
    while (unit + 1 < COUNT_OF(units) && (double)bytes / ldexp(1, 10 * (int)unit) >= 1000)
        unit++;
    snprintf(out, cap, "%0.3g %sB", (double)bytes / ldexp(1, 10 * (int)unit), units[unit]);
}

void snapshots_show(const SnapshotInfo *s, unsigned n)
{
    printf("%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
    for (unsigned i = 0; i < n; i++) {
        char size[32], date[32], clock[32], icount[32] = "";
        time_t t = s[i].date_s;
        struct tm tm;
        uint64_t sec = s[i].vm_clock_ns / 1000000000;

        size_text(size, sizeof size, s[i].vm_state_size);
        localtime_r(&t, &tm);
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm);
        snprintf(clock, sizeof clock, "%02u:%02u:%02u.%03u", (unsigned)(sec / 3600),
                 (unsigned)(sec / 60 % 60), (unsigned)(sec % 60),
                 (unsigned)(s[i].vm_clock_ns / 1000000 % 1000));
        if (s[i].icount != UINT64_MAX)
            snprintf(icount, sizeof icount, "%" PRIu64, s[i].icount);
        printf("%-9s %-16s %8s%20s%13s%11s\n", s[i].id, s[i].name, size, date, clock, icount);
    }
}

/* --- warnings --- */

void guess_warning(const BlockNode *n)
{
    if (!(n->flags & NODE_PROBED) || node_is_read_only(n))
        return;
    fprintf(stderr,
            "WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
            "         Automatically detecting the format is dangerous for raw images, write "
            "operations on block 0 will be restricted.\n"
            "         Specify the 'raw' format explicitly to remove the restrictions.\n",
            n->filename);
}
