# SPDX-License-Identifier: GPL-2.0-or-later
"""Image tools for tests: ours (RHEA_BUILD/rhea-img, rhea-io) and, where installed, QEMU's as the reference."""
import os
import random
import shutil
import subprocess
import tempfile
import unittest

import emu

OURS = {"qemu-img": os.path.join(emu.BUILD, "rhea-img"), "qemu-io": os.path.join(emu.BUILD, "rhea-io")}
REFERENCE = {name: shutil.which(name, path="/usr/bin:/usr/local/bin:/bin") for name in OURS}


def need(*names):
    """Skip where one of our tools has not been built."""
    for name in names or OURS:
        if not os.path.exists(OURS[name]):
            raise unittest.SkipTest(f"there is no {OURS[name]} (make builds it)")


def need_reference():
    for name, path in REFERENCE.items():
        if not path:
            raise unittest.SkipTest(f"{name} of QEMU is not installed (apt-get install qemu-utils): nothing to compare with")
        text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        if " 7.2." not in text:
            raise unittest.SkipTest(f"the reference is QEMU 7.2; {path} is: {text.splitlines()[0] if text else '?'}")


def tool(name):
    """The path of one of our programs."""
    path = os.path.join(emu.BUILD, name)
    if not os.access(path, os.X_OK):
        raise unittest.SkipTest(f"there is no {path}")
    return path


def need_programs(*programs):
    for p in programs:
        if not shutil.which(p):
            raise unittest.SkipTest(f"{p} is not installed")


def call(*args, ok=True, stdin=None, timeout=60):
    """Output of a program that must end well (or, with ok=False, badly but not by a signal)."""
    p = subprocess.run(args, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout * emu.SLOW, check=False)
    text = p.stdout.decode(errors="replace")
    if (ok and p.returncode != 0) or (not ok and p.returncode <= 0):
        raise AssertionError(f"{' '.join(args)} ended with {p.returncode}:\n{text}")
    return text


class Case(unittest.TestCase):
    """A folder of its own, where both tools are called qemu-img and qemu-io."""

    def setUp(self):
        need()
        self.dir = tempfile.mkdtemp(prefix="rhea-img-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.bin = os.path.join(self.dir, "bin")
        os.mkdir(self.bin)
        os.chmod(self.dir, 0o755)
        for name, path in OURS.items():
            os.symlink(path, os.path.join(self.bin, name))
        self.work = os.path.join(self.dir, "work")
        os.mkdir(self.work)

    def path(self, name):
        return os.path.join(self.work, name)

    def run_tool(self, tool, *args, cwd=None, timeout=60, user=None):
        """(status, stdout, stderr)"""
        p = subprocess.run([tool, *args], cwd=cwd or self.work, capture_output=True, timeout=timeout * emu.SLOW,
                           stdin=subprocess.DEVNULL, user=user, check=False, env={**os.environ, "TZ": "UTC"})
        return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")

    def img(self, *args, **kw):
        return self.run_tool(os.path.join(self.bin, "qemu-img"), *args, **kw)

    def io(self, *args, **kw):
        return self.run_tool(os.path.join(self.bin, "qemu-io"), *args, **kw)

    def ref_img(self, *args, **kw):
        return self.run_tool(REFERENCE["qemu-img"], *args, **kw)

    def ref_io(self, *args, **kw):
        return self.run_tool(REFERENCE["qemu-io"], *args, **kw)

    def good(self, result):
        """A result that must be a success: its standard output."""
        rc, out, err = result
        self.assertEqual(rc, 0, f"it failed: {err}{out}")
        return out

    def fails(self, result, *words, status=1):
        """A result that must be a failure whose message has all the words."""
        rc, out, err = result
        self.assertEqual(rc, status, f"status {rc}: {out}{err}")
        for word in words:
            self.assertIn(word, err)

    def make_raw(self, name, size, extents, seed=1):
        """A sparse file with random data at [(at, size), ...]."""
        rng = random.Random(seed)
        with open(self.path(name), "wb") as f:
            f.truncate(size)
            for at, length in extents:
                f.seek(at)
                f.write(rng.randbytes(length))
        return self.path(name)

    def digest(self, name):
        with open(self.path(name), "rb") as f:
            return hash(f.read())


class Session:
    """One rhea-io process that takes commands on its standard input."""

    PROMPT = b"qemu-io> "

    def __init__(self, case, *args):
        self.process = subprocess.Popen([os.path.join(case.bin, "qemu-io"), *args], cwd=case.work, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.log = []
        self._until_prompt()

    def _until_prompt(self):
        data = b""
        while not data.endswith(self.PROMPT):
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise AssertionError(f"rhea-io ended: {data.decode(errors='replace')}")
            data += more
        return data[:-len(self.PROMPT)].decode(errors="replace")

    def do(self, command):
        """Run one command: its output."""
        self.log.append(command)
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self._until_prompt()

    def send(self, commands):
        """Commands nobody waits for."""
        self.process.stdin.write("".join(c + "\n" for c in commands).encode())
        self.process.stdin.flush()

    def kill(self):
        """kill -9; what it had said until then."""
        self.process.kill()
        out = self.process.stdout.read()
        self.end()
        return out

    def end(self):
        for f in (self.process.stdin, self.process.stdout):
            try:
                f.close()
            except OSError:
                pass  # it is gone, and what was not sent with it
        self.process.wait()
