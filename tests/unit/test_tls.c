/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/tls.h: both ends in one process, over a socket pair */
#include "base/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/unit/unit.h"

static char dir[] = "/tmp/test_tls.XXXXXX";
static bool have_certificates;

typedef struct Pair {
    TlsCreds *creds[2]; /* server, client */
    TlsSession *s[2];
    int fd[2];
    TlsStep step[2];
    Error err[2];
} Pair;

static TlsCreds *creds(TlsKind kind, bool server, bool verify, const char *user, Error *err)
{
    TlsParams p = {
        .kind = kind, .server = server, .verify_peer = verify, .dir = dir, .username = user};

    return tls_creds_new(&p, err);
}

/* Shake hands, as far as it goes. */
static void shake(Pair *p, const char *hostname)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
    for (int i = 0; i < 2; i++) {
        TlsIo io = tls_io_fd;

        io.arg = (void *)(intptr_t)p->fd[i];
        p->s[i] = tls_session_new(p->creds[i], i ? hostname : NULL, &io, &p->err[i]);
        ck_assert_msg(p->s[i] != NULL, "%s", p->err[i].msg);
        p->step[i] = TLS_WANT_READ;
    }
    for (int round = 0; round < 100; round++)
        for (int i = 1; i >= 0; i--)
            if (p->step[i] == TLS_WANT_READ || p->step[i] == TLS_WANT_WRITE)
                p->step[i] = tls_handshake(p->s[i], &p->err[i]);
}

static void talk(Pair *p)
{
    char buf[64] = {0};

    for (int i = 0; i < 2; i++) {
        ssize_t n;

        ck_assert_int_eq(tls_write(p->s[i], "hello", 5), 5);
        while ((n = tls_read(p->s[1 - i], buf, sizeof buf)) == -EAGAIN)
            ;
        ck_assert_int_eq(n, 5);
        ck_assert_str_eq(buf, "hello");
        ck_assert_int_eq(tls_read(p->s[1 - i], buf, sizeof buf), -EAGAIN);
    }
    tls_bye(p->s[0]);
    ck_assert_int_eq(tls_read(p->s[1], buf, sizeof buf), 0);
}

static void end(Pair *p)
{
    for (int i = 0; i < 2; i++) {
        tls_session_free(p->s[i]);
        tls_creds_unref(p->creds[i]);
        close(p->fd[i]);
    }
}

START_TEST(anonymous_sessions_carry_bytes)
{
    Pair p = {0};

    p.creds[0] = creds(TLS_ANON, true, true, NULL, NULL);
    p.creds[1] = creds(TLS_ANON, false, true, NULL, NULL);
    shake(&p, NULL);
    ck_assert_msg(p.step[0] == TLS_DONE && p.step[1] == TLS_DONE, "%s / %s", p.err[0].msg,
                  p.err[1].msg);
    talk(&p);
    end(&p);
}
END_TEST

START_TEST(shared_keys_name_the_user)
{
    Pair p = {0};
    Error err = {0};
    AUTO_FREE char *path = xasprintf("%s/keys.psk", dir);
    FILE *f = fopen(path, "w");

    fprintf(f, "fred:0123456789abcdef0123456789abcdef\nbob:00112233\n");
    fclose(f);
    p.creds[0] = creds(TLS_PSK, true, true, NULL, &err);
    ck_assert_msg(p.creds[0] != NULL, "%s", err.msg);
    p.creds[1] = creds(TLS_PSK, false, true, "fred", &err);
    ck_assert_msg(p.creds[1] != NULL, "%s", err.msg);
    shake(&p, NULL);
    ck_assert_msg(p.step[0] == TLS_DONE && p.step[1] == TLS_DONE, "%s / %s", p.err[0].msg,
                  p.err[1].msg);
    ck_assert_str_eq(tls_peer_name(p.s[0]), "fred");
    talk(&p);
    end(&p);
    ck_assert_ptr_null(creds(TLS_PSK, false, true, "eve", &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "Username eve not found in"));
}
END_TEST

START_TEST(certificates_are_verified_on_both_sides)
{
    Pair p = {0};
    Error err = {0};

    if (!have_certificates)
        return;
    p.creds[0] = creds(TLS_X509, true, true, NULL, &err);
    ck_assert_msg(p.creds[0] != NULL, "%s", err.msg);
    p.creds[1] = creds(TLS_X509, false, true, NULL, &err);
    ck_assert_msg(p.creds[1] != NULL, "%s", err.msg);
    shake(&p, "localhost");
    ck_assert_msg(p.step[0] == TLS_DONE && p.step[1] == TLS_DONE, "%s / %s", p.err[0].msg,
                  p.err[1].msg);
    ck_assert_str_eq(tls_peer_name(p.s[0]), "CN=test client");
    talk(&p);
    end(&p);
    p = (Pair){{creds(TLS_X509, true, true, NULL, &err), creds(TLS_X509, false, true, NULL, &err)},
               {0},
               {0},
               {0},
               {{0}}};
    shake(&p, "elsewhere");
    ck_assert_int_eq(p.step[1], TLS_FAILED);
    ck_assert_ptr_nonnull(strstr(p.err[1].msg, "name in the certificate does not match"));
    end(&p);
}
END_TEST

START_TEST(missing_files_and_bad_priorities_are_named)
{
    TlsParams p = {.kind = TLS_X509, .server = true, .dir = "/nowhere"};
    TlsParams q = {.kind = TLS_ANON, .server = true, .priority = "BOGUS"};
    TlsParams r = {.kind = TLS_PSK, .server = true};
    Error err = {0};

    ck_assert_ptr_null(tls_creds_new(&p, &err));
    ck_assert_str_eq(
        err.msg, "Unable to access credentials /nowhere/ca-cert.pem: No such file or directory");
    ck_assert_ptr_null(tls_creds_new(&q, &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "Unable to set TLS session priority 'BOGUS"));
    ck_assert_ptr_null(tls_creds_new(&r, &err));
    ck_assert_str_eq(err.msg, "Missing 'dir' property value");
}
END_TEST

START_TEST(junk_instead_of_a_handshake_fails)
{
    Pair p = {0};
    TlsIo io = tls_io_fd;
    Error err = {0};

    p.creds[0] = creds(TLS_ANON, true, true, NULL, &err);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p.fd), 0);
    io.arg = (void *)(intptr_t)p.fd[0];
    p.s[0] = tls_session_new(p.creds[0], NULL, &io, &err);
    ck_assert_int_eq(write(p.fd[1], "GET / HTTP/1.0\r\n\r\n", 18), 18);
    ck_assert_int_eq(tls_handshake(p.s[0], &err), TLS_FAILED);
    ck_assert_ptr_nonnull(strstr(err.msg, "TLS handshake failed: "));
    end(&p);
}
END_TEST

/* By certtool, which not everybody has. */
static bool make_certificates(void)
{
    AUTO_FREE char *command = xasprintf(
        "cd %s && exec >/dev/null 2>&1 && "
        "printf 'cn = test CA\nca\ncert_signing_key\n' >ca && "
        "printf 'cn = localhost\ndns_name = "
        "localhost\ntls_www_server\nencryption_key\nsigning_key\n' >sv && "
        "printf 'cn = test client\ntls_www_client\nencryption_key\nsigning_key\n' >cl && "
        "certtool --generate-privkey --ecc --outfile ca-key.pem && "
        "certtool --generate-self-signed --load-privkey ca-key.pem --template ca --outfile "
        "ca-cert.pem && "
        "for n in server client; do certtool --generate-privkey --ecc --outfile $n-key.pem && "
        "certtool --generate-certificate --load-ca-certificate ca-cert.pem --load-ca-privkey "
        "ca-key.pem "
        "--load-privkey $n-key.pem --template $(echo $n | sed 's/server/sv/;s/client/cl/') "
        "--outfile $n-cert.pem || exit 1; done",
        dir);

    return system(command) == 0;
}

int main(void)
{
    const TTest *const tests[] = {anonymous_sessions_carry_bytes, shared_keys_name_the_user,
                                  certificates_are_verified_on_both_sides,
                                  missing_files_and_bad_priorities_are_named,
                                  junk_instead_of_a_handshake_fails};
    AUTO_FREE char *clean = NULL;
    int rc;

    if (!tls_is_built()) {
        printf("SKIPPED: tls: built without gnutls\n");
        return 0;
    }
    if (!mkdtemp(dir))
        return 1;
    have_certificates = make_certificates();
    if (!have_certificates)
        printf("SKIPPED: tls: no certificates without certtool (gnutls-bin)\n");
    rc = unit_run("tls", tests, COUNT_OF(tests));
    clean = xasprintf("rm -rf %s", dir);
    return system(clean) || rc;
}
