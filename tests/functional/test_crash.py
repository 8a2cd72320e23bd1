# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of a process that writes to an image: what was flushed is there, and check finds no corruption.

RHEA_CRASHES (default 50; nightly 1000) crashes; RHEA_CRASH_SEED chooses the first seed. A crash leaves the host's cache
alone, so this is about the order in which we change a file, not about the storage below it.
"""
import os
import random
import time
import unittest

import imgtool

CRASHES = int(os.environ.get("RHEA_CRASHES", "50"))
FIRST = int(os.environ.get("RHEA_CRASH_SEED", "1"))
BLOCK, SECTOR, BLOCKS = 4096, 512, 1024
MIB = 1 << 20

LAYOUTS = ["cluster_size=64k", "cluster_size=4k", "cluster_size=512", "cluster_size=64k,extended_l2=on", "cluster_size=64k,lazy_refcounts=on",
           "cluster_size=4k,compat=0.10", "cluster_size=64k,preallocation=metadata"]


class Crash(imgtool.Case):
    def commands(self, rng):
        """[(command, [(block, value), ...] or "flush"), ...]"""
        out = []
        for _ in range(rng.randrange(20, 400)):
            first = rng.randrange(BLOCKS)
            n = min(rng.choice([1, 1, 1, 2, 16, 40]), BLOCKS - first)
            where = f"{first * BLOCK} {n * BLOCK}"
            value = rng.randrange(1, 256)
            kind = rng.random()
            if kind < 0.12:
                out.append((rng.choice(["flush", "aio_flush"]), "flush"))
                if out[-1][0] == "aio_flush":
                    out.append(("flush", "flush"))
                continue
            if kind < 0.25:
                command, value = f"write -q -z {rng.choice(['', '-u '])}{where}", 0
            else:
                command = f"{rng.choice(['write', 'aio_write'])} -q -P {value} {where}"
            out.append((command, [(first + i, value) for i in range(n)]))
        return out

    def allowed(self, commands, finished, base):
        """For each block the values it may have when the first @finished commands are known to be done."""
        last_flush, after_aio = 0, 0
        for i, (command, effect) in enumerate(commands[:finished]):
            if command == "aio_flush":
                after_aio = i
            if effect == "flush" and command == "flush":
                last_flush = i
        values = [{base(b)} for b in range(BLOCKS)]
        for i, (command, effect) in enumerate(commands):
            if effect == "flush":
                continue
            # Requests in flight at a flush are not its business: an aio_write counts when it was waited for.
            settled = i < last_flush and (not command.startswith("aio") or i < after_aio <= last_flush)
            for block, value in effect:
                values[block] = {value} if settled and not self.racing(commands, i, block) else values[block] | {value}
        return values

    @staticmethod
    def racing(commands, i, block):
        """Was an earlier aio_write to the same block perhaps still in flight?"""
        for command, effect in reversed(commands[:i]):
            if command == "aio_flush":
                return False
            if command.startswith("aio") and any(b == block for b, _ in effect):
                return True
        return False

    def crash(self, seed):
        rng = random.Random(seed)
        layout = rng.choice(LAYOUTS)
        overlay = rng.random() < 0.5 and "preallocation" not in layout and "=512" not in layout  # a name does not fit there
        backing = ["-b", "base.qcow2", "-F", "qcow2"] if overlay else []
        if overlay:
            self.good(self.img("create", "-q", "-f", "qcow2", "base.qcow2", str(BLOCKS * BLOCK)))
            self.good(self.io("-c", f"write -q -P 255 0 {BLOCKS * BLOCK // 2}", "base.qcow2"))
        self.good(self.img("create", "-q", "-f", "qcow2", "-o", layout, *backing, "a.qcow2", str(BLOCKS * BLOCK)))
        commands = self.commands(rng)
        session = imgtool.Session(self, "-f", "qcow2", "a.qcow2")
        session.send([c for c, _ in commands])
        time.sleep(rng.choice([0, 0.001, 0.005, 0.02, 0.05]) * rng.random() * 2)
        out = session.kill()
        finished = out.count(imgtool.Session.PROMPT)
        values = self.allowed(commands, finished, lambda b: 255 if overlay and b < BLOCKS // 2 else 0)
        if "lazy" not in layout:  # those are repaired when they are opened for writing
            rc, text, err = self.img("check", "a.qcow2")
            self.assertIn(rc, (0, 3), f"{layout}: {text}{err}")
        self.good(self.io("-c", "read -q 0 512", "a.qcow2"))
        rc, text, err = self.img("check", "a.qcow2")
        self.assertIn(rc, (0, 3), f"{layout}: {text}{err}")
        self.good(self.img("convert", "-O", "raw", "a.qcow2", "flat.raw"))
        with open(self.path("flat.raw"), "rb") as f:
            data = f.read()
        for block, may in enumerate(values):
            for at in range(block * BLOCK, (block + 1) * BLOCK, SECTOR):
                sector = data[at:at + SECTOR]
                if sector[0] not in may or sector != sector[:1] * SECTOR:
                    self.fail(f"{layout}: block {block} has {sector[:4].hex()}... instead of one of {sorted(may)}; {finished} of "
                              f"{len(commands)} commands were done")
        return finished

    def test_flushed_data_survives(self):
        done = 0
        for seed in range(FIRST, FIRST + CRASHES):
            with self.subTest(RHEA_CRASH_SEED=seed):
                done += self.crash(seed)
        self.assertGreater(done, 0, "no command was ever done before the end: nothing has been tested")

    def test_conversion_can_be_repeated(self):
        """A convert that is killed leaves its source alone, and the next one succeeds."""
        self.make_raw("a.raw", 64 * MIB, [(0, 64 * MIB)])
        before = self.digest("a.raw")
        for delay in (0, 0.01, 0.03):
            session = imgtool.subprocess.Popen([os.path.join(self.bin, "qemu-img"), "convert", "-f", "raw", "-O", "qcow2", "a.raw", "b.qcow2"],
                                               cwd=self.work)
            time.sleep(delay)
            session.kill()
            session.wait()
        self.good(self.img("convert", "-f", "raw", "-O", "qcow2", "a.raw", "b.qcow2"))
        self.good(self.img("check", "b.qcow2"))
        self.assertEqual(self.digest("a.raw"), before)
        self.good(self.img("compare", "-f", "raw", "-F", "qcow2", "a.raw", "b.qcow2"))


if __name__ == "__main__":
    unittest.main()
