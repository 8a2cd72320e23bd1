# SPDX-License-Identifier: GPL-2.0-or-later
"""Every system call on an image made to fail in turn: an error is told, and the image stays consistent.

strace replaces the n-th call of a kind by an error, for n = 1, 2, ... until a run meets no more of them. Only calls on the images
themselves count (-P), but for those that set up the request engine. RHEA_FAULTS_MOST (default 24) caps n.
"""
import os
import shutil
import subprocess
import unittest

import emu
import imgtool

MOST = int(os.environ.get("RHEA_FAULTS_MOST", "24"))
KIB, SECTOR, SIZE = 1 << 10, 512, 4 << 20

# (call, error, may everything still succeed: there is another way)
ON_IMAGES = [("pwritev", "EIO", False), ("pwritev", "ENOSPC", False), ("pwrite64", "EIO", False), ("preadv", "EIO", False),
             ("pread64", "EIO", False), ("fdatasync", "EIO", False), ("ftruncate", "EIO", False), ("fallocate", "EIO", False),
             ("fallocate", "EOPNOTSUPP", True), ("openat", "EMFILE", False), ("openat", "EACCES", False), ("newfstatat", "EIO", False),
             ("lseek", "EINVAL", True), ("fcntl", "EAGAIN", False), ("copy_file_range", "EIO", True), ("unlink", "EPERM", True)]
SET_UP = [("io_uring_setup", "ENOSYS", True), ("eventfd2", "EMFILE", False), ("pipe2", "EMFILE", False)]

# What is done to an image with a backing file: (rhea-io's command, first byte, bytes, value).
STEPS = [("write -q -P 1 0 100k", 0, 100 * KIB, 1), ("write -q -z 1M 200k", 1024 * KIB, 200 * KIB, 0), ("flush", 0, 0, None),
         ("write -q -P 2 3M 64k", 3072 * KIB, 64 * KIB, 2), ("write -q -P 3 33k 5k", 33 * KIB, 5 * KIB, 3), ("flush", 0, 0, None),
         ("write -q -c -P 4 2M 64k", 2048 * KIB, 64 * KIB, 4), ("discard -q 64k 64k", 64 * KIB, 64 * KIB, 0), ("flush", 0, 0, None),
         ("write -q -f -P 5 500k 100k", 500 * KIB, 100 * KIB, 5)]


@unittest.skipUnless(shutil.which("strace"), "strace is not installed: it makes the system calls fail")
class SyscallFaults(imgtool.Case):
    def setUp(self):
        super().setUp()
        self.good(self.img("create", "-q", "-f", "qcow2", "base.qcow2", str(SIZE)))
        self.good(self.io("-c", f"write -q -P 9 0 {SIZE}", "base.qcow2"))
        rc, _, err = self.run_tool("strace", "-qq", "-o", self.path("log"), "-e", "inject=openat:error=EIO:when=9999", "true")
        if rc:
            self.skipTest(f"strace cannot be used here: {err.strip()}")

    def traced(self, call, error, n, where, *command, stdin=b""):
        """Run with the n-th such call failing: (status, stdout, stderr, was it met)."""
        on = [w for name in where for w in ("-P", self.path(name))]
        p = subprocess.run(["strace", "-f", "-qq", "-o", self.path("log"), *on, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={n}",
                            *command], input=stdin, capture_output=True, cwd=self.work, timeout=120 * emu.SLOW, check=False)
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            log = f.read()
        self.assertNotIn("+++ killed by", log)
        self.assertIn(p.returncode, (0, 1), p.stderr)
        return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace"), "(INJECTED)" in log

    def each(self, where, once):
        """once(call, error, n, where) -> was it met; for all calls and n. At least some kinds must have been met."""
        met = set()
        for calls, files in ((ON_IMAGES, where), (SET_UP, [])):
            for call, error, may_succeed in calls:
                for n in range(1, MOST + 1):
                    with self.subTest(call=call, error=error, n=n):
                        if not once(call, error, n, files, may_succeed):
                            break
                        met.add(call)
        self.assertLessEqual({"pwritev", "openat", "fdatasync"}, met)

    def check(self, name):
        rc, out, err = self.img("check", name)
        self.assertIn(rc, (0, 3), f"{name}: {out}{err}")

    def writes(self, layout):
        io = os.path.join(self.bin, "qemu-io")

        def once(call, error, n, where, may_succeed):
            self.good(self.img("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "-o", layout, "a.qcow2", str(SIZE)))
            rc, out, err, met = self.traced(call, error, n, where, io, self.path("a.qcow2"), stdin="".join(s[0] + "\n" for s in STEPS).encode())
            answers = out.split("qemu-io> ")[1:len(STEPS) + 1]
            values = [{9} for _ in range(SIZE // SECTOR)]
            failed = len(answers) < len(STEPS)
            self.assertEqual(bool(err) and not answers, failed, f"{err} {answers}")
            for (_, at, size, value), answer in zip(STEPS, answers):
                bad = answer.strip() != "" and "QEMU" not in answer
                failed = failed or bad
                for s in range(at // SECTOR, (at + size) // SECTOR):
                    values[s].add(value)
                    if not bad and not failed:
                        values[s] = {value}  # all went well up to here: nothing but this may be there
            if met and not may_succeed and not failed and rc == 0 and not err:
                # A last flush or the locks at the end may fail: that must not go by without a word.
                self.assertNotIn(call, ("pwritev", "pwrite64", "fdatasync"), "the failure was not told")
            if "lazy" in layout:
                self.good(self.io("-c", "read -q 0 512", "a.qcow2"))  # opening for writing mends the counts
            self.check("a.qcow2")
            self.good(self.img("convert", "-O", "raw", "a.qcow2", "flat.raw"))
            with open(self.path("flat.raw"), "rb") as f:
                data = f.read()
            for s, may in enumerate(values):
                sector = data[s * SECTOR:(s + 1) * SECTOR]
                # A discarded cluster may read as what was there before.
                allowed = may | {1} if 64 * KIB <= s * SECTOR < 128 * KIB else may
                self.assertTrue(sector[0] in allowed and sector == sector[:1] * SECTOR, f"sector {s}: {sector[:2].hex()}, allowed {allowed}")
            return met

        self.each(["a.qcow2"], once)

    def test_writes_to_an_overlay(self):
        self.writes("cluster_size=64k")

    def test_writes_to_an_overlay_with_subclusters(self):
        self.writes("cluster_size=64k,extended_l2=on,lazy_refcounts=on")

    def tool(self, prepare, command, files, verify):
        """A command of rhea-img either succeeds with the right result, or says why not and leaves consistent images."""
        img = os.path.join(self.bin, "qemu-img")
        command = [self.path(word) if word.endswith(".qcow2") else word for word in command]  # -P knows full names

        def once(call, error, n, where, _):
            prepare()
            rc, out, err, met = self.traced(call, error, n, where, img, *command)
            if rc:
                self.assertIn("qemu-img:", err, f"a failure without a message: {out}")
            verify(rc == 0)
            return met

        self.each(files, once)

    def overlay(self):
        self.good(self.img("create", "-q", "-f", "qcow2", "base2.qcow2", "1M"))
        self.good(self.io("-c", "write -q -P 7 0 1M", "base2.qcow2"))
        self.good(self.img("create", "-q", "-f", "qcow2", "-b", "base2.qcow2", "-F", "qcow2", "a.qcow2", "1M"))
        self.good(self.io("-c", "write -q -P 8 256k 300k", "a.qcow2"))

    def is_whole(self, name):
        return all(self.io("-r", "-c", f"read -q -P {v} {at}k {n}k", name)[1] == "" for v, at, n in ((7, 0, 256), (8, 256, 300), (7, 556, 468)))

    def test_convert(self):
        def verify(good):
            self.check("a.qcow2")
            self.assertTrue(self.is_whole("a.qcow2"), "the source was changed")
            if good:
                self.check("b.qcow2")
                self.assertTrue(self.is_whole("b.qcow2"), "success, but the target differs")

        def prepare():
            for name in ("b.qcow2",):
                if os.path.exists(self.path(name)):
                    os.unlink(self.path(name))

        self.overlay()
        self.tool(prepare, ("convert", "-O", "qcow2", "a.qcow2", "b.qcow2"), ["a.qcow2", "b.qcow2", "base2.qcow2"], verify)

    def test_commit(self):
        def verify(good):
            self.check("base2.qcow2")
            self.check("a.qcow2")
            self.assertTrue(self.is_whole("a.qcow2"), "what the overlay shows has changed")
            if good:
                self.assertTrue(self.is_whole("base2.qcow2"), "success, but the backing file differs")

        self.tool(self.overlay, ("commit", "-q", "a.qcow2"), ["a.qcow2", "base2.qcow2"], verify)

    def test_snapshot(self):
        def verify(good):
            self.check("a.qcow2")
            self.assertTrue(self.is_whole("a.qcow2"))
            listed = "one" in self.good(self.img("snapshot", "-l", "a.qcow2"))
            if good:
                self.assertTrue(listed, "success, but there is no snapshot")

        self.tool(self.overlay, ("snapshot", "-c", "one", "a.qcow2"), ["a.qcow2"], verify)

    def test_resize(self):
        def verify(_):
            self.check("a.qcow2")
            self.assertTrue(self.is_whole("a.qcow2"))

        self.tool(self.overlay, ("resize", "-q", "a.qcow2", "3G"), ["a.qcow2"], verify)


if __name__ == "__main__":
    unittest.main()
