#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qcow2 images against qemu-img: each reads, checks and changes what the other made."""

import os
import random
import shutil
import subprocess
import tempfile
import unittest

RHEA = os.path.join(os.environ.get("RHEA_BUILD", "build"), "rhea-img")
QEMU = shutil.which("qemu-img")
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


if __name__ == "__main__":
    unittest.main()
