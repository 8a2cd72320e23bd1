/* SPDX-License-Identifier: GPL-2.0-or-later */
/* list - rhea-nbd -L: what a server offers, in the layout of qemu-nbd */
#include <stdio.h>

#include "base/log.h"
#include "block/nbd_negotiate.h"
#include "tools/nbd/nbd.h"

static const char *const flag_names[] = {
    [1] = "readonly", [2] = "flush",  [3] = "fua",        [4] = "rotational",
    [5] = "trim",     [6] = "zeroes", [7] = "df",         [8] = "multi",
    [9] = "resize",   [10] = "cache", [11] = "fast-zero",
};

static void show(const NbdListed *l)
{
    printf(" export: '%s'\n", l->name);
    if (l->description && *l->description)
        printf("  description: %s\n", l->description);
    if (l->has_info) {
        printf("  size:  %" PRIu64 "\n", l->info.size);
        printf("  flags: 0x%x (", l->info.flags);
        for (unsigned i = 0; i < COUNT_OF(flag_names); i++)
            if (l->info.flags & BIT(i) && flag_names[i])
                printf(" %s", flag_names[i]);
        printf(" )\n");
    }
    if (l->info.min_block)
        printf("  min block: %u\n  opt block: %u\n  max block: %u\n", l->info.min_block,
               l->info.preferred_block, l->info.max_block);
    if (l->n_contexts)
        printf("  available meta contexts: %u\n", l->n_contexts);
    for (unsigned i = 0; i < l->n_contexts; i++)
        printf("   %s\n", l->contexts[i]);
}

int nbd_list(const NbdArgs *a, TlsCreds *creds)
{
    NbdWant want = {.export = "", .creds = creds, .hostname = a->tls_hostname};
    NbdStream s = {.fd = -1, .cancel_fd = -1};
    Error err = {0};
    NbdListed *list = NULL;
    unsigned n = 0;
    bool ok;

    if (creds && !want.hostname && a->addr.kind == SOCKET_INET)
        want.hostname = a->addr.host;
    s.fd = socket_connect_wait(&a->addr, &err);
    ok = s.fd >= 0 && nbd_negotiate_list(&s, &want, &list, &n, &err);
    nbd_stream_close(&s);
    if (!ok) {
        log_error("%s", err.msg);
        return 1;
    }
    printf("exports available: %u\n", n);
    for (unsigned i = 0; i < n; i++)
        show(&list[i]);
    nbd_listed_free(list, n);
    return 0;
}
