# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian kernels boot to a shell, do some work there and power off.  BOOT_TIMES repeats each boot (1)."""
import hashlib
import os
import unittest

import emu

TIMES = int(os.environ.get("BOOT_TIMES", "1"))
KERNELS = {"cloud": "x86_64/vmlinuz-cloud", "amd64": "x86_64/vmlinuz", "686": "i386/vmlinuz"}


class Boot(unittest.TestCase):
    def start(self, kernel, *args, append=""):
        path = emu.guest(KERNELS[kernel])
        initrd = emu.guest(os.path.dirname(KERNELS[kernel]) + "/initrd.cpio")
        return emu.Emu("-m", "512", "-nographic", "-no-reboot", "-kernel", path, "-initrd", initrd,
                       "-append", f"console=ttyS0 {append}", *args)

    def work(self, e, cpus):
        e.expect(r"GUEST-READY \S+ \S+ cpus=%d" % cpus, 180)
        e.expect(emu.PROMPT, 60)
        # the kernel may say something in between: look for the answer, not at the whole
        self.assertIn("42", e.shell("echo $((6 * 7))"))
        self.assertIn(hashlib.sha256(b"".join(b"%d\n" % i for i in range(1, 20001))).hexdigest(),
                      e.shell("seq 1 20000 | sha256sum", 120))
        e.send("poweroff -f\n")
        self.assertEqual(e.wait(60), 0)

    def boot(self, kernel, cpus):
        for n in range(TIMES):
            with self.subTest(kernel=kernel, cpus=cpus, n=n), self.start(kernel, "-smp", str(cpus)) as e:
                self.work(e, cpus)

    def test_reboot_comes_back(self):
        path, initrd = emu.guest(KERNELS["cloud"]), emu.guest("x86_64/initrd.cpio")
        with emu.Emu("-m", "512", "-nographic", "-kernel", path, "-initrd", initrd, "-append", "console=ttyS0 quiet") as e:
            e.expect("GUEST-READY", 180)
            e.expect(emu.PROMPT, 60)
            e.send("reboot -f\n")
            self.work(e, 1)

    def test_no_reboot_ends_it(self):
        with self.start("cloud", append="quiet reboot") as e:
            e.expect("GUEST-DONE", 180)
            self.assertEqual(e.wait(60), 0)

    def test_64_bit_entry(self):
        with self.start("cloud", "-M", "pc,x-entry64=on", append="quiet") as e:
            self.work(e, 1)

    def test_without_acpi(self):
        with self.start("cloud", "-M", "pc,acpi=off", append="quiet") as e:
            e.expect("GUEST-READY", 180)


def add_boots():
    for kernel in KERNELS:
        for cpus in (1, 2, 4):
            setattr(Boot, f"test_{kernel}_smp_{cpus}", lambda self, k=kernel, n=cpus: self.boot(k, n))


add_boots()

if __name__ == "__main__":
    unittest.main()
