# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines as people type them, under QEMU's names (data/cmdlines.tsv): what needs no missing part runs, the rest names the part.

Then, for all of them: --explain prints a line that explains to itself, --dry-run leaves nothing behind.
"""
import json
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import unittest

import emu
from test_cli import tiny_bzimage

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "cmdlines.tsv")
COMPAT = os.path.join(emu.BUILD, "compat")


def lines():
    with open(TABLE, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.strip() and not line.startswith("#"):
                outcome, command = line.rstrip("\n").split("\t")
                yield number, outcome, command


def multiboot():
    """A 32-bit ELF file that halts."""
    code = struct.pack("<III", 0x1BADB002, 0, -0x1BADB002 & 0xffffffff) + b"\xf4\xeb\xfd\0"
    head = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x10000c, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    return head + struct.pack("<IIIIIIII", 1, 84, 0x100000, 0x100000, len(code), len(code), 5, 4) + code


class Base(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        self.env = dict(os.environ, PATH=COMPAT + ":" + os.environ["PATH"])

    def fill(self):
        """The files that the lines name, as new."""
        for name in os.listdir(self.dir):
            path = os.path.join(self.dir, name)
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
        for name, size in (("disk.img", 64 << 20), ("os.iso", 8 << 20), ("floppy.img", 1440 << 10), ("code.fd", 2 << 20)):
            with open(os.path.join(self.dir, name), "wb") as f:
                f.truncate(size)
        jump = b"\xf4\xeb\xfd".ljust(16, b"\0")  # hlt; jmp -1, at the reset vector
        for name, data in (("bzImage", tiny_bzimage(b"\xf4\xeb\xfd")), ("test.elf", multiboot()), ("initrd.img", bytes(4096)),
                           ("bios.bin", bytes(65536 - 16) + jump), ("config.ign", b"{}"), ("key.aes", bytes(32)),
                           ("conf", b'[chardev "c"]\n  backend = "ringbuf"\n[name]\n  guest = "g"\n')):
            with open(os.path.join(self.dir, name), "wb") as f:
                f.write(data)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "disk.qcow2", "64M"], env=self.env, cwd=self.dir, check=True)

    def words(self, command):
        words = shlex.split(command)
        return [os.path.join(COMPAT, words[0]), *words[1:]]

    def end(self, words, timeout=60):
        """Run to the end: (status, standard output, standard error)."""
        p = subprocess.run(words, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout * emu.SLOW)
        return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


class Outcomes(Base):
    def answers(self, words):
        """It starts and a monitor says so; then it ends when told to."""
        path = os.path.join(self.dir, "test.qmp")
        p = subprocess.Popen([*words, "-qmp", f"unix:{path},server=on,wait=off"], cwd=self.dir, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            emu.poll(lambda: p.poll() is not None or os.path.exists(path), "no monitor")
            if p.poll() is not None:
                return p.stderr.read().decode()
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(60 * emu.SLOW)
                emu.poll(lambda: s.connect_ex(path) == 0, "the monitor does not listen")
                f = s.makefile("rw", encoding="utf-8", newline="\n")
                f.readline()
                for command in ("qmp_capabilities", "query-status", "quit"):
                    f.write(json.dumps({"execute": command}) + "\n")
                    f.flush()
                    reply = {}
                    while "return" not in reply and "error" not in reply:
                        reply = json.loads(f.readline())
                    if command == "query-status" and reply["return"]["status"] not in ("running", "prelaunch"):
                        return f"its status is {reply}"
            status = p.wait(60 * emu.SLOW)
            return "" if status == 0 else f"status {status}"
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
            p.stderr.close()

    def end_daemon(self):
        try:
            with open(os.path.join(self.dir, "vm.pid")) as f:
                pid = int(f.read())
        except FileNotFoundError:
            return
        os.kill(pid, signal.SIGTERM)
        emu.poll(lambda: not os.path.exists(os.path.join(self.dir, "vm.pid")), "the daemon lives on")

    def test_each_line_does_what_the_table_says(self):
        for number, outcome, command in lines():
            with self.subTest(line=number, command=command):
                self.fill()
                words = self.words(command)
                if outcome == "runs":
                    self.assertEqual(self.answers(words), "")
                    continue
                status, out, err = self.end(words)
                self.end_daemon()
                if outcome == "exits":
                    self.assertEqual(status, 0, err)
                    continue
                self.assertEqual((status, out), (1, ""), err)
                self.assertTrue(err.splitlines()[-1].startswith(os.path.basename(words[0]) + ": "), err)
                for part in outcome.split(" & "):
                    self.assertIn(part, err.splitlines()[-1])

    def test_all_devices_of_qemu_are_known_by_name(self):
        qemu = shutil.which("qemu-system-x86_64", path="/usr/bin:/usr/local/bin")
        if not qemu:
            self.skipTest("no qemu-system-x86_64 whose devices could be asked for")
        out = subprocess.run([qemu, "-device", "help"], capture_output=True, text=True, check=True).stdout
        names = [line.split('"')[1] for line in out.splitlines() if line.startswith("name ") and "-cpu" not in line]
        self.assertGreater(len(names), 150)
        unknown = []
        for name in [*names, "pc-dimm", "virtio-blk", "qemu64-x86_64-cpu"]:
            err = self.end([emu.RHEA, "-machine", "none", "-device", name, "-dry-run"])[2]
            if "is not a valid device model name" in err:
                unknown.append(name)
            elif err:
                self.assertRegex(err, r"is not built: .*(\(|leave it out|-smp)|no ISA bus|chardev|pluggable")
        self.assertEqual(unknown, [])

    def test_other_architectures_are_named(self):
        for arch in ("aarch64", "riscv64"):
            path = os.path.join(self.dir, f"qemu-system-{arch}")
            os.symlink(emu.RHEA, path)
            status, out, err = self.end([path, "-machine", "virt", "-nographic", "-bios", "none"])
            self.assertEqual((status, out), (1, ""))
            self.assertIn(f"guests of {arch} are not built", err)
            self.assertIn("x86_64", err)


class Explain(Base):
    def explained(self, words):
        """What -explain prints, without the lines that say what changes nothing; None: it failed."""
        status, out, _ = self.end([*words, "-explain"])
        out = "".join(line for line in out.splitlines(True) if not line.startswith("#"))
        return out if status == 0 and out.startswith("qemu-system-") else None

    def test_what_it_prints_explains_to_itself(self):
        n = 0
        self.fill()
        for number, outcome, command in lines():
            if not command.startswith("qemu-system-") or outcome != "runs":
                continue
            with self.subTest(line=number, command=command):
                first = self.explained(self.words(command))
                self.assertIsNotNone(first, "it is not explained")
                second = self.explained(self.words(first.replace("\\\n", "")))
                self.assertEqual(first, second)
                n += 1
        self.assertGreater(n, 15)

    def test_what_it_prints_runs(self):
        for number, outcome, command in lines():
            if not command.startswith("qemu-system-") or outcome != "runs":
                continue
            with self.subTest(line=number, command=command):
                self.fill()
                first = self.explained(self.words(command))
                status, _, err = self.end([*self.words(first.replace("\\\n", "")), "-dry-run"])
                self.assertEqual(status, 0, err)

    def test_it_does_nothing_else(self):
        self.fill()
        before = self.listing()
        for _, outcome, command in lines():
            if command.startswith("qemu-system-") and outcome in ("runs", "exits"):
                self.end([*self.words(command), "-explain"])
        self.assertEqual(self.listing(), before)

    def listing(self):
        return listing(self.dir)


def listing(folder):
    """Names, sizes, times and contents' fingerprints."""
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        st = os.lstat(path)
        data = b""
        if os.path.isfile(path) and st.st_size < 1 << 20:
            with open(path, "rb") as f:
                data = f.read()
        found[name] = (st.st_mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns, data)
    return found


class DryRun(Base):
    def test_nothing_is_made_or_changed(self):
        for number, outcome, command in lines():
            if not command.startswith("qemu-system-") or outcome == "exits":
                continue
            with self.subTest(line=number, command=command):
                self.fill()
                before = listing(self.dir)
                status, out, err = self.end([*self.words(command), "-dry-run"])
                self.assertEqual(status, 0 if outcome == "runs" else 1, err)
                self.assertEqual(listing(self.dir), before)

    def dry(self, *args):
        return self.end([emu.RHEA, "-kernel", "bzImage", "-display", "none", "-m", "16", *args, "-dry-run"])

    def test_more_that_would_make_files(self):
        self.fill()
        before = listing(self.dir)
        for args in (("-pidfile", "p"), ("-daemonize", "-pidfile", "p"), ("-D", "log", "-d", "int"), ("-serial", "file:out"),
                     ("-chardev", "file,id=c,path=out,append=on"), ("-chardev", "ringbuf,id=c,logfile=l"), ("-serial", "unix:s,server,nowait"),
                     ("-qmp", "unix:q,server=on,wait=off"), ("-gdb", "unix:g,server=on,wait=off"), ("-mem-path", "ram"),
                     ("-object", "memory-backend-file,id=m,size=16M,mem-path=ram,share=on", "-machine", "memory-backend=m"),
                     ("-drive", "if=none,file=disk.qcow2"), ("-trace", "apic_*,file=t"), ("-serial", "unix:s,server=on")):
            with self.subTest(args=args):
                self.assertEqual(self.dry(*args)[0], 0, self.dry(*args)[2])
                self.assertEqual(listing(self.dir), before)

    def test_what_would_fail_fails(self):
        self.fill()
        os.mkdir(os.path.join(self.dir, "share"))
        self.addCleanup(os.rmdir, os.path.join(self.dir, "share"))
        for args, words in ((("-serial", "file:/nowhere/out"), "/nowhere/out"), (("-pidfile", "/nowhere/p"), "/nowhere/p"),
                            (("-D", "/nowhere/log", "-d", "int"), "/nowhere/log"), (("-qmp", "unix:/nowhere/q,server,nowait"), "/nowhere/q"),
                            (("-serial", "file:share"), "share"), (("-drive", "if=none,file=nothing"), "nothing"),
                            (("-runas", "nobody-of-that-name"), "nobody-of-that-name"), (("-chroot", "/nowhere"), "/nowhere"),
                            (("-sandbox", "bogus"), "bogus"), (("-mem-path", "/nowhere/m"), "/nowhere/m")):
            with self.subTest(args=args):
                status, out, err = self.dry(*args)
                self.assertEqual((status, out), (1, ""))
                self.assertIn(words, err)

    def test_ports_are_tried_and_left(self):
        self.fill()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen(1)
            port = s.getsockname()[1]
            for option in ("-serial", "-qmp"):
                status, _, err = self.dry(option, f"tcp:127.0.0.1:{port},server=on,wait=off")
                self.assertEqual(status, 1)
                self.assertIn("Failed to find an available port", err)
        self.assertEqual(self.dry("-serial", f"tcp:127.0.0.1:{port},server=on,wait=off")[0], 0)
        self.assertEqual(self.dry("-gdb", f"tcp:127.0.0.1:{port}")[0], 0)
        with socket.socket() as s:  # nobody listens there now
            s.bind(("127.0.0.1", port))

    def test_an_image_in_use_is_seen(self):
        self.fill()
        path = os.path.join(self.dir, "q")
        with emu.Emu("-kernel", os.path.join(self.dir, "bzImage"), "-display", "none", "-drive",
                     "if=none,file=" + os.path.join(self.dir, "disk.qcow2"), "-qmp", f"unix:{path},server=on,wait=off"):
            emu.poll(lambda: os.path.exists(path), "it does not start")
            status, _, err = self.dry("-drive", "if=none,file=disk.qcow2")
        self.assertEqual(status, 1)
        self.assertIn('Failed to get "write" lock', err)

    def test_memory_that_is_not_there_is_refused(self):
        self.fill()
        status, _, err = self.end([emu.RHEA, "-kernel", "bzImage", "-display", "none", "-m", "500G", "-mem-prealloc", "-dry-run"])
        self.assertEqual(status, 1)
        self.assertIn("500G", err)


if __name__ == "__main__":
    unittest.main()
