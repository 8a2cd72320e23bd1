/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compare - two states after the same program: a line for each difference
 */
#include "tests/cpu/cpu_test.h"

static void differ(StrBuf *out, const char *what, uint64_t want, uint64_t got)
{
    if (want != got) {
        strbuf_addf(out, "    %-6s host %016" PRIx64 "  rhea %016" PRIx64 "\n", what, want, got);
    }
}

static void differ_bytes(StrBuf *out, const char *what, unsigned n, const uint8_t *want,
                         const uint8_t *got, unsigned size)
{
    if (!memcmp(want, got, size)) {
        return;
    }
    strbuf_addf(out, "    %s%u host ", what, n);
    for (unsigned i = size; i-- > 0;) {
        strbuf_addf(out, "%02x", want[i]);
    }
    strbuf_addf(out, "  rhea ");
    for (unsigned i = size; i-- > 0;) {
        strbuf_addf(out, "%02x", got[i]);
    }
    strbuf_add(out, "\n");
}

static void compare_vectors(StrBuf *out, const CpuState *want, const CpuState *got)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned xmm = X_XMM + 16 * i, ymmh = X_YMMH + 16 * i;

        differ_bytes(out, "xmm", i, want->x + xmm, got->x + xmm, 16);
        differ_bytes(out, "ymmh", i, want->x + ymmh, got->x + ymmh, 16);
    }
}

static void compare_x87(StrBuf *out, const CpuState *want, const CpuState *got)
{
    static const uint16_t c1 = 0x0200; /* rounded up, or anything */
    uint16_t fcw[2], fsw[2];

    memcpy(&fcw[0], want->x, 2);
    memcpy(&fcw[1], got->x, 2);
    memcpy(&fsw[0], want->x + 2, 2);
    memcpy(&fsw[1], got->x + 2, 2);
    differ(out, "fcw", fcw[0], fcw[1]);
    differ(out, "fsw", fsw[0] & ~c1, fsw[1] & ~c1);
    differ(out, "ftw", want->x[4], got->x[4]);
    for (unsigned i = 0; i < 8; i++) {
        differ_bytes(out, "st", i, want->x + X_ST + 16 * i, got->x + X_ST + 16 * i, 10);
    }
}

/* The first few lines of 16 bytes. */
static void compare_memory(StrBuf *out, const char *what, const uint8_t *want, const uint8_t *got,
                           unsigned n)
{
    unsigned shown = 0;

    for (unsigned i = 0; i < n && shown < 4; i += 16) {
        unsigned size = MIN(16u, n - i);

        if (memcmp(want + i, got + i, size)) {
            differ_bytes(out, what, i, want + i, got + i, size);
            shown++;
        }
    }
}

void state_compare(StrBuf *out, const CpuState *want, const CpuState *got, const Compare *c)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    bool ours = want->addr >= SANDBOX && want->addr < SANDBOX + SANDBOX_PAGES * 4096;
    uint64_t bits = ours ? 7 : 6; /* who knows what is there on the host */
    uint32_t mxcsr[2];

    if (want->vector != got->vector) {
        strbuf_addf(out, "    exception: host %d, rhea %d\n", want->vector, got->vector);
        return;
    }
    if (want->vector == EX_PF && c->what & CMP_PAGE_FAULT) {
        differ(out, "cr2", want->addr, got->addr);
        differ(out, "error", want->error & bits, got->error & bits);
    }
    for (unsigned i = 0; i < 16; i++) {
        uint64_t mask = c->low_halves >> i & 1 ? 0xffffffff : ~0ull;

        differ(out, names[i], want->r[i] & mask, got->r[i] & mask);
    }
    differ(out, "rip", want->rip, got->rip);
    differ(out, "flags", want->flags & c->flags, got->flags & c->flags);
    memcpy(&mxcsr[0], want->x + X_MXCSR, 4);
    memcpy(&mxcsr[1], got->x + X_MXCSR, 4);
    if (c->what & CMP_MXCSR) {
        differ(out, "mxcsr", mxcsr[0], mxcsr[1]);
    }
    if (c->what & CMP_VECTORS) {
        compare_vectors(out, want, got);
    }
    compare_x87(out, want, got);
    if (c->what & CMP_DATA && memcmp(want->data, got->data, DATA_SIZE)) {
        compare_memory(out, "memory +", want->data, got->data, DATA_SIZE);
    }
    compare_memory(out, "code +", want->code, got->code, c->code);
}
