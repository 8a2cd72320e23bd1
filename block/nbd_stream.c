/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd_stream - the byte stream below NBD, plain or under TLS, and the protocol's error numbers */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/now.h"
#include "block/nbd_proto.h"

/* The protocol has numbers of its own, which happen to be Linux's. */
static const struct {
    uint32_t wire;
    int host;
} errors[] = {
    {1, EPERM},   {5, EIO},        {12, ENOMEM},  {22, EINVAL},
    {28, ENOSPC}, {75, EOVERFLOW}, {95, ENOTSUP}, {108, ESHUTDOWN},
};

uint32_t nbd_error(int errnum)
{
    if (errnum == EROFS)
        errnum = EPERM;
    if (errnum == EDQUOT || errnum == EFBIG)
        errnum = ENOSPC;
    for (unsigned i = 0; i < COUNT_OF(errors); i++)
        if (errors[i].host == errnum)
            return errors[i].wire;
    return errnum == EOPNOTSUPP ? 95 : 5;
}

int nbd_error_host(uint32_t error)
{
    for (unsigned i = 0; i < COUNT_OF(errors); i++)
        if (errors[i].wire == error)
            return errors[i].host;
    return EINVAL;
}

int64_t nbd_now_ms(void)
{
    return monotonic_ns() / 1000000;
}

ssize_t nbd_stream_recv(NbdStream *s, void *p, size_t n)
{
    ssize_t got;

    if (s->tls) {
        got = tls_read(s->tls, p, n);
    } else {
        do
            got = recv(s->fd, p, n, MSG_DONTWAIT);
        while (got < 0 && errno == EINTR);
        if (got < 0)
            got = errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    return got ? got : -ECONNRESET;
}

ssize_t nbd_stream_send(NbdStream *s, const void *p, size_t n)
{
    ssize_t put;

    if (s->tls)
        return tls_write(s->tls, p, n);
    do
        put = send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put >= 0 ? put : errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static int stream_wait(const NbdStream *s, short events)
{
    struct pollfd fds[] = {{.fd = s->fd, .events = events}, {.fd = s->cancel_fd, .events = POLLIN}};
    int64_t left = s->due ? s->due - nbd_now_ms() : -1;

    if (s->due && left <= 0)
        return -ETIMEDOUT;
    if (poll(fds, 2, (int)MIN(left, INT64_C(1) << 30)) < 0 && errno != EINTR)
        return -errno;
    return fds[1].revents ? -ECANCELED : 0;
}

int nbd_stream_read(NbdStream *s, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = nbd_stream_recv(s, (char *)p + at, n - at);

        if (got == -EAGAIN)
            got = stream_wait(s, POLLIN);
        if (got < 0)
            return (int)got;
        at += (size_t)got;
    }
    return 0;
}

int nbd_stream_skip(NbdStream *s, uint64_t n)
{
    char buf[4096];
    int rc = 0;

    while (n && rc == 0) {
        size_t part = (size_t)MIN(n, (uint64_t)sizeof buf);

        rc = nbd_stream_read(s, buf, part);
        n -= part;
    }
    return rc;
}

int nbd_stream_write(NbdStream *s, const void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t put = nbd_stream_send(s, (const char *)p + at, n - at);

        if (put == -EAGAIN)
            put = stream_wait(s, POLLOUT);
        if (put < 0)
            return (int)put;
        at += (size_t)put;
    }
    return 0;
}

bool nbd_stream_start_tls(NbdStream *s, TlsCreds *creds, const char *hostname, Error *err)
{
    TlsIo io = tls_io_fd;
    TlsStep step;

    io.arg = (void *)(intptr_t)s->fd;
    if (!(s->tls = tls_session_new(creds, hostname, &io, err)))
        return false;
    while ((step = tls_handshake(s->tls, err)) == TLS_WANT_READ || step == TLS_WANT_WRITE) {
        int rc = stream_wait(s, step == TLS_WANT_READ ? POLLIN : POLLOUT);

        if (rc < 0)
            return error_set_errno(err, -rc, "TLS handshake failed");
    }
    return step == TLS_DONE;
}

void nbd_stream_close(NbdStream *s)
{
    tls_session_free(s->tls);
    s->tls = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
