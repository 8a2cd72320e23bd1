# SPDX-License-Identifier: GPL-2.0-or-later
"""How rhea-io opens images: -s leaves the file alone, -C keeps what is read; the same with RHEA_IO=/usr/bin/qemu-io."""
import hashlib
import os
import shutil
import tempfile
import unittest

import emu

IO = os.environ.get("RHEA_IO", os.path.join(os.environ.get("RHEA_BUILD", "build"), "rhea-io"))


class Open(unittest.TestCase):
    def setUp(self):
        if not shutil.which("qemu-img"):
            self.skipTest("no qemu-img (package qemu-utils)")
        if not os.access(IO, os.X_OK):
            self.skipTest(f"there is no {IO}")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.base, self.top = os.path.join(folder.name, "base"), os.path.join(folder.name, "top")
        self.tool("qemu-img", "create", "-q", "-f", "qcow2", self.base, "1M")
        self.io(self.base, "write -q -P 7 0 128k")
        self.tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", self.base, "-F", "qcow2", self.top)

    def tool(self, program, *args):
        status, out, err = emu.run(*args, program=program)
        self.assertEqual(status, 0, out + err)
        return out + err

    def io(self, image, *commands, flags=()):
        return self.tool(IO, *flags, "-f", "qcow2", *[a for c in commands for a in ("-c", c)], image)

    def hash(self):
        with open(self.top, "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()

    def test_snapshot(self):
        before = self.hash()
        self.io(self.top, "write -q -P 1 0 64k", "read -q -P 1 0 64k", "read -q -P 7 64k 64k", flags=["-s"])
        self.assertEqual(self.hash(), before)
        self.tool(IO, "-c", f"open -s -o driver=qcow2 {self.top}", "-c", "write -q -P 1 0 64k")
        self.assertEqual(self.hash(), before)

    def test_copy_on_read(self):
        self.io(self.top, "read -q -P 7 0 64k")
        self.assertNotIn(self.top, self.tool("qemu-img", "map", self.top))
        self.io(self.top, "read -q -P 7 0 64k", flags=["-C"])
        self.assertIn(self.top, self.tool("qemu-img", "map", self.top))
        self.tool(IO, "-c", f"open -C -o driver=qcow2 {self.top}", "-c", "read -q -P 7 64k 64k")
        self.assertNotIn(self.base, self.tool("qemu-img", "map", self.top))


if __name__ == "__main__":
    unittest.main()
