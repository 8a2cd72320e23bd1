/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dump - host code in the log (-d out_asm), through capstone where it is there */
#include "accel/jit/x64/x64_priv.h"
#include "base/log.h"
#ifdef CONFIG_CAPSTONE
#include <capstone/capstone.h>
#endif

static void dump_bytes(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        log_write("%02x%s", p[i], i % 16 == 15 || i + 1 == n ? "\n" : " ");
}

void x64_dump(const Block *b)
{
    const uint8_t *p = b->entry_checked;
    size_t n = b->host_size;

    log_write("OUT: [size=%zu] guest %" PRIx64 "\n", n, b->pc);
#ifdef CONFIG_CAPSTONE
    csh cs;
    cs_insn *insn;

    if (cs_open(CS_ARCH_X86, CS_MODE_64, &cs) == CS_ERR_OK) {
        uint64_t at = (uintptr_t)p;

        cs_option(cs, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
        insn = cs_malloc(cs);
        while (n && cs_disasm_iter(cs, &p, &n, &at, insn))
            log_write("0x%" PRIx64 ":  %-8s %s\n", insn->address, insn->mnemonic, insn->op_str);
        cs_free(insn, 1);
        cs_close(&cs);
    }
#endif
    dump_bytes(p, n);
    log_write("\n");
}
