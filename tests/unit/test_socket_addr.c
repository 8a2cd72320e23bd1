/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of base/socket_addr.h */
#include "base/socket_addr.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/unit/unit.h"

START_TEST(texts_are_taken_apart)
{
    SocketAddr a;
    Error err;

    ck_assert(socket_addr_parse(&a, "localhost:80,to=90,ipv4", &err));
    ck_assert_int_eq(a.kind, SOCKET_INET);
    ck_assert_str_eq(a.host, "localhost");
    ck_assert_str_eq(a.port, "80");
    ck_assert_uint_eq(a.to, 90);
    ck_assert_int_eq(a.ipv4, 1);
    ck_assert_int_eq(a.ipv6, -1);
    socket_addr_free(&a);
    ck_assert(socket_addr_parse(&a, "[::1]:5", &err));
    ck_assert_str_eq(a.host, "::1");
    socket_addr_free(&a);
    ck_assert(socket_addr_parse(&a, ":7", &err));
    ck_assert_str_eq(a.host, "");
    socket_addr_free(&a);
    ck_assert(socket_addr_parse(&a, "unix:/a/b", &err));
    ck_assert_str_eq(a.path, "/a/b");
    socket_addr_free(&a);
    ck_assert(socket_addr_parse(&a, "fd:3", &err));
    ck_assert_str_eq(a.fd, "3");
    socket_addr_free(&a);
}
END_TEST

START_TEST(wrong_texts_are_refused)
{
    static const char *const wrong[] = {
        "host",  "[::1", "[::1]",       "h:",           "::1:5",
        "unix:", "fd:",  "h:1,bogus=2", "h:1,to=70000", "vsock:2:3"};

    for (unsigned i = 0; i < COUNT_OF(wrong); i++) {
        Error err = {0};
        SocketAddr a;

        ck_assert_msg(!socket_addr_parse(&a, wrong[i], &err) && err.msg[0], "%s", wrong[i]);
        socket_addr_free(&a);
    }
}
END_TEST

START_TEST(json_goes_there_and_back)
{
    static const char *const forms[] = {
        "{\"type\":\"inet\",\"host\":\"h\",\"port\":\"1\",\"to\":5,\"keep-alive\":true}",
        "{\"type\":\"inet\",\"host\":\"h\",\"port\":\"1\",\"ipv6\":false}",
        "{\"type\":\"unix\",\"path\":\"p\",\"abstract\":true,\"tight\":false}",
        "{\"type\":\"fd\",\"str\":\"x\"}",
    };
    Error err = {0};
    SocketAddr a;
    json_t *j, *back;

    for (unsigned i = 0; i < COUNT_OF(forms); i++) {
        j = json_loads(forms[i], 0, NULL);
        ck_assert_msg(socket_addr_from_json(&a, j, &err), "%s", err.msg);
        back = socket_addr_to_json(&a);
        ck_assert_msg(json_equal(j, back), "%s", forms[i]);
        json_decref(j);
        json_decref(back);
        socket_addr_free(&a);
    }
    j = json_loads("{\"type\":\"inet\",\"data\":{\"host\":\"h\",\"port\":\"1\"}}", 0, NULL);
    ck_assert(socket_addr_from_json(&a, j, &err));
    ck_assert_str_eq(a.host, "h");
    socket_addr_free(&a);
    json_decref(j);
    j = json_loads("{\"type\":\"unix\",\"path\":\"p\",\"bogus\":1}", 0, NULL);
    ck_assert(!socket_addr_from_json(&a, j, &err));
    ck_assert_str_eq(err.msg, "Invalid parameter 'bogus'");
    json_decref(j);
}
END_TEST

/* A listener on a free port of 127.0.0.1; *a is its address. */
static int listen_somewhere(SocketAddr *a)
{
    SocketAddr any;
    Error err = {0};
    int fd;

    ck_assert(socket_addr_parse(&any, "127.0.0.1:0", &err));
    fd = socket_listen(&any, 64, &err);
    ck_assert_msg(fd >= 0, "%s", err.msg);
    socket_addr_free(&any);
    ck_assert(socket_addr_of(a, fd, false, &err));
    return fd;
}

static int answered, answer_fd;
static Error answer_err;
static void answer(void *arg, int fd, const Error *err)
{
    (void)arg;
    answered++;
    answer_fd = fd;
    answer_err = *err;
}

static void run_until_answered(Loop *l)
{
    for (int i = 0; i < 5000 && !answered; i++)
        loop_step(l, 1000000);
    ck_assert_int_eq(answered, 1);
}

START_TEST(connections_are_made_with_and_without_waiting)
{
    Loop *l = loop_new(NULL);
    SocketAddr a;
    Error err = {0};
    int listener = listen_somewhere(&a), fd = socket_connect_wait(&a, &err);

    ck_assert_msg(fd >= 0, "%s", err.msg);
    close(fd);
    socket_connect(&a, l, answer, NULL);
    ck_assert_int_eq(answered, 0); /* never inline */
    run_until_answered(l);
    ck_assert_int_ge(answer_fd, 0);
    close(answer_fd);
    answered = 0;
    xfree(a.host);
    a.host = xstrdup("localhost"); /* a name: resolved by a thread */
    a.ipv4 = 1;
    socket_connect(&a, l, answer, NULL);
    run_until_answered(l);
    ck_assert_msg(answer_fd >= 0, "%s", answer_err.msg);
    close(answer_fd);
    close(listener);
    loop_free(l);
    socket_addr_free(&a);
}
END_TEST

START_TEST(refusals_name_the_address)
{
    Loop *l = loop_new(NULL);
    SocketAddr a;
    Error err = {0};
    char want[128];

    answered = 0;
    close(listen_somewhere(&a)); /* nobody any more */
    ck_assert_int_lt(socket_connect_wait(&a, &err), 0);
    snprintf(want, sizeof want, "Failed to connect to '127.0.0.1:%s': Connection refused", a.port);
    ck_assert_str_eq(err.msg, want);
    socket_connect(&a, l, answer, NULL);
    run_until_answered(l);
    ck_assert_int_lt(answer_fd, 0);
    ck_assert_str_eq(answer_err.msg, want);
    socket_addr_free(&a);
    answered = 0;
    ck_assert(socket_addr_parse(&a, "unix:/nowhere/s", &err));
    socket_connect(&a, l, answer, NULL);
    run_until_answered(l);
    ck_assert_str_eq(answer_err.msg,
                     "Failed to connect to '/nowhere/s': No such file or directory");
    socket_addr_free(&a);
    loop_free(l);
}
END_TEST

START_TEST(a_cancelled_connection_says_nothing)
{
    Loop *l = loop_new(NULL);
    SocketAddr a;
    int listener = listen_somewhere(&a);

    answered = 0;
    for (int i = 0; i < 20; i++) {
        SocketConnect *c = socket_connect(&a, l, answer, NULL);

        if (i % 2)
            loop_step(l, 0);
        if (!answered)
            socket_connect_cancel(c);
        else
            close(answer_fd);
        answered = 0;
    }
    for (int i = 0; i < 50; i++)
        loop_step(l, 1000000);
    ck_assert_int_eq(answered, 0);
    close(listener);
    loop_free(l);
    socket_addr_free(&a);
}
END_TEST

START_TEST(a_range_of_ports_gives_the_first_free_one)
{
    SocketAddr a, b, real;
    Error err = {0};
    int first = listen_somewhere(&a), second;

    b = a;
    b.to = (uint16_t)(atoi(a.port) + 20);
    second = socket_listen(&b, 1, &err);
    ck_assert_msg(second >= 0, "%s", err.msg);
    ck_assert(socket_addr_of(&real, second, false, &err));
    ck_assert_int_gt(atoi(real.port), atoi(a.port));
    socket_addr_free(&real);
    b.to = 0;
    ck_assert_int_lt(socket_listen(&b, 1, &err), 0);
    ck_assert_str_eq(err.msg, "Failed to find an available port: Address already in use");
    close(first);
    close(second);
    socket_addr_free(&a);
}
END_TEST

START_TEST(abstract_names_and_inherited_descriptors_work)
{
    char name[64], number[16];
    SocketAddr a = {.kind = SOCKET_UNIX, .path = name, .abstract = true, .tight = true};
    SocketAddr f = {.kind = SOCKET_FD, .fd = number};
    Error err = {0};
    int listener, client, server, pair[2];

    snprintf(name, sizeof name, "test_socket_addr.%d", (int)getpid());
    listener = socket_listen(&a, 1, &err);
    ck_assert_msg(listener >= 0, "%s", err.msg);
    client = socket_connect_wait(&a, &err);
    ck_assert_msg(client >= 0, "%s", err.msg);
    server = socket_accept(listener, &err);
    ck_assert_int_ge(server, 0);
    close(listener);
    close(client);
    close(server);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(number, sizeof number, "%d", pair[0]);
    ck_assert_int_eq(socket_connect_wait(&f, &err), pair[0]);
    snprintf(number, sizeof number, "0");
    ck_assert_int_lt(
        socket_connect_wait(&(SocketAddr){.kind = SOCKET_FD, .fd = (char[]){"999"}}, &err), 0);
    ck_assert_str_eq(err.msg, "File descriptor '999' is not a socket");
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(long_unix_paths_are_refused)
{
    char path[200];
    SocketAddr a = {.kind = SOCKET_UNIX, .path = path};
    Error err = {0};

    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = 0;
    ck_assert_int_lt(socket_listen(&a, 1, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "is too long"));
}
END_TEST

UNIT_MAIN("socket_addr", texts_are_taken_apart, wrong_texts_are_refused, json_goes_there_and_back,
          connections_are_made_with_and_without_waiting, refusals_name_the_address,
          a_cancelled_connection_says_nothing, a_range_of_ports_gives_the_first_free_one,
          abstract_names_and_inherited_descriptors_work, long_unix_paths_are_refused)
