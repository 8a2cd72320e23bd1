/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disasm - x86 code as text: by capstone, AT&T syntax as QEMU's logs have; without it, or where it
 * knows less than the decoder, mnemonic and bytes
 */
#include "cpu/x86/disasm.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/x86.h"
#ifdef CONFIG_CAPSTONE
#include <capstone/capstone.h>

static size_t capstone_line(const uint8_t *code, size_t n, uint64_t pc, uint32_t mode, StrBuf *out)
{
    cs_mode size = (mode & MODE_SIZE) == MODE_64   ? CS_MODE_64
                   : (mode & MODE_SIZE) == MODE_32 ? CS_MODE_32
                                                   : CS_MODE_16;
    size_t len = 0;
    csh cs;

    if (cs_open(CS_ARCH_X86, size, &cs) != CS_ERR_OK) {
        return 0;
    }
    cs_option(cs, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
    cs_insn *insn = cs_malloc(cs);

    if (insn && cs_disasm_iter(cs, &code, &n, &pc, insn)) {
        len = insn->size;
        strbuf_addf(out, "0x%08" PRIx64 ":  %-8s %s\n", insn->address, insn->mnemonic,
                    insn->op_str);
    }
    cs_free(insn, 1);
    cs_close(&cs);
    return len;
}
#else
static size_t capstone_line(const uint8_t *code, size_t n, uint64_t pc, uint32_t mode, StrBuf *out)
{
    (void)code, (void)n, (void)pc, (void)mode, (void)out;
    return 0;
}
#endif

size_t x86_disasm(const uint8_t *code, size_t n, uint64_t pc, uint32_t mode, StrBuf *out)
{
    size_t len = capstone_line(code, n, pc, mode, out);
    X86Insn insn;

    if (len) {
        return len;
    }
    int r = x86_decode(&insn, code, n, mode, NULL);

    if (r == X86_DECODE_SHORT) {
        return 0;
    }
    len = insn.len;
    strbuf_addf(out, "0x%08" PRIx64 ":  %-8s", pc, r == X86_DECODE_OK ? insn.row->name : "(bad)");
    for (size_t i = 0; i < len; i++) {
        strbuf_addf(out, " %02x", code[i]);
    }
    strbuf_add(out, "\n");
    return len;
}
