/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhdx_log - headers and the log ([MS-VHDX] 2.2.2 "Headers", 2.3 "Log")
 *
 * The log is a ring of entries, each with the sectors that it changes.  Valid ones in a row, of
 * which the last says that it needs none before the row, are the active sequence; the header's log
 * id tells them from older ones.  Ours is one entry at a time, under an id of its own that the
 * header has only as long as the entry counts; what we read may be anything.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/image_create.h"
#include "block/vhdx_priv.h"

enum {
    /* of a header */
    AT_SEQUENCE = 8,
    AT_FILE_ID = 16,
    AT_DATA_ID = 32,
    AT_LOG_ID = 48,
    AT_LOG_VERSION = 64,
    AT_VERSION = 66,
    AT_LOG_SIZE = 68,
    AT_LOG = 72,
    /* of a log entry; descriptors follow */
    ENTRY_SIZE = 8,
    ENTRY_TAIL = 12,
    ENTRY_SEQUENCE = 16,
    ENTRY_COUNT = 24,
    ENTRY_ID = 32,
    ENTRY_FLUSHED = 48,
    ENTRY_LAST = 56,
    ENTRY_HEAD = 64,
    DESC_SIZE = 32,
    DESC_TAIL = 4, /* the last bytes of the sector; of a zero descriptor: nothing */
    DESC_HEAD = 8, /* the first bytes; of a zero descriptor: the size */
    DESC_AT = 16,
    DESC_SEQUENCE = 24,
    DATA_HIGH = 4,   /* of a data sector: sequence number, upper half ... */
    DATA_LOW = 4092, /* ... and lower */
};
#define FILE_MAX (128ull << 40) /* bytes a log may make the file grow to */
#define STEPS_MAX                                                                                  \
    (64ull << 20) /* looking at an entry that often while the sequence is searched: malice */

static const Guid no_guid;

/* --- checksums --- */

uint32_t vhdx_checksum(const uint8_t *p, size_t size)
{
    static const uint32_t nibble[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                        0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    uint32_t crc = ~0u;

    for (size_t i = 0; i < size; i++) {
        crc ^= i >= 4 && i < 8 ? 0 : p[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

void vhdx_sign(uint8_t *p, size_t size)
{
    put_le32(p + 4, vhdx_checksum(p, size));
}

bool vhdx_is_sound(const uint8_t *p, const char *signature, size_t size)
{
    return !memcmp(p, signature, 4) && get_le32(p + 4) == vhdx_checksum(p, size);
}

/* --- headers --- */

static void header_parse(VhdxHeader *h, const uint8_t *p)
{
    h->sequence = get_le64(p + AT_SEQUENCE);
    memcpy(&h->file_id, p + AT_FILE_ID, sizeof h->file_id);
    memcpy(&h->data_id, p + AT_DATA_ID, sizeof h->data_id);
    memcpy(&h->log_id, p + AT_LOG_ID, sizeof h->log_id);
    h->log_size = get_le32(p + AT_LOG_SIZE);
    h->log_at = get_le64(p + AT_LOG);
}

bool vhdx_header_read(BlockNode *file, VhdxHeader *h, Error *err)
{
    uint8_t p[VHDX_HEADER_SIZE];
    unsigned log_version = 0;
    bool found = false;

    for (unsigned i = 0; i < 2; i++) {
        int rc = node_read(file, VHDX_HEADER_AT * (i + 1ull), p, sizeof p);

        if (rc < 0)
            return error_set_errno(err, -rc, "Could not read the VHDX header");
        if (!vhdx_is_sound(p, "head", sizeof p) || get_le16(p + AT_VERSION) != 1 ||
            (found && get_le64(p + AT_SEQUENCE) <= h->sequence))
            continue;
        header_parse(h, p);
        log_version = get_le16(p + AT_LOG_VERSION);
        h->slot = i;
        found = true;
    }
    if (!found)
        return error_set(err, "No valid VHDX header found");
    if (log_version != 0)
        return error_set(err, "unknown version %u of the VHDX log", log_version);
    if (h->log_size && (h->log_at < VHDX_UNIT || h->log_at % VHDX_UNIT || h->log_size % VHDX_UNIT ||
                        h->log_at > FILE_MAX))
        return error_set(err, "the VHDX log has an impossible place or size");
    return true;
}

int vhdx_header_write(BlockNode *file, VhdxHeader *h)
{
    uint8_t p[VHDX_HEADER_SIZE] = "head";
    int rc;

    put_le64(p + AT_SEQUENCE, h->sequence + 1);
    memcpy(p + AT_FILE_ID, &h->file_id, sizeof h->file_id);
    memcpy(p + AT_DATA_ID, &h->data_id, sizeof h->data_id);
    memcpy(p + AT_LOG_ID, &h->log_id, sizeof h->log_id);
    put_le16(p + AT_VERSION, 1);
    put_le32(p + AT_LOG_SIZE, h->log_size);
    put_le64(p + AT_LOG, h->log_at);
    vhdx_sign(p, sizeof p);
    rc = node_write(file, VHDX_HEADER_AT * (2ull - h->slot), p, sizeof p);
    if (rc < 0)
        return rc;
    h->sequence++;
    h->slot = !h->slot;
    return node_flush(file);
}

/* --- looking for the active sequence --- */

typedef struct Entry { /* of the log, at each of its sectors; size 0: none is there */
    uint64_t sequence;
    uint32_t size, tail; /* in sectors */
} Entry;

typedef struct Log {
    BlockNode *file;
    VhdxHeader *h;
    uint32_t sectors;
    Entry *entries;
} Log;

static uint32_t desc_sectors(uint32_t count)
{
    return (uint32_t)((ENTRY_HEAD + (uint64_t)count * DESC_SIZE + VHDX_SECTOR - 1) / VHDX_SECTOR);
}

/* @count sectors from the @first on, around the end of the ring. */
static int log_read(const Log *l, uint32_t first, uint32_t count, uint8_t *to)
{
    uint32_t until_end = MIN(count, l->sectors - first);
    int rc = node_read(l->file, l->h->log_at + (uint64_t)first * VHDX_SECTOR, to,
                       (size_t)until_end * VHDX_SECTOR);

    if (rc == 0 && until_end < count)
        rc = node_read(l->file, l->h->log_at, to + (size_t)until_end * VHDX_SECTOR,
                       (size_t)(count - until_end) * VHDX_SECTOR);
    return rc;
}

/* Is the header of an entry in @p, for all that can be seen in it alone? */
static bool is_entry(const Log *l, const uint8_t *p)
{
    uint32_t size = get_le32(p + ENTRY_SIZE), tail = get_le32(p + ENTRY_TAIL);
    uint32_t count = get_le32(p + ENTRY_COUNT);

    return !memcmp(p, "loge", 4) && !memcmp(p + ENTRY_ID, &l->h->log_id, sizeof(Guid)) &&
           get_le64(p + ENTRY_SEQUENCE) && size && size % VHDX_SECTOR == 0 &&
           size / VHDX_SECTOR <= l->sectors && tail % VHDX_SECTOR == 0 &&
           tail / VHDX_SECTOR < l->sectors && count <= size / DESC_SIZE &&
           desc_sectors(count) <= size / VHDX_SECTOR;
}

/* Descriptors and data of an entry, all of whose sectors are in @p, agree. */
static bool is_consistent(const uint8_t *p)
{
    uint64_t sequence = get_le64(p + ENTRY_SEQUENCE);
    uint32_t count = get_le32(p + ENTRY_COUNT), data = desc_sectors(count);

    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *d = p + ENTRY_HEAD + (size_t)i * DESC_SIZE;
        bool zero = !memcmp(d, "zero", 4);
        const uint8_t *s = p + (size_t)data * VHDX_SECTOR;

        if ((!zero && memcmp(d, "desc", 4)) || get_le64(d + DESC_SEQUENCE) != sequence ||
            get_le64(d + DESC_AT) % VHDX_SECTOR || (zero && get_le64(d + DESC_HEAD) % VHDX_SECTOR))
            return false;
        if (zero)
            continue;
        if (++data > get_le32(p + ENTRY_SIZE) / VHDX_SECTOR || memcmp(s, "data", 4) ||
            get_le32(s + DATA_HIGH) != (uint32_t)(sequence >> 32) ||
            get_le32(s + DATA_LOW) != (uint32_t)sequence)
            return false;
    }
    return true;
}

/* Fill the table of entries.  Honest ones do not overlap, so what is read for them is at most
 * the log, and as much again for one that was overwritten in part. */
static bool log_scan(Log *l, Error *err)
{
    uint64_t left = 4ull * l->sectors;

    for (uint32_t i = 0; i < l->sectors; i++) {
        uint8_t head[VHDX_SECTOR];
        AUTO_FREE uint8_t *all = NULL;
        uint32_t size;
        int rc = log_read(l, i, 1, head);

        if (rc < 0)
            return error_set_errno(err, -rc, "Could not read the VHDX log");
        if (!is_entry(l, head))
            continue;
        size = get_le32(head + ENTRY_SIZE) / VHDX_SECTOR;
        if (size > left)
            return error_set(err, "the entries of the VHDX log overlap: it is not a log");
        left -= size;
        rc = (all = try_alloc((size_t)size * VHDX_SECTOR)) ? log_read(l, i, size, all) : -ENOMEM;
        if (rc < 0)
            return error_set_errno(err, -rc, "Could not read the VHDX log");
        if (vhdx_is_sound(all, "loge", (size_t)size * VHDX_SECTOR) && is_consistent(all))
            l->entries[i] = (Entry){get_le64(all + ENTRY_SEQUENCE), size,
                                    get_le32(all + ENTRY_TAIL) / VHDX_SECTOR};
    }
    return true;
}

/* The last entry of the longest row from @first on, each with the number after that of the one
 * before; *end is behind it.  Does the row begin with an entry, and have the one that its last
 * one wants? */
static bool row_from(const Log *l, uint32_t first, uint32_t *last, uint32_t *end, uint64_t *steps)
{
    uint32_t at = first, sectors = 0;
    const Entry *e = &l->entries[first];

    while (e->size && sectors + e->size <= l->sectors &&
           (at == first || e->sequence == l->entries[*last].sequence + 1)) {
        sectors += e->size;
        *last = at;
        *end = at = (at + e->size) % l->sectors;
        e = &l->entries[at];
        ++*steps;
    }
    if (!sectors)
        return false;
    at = first; /* of the row? */
    for (uint32_t tail = l->entries[*last].tail; at != tail; ++*steps) {
        if (at == *last)
            return false;
        at = (at + l->entries[at].size) % l->sectors;
    }
    return true;
}

/* The active sequence is from the tail that the entry at *last names to that one; false: there
 * is none. */
static bool log_search(const Log *l, uint32_t *last, Error *err)
{
    uint64_t best = 0, steps = 0;

    for (uint32_t i = 0; i < l->sectors;) {
        uint32_t at = 0, end = 0, old = i;

        if (!row_from(l, i, &at, &end, &steps)) {
            i++;
        } else {
            if (l->entries[at].sequence > best) {
                best = l->entries[at].sequence;
                *last = at;
            }
            i = end;
        }
        if (steps > STEPS_MAX)
            return error_set(err, "the entries of the VHDX log make no sequence: it is not a log");
        if (i <= old) /* once around */
            break;
    }
    return best;
}

/* --- replay --- */

static int change_zero(const Log *l, const uint8_t *d, uint64_t file_end)
{
    uint64_t at = get_le64(d + DESC_AT), size = get_le64(d + DESC_HEAD);

    return at > file_end || size > file_end - at ? -EINVAL : node_zero(l->file, at, size, 0);
}

static int change_data(const Log *l, const uint8_t *d, const uint8_t *s, uint64_t file_end)
{
    uint64_t at = get_le64(d + DESC_AT);
    uint8_t out[VHDX_SECTOR];

    if (at > file_end || file_end - at < VHDX_SECTOR)
        return -EINVAL;
    memcpy(out, s, sizeof out);
    memcpy(out, d + DESC_HEAD, 8);
    memcpy(out + DATA_LOW, d + DESC_TAIL, 4);
    return node_write(l->file, at, out, sizeof out);
}

static int entry_apply(const Log *l, const uint8_t *p, uint64_t file_end)
{
    uint32_t count = get_le32(p + ENTRY_COUNT);
    const uint8_t *s = p + (size_t)desc_sectors(count) * VHDX_SECTOR;
    int rc = 0;

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        const uint8_t *d = p + ENTRY_HEAD + (size_t)i * DESC_SIZE;

        if (!memcmp(d, "zero", 4)) {
            rc = change_zero(l, d, file_end);
        } else {
            rc = change_data(l, d, s, file_end);
            s += VHDX_SECTOR;
        }
    }
    return rc;
}

static bool file_grow(const Log *l, const uint8_t *p, Error *err)
{
    uint64_t flushed = get_le64(p + ENTRY_FLUSHED), last = get_le64(p + ENTRY_LAST);

    if (l->file->size < flushed)
        return error_set(err,
                         "the file has %" PRIu64 " bytes, but had %" PRIu64
                         " when its VHDX log was written: it was cut off",
                         (uint64_t)l->file->size, flushed);
    if (last > FILE_MAX)
        return error_set(err, "the VHDX log wants a file of %" PRIu64 " bytes", last);
    last = ALIGN_UP(last, (uint64_t)VHDX_UNIT);
    return last <= l->file->size || node_truncate(l->file, last, PREALLOC_OFF, false, err);
}

/* All entries are read before the first is applied, so none of them can change another one. */
static bool log_apply(const Log *l, uint32_t last, Error *err)
{
    uint32_t at = l->entries[last].tail, sectors = 0;
    uint32_t end = (last + l->entries[last].size) % l->sectors;
    AUTO_FREE uint8_t *all = NULL;
    uint64_t file_end;
    int rc;

    sectors = end > at ? end - at : end + l->sectors - at;
    if (!(all = try_alloc((size_t)sectors * VHDX_SECTOR)))
        return error_set(err, "no memory for a VHDX log of %u sectors", sectors);
    rc = log_read(l, at, sectors, all);
    for (uint32_t i = 0; rc == 0 && i < sectors; i += l->entries[at].size) {
        at = (l->entries[last].tail + i) % l->sectors;
        if (!file_grow(l, all + (size_t)i * VHDX_SECTOR, err))
            return false;
        file_end = l->file->size;
        rc = entry_apply(l, all + (size_t)i * VHDX_SECTOR, file_end);
    }
    if (rc == 0)
        rc = node_flush(l->file);
    return rc == 0 || error_set_errno(err, -rc, "Could not replay the VHDX log");
}

bool vhdx_log_replay(BlockNode *file, VhdxHeader *h, bool write, bool *replayed, Error *err)
{
    Log l = {.file = file, .h = h, .sectors = h->log_size / VHDX_SECTOR};
    AUTO_FREE Entry *entries = NULL;
    Error none = {0};
    uint32_t last = 0;
    int rc;

    if (!l.sectors || !memcmp(&h->log_id, &no_guid, sizeof no_guid))
        return true;
    if (h->log_at + h->log_size > file->size)
        return error_set(err, "the VHDX log lies outside of the file");
    if (!(l.entries = entries = try_new_n(Entry, l.sectors)))
        return error_set(err, "no memory for a VHDX log of %u sectors", l.sectors);
    if (!log_scan(&l, err))
        return false;
    if (log_search(&l, &last, &none)) {
        if (!write)
            return error_set(err,
                             "VHDX image file '%s' opened read-only, but contains a log that needs "
                             "to be replayed\nTo replay the log, run:\nqemu-img check -r all '%s'",
                             file->filename ? file->filename : file->name,
                             file->filename ? file->filename : file->name);
        if (!log_apply(&l, last, err))
            return false;
        *replayed = true;
    } else if (none.msg[0]) {
        return error_set(err, "%s", none.msg);
    }
    if (!write)
        return true;
    h->log_id = no_guid;
    rc = vhdx_header_write(file, h);
    return rc == 0 || error_set_errno(err, -rc, "Could not update the VHDX header");
}

/* --- writing --- */

static void entry_make(uint8_t *p, const VhdxHeader *h, uint64_t file_size,
                       const VhdxChange *changes, unsigned n)
{
    memcpy(p, "loge", 4);
    put_le32(p + ENTRY_SIZE, (n + 1) * VHDX_SECTOR);
    put_le64(p + ENTRY_SEQUENCE, 1);
    put_le32(p + ENTRY_COUNT, n);
    memcpy(p + ENTRY_ID, &h->log_id, sizeof h->log_id);
    put_le64(p + ENTRY_FLUSHED, file_size);
    put_le64(p + ENTRY_LAST, file_size);
    for (unsigned i = 0; i < n; i++) {
        uint8_t *d = p + ENTRY_HEAD + i * DESC_SIZE, *s = p + (i + 1ull) * VHDX_SECTOR;

        memcpy(d, "desc", 4);
        memcpy(d + DESC_TAIL, changes[i].data + DATA_LOW, 4);
        memcpy(d + DESC_HEAD, changes[i].data, 8);
        put_le64(d + DESC_AT, changes[i].at);
        put_le64(d + DESC_SEQUENCE, 1);
        memcpy(s, changes[i].data, VHDX_SECTOR);
        memcpy(s, "data", 4);
        put_le32(s + DATA_HIGH, 0);
        put_le32(s + DATA_LOW, 1);
    }
    vhdx_sign(p, (n + 1ull) * VHDX_SECTOR);
}

int vhdx_log_change(BlockNode *file, VhdxHeader *h, const VhdxChange *changes, unsigned n)
{
    size_t size = (n + 1ull) * VHDX_SECTOR;
    AUTO_FREE uint8_t *p = try_alloc(size);
    int rc;

    assert(n <= VHDX_LOG_SECTORS && size <= h->log_size);
    if (!p)
        return -ENOMEM;
    if (!uuid_make(h->log_id.b, NULL))
        return -EIO;
    entry_make(p, h, file->size, changes, n);
    rc = node_write(file, h->log_at, p, size);
    if (rc == 0)
        rc = node_flush(file);
    if (rc == 0)
        rc = vhdx_header_write(file, h);
    for (unsigned i = 0; i < n && rc == 0; i++)
        rc = node_write(file, changes[i].at, changes[i].data, VHDX_SECTOR);
    if (rc == 0)
        rc = node_flush(file);
    if (rc < 0)
        return rc;
    h->log_id = no_guid;
    return vhdx_header_write(file, h);
}
