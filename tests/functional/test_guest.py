# SPDX-License-Identifier: GPL-2.0-or-later
"""The bare-metal guests of tests/guest, each under both back ends of the translator."""
import glob
import os
import shutil
import tempfile
import unittest

import emu

SOURCES = os.path.join(emu.TOP, "tests/guest")
PASSED = 0x10 << 1 | 1


def asked(source, what, default):
    """What a line "; smp: N" or "; cpu: MODEL" of a guest's source asks for."""
    with open(source) as f:
        for line in f:
            if line.startswith(f"; {what}:"):
                return line.split(":", 1)[1].strip()
    return default


class Guest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("nasm"):
            raise unittest.SkipTest("there is no nasm: no bare-metal guest was run (apt-get install nasm)")
        cls.dir = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.dir.cleanup)

    def check(self, name, backend):
        source, image = os.path.join(SOURCES, name + ".asm"), os.path.join(self.dir.name, name)
        code, _, err = emu.run("-w-all", f"-I{SOURCES}/", "-f", "bin", "-o", image, source, program="nasm")
        self.assertEqual(code, 0, err)
        code, out, err = emu.run(*emu.EXTRA, "-accel", f"jit,backend={backend}", "-kernel", image, "-m", "128",
                                 "-cpu", asked(source, "cpu", "max"), "-smp", asked(source, "smp", "1"), "-display", "none", "-no-reboot", "-debugcon", "stdio",
                                 "-device", "isa-debug-exit,iobase=0xf4,iosize=4", timeout=60)
        self.assertEqual(code, PASSED, out + err)


def add_guests():
    for source in sorted(glob.glob(os.path.join(SOURCES, "*.asm"))):
        name = os.path.basename(source)[:-4]
        for backend in ("x64", "interp"):
            setattr(Guest, f"test_{name}_{backend}", lambda self, n=name, b=backend: self.check(n, b))


add_guests()

if __name__ == "__main__":
    unittest.main()
