/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dump_kdump - guest memory in the compressed format of kdump, flattened, as crash(8) and
 * makedumpfile(8) read it
 * (makedumpfile's diskdump_mod.h, IMPLEMENTATION)
 *
 *   block 0   header         block 1  sub-header, notes         then  two bitmaps of pages, page
 * descriptors, pages
 *
 * Flattened: each piece comes with the place it belongs to, so that the output may be a pipe.
 */
#include <zlib.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "monitor/dump_priv.h"

enum {
    HEADER_SIZE = 464,
    SUB_SIZE = 104,
    DESC_SIZE = 24,
    FLAT_SIZE = 4096,
    ZLIB = 1,
    UTS_FIELD = 65
};

typedef struct Kdump {
    Dump *d;
    uint64_t pages;                      /* numbered from 0 */
    uint64_t valid;                      /* that there are */
    uint64_t bitmap_at, bitmap_size;     /* of one */
    uint64_t descs_at, data_at, zero_at; /* zero_at: a page of zeroes, 0: none yet */
    uint32_t zero_size;
} Kdump;

/* --- flattened pieces --- */

static bool put_at(Kdump *k, uint64_t at, const void *p, size_t n)
{
    uint8_t head[16];

    put_be64(head, at);
    put_be64(head + 8, n);
    return dump_put(k->d, head, sizeof head) && dump_put(k->d, p, n);
}

static bool put_flat_header(Kdump *k)
{
    uint8_t head[FLAT_SIZE] = "makedumpfile";

    put_be64(head + 16, 1); /* type */
    put_be64(head + 24, 1); /* version */
    return dump_put(k->d, head, sizeof head);
}

static bool put_flat_end(Kdump *k)
{
    uint8_t end[16];

    memset(end, 0xff, sizeof end);
    return dump_put(k->d, end, sizeof end);
}

/* --- headers --- */

static uint64_t blocks(uint64_t bytes)
{
    return (bytes + DUMP_PAGE - 1) / DUMP_PAGE;
}

static bool put_header(Kdump *k)
{
    uint8_t h[HEADER_SIZE] = "KDUMP   ";
    uint32_t numbers[10] = {
        ZLIB,
        DUMP_PAGE,
        (uint32_t)blocks(SUB_SIZE + k->d->notes.len),
        (uint32_t)(k->bitmap_size / DUMP_PAGE * 2),
        (uint32_t)MIN(k->pages, (uint64_t)UINT32_MAX),
        0,
        0,
        0,
        0,
        k->d->machine->n_cpus,
    };

    put_le32(h + 8, 6); /* header version */
    memcpy(h + 12 + 4 * UTS_FIELD, "x86_64", 6);
    for (unsigned i = 0; i < COUNT_OF(numbers); i++)
        put_le32(h + 424 + 4 * i, numbers[i]);
    return put_at(k, 0, h, sizeof h);
}

static bool put_sub_header(Kdump *k)
{
    uint8_t s[SUB_SIZE] = {0};
    const ByteBuf *notes = &k->d->notes;

    put_le32(s + 8, 1); /* dump level: no page of zeroes twice */
    put_le64(s + 48, DUMP_PAGE + SUB_SIZE);
    put_le64(s + 56, notes->len);
    put_le64(s + 96, k->pages);
    return put_at(k, DUMP_PAGE, s, sizeof s) &&
           put_at(k, DUMP_PAGE + SUB_SIZE, notes->p, notes->len);
}

static bool put_bitmaps(Kdump *k)
{
    uint8_t *bits = try_alloc(k->bitmap_size);
    bool ok;

    if (!bits)
        return error_set(&k->d->error, "no memory for a bitmap of %" PRIu64 " bytes",
                         k->bitmap_size);
    for (unsigned i = 0; i < k->d->n_ranges; i++)
        for (uint64_t p = 0; p < k->d->ranges[i].size / DUMP_PAGE; p++) {
            uint64_t page = k->d->ranges[i].at / DUMP_PAGE + p;

            bits[page / 8] |= (uint8_t)(1 << page % 8);
        }
    ok = put_at(k, k->bitmap_at, bits, k->bitmap_size) &&
         put_at(k, k->bitmap_at + k->bitmap_size, bits, k->bitmap_size);
    xfree(bits);
    return ok;
}

/* --- pages --- */

static bool is_zero(const uint8_t *page)
{
    return !page[0] && !memcmp(page, page + 1, DUMP_PAGE - 1);
}

static bool put_page(Kdump *k, uint64_t index, const uint8_t *page)
{
    uint8_t packed[DUMP_PAGE + 256], desc[DESC_SIZE] = {0};
    uLongf size = sizeof packed;
    bool zero = is_zero(page), fresh = !zero || !k->zero_at;
    bool is_packed = fresh && compress2(packed, &size, page, DUMP_PAGE, Z_BEST_SPEED) == Z_OK &&
                     size < DUMP_PAGE;

    if (fresh && !is_packed)
        size = DUMP_PAGE;
    put_le64(desc, fresh ? k->data_at : k->zero_at);
    put_le32(desc + 8, fresh ? (uint32_t)size : k->zero_size);
    put_le32(desc + 12, !fresh || is_packed ? ZLIB : 0);
    if (!put_at(k, k->descs_at + index * DESC_SIZE, desc, sizeof desc))
        return false;
    if (!fresh)
        return true;
    if (zero) {
        k->zero_at = k->data_at;
        k->zero_size = (uint32_t)size;
    }
    k->data_at += size;
    return put_at(k, k->data_at - size, is_packed ? packed : page, size);
}

static bool put_pages(Kdump *k)
{
    uint8_t page[DUMP_PAGE];
    uint64_t index = 0;

    for (unsigned i = 0; i < k->d->n_ranges; i++) {
        const DumpRange *r = &k->d->ranges[i];

        for (uint64_t at = 0; at < r->size; at += DUMP_PAGE) {
            if (!dump_read(k->d, r->at + at, page, sizeof page) || !put_page(k, index++, page))
                return false;
            k->d->done += DUMP_PAGE;
        }
    }
    return true;
}

bool dump_write_kdump(Dump *d)
{
    Kdump k = {.d = d};

    for (unsigned i = 0; i < d->n_ranges; i++) {
        k.pages = (d->ranges[i].at + d->ranges[i].size) / DUMP_PAGE;
        k.valid += d->ranges[i].size / DUMP_PAGE;
    }
    k.bitmap_size = blocks((k.pages + 7) / 8) * DUMP_PAGE;
    k.bitmap_at = (1 + blocks(SUB_SIZE + d->notes.len)) * DUMP_PAGE;
    k.descs_at = k.bitmap_at + 2 * k.bitmap_size;
    k.data_at = k.descs_at + k.valid * DESC_SIZE;
    return put_flat_header(&k) && put_header(&k) && put_sub_header(&k) && put_bitmaps(&k) &&
           put_pages(&k) && put_flat_end(&k);
}
