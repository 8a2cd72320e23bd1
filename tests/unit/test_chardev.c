/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit tests of chardev/ */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "chardev/fd.h"
#include "tests/unit/unit.h"

static Loop *loop;
static ChardevHost host;
static unsigned quits, writables, breaks;
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
}

static const CharFront front = {.can_accept = can_accept, .accept = accept_bytes, .event = event};

static void set_up(void)
{
    loop = loop_new(NULL);
    host = (ChardevHost){.loop = loop, .quit = quit};
    quits = writables = breaks = 0;
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

START_TEST(ctrl_a_commands_work_even_if_the_guest_takes_nothing)
{
    int p[2];
    Chardev *c;

    set_up();
    ck_assert_int_eq(pipe(p), 0);
    c = mux_open(fd_open("test", p[0], -1, &host, "t", NULL, NULL), &host, "m");
    room = 0;
    chardev_attach(c, &front);
    ck_assert_int_eq(write(p[1], "ab\1\1c\1bd\1q\1x", 12), 12);
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
    close(p[1]);
    tear_down(c);
}
END_TEST

START_TEST(a_full_queue_holds_the_sender_and_loses_nothing)
{
    static uint8_t data[90000];
    size_t sent = 0;
    int p[2];
    Chardev *c;

    set_up();
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(2 + i % 250);
    ck_assert_int_eq(pipe2(p, O_NONBLOCK), 0);
    c = mux_open(fd_open("test", p[0], -1, &host, "t", NULL, NULL), &host, "m");
    room = 0;
    chardev_attach(c, &front);
    while (n_got < sizeof data) {
        ssize_t w = write(p[1], data + sent, sizeof data - sent);

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
    close(p[1]);
    tear_down(c);
}
END_TEST

START_TEST(pseudo_terminals_drop_output_until_somebody_comes)
{
    char path[64], buf[16] = {0};
    Chardev *c;
    int master_out[2], slave, saved = dup(STDOUT_FILENO);
    FILE *f;

    set_up();
    ck_assert_int_eq(pipe(master_out), 0);
    fflush(stdout);
    dup2(master_out[1], STDOUT_FILENO);
    c = chardev_open("pty", "serial0", &host, NULL);
    dup2(saved, STDOUT_FILENO);
    close(master_out[1]);
    f = fdopen(master_out[0], "r");
    ck_assert_int_eq(fscanf(f, "char device redirected to %63s", path), 1);
    fclose(f);
    chardev_attach(c, &front);
    ck_assert_uint_eq(chardev_write(c, (const uint8_t *)"lost", 4), 4);
    slave = open(path, O_RDWR | O_NOCTTY);
    ck_assert_int_ge(slave, 0);
    for (int i = 0; i < 400 && n_got == 0; i++) {
        if (i == 300)
            ck_assert_int_eq(write(slave, "in\n", 3), 3);
        loop_step(loop, 2000000);
    }
    ck_assert_uint_eq(n_got, 3);
    ck_assert_uint_eq(chardev_write(c, (const uint8_t *)"out\n", 4), 4);
    turn();
    ck_assert_int_eq(read(slave, buf, sizeof buf), 4);
    ck_assert_str_eq(buf, "out\n");
    close(slave);
    tear_down(c);
    close(saved);
}
END_TEST

START_TEST(what_is_not_built_is_refused_by_name)
{
    Error err;

    set_up();
    ck_assert_ptr_null(chardev_open("unix:/tmp/x,server", "s", &host, &err));
    ck_assert_str_eq(err.msg,
                     "'unix:/tmp/x,server': this kind of character device is not built yet");
    ck_assert_ptr_null(chardev_open("bogus", "s", &host, &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "'bogus' is not a character device"));
    ck_assert_ptr_null(chardev_open("file:/nowhere/x", "s", &host, &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "could not open '/nowhere/x'"));
    loop_free(loop);
}
END_TEST

UNIT_MAIN("chardev", nothing_is_lost_when_the_reader_is_slow, a_vanished_reader_takes_everything,
          input_waits_until_the_front_end_has_room, plain_files_are_read_to_their_end,
          ctrl_a_commands_work_even_if_the_guest_takes_nothing,
          a_full_queue_holds_the_sender_and_loses_nothing,
          pseudo_terminals_drop_output_until_somebody_comes, what_is_not_built_is_refused_by_name)
