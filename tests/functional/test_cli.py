# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: help, and one clear line for everything that is wrong with it."""
import os
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

import emu


def tiny_bzimage(code):
    """The least that the loader takes."""
    b = bytearray(1024)
    b[0x1f1] = 1
    b[0x1fe:0x200] = b"\x55\xaa"
    b[0x200:0x206] = b"\xeb\x66HdrS"
    struct.pack_into("<H", b, 0x206, 0x20c)
    b[0x211] = 1
    struct.pack_into("<I", b, 0x214, 0x100000)
    struct.pack_into("<I", b, 0x22c, 0x7fffffff)
    struct.pack_into("<I", b, 0x238, 2047)
    return bytes(b) + code + bytes(512)


class BadInput(unittest.TestCase):
    """Status 1, one line on standard error that names option and value, nothing on standard output."""

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.kernel = self.file("kernel", tiny_bzimage(b"\xf4\xeb\xfd"))

    def file(self, name, data):
        path = os.path.join(self.dir.name, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def refused(self, *args, says=()):
        status, out, err = emu.run(*args)
        self.assertEqual(status, 1, err)
        self.assertEqual(out, "")
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("rhea: "), err)
        for word in says:
            self.assertIn(word, err)

    def booted(self, *args, says=()):
        self.refused("-display", "none", "-kernel", self.kernel, *args, says=says)

    def test_kernels(self):
        for name, data, says in (
                ("empty", b"", ["too short"]), ("short", b"\0" * 100, ["too short"]), ("text", b"hello\n" * 1000, ["not a kernel"]),
                ("cut", tiny_bzimage(b"")[:0x220], ["cut short"]), ("arm64", b"\0" * 56 + b"ARM\x64" + b"\0" * 4000, ["arm64"]),
                ("elf", b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\xb7\0" + b"\0" * 600, ["another architecture"])):
            with self.subTest(name):
                path = self.file(name, data)
                self.refused("-kernel", path, "-display", "none", says=["-kernel", path, *says])
        self.refused("-kernel", "/nowhere/k", "-display", "none", says=["-kernel", "/nowhere/k", "No such file"])
        self.refused("-kernel", self.dir.name, "-display", "none", says=["not a regular file"])

    def test_companions_of_a_kernel(self):
        self.booted("-initrd", "/nowhere/i", says=["-initrd", "/nowhere/i", "No such file"])
        self.booted("-initrd", self.file("big", b"\0" * (4 << 20)), "-m", "4", says=["-initrd", "no room"])
        self.booted("-append", "x" * 3000, says=["-append", "3000", "2047"])
        self.refused("-append", "x", says=["-append", "-kernel"])
        self.refused("-display", "none", says=["-kernel", "-bios"])
        self.refused("-display", "none", "-bios", "/nowhere/b", says=["-bios", "/nowhere/b"])
        self.refused("-display", "none", "-bios", self.kernel, says=["-bios", self.kernel, "64 KiB"])

    def test_memory(self):
        for size in ("99999T", "-5", "lots", "1M", "16E", "1G,bogus=1"):
            with self.subTest(size):
                self.booted("-m", size, says=["-m"])
        self.booted("-m", "99999T", says=["-m", "99999T"])

    def test_processors(self):
        for smp in ("0", "-1", "many", "256", "100000", "2,cores=3", "4,maxcpus=2", "2,bogus=1"):
            with self.subTest(smp):
                self.booted("-smp", smp, says=["-smp", smp.split(",")[0]])
        self.booted("-cpu", "bogus", says=["-cpu bogus"])
        self.booted("-cpu", "qemu64,+bogus", says=["-cpu qemu64,+bogus"])

    def test_machines_accelerators_and_devices(self):
        self.booted("-M", "bogus", says=["-machine bogus"])
        self.booted("-M", "q35", says=["q35", "not built yet"])
        self.booted("-M", "pc,bogus=1", says=["bogus=1"])
        self.booted("-M", "pc,hpet=maybe", says=["hpet", "maybe"])
        self.booted("-accel", "bogus", says=["-accel bogus"])
        self.booted("-accel", "kvm", says=["-accel kvm", "not built yet"])
        self.booted("-enable-kvm", says=["kvm", "not built yet"])
        self.booted("-accel", "jit,thread=3", says=["thread=3"])
        self.booted("-device", "bogus", says=["-device bogus"])
        self.booted("-device", "isa-debug-exit,bogus=1", says=["bogus"])
        self.booted("-device", "isa-debug-exit,iobase=x", says=["iobase"])
        self.booted("-device", "ioapic", says=["ioapic"])

    def test_options(self):
        self.refused("-kernle", "x", says=["-kernle", "did you mean -kernel?"])
        self.booted("disk.img", says=["disk.img"])
        self.refused("-m", says=["-m", "argument"])
        self.booted("-serial", "bogus", says=["-serial bogus"])
        self.booted("-serial", "unix:/nowhere/x", says=["-serial unix:/nowhere/x", "No such file"])
        self.booted("-serial", "stdio", "-serial", "stdio", says=["stdio"])
        self.booted("-serial", "file:/nowhere/x", says=["/nowhere/x"])
        self.booted("-d", "bogus", says=["-d bogus"])
        self.booted("-D", "/nowhere/log", "-d", "int", says=["/nowhere/log"])

    def test_nothing_is_left_behind(self):
        emu.run("-M", "bogus", "-kernel", self.kernel, cwd=self.dir.name)
        emu.run("-kernel", self.kernel, "-smp", "0", cwd=self.dir.name)
        self.assertEqual(os.listdir(self.dir.name), ["kernel"])


class Help(unittest.TestCase):
    def shows(self, *args, says=()):
        status, out, err = emu.run(*args)
        self.assertEqual((status, err), (0, ""))
        for word in says:
            self.assertIn(word, out)
        return out

    def test_lists(self):
        self.shows("-help", says=["usage:", "\n-kernel bzImage", "\n-smp ", "-m [size=]megs"])
        self.shows("--version", says=["version"])
        self.shows("-machine", "help", says=["\npc "])
        self.shows("-M", "?", says=["\npc "])
        self.shows("-cpu", "help", says=["qemu64", "max"])
        self.shows("-accel", "help", says=["jit", "tcg"])
        self.shows("-device", "help", says=["isa-debug-exit"])
        self.shows("-device", "isa-debug-exit,help", says=["iobase"])
        self.shows("-d", "help", says=["in_asm", "int"])
        self.shows("-display", "help", says=["none"])

    def test_lines_fit_the_layout(self):
        for line in self.shows("-h").splitlines():
            if line.startswith("-") and len(line) > 16 and line[15] != " ":
                self.assertNotIn("  ", line.rstrip())


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ending(unittest.TestCase):
    """Signals and keys, with a kernel that halts for good."""

    def setUp(self):
        f = tempfile.NamedTemporaryFile()
        self.addCleanup(f.close)
        f.write(tiny_bzimage(b"\xf4\xeb\xfd"))
        f.flush()
        self.args = ["-nographic", "-kernel", f.name, "-m", "16"]

    def ends_by(self, number, *args):
        with emu.Emu(*self.args, *args) as e:
            emu.poll(lambda: emu.catches(e.process.pid, number), f"no handler for signal {int(number)}")
            e.process.send_signal(number)
            self.assertEqual(e.wait(), 0)
            self.assertIn(f"terminating on signal {int(number)}", e.console)

    def test_signals_end_it_with_status_0(self):
        for number in SIGNALS:
            with self.subTest(number):
                self.ends_by(number)

    def test_signals_that_were_ignored_before_end_it_too(self):
        """As of a command in the background of a script, or under nohup."""
        for number in SIGNALS:
            was = signal.signal(number, signal.SIG_IGN)
            try:
                with self.subTest(number):
                    self.ends_by(number)
            finally:
                signal.signal(number, was)

    def test_a_signal_while_it_starts_is_not_lost(self):
        """With the handlers there, the main loop may be anywhere on its way to its first round."""
        for n in range(20):
            with self.subTest(n):
                self.ends_by(signal.SIGTERM, "-smp", str(1 + n % 3))

    def test_ctrl_a_x_ends_it_and_end_of_input_does_not(self):
        with emu.Emu(*self.args) as e:
            e.send("\x01h")
            e.expect("C-a x +exit emulator")
            e.send("\x01c")
            e.expect(r"\(qemu\) ")
            e.send("\x01x")
            self.assertEqual(e.wait(), 0)
        with emu.Emu(*self.args) as e:
            e.process.stdin.close()
            emu.poll(lambda: emu.catches(e.process.pid, signal.SIGTERM), "no handler for SIGTERM")
            time.sleep(0.5)
            self.assertIsNone(e.process.poll())

    def test_standard_input_may_be_dev_null(self):
        p = subprocess.Popen([emu.RHEA, *emu.EXTRA, *self.args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.kill)
        emu.poll(lambda: emu.catches(p.pid, signal.SIGTERM), "no handler for SIGTERM")
        time.sleep(0.5)
        self.assertIsNone(p.poll())
        p.terminate()
        self.assertEqual(p.wait(60 * emu.SLOW), 0)

    def test_a_terminal_is_raw_and_then_as_before(self):
        parent, child = os.openpty()
        before = termios.tcgetattr(child)
        own_terminal = [sys.executable, "-c", "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
                        "os.execv(sys.argv[1], sys.argv[1:])", emu.RHEA, *emu.EXTRA, *self.args]
        p = subprocess.Popen(own_terminal, stdin=child, stdout=child, stderr=child)
        self.addCleanup(p.kill)
        emu.poll(lambda: not termios.tcgetattr(child)[3] & termios.ICANON, "the terminal is not raw")
        self.assertEqual(termios.tcgetattr(child)[3] & (termios.ICANON | termios.ECHO | termios.ISIG), 0)
        os.write(parent, b"\x01x")
        self.assertEqual(p.wait(60 * emu.SLOW), 0)
        self.assertEqual(termios.tcgetattr(child), before)
        os.close(parent)
        os.close(child)


if __name__ == "__main__":
    unittest.main()
