# SPDX-License-Identifier: GPL-2.0-or-later
"""Random operations on chains of one to five qcow2 images, against a model that is an array of bytes.

One rhea-io process does all requests; contents are compared after each reopen. RHEA_MODEL_OPS (default 150) operations for each of
RHEA_MODEL_SEEDS (default 4) chains; RHEA_MODEL_SEED chooses the first seed. A failure names the seed and ends with the last commands.
"""
import os
import random
import unittest

import imgtool

OPS = int(os.environ.get("RHEA_MODEL_OPS", "150"))
SEEDS = int(os.environ.get("RHEA_MODEL_SEEDS", "4"))
FIRST = int(os.environ.get("RHEA_MODEL_SEED", "1"))
KIB, MIB = 1 << 10, 1 << 20

LAYOUTS = ["cluster_size=64k", "cluster_size=4k", "cluster_size=512", "cluster_size=64k,extended_l2=on", "cluster_size=64k,lazy_refcounts=on",
           "cluster_size=4k,compat=0.10", "cluster_size=8k,refcount_bits=64", "cluster_size=1M,refcount_bits=1", "cluster_size=16k,extended_l2=on",
           "cluster_size=64k,compression_type=zstd"]


def cluster_of(layout):
    text = layout.split("cluster_size=")[1].split(",")[0]
    return int(text.rstrip("kM")) * {"k": KIB, "M": MIB}.get(text[-1], 1)


class Model(imgtool.Case):
    def setUp(self):
        super().setUp()
        self.session = None
        self.addCleanup(lambda: self.session and self.session.kill())

    def start(self, seed):
        self.rng = random.Random(seed)
        self.size = self.rng.choice([MIB, 2 * MIB + 512, 3 * MIB + 4096])
        self.data = bytearray(self.size)
        self.maybe_zero = []  # discarded ranges: each byte is as before or zero
        self.chain = []
        self.value = 0
        self.session = imgtool.Session(self)
        self.new_layer()

    def new_layer(self):
        """An image on top; the session has none open before, and this one after."""
        self.layout = self.rng.choice([s for s in LAYOUTS if not self.chain or "=512" not in s])  # a name does not fit there
        name = f"image{len(self.chain)}.qcow2"
        backing = ["-b", self.chain[-1], "-F", "qcow2"] if self.chain else []
        self.good(self.img("create", "-q", "-f", "qcow2", "-o", self.layout, *backing, name, str(self.size)))
        self.chain.append(name)
        self.session.do("close")
        self.open()

    def open(self):
        mode = self.rng.choice(["", "-t writethrough ", "-n ", "-d off "])
        out = self.session.do(f"open {mode}-o driver=qcow2 {self.chain[-1]}")
        self.assertEqual(out, "")

    def ok(self, command):
        self.assertEqual(self.session.do(command), "", command)

    def range(self, most=300 * KIB):
        size = self.rng.choice([512, 4096, self.rng.randrange(1, 5000), self.rng.randrange(1, most), cluster_of(self.layout)])
        size = min(size, self.size)
        at = self.rng.randrange(self.size - size + 1)
        if self.rng.random() < 0.5:
            at -= at % 512
        return at, size

    def put(self, at, size, value):
        self.data[at:at + size] = bytes([value]) * size
        self.maybe_zero = [piece for a, n in self.maybe_zero for piece in ((a, min(n, at - a)), (max(a, at + size), a + n - max(a, at + size)))
                           if piece[1] > 0 and (piece[0] + piece[1] <= at or piece[0] >= at + size)]

    def next_value(self):
        self.value = self.value % 255 + 1
        return self.value

    # --- operations ---

    def op_write(self):
        at, size = self.range()
        value = self.next_value()
        self.ok(f"write -q {self.rng.choice(['', '-f '])}-P {value} {at} {size}")
        self.put(at, size, value)

    def op_zero(self):
        at, size = self.range()
        self.ok(f"write -q -z {self.rng.choice(['', '-u ', '-f '])}{at} {size}")
        self.put(at, size, 0)

    def op_discard(self):
        at, size = self.range()
        self.ok(f"discard -q {at} {size}")
        self.maybe_zero.append((at, size))

    def op_compress(self):
        cluster = cluster_of(self.layout)
        if "compat=0.10" in self.layout and cluster < 4096 or self.size < cluster:
            return
        at = self.rng.randrange(self.size // cluster) * cluster
        value = self.next_value()
        self.ok(f"write -q -c -P {value} {at} {cluster}")
        self.put(at, cluster, value)

    def op_parallel(self):
        """Several at a time that do not overlap, but share clusters."""
        at, done = self.rng.randrange(self.size // 2), []
        for _ in range(self.rng.randrange(2, 12)):
            size = self.rng.randrange(1, 20 * KIB)
            if at + size > self.size:
                break
            done.append((at, size, self.next_value()))
            at += size + self.rng.choice([0, 0, 512, 70 * KIB])
        self.rng.shuffle(done)
        for at, size, value in done:
            self.ok(f"aio_write -q -P {value} {at} {size}")
            self.put(at, size, value)
        self.ok("aio_flush")

    def op_read(self):
        at, size = self.range(600)
        out = self.session.do(f"read -v {at} {min(size, 600)}")
        got = bytearray()
        for line in out.splitlines():
            head, colon, rest = line.partition(":  ")
            if colon and len(head) >= 8:
                got += bytes.fromhex(rest.split("  ")[0])
        self.compare(bytes(got), at, "read")

    def op_flush(self):
        self.ok("flush")

    def op_resize(self):
        size = max(64 * KIB, self.size + self.rng.choice([-1, 1]) * self.rng.randrange(1, 600) * 512)
        if size > self.size and "compat=0.10" in self.layout and len(self.chain) > 1:
            return  # it has no zero clusters to hide what the backing file may have there
        self.ok(f"truncate {size}")
        if size < self.size:
            del self.data[size:]
            self.maybe_zero = [(a, min(n, size - a)) for a, n in self.maybe_zero if a < size]
        self.data += bytes(max(0, size - self.size))
        self.size = size

    def op_layer(self):
        if len(self.chain) < 5:
            self.verify()
            self.new_layer()

    def op_reopen(self):
        self.verify()
        self.open()

    # --- comparing ---

    def compare(self, got, at, what):
        want = self.data[at:at + len(got)]
        if got != want:
            may = bytearray(len(got))
            for a, n in self.maybe_zero:
                lo, hi = max(a, at) - at, min(a + n, at + len(got)) - at
                if lo < hi:
                    may[lo:hi] = b"\1" * (hi - lo)
            for i, (g, w) in enumerate(zip(got, want)):
                if g != w and not (may[i] and g == 0):
                    self.fail(f"{what}: byte {at + i} is {g:#x} instead of {w:#x}; {self.chain} {self.layout}")
        self.data[at:at + len(got)] = got

    def verify(self):
        """Close, compare all, check all; what a discard left is known then."""
        self.session.do("close")
        self.good(self.img("convert", "-q", "-f", "qcow2", "-O", "raw", self.chain[-1], "flat.raw"))
        with open(self.path("flat.raw"), "rb") as f:
            got = f.read()
        self.assertEqual(len(got), self.size)
        self.compare(got, 0, "convert")
        self.maybe_zero = []
        self.good(self.img("check", "-q", self.chain[-1]))
        if imgtool.REFERENCE["qemu-img"]:
            self.good(self.ref_img("check", self.chain[-1]))
            self.good(self.ref_img("compare", "-f", "qcow2", "-F", "raw", self.chain[-1], "flat.raw"))

    def run_seed(self, seed):
        operations = [self.op_write] * 6 + [self.op_zero] * 2 + [self.op_discard, self.op_compress] + [self.op_parallel] * 2 + \
            [self.op_read] * 3 + [self.op_flush, self.op_resize] + [self.op_layer, self.op_reopen]
        self.start(seed)
        for _ in range(OPS):
            self.rng.choice(operations)()
        self.verify()

    def test_random_operations(self):
        for seed in range(FIRST, FIRST + SEEDS):
            with self.subTest(seed=seed):
                try:
                    self.run_seed(seed)
                except AssertionError as e:
                    raise AssertionError(f"RHEA_MODEL_SEED={seed}: {e}\nlast commands:\n" + "\n".join(self.session.log[-12:])) from None
                finally:
                    self.session.kill()
                    self.session = None
                    for name in os.listdir(self.work):
                        os.unlink(self.path(name))


if __name__ == "__main__":
    unittest.main()
