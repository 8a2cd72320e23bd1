# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting rhea and talking to its guests: what every functional test uses.

Environment: RHEA_BUILD (the build folder, default build), RHEA (the program, default $RHEA_BUILD/rhea),
RHEA_GUESTS (folder of tools/fetch-guest, default $RHEA_BUILD/guests), RHEA_ARGS (arguments for every
machine), RHEA_SLOW (factor for all timeouts; default 1, more where several times more runs than there are processors).
"""
import os
import re
import select
import shlex
import subprocess
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("RHEA_BUILD", os.path.join(TOP, "build")))
RHEA = os.path.abspath(os.environ.get("RHEA", os.path.join(BUILD, "rhea")))
GUESTS = os.path.abspath(os.environ.get("RHEA_GUESTS", os.path.join(BUILD, "guests")))
EXTRA = shlex.split(os.environ.get("RHEA_ARGS", ""))
SLOW = float(os.environ.get("RHEA_SLOW") or min(5, max(1, os.getloadavg()[0] / os.cpu_count())))
PROMPT = r"# (\x1b\[6n)?$"  # busybox may ask the terminal where its cursor is


def guest(path):
    """A guest's file, or skip the test."""
    full = os.path.join(GUESTS, path)
    if not os.path.exists(full):
        raise unittest.SkipTest(f"no {full} (tools/fetch-guest makes it)")
    return full


def run(*args, stdin=b"", timeout=60, program=None, cwd=None):
    """Run to the end: (status, stdout, stderr) as text."""
    p = subprocess.run([program or RHEA, *args], input=stdin, capture_output=True, timeout=timeout * SLOW, cwd=cwd)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


def poll(condition, what, timeout=60):
    """Wait until condition() is true."""
    deadline = time.monotonic() + timeout * SLOW
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout * SLOW:.0f} s")
        time.sleep(0.02)


def catches(pid, number):
    """Has this process a handler for that signal?"""
    with open(f"/proc/{pid}/status") as f:
        mask = next(line.split()[1] for line in f if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


class Failure(AssertionError):
    """What was expected, and the end of what came instead."""

    def __init__(self, what, console):
        tail = "\n".join(console.splitlines()[-25:])
        super().__init__(f"{what}; the console ends with:\n{tail}")


class Emu:
    """One running machine; its serial port is our pipe pair."""

    def __init__(self, *args, program=None, extra=True):
        command = [program or RHEA, *(EXTRA if extra else []), *args]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.console = ""  # all that came
        self.at = 0        # how much of it expect() has passed

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _read(self, deadline):
        """Wait for more; False at the end or when time is over."""
        out = self.process.stdout
        ready, _, _ = select.select([out], [], [], max(0, deadline - time.monotonic()))
        data = os.read(out.fileno(), 65536) if ready else b""
        self.console += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, timeout=60):
        """Wait until the pattern appears after the last one; returns the match."""
        deadline = time.monotonic() + timeout * SLOW
        wanted = re.compile(pattern)
        while True:
            found = wanted.search(self.console, self.at)
            if found:
                self.at = found.end()
                return found
            if "Kernel panic" in self.console:
                raise Failure(f"expected {pattern!r}, but the guest's kernel panicked", self.console)
            if not self._read(deadline):
                found = wanted.search(self.console, self.at)
                if found:
                    continue
                why = "time is over" if time.monotonic() >= deadline else "it ended"
                raise Failure(f"expected {pattern!r}, but {why}", self.console)

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def shell(self, command, timeout=60):
        """Run a command in the guest's shell, which waits for one, and until it does again: its output."""
        self.send(f"{command}; echo END-''MARK\n")
        start = self.at
        found = self.expect(r"END-MARK\r?\n", timeout)
        text = self.console[start:found.start()].replace("\r", "")
        self.expect(PROMPT, timeout)
        return text.rpartition("END-''MARK\n")[2]  # behind the echo, in which the mark has quotes

    def wait(self, timeout=60):
        """Wait for the end of the process, reading on: its exit status."""
        deadline = time.monotonic() + timeout * SLOW
        while self._read(deadline):
            pass
        try:
            return self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failure("it did not end", self.console) from None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for f in (self.process.stdin, self.process.stdout):
            try:
                f.close()
            except OSError:
                pass  # what was not flushed has nobody to go to
