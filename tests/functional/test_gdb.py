# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's gdb on -gdb: a bare-metal guest with symbols, a Linux kernel, and clients that do not behave."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import emu
import symbol_elf

HERE = os.path.dirname(os.path.abspath(__file__))
BACKENDS = ("x64", "interp")
FLAGS = ("-g -O1 -fno-omit-frame-pointer -ffreestanding -fno-pic -no-pie -mno-red-zone -mgeneral-regs-only "
         "-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -nostdlib -static "
         "-Wl,-N,-Ttext=0x100000,--section-start=.note.pvh=0x180000,--section-start=.note.multiboot=0x180000,"
         "-e,start32,--build-id=none,-z,noexecstack").split()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Debugged(emu.Emu):
    """A machine with a stub, standing still."""

    def __init__(self, *args, program=None):
        self.port = free_port()
        super().__init__(*args, "-S", "-gdb", f"tcp:127.0.0.1:{self.port}", "-display", "none", program=program)

    def connect(self):
        deadline = time.monotonic() + 10 * emu.SLOW
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=10 * emu.SLOW)
            except ConnectionRefusedError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.wait(1)
                    raise emu.Failure("nobody listens", self.console) from None
                time.sleep(0.05)

    def gdb(self, *commands, symbols=None, timeout=30):
        """What gdb prints for these commands after it connected."""
        self.connect().close()
        script = ["set confirm off", "set pagination off", "set width 0", "set debuginfod enabled off",
                  "set remotetimeout 20", f"target remote 127.0.0.1:{self.port}", *commands]
        args = ["gdb", "-nx", "-q", "-batch"]
        for line in script:
            args += ["-ex", line]
        if symbols:
            args.append(symbols)
        with tempfile.TemporaryFile() as out:
            p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            try:
                p.wait(timeout * emu.SLOW)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
            out.seek(0)
            text = out.read().decode(errors="replace")
        if p.returncode < 0:
            raise emu.Failure("gdb did not end", text)
        return text


def need_gdb():
    if not shutil.which("gdb"):
        raise unittest.SkipTest("there is no gdb (apt-get install gdb)")


def build_guest(target, *flags):
    p = subprocess.run(["gcc", *flags, *FLAGS, "-o", target, os.path.join(HERE, "gdb_guest.c")], capture_output=True)
    if p.returncode:
        raise unittest.SkipTest("gdb_guest.c cannot be compiled: " + p.stderr.decode(errors="replace")[:200])


class Guest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need_gdb()
        if not shutil.which("gcc"):
            raise unittest.SkipTest("there is no gcc")
        cls.dir = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.dir.cleanup)
        cls.elf = os.path.join(cls.dir.name, "guest64")
        build_guest(cls.elf)

    def debug(self, *commands, backend="x64", args=(), elf=None, program=None):
        elf = elf or self.elf
        with Debugged("-accel", f"jit,backend={backend}", "-kernel", elf, "-m", "64", *args, program=program) as m:
            return m.gdb(*commands, symbols=elf)

    def on_each(self, check):
        for backend in BACKENDS:
            with self.subTest(backend=backend):
                check(backend)

    def test_break_step_finish(self):
        def check(backend):
            out = self.debug("break leaf", "continue", "bt", "p x", "stepi", "x/2i $pc", "delete", "finish", "next",
                             "info registers rip", "p $_siginfo", backend=backend)
            self.assertRegex(out, r"Breakpoint 1, leaf \(x=0\)")
            self.assertRegex(out, r"#0 .*leaf.*\n#1 .*middle.*\n#2 .*work.*\n#3 .*start_c")
            self.assertRegex(out, r"=> 0x[0-9a-f]+ <leaf\+\d+>:\tadd")
            self.assertRegex(out, r"Value returned is \$\d+ = 0")
            self.assertRegex(out, r"int b = leaf\(a \+ 1\);")
            self.assertRegex(out, r"rip +0x[0-9a-f]+ +0x[0-9a-f]+ <middle\+\d+>")
        self.on_each(check)

    def test_source_steps(self):
        def check(backend):
            out = self.debug("tbreak work", "continue", "step", "step", "step", "p x", "up", "info locals",
                             backend=backend)
            self.assertRegex(out, r"middle \(x=0\)")
            self.assertRegex(out, r"leaf \(x=0\)")
        self.on_each(check)

    def test_watchpoints(self):
        def check(backend):
            out = self.debug("watch watched", "continue", "continue", "p turns[0]", "delete", "rwatch text", "continue",
                             "x/i $pc", "delete", "awatch copied", "continue", "delete", "watch total if total > 3000",
                             "continue", backend=backend)
            self.assertRegex(out, r"(?s)Old value = 0\nNew value = 1\nwork .*Old value = 1\nNew value = 2\nwork")
            self.assertRegex(out, r"\$1 = 8\n")
            self.assertRegex(out, r"(?s)read watchpoint.*=> 0x[0-9a-f]+ <work\+\d+>:\trep movs")
            self.assertRegex(out, r"(?s)access \(read/write\) watchpoint.*watchpoint 4: total.*New value = 3\d\d\d")
        self.on_each(check)

    def test_registers_and_memory(self):
        def check(backend):
            out = self.debug("hbreak work", "continue", "p/x $rax = 0x1122334455667788", "p/x $eax", "set $eflags |= 1",
                             "p $eflags", "p $xmm3.v4_int32[1] = 77", "p $xmm3.v4_int32", "p $ymm3.v8_int32[1]", "p/x $cs",
                             "p $cr0", "p $efer", "p $st0 = 1.5", "p $st0", "set var total = 1000", "x/dw &total",
                             "x/s text", "set var text[0] = 'j'", "x/s text", "p $rip = leaf", "stepi", "x/i $pc",
                             "info all-registers mxcsr", "p $fs_base", backend=backend, args=("-cpu", "max"))
            for wanted in (r"= 0x1122334455667788", r"= 0x55667788", r"\[ (.* )?CF .*IOPL=0 \]", r"= \{0, 77, 0, 0\}",
                           r"\$6 = 77", r"= 0x8\n", r"\[ PE ET PG \]", r"\[ LME LMA \]", r"\$\d+ = 1.5\n\$\d+ = 1.5",
                           r"<total>:\t1000", r'"hello"', r'"jello"', r"=> 0x[0-9a-f]+ <leaf\+\d+>", r"mxcsr +0x1f80"):
                self.assertRegex(out, wanted)
        self.on_each(check)

    def test_each_processor_is_a_thread(self):
        def check(backend):
            out = self.debug("tbreak start_c", "continue", "tbreak start_c", "continue", "info threads", "tbreak work if cpu == 1",
                             "continue", "thread apply all bt 5", "thread 1", "set scheduler-locking on", "p turns[1]",
                             "tbreak leaf", "continue", "tbreak work", "continue", "p turns[1]", backend=backend,
                             args=("-smp", "2"))
            self.assertRegex(out, r"Thread 1\.1 \(CPU#0 \[running\]\)")
            self.assertRegex(out, r"Thread 1\.2 \(CPU#1 \[running\]\)")
            self.assertRegex(out, r"start_c \(cpu=0\)")
            self.assertRegex(out, r"start_c \(cpu=1\)")
            self.assertRegex(out, r"(?s)Thread 2 .*#\d .* start_c \(cpu=1\).*Thread 1 .*#\d .* start_c \(cpu=0\)")
            turns = re.findall(r"^\$\d+ = (\d+)$", out, re.M)
            self.assertEqual(len(turns), 2, out)
            self.assertEqual(turns[0], turns[1], "processor 1 ran although it was locked")
        self.on_each(check)

    def test_timer_does_not_disturb_steps(self):
        def check(backend):
            out = self.debug("tbreak work", "continue", "tbreak work", "jump begin_ticks", "tbreak leaf if ticks > 2",
                             "continue", "p ticks > 2", "set $before = ticks", "stepi 300", "p ticks - $before",
                             "maintenance packet Qqemu.sstep=1", "stepi 1000", "p ticks > $before", backend=backend)
            self.assertRegex(out, r"\$1 = 1\n")
            self.assertRegex(out, r"\$2 = 0\n")
            self.assertRegex(out, r"\$3 = 1\n")
        self.on_each(check)

    def test_monitor_commands(self):
        out = self.debug("monitor info status", "monitor info registers", "monitor no-such-command")
        self.assertRegex(out, r"VM status: paused")
        self.assertRegex(out, r"RIP=0000000000100000")

    def test_kill_and_exit_status(self):
        with Debugged("-kernel", self.elf, "-m", "64") as m:
            self.assertIn("killed", m.gdb("kill", symbols=self.elf))
            self.assertEqual(m.wait(10), 0)

    def test_32_bits(self):
        program = emu.RHEA + "-system-i386"
        if not os.path.exists(program):
            raise unittest.SkipTest(f"no {program}")
        elf = os.path.join(self.dir.name, "guest32")
        build_guest(elf, "-m32")
        for backend in BACKENDS:
            out = self.debug("break leaf", "continue", "bt", "delete", "watch watched", "continue", "p $esp", "p $cr0",
                             "x/2i $pc", "stepi", backend=backend, elf=elf, program=program)
            self.assertRegex(out, r"#0 .*leaf.*\n#1 .*middle.*\n#2 .*work.*\n#3 .*start_c")
            self.assertRegex(out, r"(?s)Old value = 0\nNew value = 1\nwork")
            self.assertRegex(out, r"\[ PE ET \]")


class Client(unittest.TestCase):
    """What comes over the wire may be anything."""

    def setUp(self):
        self.machine = Debugged("-kernel", self.loop(), "-m", "16")
        self.addCleanup(self.machine.kill)

    def loop(self):
        """A multiboot kernel of a few instructions."""
        code = b"\x40\xeb\xfd"  # inc eax; jmp
        head = [0x1badb002, 0x10000, -(0x1badb002 + 0x10000) & 0xffffffff, 0x100000, 0x100000, 0, 0, 0x100020]
        f = tempfile.NamedTemporaryFile()
        self.addCleanup(f.close)
        f.write(b"".join(v.to_bytes(4, "little") for v in head) + code)
        f.flush()
        return f.name

    def ask(self, s, packet):
        s.sendall(b"$%s#%02x" % (packet, sum(packet) & 255))
        return self.answer(s)

    def answer(self, s):
        got = b""
        while not re.search(rb"\$([^#]*)#..", got):
            piece = s.recv(65536)
            self.assertTrue(piece, "it hung up")
            got += piece
        return re.search(rb"\$([^#]*)#..", got).group(1)

    def test_comes_and_goes(self):
        for i in range(20):
            with self.machine.connect() as s:
                self.assertEqual(self.ask(s, b"?"), b"T05thread:01;")
                if i % 2:
                    s.sendall(b"$c#63")
                if i % 3 == 0:
                    s.sendall(b"$m0,10")
        with self.machine.connect() as s:
            first = self.ask(s, b"p0")
            s.sendall(b"$c#63")
            time.sleep(0.1)
            s.sendall(b"\3")
            self.assertEqual(self.answer(s), b"T02thread:01;")
            self.assertNotEqual(self.ask(s, b"p0"), first)

    def test_garbage(self):
        for junk in (os.urandom(200000), b"$" * 100000, b"$" + b"m" * 100000 + b"#00", b"$m0," + b"f" * 30 + b"#00",
                     b"$x" + b"*~" * 50000 + b"#00", b"$m0,2000#2a" * 3000, b"+-" * 50000, b"\3" * 10000):
            with self.machine.connect() as s:
                s.settimeout(2)
                try:
                    s.sendall(junk)
                except (socket.timeout, ConnectionError):
                    pass  # it need not take what it cannot answer
            with self.machine.connect() as s:
                self.assertEqual(self.ask(s, b"QStartNoAckMode"), b"OK")
                self.assertEqual(self.ask(s, b"m100020,3"), b"40ebfd")
        with open(f"/proc/{self.machine.process.pid}/status", encoding="ascii") as f:
            used = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
        self.assertLess(used, 400000)


class Linux(unittest.TestCase):
    """A kernel of Debian's, by the symbols that it tells itself."""
    NAMES = ("start_kernel", "kernel_init", "run_init_process", "schedule", "jiffies_64", "jiffies", "do_idle",
             "cpu_startup_entry", "vfs_read", "startup_64", "secondary_startup_64", "rest_init", "linux_banner",
             "clockevents_program_event", "default_idle", "mwait_idle", "native_safe_halt")
    APPEND = "console=ttyS0 nokaslr quiet"

    @classmethod
    def setUpClass(cls):
        need_gdb()
        cls.boot = ("-kernel", emu.guest("x86_64/vmlinuz-cloud"), "-initrd", emu.guest("x86_64/initrd.cpio"), "-m", "256",
                    "-nodefaults", "-serial", "stdio")
        cls.dir = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.dir.cleanup)
        cls.symbols = os.path.join(cls.dir.name, "kernel.sym")
        with emu.Emu(*cls.boot, "-display", "none", "-append", cls.APPEND) as m:
            m.expect(emu.PROMPT, timeout=120)
            text = m.shell("grep -E ' (%s)$' /proc/kallsyms" % "|".join(cls.NAMES))
        symbols = symbol_elf.parse(text)
        if len(symbols) < 5:
            raise emu.Failure("the kernel tells no symbols", text)
        with open(cls.symbols, "wb") as f:
            f.write(symbol_elf.make(symbols))

    def debug(self, *commands, backend="x64", smp="1", timeout=120):
        with Debugged(*self.boot, "-accel", f"jit,backend={backend}", "-smp", smp, "-append", self.APPEND) as m:
            return m.gdb(*commands, symbols=self.symbols, timeout=timeout)

    def check_early(self, backend):
        out = self.debug("break *start_kernel", "continue", "bt 2", "x/3i $pc", "stepi", "stepi", "stepi", "p $cr0", "p $cs",
                         "x/s (char*)&linux_banner", "delete", "break *rest_init", "continue", "p $pc == (long)&rest_init",
                         backend=backend, timeout=400)
        self.assertRegex(out, r"Breakpoint 1, 0xffffffff8[0-9a-f]+ in start_kernel \(\)")
        self.assertRegex(out, r"=> 0xffffffff8[0-9a-f]+ <start_kernel(\+0)?>")
        self.assertRegex(out, r"0xffffffff8[0-9a-f]+ in start_kernel")
        self.assertRegex(out, r"\[ .*PE .*PG \]")
        self.assertRegex(out, r'"Linux version ')
        self.assertRegex(out, r"in rest_init \(\)")

    def test_start_kernel_x64(self):
        self.check_early("x64")

    def test_start_kernel_interp(self):
        self.check_early("interp")

    def test_running_kernel(self):
        out = self.debug("break *run_init_process", "continue", "info threads", "thread apply all bt 3", "delete",
                         "watch *(long *)&jiffies_64", "continue", "continue", "info registers rip", "delete",
                         "break *vfs_read", "continue", "finish", "x/2i $pc", "stepi", "stepi", "thread apply all p $cr3",
                         smp="2")
        self.assertRegex(out, r"Breakpoint 1, .* in run_init_process")
        self.assertRegex(out, r"Thread 1\.2 \(CPU#1 \[(running|halted )\]\)")
        old = [int(v) for v in re.findall(r"Old value = (\d+)", out)]
        new = [int(v) for v in re.findall(r"New value = (\d+)", out)]
        self.assertEqual(len(new), 2, out)
        self.assertTrue(new[0] > old[0] and old[1] >= new[0] and new[1] > old[1], out)
        self.assertRegex(out, r"(?s)Breakpoint 3, .* in vfs_read \(\)\n0x[0-9a-f]+ in vfs_read")
        self.assertEqual(len(re.findall(r"PDBR=\d+", out)), 2, out)


if __name__ == "__main__":
    unittest.main()
