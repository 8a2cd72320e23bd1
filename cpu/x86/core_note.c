/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core_note - a processor's registers as notes of an ELF core: NT_PRSTATUS as Linux writes it for
 * x86-64
 * (elf_prstatus of linux/elfcore.h, user_regs_struct), and the state that crash(8) looks for
 * under the name "QEMU"
 */
#include "base/bytes.h"
#include "cpu/x86/sys_priv.h"

enum { NT_PRSTATUS = 1, PRSTATUS_SIZE = 336, PID_AT = 32, REGS_AT = 112 };
enum { STATE_VERSION = 1, STATE_SIZE = 440 };

static void put(ByteBuf *out, uint64_t v, unsigned size)
{
    uint8_t bytes[8];

    put_le(bytes, size, v);
    bytebuf_add(out, bytes, size);
}

/* Name with its zero and contents are each filled up to 4 bytes. */
static void note_head(ByteBuf *out, const char *name, uint32_t type, uint32_t size)
{
    uint32_t n = (uint32_t)strlen(name) + 1;

    put(out, n, 4);
    put(out, size, 4);
    put(out, type, 4);
    bytebuf_add(out, name, n);
    while (n++ % 4)
        put(out, 0, 1);
}

static void prstatus(const X86Cpu *x, uint64_t rflags, ByteBuf *out)
{
    const uint64_t *r = x->cpu.r;
    const uint64_t regs[] = {
        r[15],
        r[14],
        r[13],
        r[12],
        r[R_BP],
        r[R_BX],
        r[11],
        r[10],
        r[9],
        r[8],
        r[R_AX],
        r[R_CX],
        r[R_DX],
        r[R_SI],
        r[R_DI],
        r[R_AX], /* of the system call */
        X86_PC(&x->cpu),
        x->seg[SEG_CS].sel,
        rflags,
        r[R_SP],
        x->seg[SEG_SS].sel,
        x86_seg_base(x, SEG_FS),
        x86_seg_base(x, SEG_GS),
        x->seg[SEG_DS].sel,
        x->seg[SEG_ES].sel,
        x->seg[SEG_FS].sel,
        x->seg[SEG_GS].sel,
    };
    static_assert(REGS_AT + sizeof regs + 8 == PRSTATUS_SIZE, "as in linux/elfcore.h");
    uint8_t head[REGS_AT] = {0};

    put_le32(head + PID_AT, x->cpu.index + 1);
    note_head(out, "CORE", NT_PRSTATUS, PRSTATUS_SIZE);
    bytebuf_add(out, head, sizeof head);
    for (unsigned i = 0; i < COUNT_OF(regs); i++)
        put(out, regs[i], 8);
    put(out, 0, 8);
}

static void put_segment(ByteBuf *out, uint32_t sel, uint32_t limit, uint32_t flags, uint64_t base)
{
    put(out, sel, 4);
    put(out, limit, 4);
    put(out, flags, 4);
    put(out, 0, 4);
    put(out, base, 8);
}

static void qemu_state(const X86Cpu *x, uint64_t rflags, ByteBuf *out)
{
    static const uint8_t order[] = {R_AX, R_BX, R_CX, R_DX, R_SI, R_DI, R_SP, R_BP};
    static const uint8_t segs[] = {SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS, SEG_LDT, SEG_TR};

    note_head(out, "QEMU", 0, STATE_SIZE);
    put(out, STATE_VERSION, 4);
    put(out, STATE_SIZE, 4);
    for (unsigned i = 0; i < COUNT_OF(order); i++)
        put(out, x->cpu.r[order[i]], 8);
    for (unsigned i = 8; i < 16; i++)
        put(out, x->cpu.r[i], 8);
    put(out, X86_PC(&x->cpu), 8);
    put(out, rflags, 8);
    for (unsigned i = 0; i < COUNT_OF(segs); i++)
        put_segment(out, x->seg[segs[i]].sel, x->seg[segs[i]].limit,
                    (uint32_t)x->seg[segs[i]].attr << 8, x86_seg_base(x, segs[i]));
    put_segment(out, 0, x->gdt.limit, 0, x->gdt.base);
    put_segment(out, 0, x->idt.limit, 0, x->idt.base);
    put(out, x->cr0, 8);
    put(out, 0, 8);
    put(out, x->cr2, 8);
    put(out, x->cr3, 8);
    put(out, x->cr4, 8);
    put(out, x->kernel_gs_base, 8);
}

void x86_core_note(Cpu *c, ByteBuf *out)
{
    const X86Cpu *x = (const X86Cpu *)c;
    uint64_t rflags = x86_flags(x);

    prstatus(x, rflags, out);
    qemu_state(x, rflags, out);
}
