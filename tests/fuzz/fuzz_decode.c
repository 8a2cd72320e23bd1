/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuzz_decode - the x86 decoder and disassembler on any bytes: stay in bounds, tell the same for
 * more bytes */
#include "cpu/x86/disasm.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/x86.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t modes[] = {MODE_64 | MODE_PE, MODE_32 | MODE_PE, MODE_16 | MODE_PE,
                                     MODE_16, MODE_16 | MODE_PE | MODE_VM86};
    uint8_t more[64] = {0};

    size = size < 32 ? size : 32;
    memcpy(more, data, size);
    for (unsigned m = 0; m < COUNT_OF(modes); m++) {
        X86Insn a, b;
        StrBuf text = {0};
        int short_of = x86_decode(&a, data, size, modes[m], NULL),
            whole = x86_decode(&b, more, sizeof(more), modes[m], NULL);

        if (short_of == X86_DECODE_OK) {
            assert(a.len >= 1 && a.len <= 15 && a.len <= size && a.row);
            assert(whole == X86_DECODE_OK && b.len == a.len && b.row == a.row);
        } else if (short_of == X86_DECODE_UD) {
            assert(whole == X86_DECODE_UD);
        }
        assert(x86_disasm(data, size, 0x1000, modes[m], &text) <= size);
        strbuf_free(&text);
    }
    return 0;
}
