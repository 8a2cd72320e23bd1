/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd_proto - numbers of the Network Block Device protocol (doc/proto.md of the NBD project), and
 * the byte stream below it, which client and server share.  All integers on the wire are big-
 * endian.
 */
#ifndef BLOCK_NBD_PROTO_H
#define BLOCK_NBD_PROTO_H

#include "base/base.h"
#include "base/error.h"
#include "base/tls.h"

#define NBD_MAGIC 0x4e42444d41474943ull        /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC 0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_OLDSTYLE_MAGIC 0x00420281861253ull
#define NBD_OPTION_REPLY_MAGIC 0x0003e889045565a9ull
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_SIMPLE_MAGIC 0x67446698u
#define NBD_CHUNK_MAGIC 0x668e33efu

enum { NBD_FIXED_NEWSTYLE = 1, NBD_NO_ZEROES = 2 }; /* handshake flags, of both sides */

enum { /* transmission flags */
       NBD_HAS_FLAGS = 1 << 0,
       NBD_READ_ONLY = 1 << 1,
       NBD_SEND_FLUSH = 1 << 2,
       NBD_SEND_FUA = 1 << 3,
       NBD_ROTATIONAL = 1 << 4,
       NBD_SEND_TRIM = 1 << 5,
       NBD_SEND_WRITE_ZEROES = 1 << 6,
       NBD_SEND_DF = 1 << 7,
       NBD_CAN_MULTI_CONN = 1 << 8,
       NBD_SEND_CACHE = 1 << 10,
       NBD_SEND_FAST_ZERO = 1 << 11,
};

enum { /* options */
       NBD_OPT_EXPORT_NAME = 1,
       NBD_OPT_ABORT = 2,
       NBD_OPT_LIST = 3,
       NBD_OPT_STARTTLS = 5,
       NBD_OPT_INFO = 6,
       NBD_OPT_GO = 7,
       NBD_OPT_STRUCTURED_REPLY = 8,
       NBD_OPT_LIST_META_CONTEXT = 9,
       NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ERROR (UINT32_C(1) << 31)
enum { /* replies to options; errors have NBD_REP_ERROR set besides */
       NBD_REP_ACK = 1,
       NBD_REP_SERVER = 2,
       NBD_REP_INFO = 3,
       NBD_REP_META_CONTEXT = 4,
       NBD_ERR_UNSUP = 1,
       NBD_ERR_POLICY = 2,
       NBD_ERR_INVALID = 3,
       NBD_ERR_PLATFORM = 4,
       NBD_ERR_TLS_REQD = 5,
       NBD_ERR_UNKNOWN = 6,
       NBD_ERR_SHUTDOWN = 7,
       NBD_ERR_BLOCK_SIZE_REQD = 8,
       NBD_ERR_TOO_BIG = 9,
};
enum { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };

enum { /* commands */
       NBD_CMD_READ = 0,
       NBD_CMD_WRITE = 1,
       NBD_CMD_DISC = 2,
       NBD_CMD_FLUSH = 3,
       NBD_CMD_TRIM = 4,
       NBD_CMD_CACHE = 5,
       NBD_CMD_WRITE_ZEROES = 6,
       NBD_CMD_BLOCK_STATUS = 7,
};
enum { /* command flags */
       NBD_CMD_FUA = 1,
       NBD_CMD_NO_HOLE = 2,
       NBD_CMD_DF = 4,
       NBD_CMD_REQ_ONE = 8,
       NBD_CMD_FAST_ZERO = 16,
};

enum { NBD_CHUNK_DONE = 1 }; /* flags of a structured reply */
enum {
    NBD_CHUNK_NONE = 0,
    NBD_CHUNK_DATA = 1,
    NBD_CHUNK_HOLE = 2,
    NBD_CHUNK_STATUS = 5,
    NBD_CHUNK_ERROR = 1 << 15, /* all of its kind have this bit */
    NBD_CHUNK_ERROR_ONE = (1 << 15) + 1,
    NBD_CHUNK_ERROR_AT = (1 << 15) + 2,
};

enum { NBD_STATE_HOLE = 1, NBD_STATE_ZERO = 2, NBD_STATE_DIRTY = 1 };

enum {
    NBD_PORT = 10809,
    NBD_MAX_STRING = 4096,
    NBD_MAX_PAYLOAD = 32 << 20,
    NBD_REQUEST_SIZE = 28,
    NBD_SIMPLE_SIZE = 16,
    NBD_CHUNK_SIZE = 20,
};

uint32_t nbd_error(int errnum);     /* of the host to the wire */
int nbd_error_host(uint32_t error); /* of the wire to the host; never 0 */

/* --- the stream; one thread at a time --- */

typedef struct NbdStream {
    int fd;          /* a non-blocking socket; -1: none */
    int cancel_fd;   /* becoming readable ends waits with -ECANCELED; -1: none */
    TlsSession *tls; /* NULL: plain */
    int64_t due;     /* nbd_now_ms() at which waits end with -ETIMEDOUT; 0: never */
} NbdStream;

int64_t nbd_now_ms(void); /* of a clock that only goes on */
/* Bytes moved, -EAGAIN, or another -errno; the end of the stream is -ECONNRESET. */
ssize_t nbd_stream_recv(NbdStream *s, void *p, size_t n);
ssize_t nbd_stream_send(NbdStream *s, const void *p, size_t n);
/* All of it, waiting.  0 or -errno. */
int nbd_stream_read(NbdStream *s, void *p, size_t n);
int nbd_stream_skip(NbdStream *s, uint64_t n);
int nbd_stream_write(NbdStream *s, const void *p, size_t n);
bool nbd_stream_start_tls(NbdStream *s, TlsCreds *creds, const char *hostname, Error *err);
void nbd_stream_close(NbdStream *s);

#endif
