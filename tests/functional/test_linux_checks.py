# SPDX-License-Identifier: GPL-2.0-or-later
"""Work done under Debian's kernels comes out as on the host: tests/guest/selfcheck.c line by line, and checksums of files.

CC and CC32 name the compilers (gcc; i686-linux-gnu-gcc, with arguments where its libc is elsewhere).
"""
import hashlib
import os
import random
import shlex
import subprocess
import tempfile
import unittest

import emu
from test_boot import KERNELS

SOURCE = os.path.join(emu.TOP, "tests/guest/selfcheck.c")
FLAGS = ["-static", "-mno-red-zone", "-frounding-math", "-fno-strict-aliasing", "-pthread"]
PROGRAMS = {  # compiler, its default, arguments
    "check64": ("CC", "gcc", ["-O2"]),
    "check64v3": ("CC", "gcc", ["-O3", "-march=x86-64-v3"]),
    "check32": ("CC32", "i686-linux-gnu-gcc", ["-O2", "-mfpmath=387"]),
}
FILES = {f"data{n}": random.Random(n).randbytes(size) for n, size in enumerate((0, 1, 4095, 65537, 300000))}


def cpio(files):
    """A newc archive of {name: (mode, data)}: the kernel unpacks one behind another."""
    out = b""
    for name, (mode, data) in [*files.items(), ("TRAILER!!!", (0, b""))]:
        path = name.encode() + b"\0"
        fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + path
        out += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return out


class LinuxChecks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = folder.name
        cls.lines, cls.missing = {}, {}
        files = {name: (0o100644, data) for name, data in FILES.items()}
        for name in PROGRAMS:
            if cls.build(name):
                with open(os.path.join(cls.dir, name), "rb") as f:
                    files[name] = (0o100755, f.read())
        for arch in ("x86_64", "i386"):
            base = os.path.join(emu.GUESTS, arch, "initrd.cpio")
            if os.path.exists(base):
                with open(base, "rb") as f, open(os.path.join(cls.dir, arch), "wb") as out:
                    out.write(f.read() + cpio(files))

    @classmethod
    def build(cls, name):
        """Compile and run on the host; else say why it cannot be compared."""
        variable, compiler, args = PROGRAMS[name]
        path = os.path.join(cls.dir, name)
        command = [*shlex.split(os.environ.get(variable, compiler)), *FLAGS, *args, "-o", path, SOURCE, "-lm"]
        try:
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                cls.missing[name] = f"{name}: {command[0]} failed: {(made.stderr.splitlines() or ['?'])[-1]}"
                return False
            native = subprocess.run([path], capture_output=True, text=True, timeout=60 * emu.SLOW, check=False)
        except OSError as e:
            cls.missing[name] = f"{name}: {e}"
            return False
        if native.returncode:
            cls.missing[name] = f"{name}: the host does not run it (status {native.returncode})"
            return False
        cls.lines[name] = native.stdout.splitlines()
        return True

    def start(self, kernel, cpus, *args):
        path = emu.guest(KERNELS[kernel])
        initrd = os.path.join(self.dir, os.path.dirname(KERNELS[kernel]))
        return emu.Emu("-m", "512", "-nographic", "-no-reboot", "-cpu", "max", "-smp", str(cpus), "-kernel", path, "-initrd", initrd,
                       "-append", "console=ttyS0 quiet", *args)

    def compare(self, name, text):
        got = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        for line in self.lines[name]:
            check, value = line.split(" ", 1)
            with self.subTest(program=name, check=check):
                if "absent" not in (value, got.get(check)):
                    self.assertEqual(got.get(check), value, text[-500:] if check not in got else "")

    def work(self, kernel, cpus, *args, sums=True):
        """All programs that the kernel can run, and the sums of all files, in one boot."""
        names = [n for n in PROGRAMS if kernel != "686" or n == "check32"]
        if not any(n in self.lines for n in names):
            self.skipTest("; ".join(self.missing[n] for n in names))
        with self.start(kernel, cpus, *args) as e:
            e.expect("GUEST-READY", 180)
            e.expect(emu.PROMPT, 60)
            for name in names:
                if name in self.lines:
                    self.compare(name, e.shell(f"/{name}", 300))
            if sums:
                self.sums(e)
            e.send("poweroff -f\n")
            self.assertEqual(e.wait(60), 0)
        for name in names:
            if name in self.missing:
                print(f"NOT COMPARED: {self.missing[name]}")

    def sums(self, e):
        """Also of what was packed and unpacked."""
        for kind in ("md5", "sha1", "sha256", "sha512"):
            for line in e.shell(f"cd /; {kind}sum data?; cd", 120).splitlines():
                value, name = line.split()
                self.assertEqual(value, hashlib.new(kind, FILES[name]).hexdigest(), f"{kind}sum {name}")
        for name, data in FILES.items():
            for tools in ("gzip -c | gunzip -c", "bzip2 -c | bunzip2 -c"):
                text = e.shell(f"{tools.replace(' -c', f' -c /{name}', 1)} | sha256sum", 120)
                self.assertEqual(text.split()[0], hashlib.sha256(data).hexdigest(), f"{tools} {name}")

    def test_interpreter(self):
        self.work("cloud", 2, "-accel", "jit,backend=interp", sums=False)


def add_checks():
    for kernel in KERNELS:
        for cpus in (1, 2):
            setattr(LinuxChecks, f"test_{kernel}_smp_{cpus}", lambda self, k=kernel, n=cpus: self.work(k, n))


add_checks()

if __name__ == "__main__":
    unittest.main()
