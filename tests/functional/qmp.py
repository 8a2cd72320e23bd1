# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client, and machines that have a monitor on a socket."""
import array
import json
import os
import socket
import subprocess
import tempfile
import time

import emu

QUIET = ("-display", "none", "-nodefaults", "-S")


class QmpError(Exception):
    def __init__(self, error):
        super().__init__(f"{error['class']}: {error['desc']}")
        self.cls, self.desc = error["class"], error["desc"]


class Client:
    """One connection.  `events` collects what comes besides answers."""

    def __init__(self, path, negotiate=True, timeout=20, alive=lambda: True):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout * emu.SLOW)
        deadline = time.monotonic() + timeout * emu.SLOW
        while True:
            try:
                self.sock.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                if time.monotonic() > deadline or not alive():
                    raise
                time.sleep(0.01)
        self.data = b""
        self.events = []
        self.greeting = self.read()
        if negotiate:
            self.ask("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def line(self):
        while b"\r\n" not in self.data:
            more = self.sock.recv(1 << 20)
            if not more:
                raise EOFError("the monitor was closed")
            self.data += more
        line, _, self.data = self.data.partition(b"\r\n")
        return line

    def read(self):
        return json.loads(self.line())

    def raw(self, text):
        self.sock.sendall(text)

    def answer(self):
        while True:
            j = self.read()
            if "event" not in j:
                return j
            self.events.append(j)

    def ask(self, name, /, fds=(), **arguments):
        return self.ask_dict(name, {k.rstrip("_").replace("_", "-"): v for k, v in arguments.items()}, fds)

    def ask_dict(self, name, arguments, fds=()):
        text = json.dumps({"execute": name, "arguments": arguments}).encode()
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            self.sock.sendmsg([text], rights)
        else:
            self.raw(text)
        j = self.answer()
        if "error" in j:
            raise QmpError(j["error"])
        return j["return"]

    def event(self, name):
        """Wait for it; forgets those before."""
        while True:
            for i, e in enumerate(self.events):
                if e["event"] == name:
                    del self.events[:i + 1]
                    return e
            self.events.append(self.read())


class Machine:
    """rhea with a QMP socket (and an HMP one if @hmp), in a folder of its own."""

    def __init__(self, *args, machine="none", monitors=1, hmp=False):
        self.folder = tempfile.TemporaryDirectory()
        self.paths = [os.path.join(self.folder.name, f"qmp{i}") for i in range(monitors)]
        self.path = self.paths[0]
        self.hmp_path = os.path.join(self.folder.name, "hmp")
        command = [emu.RHEA, *emu.EXTRA, "-machine", machine, *QUIET, *args]
        for p in self.paths:
            command += ["-qmp", f"unix:{p},server=on,wait=off"]
        if hmp:
            command += ["-monitor", f"unix:{self.hmp_path},server=on,wait=off"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()

    def client(self, n=0, **kwargs):
        try:
            return Client(self.paths[n], alive=lambda: self.process.poll() is None, **kwargs)
        except (OSError, EOFError):
            if self.process.poll() is not None:
                raise AssertionError(self.process.stdout.read().decode(errors="replace")) from None
            raise

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith("VmRSS"))

    def wait(self, timeout=20):
        return self.process.wait(timeout * emu.SLOW)
