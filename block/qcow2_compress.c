/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2_compress - contents that are not stored as they are: compressed and encrypted clusters
 *
 * zlib clusters are raw deflate streams (RFC 1951) with a window of 4 KiB; zstd clusters are frames
 * (RFC 8878).  The size of a compressed cluster is known in sectors only: what follows the stream
 * is ignored.
 */
#include <zlib.h>
#ifdef CONFIG_ZSTD
#include <zstd.h>
#endif

#include "block/qcow2_priv.h"

enum { WINDOW_BITS = -12, MEMORY_LEVEL = 9 };

/* --- zlib --- */

static int zlib_expand(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in,
                  .avail_in = (uInt)in_size,
                  .next_out = out,
                  .avail_out = (uInt)out_size};
    int rc;

    if (inflateInit2(&z, WINDOW_BITS) != Z_OK)
        return -ENOMEM;
    rc = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return (rc == Z_STREAM_END || rc == Z_BUF_ERROR || rc == Z_OK) && !z.avail_out ? 0 : -EIO;
}

/* The size of the result; 0: it does not become smaller. */
static size_t zlib_shrink(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in,
                  .avail_in = (uInt)in_size,
                  .next_out = out,
                  .avail_out = (uInt)out_size};
    int rc;

    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    rc = deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return rc == Z_STREAM_END ? out_size - z.avail_out : 0;
}

/* --- zstd --- */

#ifdef CONFIG_ZSTD
static int zstd_expand(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
    ZSTD_inBuffer i = {in, in_size, 0};
    ZSTD_outBuffer o = {out, out_size, 0};
    ZSTD_DStream *d = ZSTD_createDStream();
    int rc = d ? 0 : -ENOMEM;

    while (!rc && o.pos < o.size) {
        size_t before = o.pos, used = i.pos, left = ZSTD_decompressStream(d, &o, &i);

        if (ZSTD_isError(left) || (o.pos == before && i.pos == used))
            rc = -EIO;
    }
    ZSTD_freeDStream(d);
    return rc;
}

static size_t zstd_shrink(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
    ZSTD_inBuffer i = {in, in_size, 0};
    ZSTD_outBuffer o = {out, out_size, 0};
    ZSTD_CStream *c = ZSTD_createCStream();
    size_t left = c ? ZSTD_compressStream2(c, &o, &i, ZSTD_e_end) : 1;

    ZSTD_freeCStream(c);
    return ZSTD_isError(left) || left ? 0 : o.pos;
}
#else
static int zstd_expand(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
    (void)in, (void)in_size, (void)out, (void)out_size;
    return -ENOTSUP; /* built without zstd */
}

static size_t zstd_shrink(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
    (void)in, (void)in_size, (void)out, (void)out_size;
    return 0;
}
#endif

/* --- reading --- */

static int read_compressed(Qcow2 *s, const Extent *e, uint64_t at, void *buf, size_t size)
{
    uint64_t in_size, from = entry_compressed_at(s, e->priv[0], &in_size);
    uint8_t *in = try_alloc(in_size), *out = NULL;
    bool whole = at == e->at && size == s->cluster_size;
    int rc = in ? file_read(s->n->file, from, in, in_size) : -ENOMEM;

    if (!rc && !whole) {
        out = try_alloc(s->cluster_size);
        rc = out ? 0 : -ENOMEM;
    }
    if (!rc)
        rc = (s->h.compression == COMPRESSION_ZSTD ? zstd_expand : zlib_expand)(
            in, in_size, whole ? buf : out, s->cluster_size);
    if (!rc && !whole)
        memcpy(buf, out + (at - e->at), size);
    xfree(in);
    xfree(out);
    return rc;
}

/* LUKS numbers sectors by their place in the file, the old way by their place in the disk. */
static uint64_t crypt_number(const Qcow2 *s, const Extent *e, uint64_t at)
{
    return s->h.crypt_method == CRYPT_LUKS ? e->child_at + (at - e->at) : at;
}

int qcow2_read(BlockNode *n, const Extent *e, uint64_t at, void *buf, size_t size)
{
    Qcow2 *s = qcow2_of(n);
    int rc;

    if (e->flags & EXTENT_COMPRESSED)
        return read_compressed(s, e, at, buf, size);
    rc = file_read(e->child, e->child_at + (at - e->at), buf, size);
    return rc ? rc : crypto_decrypt(s->crypto, crypt_number(s, e, at), buf, size);
}

int qcow2_encode(BlockNode *n, const Extent *e, uint64_t at, void *buf, size_t size)
{
    Qcow2 *s = qcow2_of(n);

    return crypto_encrypt(s->crypto, crypt_number(s, e, at), buf, size);
}

/* --- writing --- */

/* The bytes are in the file before the table names them; others may run meanwhile. */
static int store(Qcow2 *s, uint64_t at, const void *data, size_t size)
{
    BlockNode *n = s->n;
    uint64_t host = 0;
    int rc;

    WITH_LOCK (&n->meta) {
        rc = qcow2_may_write(s);
        if (!rc && s->lazy && !s->dirty_marked)
            rc = qcow2_mark_dirty(s, true);
        if (!rc)
            rc = alloc_bytes(s, size, &host);
    }
    if (rc)
        return rc;
    rc = node_write(n->file, host, data, size);
    WITH_LOCK (&n->meta) {
        if (!rc)
            rc = qcow2_link_compressed(s, at, host, size);
        if (rc)
            free_later(s, ALIGN_DOWN(host, 512ull), size + (host & 511), FREE_NEVER_USED);
    }
    return rc;
}

static int store_plain(Qcow2 *s, uint64_t at, const void *data, size_t size)
{
    int rc;

    WITH_LOCK (&s->n->meta)
        rc = qcow2_pwrite(s, at, data, size);
    return rc;
}

int qcow2_write_compressed(BlockNode *n, uint64_t at, const void *buf, size_t size)
{
    Qcow2 *s = qcow2_of(n);
    uint8_t *in = NULL, *out;
    size_t packed;
    int rc;

    if (s->has_data_file || s->h.crypt_method)
        return -ENOTSUP;
    if (at % s->cluster_size || size > s->cluster_size)
        return -EINVAL;
    if (size < s->cluster_size) { /* the last one: a whole cluster is compressed */
        in = try_alloc(s->cluster_size);
        if (!in)
            return -ENOMEM;
        memcpy(in, buf, size);
    }
    out = try_alloc(s->cluster_size);
    if (!out) {
        xfree(in);
        return -ENOMEM;
    }
    packed = (s->h.compression == COMPRESSION_ZSTD ? zstd_shrink : zlib_shrink)(
        in ? in : buf, s->cluster_size, out, s->cluster_size - 1);
    rc = packed ? store(s, at, out, packed) : store_plain(s, at, buf, size);
    xfree(in);
    xfree(out);
    return rc;
}
