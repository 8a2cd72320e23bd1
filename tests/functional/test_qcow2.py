#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qcow2 images against qemu-img: each reads, checks and changes what the other made."""

import os
import random
import shutil
import struct
import subprocess
import tempfile
import unittest

import emu
import qmp

RHEA = os.path.join(os.environ.get("RHEA_BUILD", "build"), "rhea-img")
RHEA_IO = os.path.join(os.environ.get("RHEA_BUILD", "build"), "rhea-io")
QEMU = shutil.which("qemu-img")
QEMU_IO = shutil.which("qemu-io")
SIZE = 16 << 20
OPTIONS = [
    "compat=0.10", "compat=1.1", "cluster_size=512", "cluster_size=2M", "refcount_bits=1",
    "refcount_bits=64,cluster_size=4k", "extended_l2=on", "extended_l2=on,cluster_size=16k",
    "lazy_refcounts=on", "preallocation=metadata", "preallocation=falloc",
    "preallocation=full,extended_l2=on", "compression_type=zstd", "data_file={dir}/d.raw",
    "data_file={dir}/d.raw,data_file_raw=on",
]
CAN_COMPRESS = [o for o in OPTIONS if "data_file" not in o]
CAN_SNAPSHOT = [o for o in CAN_COMPRESS if "refcount_bits=1" not in o.split(",")]


def run(program, *args, status=(0,)):
    p = subprocess.run([program, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode not in status:
        raise AssertionError(f"{program} {' '.join(args)}: status {p.returncode}\n{p.stdout}")
    return p.stdout


@unittest.skipUnless(os.path.exists(RHEA), f"SKIPPED: there is no {RHEA}")
@unittest.skipUnless(QEMU, "SKIPPED: qemu-img is not installed (qemu-utils)")
class Qcow2(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="rhea-qcow2-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.raw, self.img = self.path("src.raw"), self.path("x.qcow2")
        rnd = random.Random(1)
        with open(self.raw, "wb") as f:
            f.truncate(SIZE)
            for _ in range(60):
                at, n = rnd.randrange(0, SIZE) & ~511, rnd.choice([512, 4096, 65536, 150000])
                f.seek(at)
                f.write(rnd.randbytes(n)[:SIZE - at])

    def path(self, name):
        return os.path.join(self.dir, name)

    def consistent(self, image):
        run(QEMU, "check", "-q", image)
        run(RHEA, "check", "-q", image)

    def same(self, image, raw=None):
        run(QEMU, "compare", "-q", "-f", "raw", "-F", "qcow2", raw or self.raw, image)
        run(RHEA, "compare", "-q", "-f", "raw", "-F", "qcow2", raw or self.raw, image)

    def convert(self, program, options, *flags):
        if os.path.exists(self.img):
            os.unlink(self.img)
        run(program, "convert", *flags, "-f", "raw", "-O", "qcow2", "-o",
            options.format(dir=self.dir), self.raw, self.img)

    def test_each_reads_what_the_other_wrote(self):
        for options in OPTIONS:
            for program in (RHEA, QEMU):
                with self.subTest(options=options, by=program):
                    self.convert(program, options)
                    self.consistent(self.img)
                    self.same(self.img)

    def test_compressed_clusters(self):
        for options in CAN_COMPRESS:
            if "preallocation" in options:
                continue
            for program in (RHEA, QEMU):
                with self.subTest(options=options, by=program):
                    self.convert(program, options, "-c")
                    self.consistent(self.img)
                    self.same(self.img)

    def test_snapshots_are_interchangeable(self):
        for options in CAN_SNAPSHOT:
            for first, second in ((RHEA, QEMU), (QEMU, RHEA)):
                with self.subTest(options=options, by=first):
                    self.convert(first, options)
                    run(first, "snapshot", "-c", "one", self.img)
                    self.consistent(self.img)
                    run(second, "bench", "-w", "-c", "60", "-s", "4096", "-S", "200704",
                        "-f", "qcow2", self.img)
                    self.consistent(self.img)
                    run(first, "snapshot", "-c", "two", self.img)
                    self.assertEqual(run(first, "snapshot", "-l", self.img),
                                     run(second, "snapshot", "-l", self.img))
                    run(second, "snapshot", "-a", "one", self.img)
                    self.consistent(self.img)
                    self.same(self.img)
                    run(second, "snapshot", "-d", "two", self.img)
                    run(first, "snapshot", "-d", "one", self.img)
                    self.consistent(self.img)
                    self.same(self.img)

    def test_growing_shows_zeroes(self):
        for options in OPTIONS[1:8]:
            with self.subTest(options=options):
                self.convert(RHEA, options)
                run(RHEA, "resize", "-q", "--shrink", self.img, "5M")
                self.consistent(self.img)
                run(RHEA, "resize", "-q", self.img, str(SIZE))
                self.consistent(self.img)
                cut = self.path("cut.raw")
                shutil.copy(self.raw, cut)
                os.truncate(cut, 5 << 20)
                os.truncate(cut, SIZE)
                self.same(self.img, cut)

    def test_amend_changes_widths_and_versions(self):
        self.convert(QEMU, "compat=0.10")
        run(RHEA, "amend", "-o", "compat=1.1", self.img)
        for bits in ("1", "8", "64", "16"):
            run(RHEA, "amend", "-o", "refcount_bits=" + bits, self.img)
            self.consistent(self.img)
            self.assertIn("refcount bits: " + bits, run(QEMU, "info", self.img))
        run(RHEA, "amend", "-o", "compat=0.10", self.img)
        self.consistent(self.img)
        self.same(self.img)
        self.assertIn("compat: 0.10", run(QEMU, "info", self.img))

    def test_bitmaps_are_interchangeable(self):
        run(QEMU, "create", "-q", "-f", "qcow2", self.img, "1G")
        for first, second in ((RHEA, QEMU), (QEMU, RHEA)):
            run(first, "bitmap", "--add", self.img, "b0")
            self.consistent(self.img)
            run(second, "bench", "-w", "-c", "20", "-s", "512", "-S", "1000448", "-f", "qcow2", self.img)
            self.consistent(self.img)
            run(second, "bitmap", "--add", "-g", "4k", "--merge", "b0", self.img, "b1")
            self.consistent(self.img)
            self.assertEqual(run(first, "info", "--output=json", self.img).count("granularity"), 2)
            run(first, "bitmap", "--remove", self.img, "b0")
            run(second, "bitmap", "--remove", self.img, "b1")
            self.consistent(self.img)

    def test_repair(self):
        for damage in ((65536, b"\0" * 8), (131072, b"\0" * 2048), (131072, b"\0\3" * 4096)):
            with self.subTest(damage=damage[0]):
                self.convert(QEMU, "compat=1.1")
                with open(self.img, "r+b") as f:
                    f.seek(damage[0])
                    f.write(damage[1])
                run(RHEA, "check", "-q", self.img, status=(2, 3))
                run(RHEA, "check", "-q", "-r", "all", self.img)
                self.consistent(self.img)
                self.same(self.img)

    def test_measure_says_the_same(self):
        for options in ("cluster_size=64k", "cluster_size=512,refcount_bits=64", "extended_l2=on"):
            for what in (["--size", "10G"], ["--size", "12345k"], ["-f", "raw", self.raw]):
                with self.subTest(options=options, what=what):
                    args = ["measure", "-O", "qcow2", "-o", options, *what]
                    self.assertEqual(run(RHEA, *args), run(QEMU, *args))

    def test_hostile_headers_are_refused_with_the_field(self):
        for at, value, words in ((20, 40, "cluster size"), (4, 9, "version"), (36, 0x7fffffff, "L1"),
                                 (40, 0x1234, "L1"), (56, 0x7fffffff, "eference count table"),
                                 (60, 0x7fffffff, "napshot"), (96, 9, "width")):
            with self.subTest(at=at):
                run(QEMU, "create", "-q", "-f", "qcow2", self.img, "64M")
                with open(self.img, "r+b") as f:
                    f.seek(at)
                    f.write(value.to_bytes(8 if at == 40 else 4, "big"))
                self.assertIn(words, run(RHEA, "info", "-f", "qcow2", self.img, status=(1,)))


@unittest.skipUnless(os.path.exists(RHEA_IO), f"SKIPPED: there is no {RHEA_IO}")
@unittest.skipUnless(QEMU_IO, "SKIPPED: qemu-io is not installed (qemu-utils)")
class Events(unittest.TestCase):
    """What a blkdebug filter below is told: the same as of QEMU's driver."""

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def run_io(self, program, rules, commands, full=True, snapshot=False):
        """What the tool says of @commands on a fresh image, without its own name and times."""
        if os.path.exists(self.path("x.qcow2")):
            os.unlink(self.path("x.qcow2"))
        run(RHEA, "create", "-q", "-f", "qcow2", self.path("x.qcow2"), "1M")
        if full:
            run(QEMU_IO, "-c", "write -q 0 1M", self.path("x.qcow2"))
        if snapshot:
            run(QEMU, "snapshot", "-c", "s", self.path("x.qcow2"))
        with open(self.path("rules"), "w", encoding="ascii") as f:
            for kind, keys in rules:
                f.write(f"[{kind}]\n" + "".join(f'{k} = "{v}"\n' for k, v in keys.items()))
        args = [a for c in commands for a in ("-c", c)]
        p = subprocess.run([program, "-f", "qcow2", *args, f"blkdebug:{self.path('rules')}:{self.path('x.qcow2')}"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 * emu.SLOW, check=False)
        return [line.split(": ", 1)[-1] if line.startswith(("qemu-io:", "rhea-io:")) else line for line in p.stdout.splitlines()
                if "blkdebug:" in line or "ailed" in line]

    def test_errors_come_where_qemu_has_them(self):
        cases = [("l2_load", ["read 512k 4k"], {}), ("read_aio", ["read 512k 4k"], {}), ("write_aio", ["write 4k 4k"], {}),
                 ("write_aio", ["write 4k 4k"], {"full": False}), ("cluster_alloc", ["write 4k 4k"], {"full": False}),
                 ("refblock_load", ["write 4k 4k"], {"full": False}), ("l2_alloc_write", ["write 4k 4k"], {"full": False}),
                 ("l2_alloc_cow_read", ["write 4k 4k"], {"snapshot": True}), ("cow_read", ["write 4k 4k"], {"snapshot": True}),
                 ("write_compressed", ["write -c 0 64k"], {"full": False}), ("cluster_alloc_bytes", ["write -c 0 64k"], {"full": False}),
                 ("read_compressed", ["write -c 0 64k", "read 0 64k"], {"full": False}),
                 ("vmstate_save", ["write -b 0 4k"], {}), ("l1_grow_write_table", ["truncate 100G"], {})]
        for event, commands, how in cases:
            with self.subTest(event=event, commands=commands):
                rules = [("inject-error", {"event": event, "errno": 28 if "cow" in event else 5, "once": "on"})]
                got = self.run_io(RHEA_IO, rules, commands, **how)
                self.assertTrue(got, "nothing failed")
                self.assertEqual(self.without_close(got), self.without_close(self.run_io(QEMU_IO, rules, commands, **how)))

    @staticmethod
    def without_close(lines):
        """Metadata is written at other times than QEMU's: what fails at the end is not compared."""
        return [line for line in lines if "could not write back" not in line and "qcow2_free_clusters" not in line]

    def test_events_of_the_inside_change_the_state(self):
        rules = [("set-state", {"event": "l2_load", "state": 1, "new_state": 2}),
                 ("inject-error", {"event": "read_aio", "state": 2, "errno": 5, "once": "on"})]
        commands = ["read -q 0 4k", "read -q 4k 4k", "read -q 8k 4k"]
        got = self.run_io(RHEA_IO, rules, commands)
        self.assertEqual(got, ["read failed: Input/output error"])
        self.assertEqual(got, self.run_io(QEMU_IO, rules, commands))

    def test_requests_stop_in_the_middle_of_the_format(self):
        for event, how in (("cow_read", {"snapshot": True}), ("write_aio", {}), ("l2_load", {}), ("cluster_alloc", {"full": False})):
            with self.subTest(event=event):
                commands = [f"break {event} A", "aio_write -q -P 1 4k 4k", "wait_break A", "resume A", "aio_flush",
                            "read -q -P 1 4k 4k"]
                got = self.run_io(RHEA_IO, [], commands, **how)
                self.assertEqual(got, ["blkdebug: Suspended request 'A'", "blkdebug: Resuming request 'A'"])
                self.assertEqual(got, self.run_io(QEMU_IO, [], commands, **how))

    def test_a_suspended_write_is_not_there_yet(self):
        """Others go on meanwhile."""
        commands = ["break write_aio A", "aio_write -q -P 1 64k 64k", "wait_break A", "aio_read -q -P 205 128k 64k", "aio_write -q -P 2 256k 64k",
                    "resume A", "aio_flush", "read -q -P 1 64k 64k", "read -q -P 2 256k 64k"]
        for program in (RHEA_IO, QEMU_IO):
            self.assertEqual(self.run_io(program, [], commands), ["blkdebug: Suspended request 'A'", "blkdebug: Resuming request 'A'"])


@unittest.skipUnless(os.path.exists(RHEA), f"SKIPPED: there is no {RHEA}")
class Running(unittest.TestCase):
    """Images in a machine.  RHEA=/usr/bin/qemu-system-x86_64 shows that QEMU does the same."""

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.img = os.path.join(self.dir.name, "x.qcow2")
        self.src = os.path.join(self.dir.name, "src.raw")
        with open(self.src, "wb") as f:
            f.write(b"x" * (1 << 20))

    def overlapping_image(self):
        """The cluster of guest offset 0 is where the L1 table is."""
        run(RHEA, "create", "-q", "-f", "qcow2", self.img, "1M")
        run(RHEA, "bench", "-w", "-c", "1", "-s", "65536", "-f", "qcow2", self.img)
        with open(self.img, "r+b") as f:
            f.seek(40)
            l1 = struct.unpack(">Q", f.read(8))[0]
            f.seek(l1)
            l2 = struct.unpack(">Q", f.read(8))[0] & 0xfffffffffffe00
            f.seek(l2)
            f.write(struct.pack(">Q", 1 << 63 | l1))
        return l1

    def copy_to(self, c, node):
        c.ask("blockdev-add", driver="raw", node_name="src", file={"driver": "file", "filename": self.src})
        c.ask("blockdev-backup", job_id="j", device="src", target=node, sync="full")

    def test_a_corrupt_image_is_told(self):
        l1 = self.overlapping_image()
        with qmp.Machine() as m, m.client() as c:
            c.ask("blockdev-add", driver="qcow2", node_name="bad", file={"driver": "file", "filename": self.img})
            self.copy_to(c, "bad")
            data = c.event("BLOCK_IMAGE_CORRUPTED")["data"]
            msg = "Preventing invalid write on metadata (overlaps with active L1 table)"
            self.assertEqual({**data, "size": 0}, {"device": "", "node-name": "bad", "msg": msg, "offset": l1, "size": 0, "fatal": True})
            self.assertGreater(data["size"], 0)
            self.assertTrue(c.event("BLOCK_JOB_COMPLETED")["data"]["error"])
        with open(self.img, "rb") as f:
            f.seek(72)
            self.assertEqual(struct.unpack(">Q", f.read(8))[0] & 2, 2)


if __name__ == "__main__":
    unittest.main()
