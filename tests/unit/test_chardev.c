/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of chardev/ */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/socket_addr.h"
#include "chardev/fd.h"
#include "chardev/ringbuf.h"
#include "chardev/websocket.h"
#include "tests/unit/unit.h"

static Loop *loop;
static ChardevHost host;
static unsigned quits, writables, breaks, opens, closes, focuses;
static Chardevs *set;
static char dir[] = "/tmp/test_chardev.XXXXXX";
static uint8_t got[100000];
static size_t n_got, room;

static void quit(void *arg)
{
    (void)arg;
    quits++;
}
static size_t can_accept(void *arg)
{
    (void)arg;
    return room;
}

static void accept_bytes(void *arg, const uint8_t *p, size_t n)
{
    (void)arg;
    ck_assert_uint_le(n, room);
    ck_assert_uint_le(n_got + n, sizeof got);
    memcpy(got + n_got, p, n);
    n_got += n;
    room -= n;
}

static void event(void *arg, CharEvent e)
{
    (void)arg;
    writables += e == CHAR_WRITABLE;
    breaks += e == CHAR_BREAK;
    opens += e == CHAR_OPENED;
    closes += e == CHAR_CLOSED;
    focuses += e == CHAR_FOCUS;
}

static const CharFront front = {.can_accept = can_accept, .accept = accept_bytes, .event = event};

static void set_up(void)
{
    loop = loop_new(NULL);
    host = (ChardevHost){.loop = loop, .quit = quit};
    quits = writables = breaks = opens = closes = focuses = 0;
    n_got = 0;
    room = 1000;
}

static void turn(void)
{
    for (int i = 0; i < 20; i++)
        loop_step(loop, 1000000);
}

static void tear_down(Chardev *c)
{
    chardev_stop(c);
    loop_free(loop);
    chardev_close(c);
}

START_TEST(nothing_is_lost_when_the_reader_is_slow)
{
    static uint8_t out[300000], in[300000];
    size_t sent = 0, read_so_far = 0;
    int p[2];
    Chardev *c;

    set_up();
    ck_assert_int_eq(pipe(p), 0);
    c = fd_open("test", -1, fd_reopen_for_write(p[1]), &host, "t", NULL, NULL);
    close(p[1]);
    chardev_attach(c, &front);
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 31 >> 3);
    while (sent < sizeof out) {
        size_t n = chardev_write(c, out + sent, sizeof out - sent);

        sent += n;
        if (n)
            continue;
        for (writables = 0; !writables;) {
            ssize_t r = read(p[0], in + read_so_far, 8192);

            ck_assert_int_gt(r, 0);
            read_so_far += (size_t)r;
            turn();
        }
    }
    while (read_so_far < sizeof in - 20000) {
        ssize_t r = read(p[0], in + read_so_far, 8192);

        ck_assert_int_gt(r, 0);
        read_so_far += (size_t)r;
        loop_step(loop, 0);
    }
    tear_down(c); /* closing writes the rest */
    for (ssize_t r; (r = read(p[0], in + read_so_far, sizeof in - read_so_far)) > 0;)
        read_so_far += (size_t)r;
    ck_assert_uint_eq(read_so_far, sizeof out);
    ck_assert_mem_eq(in, out, sizeof out);
    close(p[0]);
}
END_TEST

START_TEST(a_vanished_reader_takes_everything)
{
    uint8_t byte[4096] = {0};
    int p[2];
    Chardev *c;

    signal(SIGPIPE, SIG_IGN);
    set_up();
    ck_assert_int_eq(pipe(p), 0);
    c = fd_open("test", -1, p[1], &host, "t", NULL, NULL);
    close(p[0]);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(chardev_write(c, byte, sizeof byte), sizeof byte);
    tear_down(c);
}
END_TEST

START_TEST(input_waits_until_the_front_end_has_room)
{
    int p[2];
    Chardev *c;

    set_up();
    ck_assert_int_eq(pipe(p), 0);
    c = fd_open("test", p[0], -1, &host, "t", NULL, NULL);
    room = 0;
    chardev_attach(c, &front);
    ck_assert_int_eq(write(p[1], "hello", 5), 5);
    turn();
    ck_assert_uint_eq(n_got, 0);
    room = 2;
    chardev_accept_ready(c);
    turn();
    ck_assert_uint_eq(n_got, 2);
    room = 100;
    chardev_accept_ready(c);
    close(p[1]); /* the end of input changes nothing */
    turn();
    ck_assert_uint_eq(n_got, 5);
    ck_assert_mem_eq(got, "hello", 5);
    ck_assert_uint_eq(quits, 0);
    tear_down(c);
}
END_TEST

START_TEST(plain_files_are_read_to_their_end)
{
    int fd = open("/dev/null", O_RDONLY);
    Chardev *c;

    set_up();
    c = fd_open("test", fd, -1, &host, "t", NULL, NULL);
    chardev_attach(c, &front);
    turn();
    ck_assert_uint_eq(n_got, 0);
    tear_down(c);
    set_up();
    room = 10;
    c = fd_open("test", open("/proc/self/exe", O_RDONLY), -1, &host, "t", NULL, NULL);
    chardev_attach(c, &front);
    turn();
    ck_assert_uint_eq(n_got, 10);
    ck_assert_mem_eq(got, "\177ELF", 4);
    tear_down(c);
}
END_TEST

/* --- named ones --- */

static void set_up_set(void)
{
    set_up();
    set = chardevs_new(&host);
}

static void tear_down_set(void)
{
    chardevs_stop(set);
    loop_free(loop);
    chardevs_free(set);
}

static Chardev *claim(const char *id)
{
    Error err = {0};
    Chardev *c = chardev_claim(set, id, &err);

    ck_assert_msg(c != NULL, "%s", err.msg);
    return c;
}

static void add(const char *text)
{
    Error err = {0};

    ck_assert_msg(chardev_add_text(set, text, &err), "%s: %s", text, err.msg);
}

static void refused(const char *text, const char *why)
{
    Error err = {0};

    ck_assert_msg(!chardev_add_text(set, text, &err), "%s was taken", text);
    ck_assert_msg(strstr(err.msg, why) != NULL, "%s: %s", text, err.msg);
}

/* After each test: what it left in our folder. */
static void clean_dir(void)
{
    static const char *const names[] = {"p.in", "p.out", "f", "log", "s"};

    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", dir, names[i]);

        unlink(path);
    }
}

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", dir, name);
}

static void say(Chardev *c, const char *text)
{
    ck_assert_uint_eq(chardev_write(c, (const uint8_t *)text, strlen(text)), strlen(text));
}

static void expect_file(const char *path, const char *text)
{
    char buf[256] = {0};
    int fd = open(path, O_RDONLY);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(read(fd, buf, sizeof buf - 1), 0);
    ck_assert_str_eq(buf, text);
    close(fd);
}

/* A multiplexer over a pipe that is its input. */
static int mux_over_pipe(void)
{
    AUTO_FREE char *in = path_of("p.in");
    AUTO_FREE char *out = path_of("p.out");
    AUTO_FREE char *text = xasprintf("pipe,id=m,mux=on,path=%s/p", dir);
    int fd;

    ck_assert_int_eq(mkfifo(in, 0600), 0);
    ck_assert_int_eq(mkfifo(out, 0600), 0);
    add(text);
    fd = open(in, O_WRONLY | O_NONBLOCK);
    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(ctrl_a_commands_work_even_if_the_guest_takes_nothing)
{
    Chardev *c;
    int fd;

    set_up_set();
    fd = mux_over_pipe();
    c = claim("m");
    room = 0;
    chardev_attach(c, &front);
    ck_assert_int_eq(write(fd, "ab\1\1c\1bd\1q\1x", 12), 12);
    turn();
    ck_assert_uint_eq(quits, 1);
    ck_assert_uint_eq(breaks, 1);
    ck_assert_uint_eq(n_got, 0);
    room = 3;
    chardev_accept_ready(c);
    turn();
    room = 100;
    chardev_accept_ready(c);
    turn();
    ck_assert_uint_eq(n_got, 5);
    ck_assert_mem_eq(got, "ab\1cd", 5);
    close(fd);
    tear_down_set();
}
END_TEST

START_TEST(a_full_queue_holds_the_sender_and_loses_nothing)
{
    static uint8_t data[90000];
    size_t sent = 0;
    Chardev *c;
    int fd;

    set_up_set();
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(2 + i % 250);
    fd = mux_over_pipe();
    c = claim("m");
    room = 0;
    chardev_attach(c, &front);
    while (n_got < sizeof data) {
        ssize_t w = write(fd, data + sent, sizeof data - sent);

        if (w > 0)
            sent += (size_t)w;
        turn();
        if (w <= 0 || sent == sizeof data) {
            room = 7000;
            chardev_accept_ready(c);
            turn();
        }
    }
    ck_assert_mem_eq(got, data, sizeof data);
    close(fd);
    tear_down_set();
}
END_TEST

static size_t second_got;
static void second_accept(void *arg, const uint8_t *p, size_t n)
{
    (void)arg;
    (void)p;
    second_got += n;
}

START_TEST(a_multiplexer_has_four_channels_and_ctrl_a_c_goes_round)
{
    static const CharFront second = {
        .can_accept = can_accept, .accept = second_accept, .event = event};
    Chardev *a, *b;
    Error err;
    int fd;

    set_up_set();
    second_got = 0;
    fd = mux_over_pipe();
    a = claim("m");
    b = claim("m");
    claim("m");
    claim("m");
    ck_assert_ptr_null(chardev_claim(set, "m", &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "'m' is in use"));
    chardev_attach(a, &front);
    chardev_attach(b, &second);
    ck_assert_int_eq(write(fd, "a\1cbb\1ca", 8), 8);
    turn();
    ck_assert_uint_eq(n_got, 2);
    ck_assert_uint_eq(second_got, 2);
    ck_assert_uint_eq(focuses, 2);
    close(fd);
    tear_down_set();
}
END_TEST

START_TEST(a_session_behind_a_multiplexer_opens_with_the_first_focus)
{
    Chardev *a, *b;
    int fd;

    set_up_set();
    fd = mux_over_pipe();
    a = claim("m");
    b = claim("m");
    chardev_attach(a, &front);
    turn();
    ck_assert_uint_eq(opens, 1);
    b->only_in_focus = true;
    chardev_attach(b, &front);
    turn();
    ck_assert_uint_eq(opens, 1);
    ck_assert_int_eq(write(fd, "\1c", 2), 2);
    turn();
    ck_assert_uint_eq(opens, 2);
    ck_assert_uint_eq(focuses, 0);
    close(fd);
    tear_down_set();
}
END_TEST

START_TEST(pseudo_terminals_drop_output_until_somebody_comes)
{
    char path[64], buf[16] = {0};
    Chardev *c;
    int master_out[2], slave, saved = dup(STDOUT_FILENO);
    FILE *f;

    set_up_set();
    ck_assert_int_eq(pipe(master_out), 0);
    fflush(stdout);
    dup2(master_out[1], STDOUT_FILENO);
    add("pty,id=serial0");
    dup2(saved, STDOUT_FILENO);
    close(master_out[1]);
    f = fdopen(master_out[0], "r");
    ck_assert_int_eq(fscanf(f, "char device redirected to %63s", path), 1);
    fclose(f);
    c = claim("serial0");
    chardev_attach(c, &front);
    say(c, "lost");
    slave = open(path, O_RDWR | O_NOCTTY);
    ck_assert_int_ge(slave, 0);
    for (int i = 0; i < 400 && n_got == 0; i++) {
        if (i == 300)
            ck_assert_int_eq(write(slave, "in\n", 3), 3);
        loop_step(loop, 2000000);
    }
    ck_assert_uint_eq(n_got, 3);
    ck_assert_uint_eq(opens, 1);
    say(c, "out\n");
    turn();
    ck_assert_int_eq(read(slave, buf, sizeof buf), 4);
    ck_assert_str_eq(buf, "out\n");
    close(slave);
    tear_down_set();
    close(saved);
}
END_TEST

START_TEST(files_are_emptied_or_appended_to_and_logs_get_a_copy)
{
    AUTO_FREE char *path = path_of("f");
    AUTO_FREE char *log = path_of("log");
    AUTO_FREE char *first = xasprintf("file,id=a,path=%s,logfile=%s", path, log);
    AUTO_FREE char *second =
        xasprintf("file,id=b,path=%s,append=on,logfile=%s,logappend=on", path, log);
    AUTO_FREE char *third = xasprintf("file,id=c,path=%s", path);

    set_up_set();
    add(first);
    say(claim("a"), "one ");
    add(second);
    say(claim("b"), "two");
    expect_file(path, "one two");
    expect_file(log, "one two");
    add(third);
    expect_file(path, "");
    tear_down_set();
}
END_TEST

START_TEST(ring_buffers_keep_the_newest)
{
    Chardev *c;
    uint8_t buf[32];

    set_up_set();
    add("ringbuf,id=r,size=8");
    c = claim("r");
    chardev_attach(c, &front);
    say(c, "0123456789");
    ck_assert_uint_eq(ringbuf_read(chardev_back_end(set, "r", NULL), buf, 3), 3);
    ck_assert_mem_eq(buf, "234", 3);
    ck_assert_uint_eq(ringbuf_read(chardev_back_end(set, "r", NULL), buf, 32), 5);
    ck_assert_mem_eq(buf, "56789", 5);
    refused("ringbuf,id=s,size=7", "power of two");
    tear_down_set();
}
END_TEST

/* A client of Unix socket "s" in our folder. */
static int dial(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    snprintf(un.sun_path, sizeof un.sun_path, "%s/s", dir);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
    return fd;
}

static void add_server(const char *more)
{
    AUTO_FREE char *text = xasprintf("socket,id=s,path=%s/s,server=on,wait=off%s", dir, more);

    add(text);
}

START_TEST(a_socket_server_serves_one_client_after_the_other)
{
    char buf[64] = {0};
    Chardev *c;
    int fd;

    set_up_set();
    add_server("");
    c = claim("s");
    chardev_attach(c, &front);
    say(c, "dropped");
    for (unsigned round = 1; round <= 3; round++) {
        fd = dial();
        turn();
        ck_assert_uint_eq(opens, round);
        ck_assert_int_eq(write(fd, "ping", 4), 4);
        turn();
        ck_assert_uint_eq(n_got, 4 * round);
        say(c, "pong");
        turn();
        ck_assert_int_eq(read(fd, buf, sizeof buf), 4);
        ck_assert_mem_eq(buf, "pong", 4);
        close(fd);
        turn();
        ck_assert_uint_eq(closes, round);
    }
    tear_down_set();
}
END_TEST

START_TEST(a_client_nobody_listens_to_may_leave_and_another_come)
{
    Chardev *c;
    int fd;

    set_up_set();
    add_server("");
    fd = dial();
    turn();
    close(fd);
    turn();
    fd = dial();
    turn();
    c = claim("s");
    chardev_attach(c, &front);
    ck_assert_int_eq(write(fd, "x", 1), 1);
    turn();
    ck_assert_uint_eq(n_got, 1);
    ck_assert_uint_eq(opens, 1);
    close(fd);
    tear_down_set();
}
END_TEST

START_TEST(sockets_lose_nothing_when_the_reader_is_slow)
{
    static uint8_t out[300000], in[300000];
    size_t sent = 0, n = 0;
    Chardev *c;
    int fd;

    set_up_set();
    add_server("");
    c = claim("s");
    chardev_attach(c, &front);
    fd = dial();
    turn();
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 37 >> 4);
    while (n < sizeof in) {
        ssize_t r;

        sent += chardev_write(c, out + sent, sizeof out - sent);
        turn();
        r = read(fd, in + n, 10000);
        n += r > 0 ? (size_t)r : 0;
    }
    ck_assert_mem_eq(in, out, sizeof out);
    ck_assert_uint_gt(writables, 0);
    close(fd);
    tear_down_set();
}
END_TEST

START_TEST(telnet_commands_are_taken_out_and_255_is_doubled)
{
    static const uint8_t sent[] = {'a', 255, 253, 1, 'b', 255, 255, 255, 243,
                                   255, 250, 31,  0, 80,  255, 240, 'c'};
    uint8_t buf[64];
    Chardev *c;
    int fd;

    set_up_set();
    add_server(",telnet=on");
    c = claim("s");
    chardev_attach(c, &front);
    fd = dial();
    turn();
    ck_assert_int_eq(read(fd, buf, sizeof buf), 12);
    ck_assert_mem_eq(buf, "\377\373\1\377\373\3\377\373\0\377\375\0", 12);
    ck_assert_int_eq(write(fd, sent, sizeof sent), sizeof sent);
    turn();
    ck_assert_uint_eq(n_got, 4);
    ck_assert_mem_eq(got, "ab\377c", 4);
    ck_assert_uint_eq(breaks, 1);
    say(c, "x\377y");
    turn();
    ck_assert_int_eq(read(fd, buf, sizeof buf), 4);
    ck_assert_mem_eq(buf, "x\377\377y", 4);
    close(fd);
    tear_down_set();
}
END_TEST

START_TEST(a_client_connects_again_when_the_server_is_back)
{
    AUTO_FREE char *text = xasprintf("socket,id=c,path=%s/s,reconnect=1", dir);
    AUTO_FREE char *path = path_of("s");
    SocketAddr a;
    Chardev *c;
    int listener, fd;

    set_up_set();
    add(text); /* nobody listens yet */
    c = claim("c");
    chardev_attach(c, &front);
    turn();
    ck_assert_uint_eq(opens, 0);
    socket_addr_init(&a);
    a.kind = SOCKET_UNIX;
    a.path = path;
    listener = socket_listen(&a, 1, NULL);
    for (int i = 0; i < 3000 && !opens; i++)
        loop_step(loop, 1000000);
    ck_assert_uint_eq(opens, 1);
    fd = socket_accept(listener, NULL);
    close(fd);
    for (int i = 0; i < 3000 && opens < 2; i++)
        loop_step(loop, 1000000);
    ck_assert_uint_eq(closes, 1);
    ck_assert_uint_eq(opens, 2);
    close(listener);
    tear_down_set();
}
END_TEST

START_TEST(websocket_frames_are_unpacked)
{
    static const uint8_t frames[] = {0x82, 0x83, 1, 2, 3, 4, 'a' ^ 1, 'b' ^ 2, 'c' ^ 3, /* abc */
                                     0x89, 0x80, 0, 0, 0, 0,                            /* ping */
                                     0x82, 0x81, 0, 0, 0, 0, 'd'};
    static const char hello[] = "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    WebSocket w = {0};
    StrBuf reply = {0};
    uint8_t out[64];

    ck_assert_int_eq(websocket_take(&w, (const uint8_t *)hello, strlen(hello), out, &reply), 0);
    ck_assert_ptr_nonnull(
        strstr(strbuf_str(&reply), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* RFC 6455, 1.3 */
    strbuf_free(&reply);
    for (size_t i = 0; i < sizeof frames; i++) { /* cut anywhere */
        ssize_t n = websocket_take(&w, &frames[i], 1, out, &reply);

        ck_assert_int_ge(n, 0);
        memcpy(got + n_got, out, (size_t)n);
        n_got += (size_t)n;
    }
    ck_assert_uint_eq(n_got, 4);
    ck_assert_mem_eq(got, "abcd", 4);
    ck_assert_uint_eq(reply.len, 2);
    ck_assert_mem_eq(reply.s, "\x8a\0", 2);
    ck_assert_int_eq(websocket_take(&w, (const uint8_t *)"\x82\x01x", 3, out, &reply),
                     -1); /* unmasked */
    strbuf_free(&reply);
    websocket_free(&w);
}
END_TEST

START_TEST(a_hub_gives_to_all_and_takes_from_any)
{
    AUTO_FREE char *path = path_of("f");
    AUTO_FREE char *file = xasprintf("file,id=f,path=%s", path);
    Chardev *c;
    uint8_t buf[8];
    int fd;

    set_up_set();
    add("ringbuf,id=r");
    add(file);
    add_server("");
    add("hub,id=h,chardevs.0=r,chardevs.1=f,chardevs.2=s");
    fd = dial();
    c = claim("h");
    chardev_attach(c, &front);
    say(c, "both");
    expect_file(path, "both");
    ck_assert_uint_eq(ringbuf_read(chardev_back_end(set, "r", NULL), buf, 8), 4);
    ck_assert_int_eq(write(fd, "in", 2), 2);
    turn();
    ck_assert_uint_eq(n_got, 2);
    close(fd);
    refused("hub,id=i,chardevs.0=r", "'r' is in use");
    refused("hub,id=i,chardevs.0=h", "is a hub itself");
    refused("hub,id=i", "chardevs.0=ID");
    tear_down_set();
}
END_TEST

START_TEST(back_ends_are_changed_under_their_front_end_and_removed)
{
    AUTO_FREE char *path = path_of("f");
    json_t *j;
    Chardev *c;
    Error err = {0};

    set_up_set();
    add("ringbuf,id=a");
    c = claim("a");
    chardev_attach(c, &front);
    ck_assert(!chardev_remove(set, "a", &err));
    ck_assert_str_eq(err.msg, "Chardev 'a' is busy");
    j = json_pack("{s:s, s:s, s:{s:s}}", "id", "a", "type", "file", "data", "out", path);
    ck_assert_msg(chardev_change(set, j, &err), "%s", err.msg);
    json_decref(j);
    say(c, "new");
    expect_file(path, "new");
    turn();
    chardev_release(c);
    ck_assert(chardev_remove(set, "a", &err));
    ck_assert(!chardev_remove(set, "a", &err));
    ck_assert_str_eq(err.msg, "Chardev 'a' not found");
    turn();
    tear_down_set();
}
END_TEST

START_TEST(qmp_and_old_forms_mean_the_same)
{
    static const struct {
        const char *text, *json;
    } forms[] = {
        {"stdio", "{\"backend\": \"stdio\"}"},
        {"file:/a/b", "{\"backend\": \"file\", \"path\": \"/a/b\"}"},
        {"unix:/s,server,nowait",
         "{\"backend\": \"socket\", \"path\": \"/s\", \"server\": \"on\", \"wait\": \"off\"}"},
        {"tcp:localhost:1,server=on",
         "{\"backend\": \"socket\", \"host\": \"localhost\", \"port\": \"1\", \"server\": \"on\"}"},
        {"telnet:[::1]:2",
         "{\"backend\": \"socket\", \"host\": \"::1\", \"port\": \"2\", \"telnet\": \"on\"}"},
        {"udp:h:3@:4", "{\"backend\": \"udp\", \"host\": \"h\", \"port\": \"3\", \"localaddr\": "
                       "\"\", \"localport\": \"4\"}"},
        {"mon:stdio", "{\"backend\": \"stdio\", \"mux\": true, \"signal\": false}"},
        {"mon:telnet:h:1,server=on",
         "{\"backend\": \"socket\", \"host\": \"h\", \"port\": \"1\", \"telnet\": \"on\", "
         "\"server\": \"on\", \"mux\": true}"},
        {"/dev/ttyS0", "{\"backend\": \"serial\", \"path\": \"/dev/ttyS0\"}"},
    };

    for (unsigned i = 0; i < COUNT_OF(forms); i++) {
        Error err = {0};
        json_t *got_j = chardev_parse_compat(forms[i].text, NULL, &err);
        json_t *want = json_loads(forms[i].json, 0, NULL);

        ck_assert_msg(got_j && json_equal(got_j, want), "%s %s", forms[i].text, err.msg);
        json_decref(got_j);
        json_decref(want);
    }
}
END_TEST

START_TEST(what_is_wrong_is_refused_by_name)
{
    set_up_set();
    refused("bogus,id=a", "'bogus' is not a valid char driver name");
    refused("vc,id=a", "'vc' is not built");
    refused("stdio,id=a,foo=1", "Invalid parameter 'foo'");
    refused("null", "no id specified");
    refused("id=x", "missing backend");
    refused("file,id=a", "no filename given");
    refused("file,id=a,path=/nowhere/x", "could not open '/nowhere/x'");
    refused("socket,id=a", "one of 'path', 'host' with 'port', or 'fd'");
    refused("socket,id=a,host=h", "no port given");
    refused("socket,id=a,path=/nowhere/s",
            "Failed to connect to '/nowhere/s': No such file or directory");
    refused("socket,id=a,path=/nowhere/s,server=on,wait=off",
            "Failed to bind socket to /nowhere/s");
    refused("socket,id=a,path=x,wait=on", "'wait' option is incompatible");
    refused("socket,id=a,path=x,server=on,reconnect=1", "'reconnect' option is incompatible");
    refused("socket,id=a,path=x,websocket=on", "'websocket' client is not implemented");
    refused("socket,id=a,path=x,tls-creds=t", "No tls-creds with id 't'");
    refused("udp,id=a", "remote port not specified");
    refused("serial,id=a,path=/dev/null", "could not open terminal '/dev/null'");
    add("null,id=a");
    refused("null,id=a", "Chardev with id 'a' already exists");
    refused("null,id=1a", "expects an identifier");
    ck_assert_ptr_null(chardev_claim(set, "nope", NULL));
    tear_down_set();
}
END_TEST

#define TEST(t) tcase_add_test(c, t)
int main(void)
{
    Suite *s = suite_create("chardev");
    TCase *c = tcase_create("chardev");
    SRunner *r = srunner_create(s);
    int failed;

    if (!mkdtemp(dir))
        return 1;
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, NULL, clean_dir);
    TEST(nothing_is_lost_when_the_reader_is_slow);
    TEST(a_vanished_reader_takes_everything);
    TEST(input_waits_until_the_front_end_has_room);
    TEST(plain_files_are_read_to_their_end);
    TEST(ctrl_a_commands_work_even_if_the_guest_takes_nothing);
    TEST(a_full_queue_holds_the_sender_and_loses_nothing);
    TEST(a_multiplexer_has_four_channels_and_ctrl_a_c_goes_round);
    TEST(a_session_behind_a_multiplexer_opens_with_the_first_focus);
    TEST(pseudo_terminals_drop_output_until_somebody_comes);
    TEST(files_are_emptied_or_appended_to_and_logs_get_a_copy);
    TEST(ring_buffers_keep_the_newest);
    TEST(a_socket_server_serves_one_client_after_the_other);
    TEST(a_client_nobody_listens_to_may_leave_and_another_come);
    TEST(sockets_lose_nothing_when_the_reader_is_slow);
    TEST(telnet_commands_are_taken_out_and_255_is_doubled);
    TEST(a_client_connects_again_when_the_server_is_back);
    TEST(websocket_frames_are_unpacked);
    TEST(a_hub_gives_to_all_and_takes_from_any);
    TEST(back_ends_are_changed_under_their_front_end_and_removed);
    TEST(qmp_and_old_forms_mean_the_same);
    TEST(what_is_wrong_is_refused_by_name);
    suite_add_tcase(s, c);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    rmdir(dir);
    return failed != 0;
}
