# SPDX-License-Identifier: GPL-2.0-or-later
"""An ELF file with nothing but symbols, made of the guest's own /proc/kallsyms: what a debugger needs of a kernel whose
package has no symbols.  Boot the guest with nokaslr, `cat /proc/kallsyms` as root, then

    python3 symbol_elf.py kallsyms.txt kernel.sym        gdb: symbol-file kernel.sym
"""
import struct
import sys

TEXT = "tTwW"
STB_GLOBAL, STT_OBJECT, STT_FUNC, SHN_ABS, SHT_SYMTAB, SHT_STRTAB, SHT_NOBITS = 1, 1, 2, 0xfff1, 2, 3, 8
EHDR, SHDR, SYM = "<16sHHIQQQIHHHHHH", "<IIQQQQIIQQ", "<IBBHQQ"


def parse(kallsyms):
    """[(address, type letter, name)], sorted; modules and per-processor offsets are left out."""
    found = []
    for line in kallsyms.splitlines():
        words = line.split()
        if len(words) == 3 and len(words[1]) == 1 and int(words[0], 16) >> 63:
            found.append((int(words[0], 16), words[1], words[2]))
    return sorted(found)


def make(symbols, machine=62):
    """The bytes of the file; functions end where the next symbol begins."""
    names, table = bytearray(b"\0"), bytearray(struct.calcsize(SYM))
    low, high = symbols[0][0], symbols[-1][0] + 4096
    for (at, letter, name), after in zip(symbols, symbols[1:] + [(high, "", "")]):
        kind = STT_FUNC if letter in TEXT else STT_OBJECT
        size = max(8, after[0] - at) if kind == STT_FUNC else 8
        table += struct.pack(SYM, len(names), STB_GLOBAL << 4 | kind, 0, 1 if kind == STT_FUNC else SHN_ABS, at, size)
        names += name.encode() + b"\0"
    sections = b"\0.text\0.symtab\0.strtab\0"
    at_table = struct.calcsize(EHDR)
    at_names = at_table + len(table)
    at_sections = at_names + len(names)
    at_headers = (at_sections + len(sections) + 7) & ~7
    headers = [bytes(struct.calcsize(SHDR)),
               struct.pack(SHDR, 1, SHT_NOBITS, 6, low, 0, high - low, 0, 0, 16, 0),
               struct.pack(SHDR, 7, SHT_SYMTAB, 0, 0, at_table, len(table), 3, 1, 8, struct.calcsize(SYM)),
               struct.pack(SHDR, 15, SHT_STRTAB, 0, 0, at_names, len(names), 0, 0, 1, 0),
               struct.pack(SHDR, 15, SHT_STRTAB, 0, 0, at_sections, len(sections), 0, 0, 1, 0)]
    ident = b"\x7fELF\2\1\1" + bytes(9)
    head = struct.pack(EHDR, ident, 2, machine, 1, 0, 0, at_headers, 0, struct.calcsize(EHDR), 0, 0,
                       struct.calcsize(SHDR), len(headers), 4)
    body = head + table + names + sections
    return body + bytes(at_headers - len(body)) + b"".join(headers)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="ascii") as source, open(sys.argv[2], "wb") as target:
        target.write(make(parse(source.read())))
