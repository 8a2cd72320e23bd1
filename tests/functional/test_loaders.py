# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels of a few instructions: each kind is entered in its state, and ends through isa-debug-exit."""
import struct
import tempfile
import unittest

import emu
from test_cli import tiny_bzimage

GOOD, BAD = 0x21, 0
IS_64_BIT = b"\x31\xc0\x48\xff\xc0\x85\xc0\x74"  # xor eax, eax; inc rax (dec eax, inc eax); test; jz


def leave(value):
    return b"\xb0" + bytes([value]) + b"\xe6\xf4\xf4\xeb\xfd"


def verdict(compare):
    """Code that compares, and tells whether it was equal."""
    return compare + b"\x74" + bytes([len(leave(BAD))]) + leave(BAD) + leave(GOOD)


HDRS = verdict(b"\x81\xbe\x02\x02\0\0HdrS")                            # cmp dword [esi+0x202], "HdrS"
MULTIBOOT = verdict(b"\x3d" + struct.pack("<I", 0x2badb002))          # cmp eax, ...
MULTIBOOT_MODULE = verdict(b"\x8b\x43\x18\x8b\0\x81\x38MODS")          # mov eax, [ebx+24]; mov eax, [eax]; cmp dword [eax]
PVH = verdict(b"\x81\x3b" + struct.pack("<I", 0x336ec578))            # cmp dword [ebx], ...


def multiboot_header(flags, *more):
    return struct.pack("<III", 0x1badb002, flags, -(0x1badb002 + flags) & 0xffffffff) + struct.pack(f"<{len(more)}I", *more)


def elf32(code, note=b""):
    ph = struct.pack("<IIIIIIII", 1, 0x100, 0x100000, 0x100000, len(code), len(code) + 4096, 7, 4096)
    ph += struct.pack("<IIIIIIII", 4, 0x90, 0, 0, len(note), len(note), 4, 4)
    head = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x100000, 52, 0, 0, 52, 32, 2, 40, 0, 0)
    return ((head + ph).ljust(0x90, b"\0") + note).ljust(0x100, b"\0") + code


class Loaders(unittest.TestCase):
    def check(self, image, *args, status=GOOD << 1 | 1):
        with tempfile.NamedTemporaryFile() as f:
            f.write(image)
            f.flush()
            code, _, err = emu.run(*emu.EXTRA, "-display", "none", "-m", "16", "-kernel", f.name, *args,
                                   "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
        self.assertEqual(code, status, err)

    def test_bzimage_by_its_32_bit_entry(self):
        self.check(tiny_bzimage(HDRS))

    def test_bzimage_by_its_64_bit_entry(self):
        code = IS_64_BIT + bytes([len(HDRS)]) + HDRS + leave(BAD)
        image = bytearray(tiny_bzimage(leave(BAD).ljust(0x200, b"\0") + code))
        image[0x236] = 1
        self.check(bytes(image), "-M", "pc,x-entry64=on")

    def test_multiboot_elf(self):
        self.check(elf32(MULTIBOOT + bytes(-len(MULTIBOOT) % 4) + multiboot_header(3)))

    def test_multiboot_flat_with_a_module(self):
        header = multiboot_header(1 << 16, 0x100000, 0x100000, 0, 0, 0x100020)
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"MODS")
            f.flush()
            self.check(header + MULTIBOOT_MODULE, "-initrd", f.name + " arguments")

    def test_pvh(self):
        self.check(elf32(PVH, struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", 0x100000)))

    def test_a_reset_ends_it_under_no_reboot(self):
        self.check(tiny_bzimage(b"\xba\xf9\x0c\0\0\xb0\x06\xee\xf4"), "-no-reboot", status=0)  # out 0xcf9, 6

    def test_debug_console_and_serial_port_write(self):
        hello = b"".join(b"\xb0" + bytes([c]) + b"\xe6\xe9\x66\xba\xf8\x03\xee" for c in b"hello")  # out 0xe9; out 0x3f8
        with tempfile.NamedTemporaryFile() as console, tempfile.NamedTemporaryFile() as serial:
            self.check(tiny_bzimage(hello + leave(GOOD)), "-debugcon", "file:" + console.name, "-serial", "file:" + serial.name)
            self.assertEqual(console.read(), b"hello")
            self.assertEqual(serial.read(), b"hello")


if __name__ == "__main__":
    unittest.main()
