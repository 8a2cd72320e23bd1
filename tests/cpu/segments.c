/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * segments - what the segment registers hold while a program runs
 *
 * 64- and 32-bit code has flat ones.  16-bit code has segments of its own, in the host's LDT: they
 * begin in the sandbox, ES elsewhere than DS, and end in it; SS is expand-down.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/cpu/cpu_test.h"

enum { SELECTOR_LDT_USER = 7 };
enum { IN_CODE, IN_DATA, IN_EXTRA, IN_STACK, IN_STACK32, IN_COUNT };

#define OURS(n, at, end, ...)                                                                      \
    [n] = {.base = (at), .limit = (end), .sel = (n) << 3 | SELECTOR_LDT_USER, __VA_ARGS__}
static const TestSegment ours[IN_COUNT] = {
    OURS(IN_CODE, SANDBOX, 0x9fff, .code = true),
    OURS(IN_DATA, SANDBOX, 0xffff, .big = false),
    OURS(IN_EXTRA, DATA, 0x2aff, .big = false),
    OURS(IN_STACK, SANDBOX, 0x0fff, .down = true),
    OURS(IN_STACK32, SANDBOX, 0x0fff, .down = true, .big = true),
};

const TestSegment *program_segment(CodeKind kind, unsigned seg)
{
    static const TestSegment
        flat = {.limit = UINT32_MAX, .sel = SELECTOR_DATA, .big = true},
        code32 = {.limit = UINT32_MAX, .sel = SELECTOR_32, .code = true, .big = true},
        code64 = {.limit = UINT32_MAX, .sel = SELECTOR_64, .code = true, .is64 = true};

    if (seg == SEG_CS)
        return kind == KIND_64 ? &code64 : kind == KIND_32 ? &code32 : &ours[IN_CODE];
    if (kind < KIND_16 || kind == KIND_16_FLAT || seg >= SEG_FS)
        return &flat;
    if (seg == SEG_SS)
        return &ours[kind == KIND_16_SS32 ? IN_STACK32 : IN_STACK];
    return &ours[seg == SEG_ES ? IN_EXTRA : IN_DATA];
}

bool segments_open(void)
{
    for (unsigned i = 0; i < IN_COUNT; i++) {
        const TestSegment *s = &ours[i];
        struct user_desc d = {.entry_number = i,
                              .base_addr = s->base,
                              .limit = s->limit,
                              .seg_32bit = s->big,
                              .contents = s->code ? 2 : s->down,
                              .useable = 1};

        if (syscall(SYS_modify_ldt, 1, &d, sizeof(d)) != 0)
            return false;
    }
    return true;
}
