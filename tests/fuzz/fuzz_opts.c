/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz_opts - option texts of any content: keyval and JSON, addresses, the old forms of character
 * devices, WebSocket bytes, configuration files, and whole command lines
 *
 * The first byte picks what the rest is.  Flattening what was nested must give back what it was.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/opts_json.h"
#include "base/socket_addr.h"
#include "chardev/chardev.h"
#include "chardev/websocket.h"
#include "main/options.h"

static void fuzz_keyval(const char *text, unsigned flags)
{
    Error err;
    bool help;
    json_t *j = opts_json_parse(text, flags & 2 ? "driver" : NULL, flags & 1, &help, &err), *flat,
           *back;

    if (j && json_is_object(j)) {
        flat = json_flatten(j);
        back = json_crumple(flat, &err);
        json_decref(flat);
        json_decref(back);
    }
    json_decref(j);
}

static void fuzz_address(const char *text)
{
    SocketAddr a;
    Error err;

    if (socket_addr_parse(&a, text, &err)) {
        json_t *j = socket_addr_to_json(&a);
        SocketAddr b;

        if (socket_addr_from_json(&b, j, &err))
            socket_addr_free(&b);
        json_decref(j);
    }
    socket_addr_free(&a);
}

static void fuzz_websocket(const uint8_t *p, size_t n)
{
    static const char hello[] =
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    WebSocket w = {0};
    StrBuf reply = {0};
    uint8_t *out = xalloc(n + 1);

    if (n && p[0] & 1)
        websocket_take(&w, (const uint8_t *)hello, strlen(hello), out, &reply);
    for (size_t at = 0; at < n; at += 7)
        if (websocket_take(&w, p + at, MIN(n - at, (size_t)7), out, &reply) < 0)
            break;
    xfree(out);
    strbuf_free(&reply);
    websocket_free(&w);
}

/* What was understood is also told in its modern form. */
static void config_end(Config *c, bool ok)
{
    if (ok && !c->done)
        options_explain(c);
    config_free(c);
}

/* Options that read other files, or whose effect outlives the configuration. */
static bool is_harmful(const char *word)
{
    return strstr(word, "readconfig") || strstr(word, "trace");
}

/* Words that end with a newline each. */
static void fuzz_command_line(char *text)
{
    char name[] = "rhea", *argv[32] = {name};
    int argc = 1;
    Config c;
    Error err;

    for (char *save = NULL, *w = strtok_r(text, "\n", &save); w && argc < 31;
         w = strtok_r(NULL, "\n", &save)) {
        if (is_harmful(w))
            return;
        argv[argc++] = w;
    }
    config_init(&c, name);
    config_end(&c, options_parse(&c, argc, argv, &err));
}

static void fuzz_config_file(const char *text)
{
    int fd = memfd_create("config", MFD_CLOEXEC);
    char path[40];
    Config c;
    Error err;

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    config_init(&c, "rhea");
    config_end(&c, !is_harmful(text) && config_read(&c, path, &err));
    close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return !freopen("/dev/null", "w", stdout); /* help is long */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size < 1 || size > 4096)
        return 0;
    text = xalloc(size);
    memcpy(text, data + 1, size - 1);
    switch (data[0] % 16) {
    case 0:
    case 1:
    case 2:
    case 3: fuzz_keyval(text, data[0]); break;
    case 4: fuzz_address(text); break;
    case 5: json_decref(chardev_parse_compat(text, NULL, NULL)); break;
    case 6: fuzz_websocket(data + 1, size - 1); break;
    case 7: fuzz_config_file(text); break;
    default: fuzz_command_line(text); break;
    }
    xfree(text);
    return 0;
}
