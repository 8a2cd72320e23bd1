# SPDX-License-Identifier: GPL-2.0-or-later
"""NBD: rhea-nbd against libnbd and QEMU's tools, rhea's client against nbdkit, QEMU and servers that lie.

Needs libnbd-bin, nbdkit, fio, qemu-utils, gnutls-bin for some of it; what is missing is skipped by name.
"""
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from emu import SLOW, poll
from imgtool import call, need_programs as need, tool

BUILD = os.environ.get("RHEA_BUILD", "build")
MAGIC, OPTION, REPLY = 0x4E42444D41474943, 0x49484156454F5054, 0x3E889045565A9
SIZE = 4 << 20


class Base(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="rhea-nbd-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.started = []
        self.addCleanup(self.stop_all)
        self.image = self.path("disk.raw")
        rnd = random.Random(1)
        with open(self.image, "wb") as f:
            f.truncate(SIZE)
            for _ in range(40):
                f.seek(rnd.randrange(SIZE // 4096) * 4096)
                f.write(rnd.randbytes(4096))
            f.truncate(SIZE)

    def stop_all(self):
        for p in self.started:
            if p.poll() is None:
                p.kill()
            p.wait()

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, *args, sock="s", env=None):
        """A server in the background, once its socket is there."""
        path = self.path(sock)
        p = subprocess.Popen(args, stdin=subprocess.DEVNULL, env=env)
        self.started.append(p)
        poll(lambda: os.path.exists(path) or p.poll() is not None, f"{args[0]} to listen", 20 * SLOW)
        self.assertIsNone(p.poll(), f"{args[0]} ended")
        return p

    def rhea(self, *args, sock="s", image=None, fmt="raw"):
        return self.start(tool("rhea-nbd"), "-t", "-k", self.path(sock), "-f", fmt, *args,
                          image or self.image, sock=sock)

    def kit(self, *args, sock="s"):
        need("nbdkit")
        return self.start("nbdkit", "-f", "-U", self.path(sock), *args, sock=sock)

    def uri(self, export="", sock="s", scheme="nbd"):
        return f"{scheme}+unix:///{export}?socket={self.path(sock)}"

    def connect(self, sock="s"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20 * SLOW)
        s.connect(self.path(sock))
        self.addCleanup(s.close)
        return s


def take(s, n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def hung_up(s):
    """The other side has closed; what it sent before does not matter."""
    try:
        while s.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def hello(s):
    magic, option, flags = struct.unpack(">QQH", take(s, 18))
    assert (magic, option, flags) == (MAGIC, OPTION, 3)
    s.sendall(struct.pack(">I", 3))


def ask(s, option, data=b""):
    s.sendall(struct.pack(">QII", OPTION, option, len(data)) + data)


def answer(s):
    magic, option, kind, size = struct.unpack(">QIII", take(s, 20))
    assert magic == REPLY
    return option, kind, take(s, size)


def enter(s, export=b""):
    """Into the transmission phase, without structured replies."""
    hello(s)
    ask(s, 7, struct.pack(">I", len(export)) + export + b"\0\0")
    while answer(s)[1] == 3:
        pass


def request(s, cmd, at, size, flags=0, handle=7, data=b""):
    s.sendall(struct.pack(">IHHQQI", 0x25609513, flags, cmd, handle, at, size) + data)


def simple(s):
    magic, error, handle = struct.unpack(">IIQ", take(s, 16))
    assert magic == 0x67446698
    return error, handle


class Server(Base):
    def test_shows_what_qemu_nbd_shows(self):
        need("nbdinfo", "qemu-nbd")
        self.rhea("-x", "a", "-D", "text", "-A")
        self.start("qemu-nbd", "-t", "-k", self.path("q"), "-f", "raw", "-x", "a", "-D", "text", "-A",
                   self.image, sock="q")
        both = []
        for sock in "s", "q":
            e = json.loads(call("nbdinfo", "--json", self.uri("a", sock)))["exports"][0]
            del e["uri"]
            both.append(e)
        self.assertEqual(both[0], both[1])
        mine = call("qemu-nbd", "-L", "-k", self.path("s"))
        self.assertEqual(mine, call(tool("rhea-nbd"), "-L", "-k", self.path("s")))
        self.assertIn(" export: 'a'\n  description: text\n", mine)
        self.assertEqual(call("qemu-nbd", "-L", "-k", self.path("q")),
                         call(tool("rhea-nbd"), "-L", "-k", self.path("q")))

    def test_nbdcopy_moves_everything_both_ways(self):
        need("nbdcopy")
        self.rhea("-e", "0", "--discard=unmap")
        call("nbdcopy", self.uri(), self.path("out"))
        call("cmp", self.path("out"), self.image)
        with open(self.path("new"), "wb") as f:
            f.write(os.urandom(SIZE // 2) + bytes(SIZE // 2))
        call("nbdcopy", self.path("new"), self.uri())
        call("cmp", self.path("new"), self.image)

    def test_qemu_io_writes_zeroes_and_discards(self):
        need("qemu-io")
        self.rhea("--discard=unmap")
        out = call("qemu-io", "-f", "raw", "-c", "write -P 7 4096 8192", "-c", "write -z 8192 4096",
                   "-c", "read -P 7 4096 4096", "-c", "read -P 0 8192 4096", "-c", "write -f -P 3 0 512",
                   "-c", "discard 1M 1M", "-c", "flush", "-c", "read -P 3 0 512", self.uri())
        self.assertNotIn("failed", out)
        with open(self.image, "rb") as f:
            self.assertEqual(f.read(512), b"\3" * 512)

    def test_fio_finds_what_it_wrote(self):
        need("fio", "qemu-img")
        if "nbd" not in call("fio", "--enghelp").split():
            self.skipTest("this fio has no engine 'nbd'")
        call("qemu-img", "create", "-q", "-f", "qcow2", self.path("q"), "32M")
        with open(self.path("r"), "wb") as f:
            f.truncate(32 << 20)
        for name, fmt in (("r", "raw"), ("q", "qcow2")):
            with self.subTest(fmt):
                self.rhea("-e", "0", "--discard=unmap", sock=f"s{name}", image=self.path(name), fmt=fmt)
                jobs = [f"--name={mode}{n} --rw={mode} --offset={n * 8}M --size=8M --bsrange={sizes}"
                        for n, (mode, sizes) in enumerate((("randwrite", "512-128k"), ("write", "4k-1M"),
                                                           ("randrw", "4k-64k")))]
                out = call("fio", "--ioengine=nbd", f"--uri={self.uri(sock='s' + name)}", "--iodepth=16",
                           "--randseed=5", "--thread", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0",
                           "--verify_backlog=256", "--fsync=200", "--runtime=5", "--output-format=json", *" ".join(jobs).split(), timeout=60)
                done = json.loads(out[out.index("{"):])["jobs"]
                self.assertEqual([j["error"] for j in done], [0, 0, 0])
                for j in done:
                    self.assertGreater(j["write"]["total_ios"], 10, j["jobname"])
                self.assertGreater(sum(j["read"]["total_ios"] for j in done), 10)
        call("qemu-img", "check", "-q", "-U", "-f", "qcow2", self.path("q"))

    def test_many_clients_at_once(self):
        need("nbdcopy")
        self.rhea("-e", "0", "-r")
        copies = [subprocess.Popen(["nbdcopy", self.uri(), self.path(f"out{i}")]) for i in range(6)]
        for i, c in enumerate(copies):
            self.assertEqual(c.wait(60 * SLOW), 0)
            call("cmp", self.path(f"out{i}"), self.image)

    def test_a_client_that_does_not_read_stalls_nobody(self):
        p = self.rhea("-e", "0")
        lazy = self.connect()
        enter(lazy)
        lazy.settimeout(2)
        try:
            for i in range(200):
                request(lazy, 0, 0, SIZE, handle=i)
        except TimeoutError:
            pass
        quick = self.connect()
        enter(quick)
        request(quick, 0, 0, 512)
        self.assertEqual(simple(quick), (0, 7))
        with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
            rss = [int(x.split()[1]) for x in f if x.startswith("VmRSS")][0]
        self.assertLess(rss, 600 << 10) # KiB; all that was asked for is 800 MiB
        self.assertIsNone(p.poll())

    def test_a_client_that_says_nothing_is_hung_up_on(self):
        self.rhea("-e", "0")
        s = self.connect()
        start = time.monotonic()
        s.settimeout(40 * SLOW)
        self.assertTrue(hung_up(s))
        self.assertGreater(time.monotonic() - start, 5)

    def test_options_are_refused_rightly(self):
        self.rhea("-x", "a")
        s = self.connect()
        hello(s)
        for option, data, kind in (
            (99, b"x" * 100, 1),                                     # unsupported
            (99, b"x" * 200000, 9),                                  # too big
            (3, b"x", 3),                                            # LIST with data
            (5, b"", 2),                                             # no TLS here
            (7, struct.pack(">I", 1) + b"b\0\0", 6),                 # no such export
            (7, struct.pack(">I", 9) + b"a\0\0", 3),                 # length beyond the option
            (7, struct.pack(">I", 1) + b"a\0\5", 3),                 # five requests, none there
            (10, struct.pack(">II", 1, 0), 3),                       # contexts before structured replies
        ):
            ask(s, option, data)
            self.assertEqual(answer(s)[:2], (option, kind | 1 << 31))
        ask(s, 8)
        self.assertEqual(answer(s)[:2], (8, 1))
        ask(s, 10, struct.pack(">I", 1) + b"a" + struct.pack(">II", 1, 50) + b"base:")
        self.assertEqual(answer(s)[:2], (10, 3 | 1 << 31))
        ask(s, 1, b"nobody")
        self.assertTrue(hung_up(s))

    def test_requests_are_checked(self):
        self.rhea("-e", "0")
        s = self.connect()
        enter(s)
        for cmd, at, size, flags, data, error in (
            (0, SIZE - 512, 1024, 0, b"", 22),
            (0, 1 << 63, 512, 0, b"", 22),
            (0, 0, 33 << 20, 0, b"", 22),
            (1, SIZE, 512, 0, bytes(512), 28),
            (6, SIZE - 1, 2, 0, b"", 28),
            (4, SIZE - 1, 2, 0, b"", 22),
            (7, 0, 512, 0, b"", 22),
            (77, 0, 512, 0, b"", 22),
            (0, 0, 512, 0x80, b"", 22),
            (3, 0, 0, 0, b"", 0),
            (1, SIZE - 1, 1, 0, b"e", 0),
        ):
            request(s, cmd, at, size, flags, data=data)
            self.assertEqual(simple(s), (error, 7), f"command {cmd} at {at}, {size} bytes")
        request(s, 0, SIZE - 1, 1)
        self.assertEqual(simple(s)[0], 0)
        self.assertEqual(take(s, 1), b"e")
        s.sendall(b"x" * 28)
        self.assertTrue(hung_up(s))
        other = self.connect()
        enter(other)
        request(other, 1, 0, 64 << 20)
        self.assertTrue(hung_up(other))

    def test_read_only_exports_cannot_be_written(self):
        self.rhea("-r", "-e", "0")
        s = self.connect()
        enter(s)
        for cmd in 1, 4, 6:
            request(s, cmd, 0, 4, data=b"abcd" if cmd == 1 else b"")
            self.assertEqual(simple(s)[0], 1)

    def test_a_part_from_an_offset(self):
        need("nbdcopy")
        self.rhea("-o", "4096", "-e", "0")
        call("nbdcopy", self.uri(), self.path("out"))
        with open(self.image, "rb") as f, open(self.path("out"), "rb") as g:
            self.assertEqual(f.read()[4096:], g.read())

    def test_dirty_bitmap_context(self):
        need("nbdinfo")
        img, io, disk = tool("rhea-img"), tool("rhea-io"), self.path("d.qcow2")
        call(img, "create", "-f", "qcow2", disk, "4M")
        call(img, "bitmap", "--add", "-g", "65536", "-f", "qcow2", disk, "b")
        call(io, "-f", "qcow2", "-c", "write -P 1 1M 64k", disk)
        self.rhea("-B", "b", "-r", image=disk, fmt="qcow2")
        rows = [r.split()[:3] for r in
                call("nbdinfo", "--map=qemu:dirty-bitmap:b", self.uri()).splitlines()]
        self.assertEqual(rows, [["0", "1048576", "0"], ["1048576", "65536", "1"],
                                ["1114112", "3080192", "0"]])

    def test_allocation_depth_of_a_chain(self):
        need("nbdinfo")
        img, io = tool("rhea-img"), tool("rhea-io")
        base, top = self.path("base.qcow2"), self.path("top.qcow2")
        call(img, "create", "-f", "qcow2", base, "1M")
        call(io, "-f", "qcow2", "-c", "write 0 64k", base)
        call(img, "create", "-f", "qcow2", "-b", base, "-F", "qcow2", top)
        call(io, "-f", "qcow2", "-c", "write 64k 64k", top)
        self.rhea("-A", "-r", image=top, fmt="qcow2")
        rows = [r.split()[:3] for r in
                call("nbdinfo", "--map=qemu:allocation-depth", self.uri()).splitlines()]
        self.assertEqual(rows, [["0", "65536", "2"], ["65536", "65536", "1"],
                                ["131072", "917504", "0"]])

    def test_snapshot_leaves_the_file_alone(self):
        need("qemu-io")
        before = open(self.image, "rb").read()
        self.rhea("-s", "-e", "0")
        call("qemu-io", "-f", "raw", "-c", "write -P 9 0 64k", self.uri())
        call("qemu-io", "-f", "raw", "-c", "read -P 9 0 64k", self.uri())
        self.assertEqual(open(self.image, "rb").read(), before)

    def test_forks_writes_its_number_and_ends_with_the_last_client(self):
        need("nbdinfo")
        pid = self.path("pid")
        call(tool("rhea-nbd"), "--fork", "--pid-file", pid, "-k", self.path("s"), "-f", "raw", self.image)
        with open(pid, encoding="ascii") as f:
            number = int(f.read())
        self.assertEqual(os.path.basename(os.readlink(f"/proc/{number}/exe")), "rhea-nbd")
        call("nbdinfo", "--size", self.uri())
        poll(lambda: not os.path.exists(f"/proc/{number}"), "the server to end", 20 * SLOW)
        self.assertFalse(os.path.exists(self.path("s")))
        out = call(tool("rhea-nbd"), "--fork", "-k", self.path("s"), "-f", "raw", self.path("none"), ok=False)
        self.assertIn("No such file", out)

    def test_takes_a_socket_that_is_handed_over(self):
        need("nbdinfo")
        out = call("nbdinfo", "--size", "--", "[", tool("rhea-nbd"), "-f", "raw", self.image, "]")
        self.assertEqual(int(out), SIZE)

    def test_wrong_options_are_named(self):
        nbd = tool("rhea-nbd")
        for args, text in ((["-c", "/dev/nbd0", self.image], "not supported"),
                           (["-o", "9G", self.image], "Invalid offset"),
                           (["-o", "99999999", "-k", self.path("s"), "-f", "raw", self.image], "offset"),
                           (["--cache=some", self.image], "Invalid cache mode"),
                           (["-L", "-x", "a"], "List mode is incompatible"),
                           (["-k", "s", "-p", "1", self.image], "-k with -p"),
                           ([], "Invalid number of arguments"),
                           (["-B", "none", "-k", self.path("s"), "-f", "raw", self.image], "'none'")):
            self.assertIn(text, call(nbd, *args, ok=False))


class Tls(Base):
    def setUp(self):
        super().setUp()
        need("certtool")
        self.pki = self.path("pki")
        os.mkdir(self.pki)
        self.certificate("ca-cert", "ca-key", "cn=rhea tests\nca\ncert_signing_key\n", ca=True)
        self.certificate("server-cert", "server-key",
                         "cn=localhost\ndns_name=localhost\nip_address=127.0.0.1\ntls_www_server\n")
        self.certificate("client-cert", "client-key", "cn=someone\ntls_www_client\n")

    def certificate(self, cert, key, template, ca=False):
        def pem(name):
            return os.path.join(self.pki, name + ".pem")
        with open(self.path("template"), "w", encoding="ascii") as f:
            f.write(template)
        call("certtool", "--generate-privkey", "--ecc", "--outfile", pem(key))
        more = ["--generate-self-signed"] if ca else [
            "--generate-certificate", "--load-ca-certificate", pem("ca-cert"), "--load-ca-privkey",
            pem("ca-key")]
        call("certtool", *more, "--load-privkey", pem(key), "--template", self.path("template"),
             "--outfile", pem(cert))

    def creds(self, endpoint):
        return f"tls-creds-x509,id=t,dir={self.pki},endpoint={endpoint}"

    def test_only_clients_with_tls_come_in(self):
        need("qemu-img", "nbdinfo")
        img = tool("rhea-img")
        self.rhea("-e", "0", "--object", self.creds("server"), "--tls-creds", "t")
        self.assertIn("TLS", call("qemu-img", "info", self.uri(), ok=False))
        self.assertIn("TLS", call(img, "info", self.uri(), ok=False))
        s = self.connect()
        hello(s)
        ask(s, 3)
        self.assertEqual(answer(s)[:2], (3, 5 | 1 << 31))
        opts = (f"driver=nbd,server.type=unix,server.path={self.path('s')},tls-creds=t,"
                "tls-hostname=localhost")
        for program in "qemu-img", img:
            call(program, "convert", "--object", self.creds("client"), "--image-opts", "-O", "raw",
                 opts, self.path("out"))
            call("cmp", self.path("out"), self.image)
        out = call(img, "info", "--object", self.creds("client"), "--image-opts",
                   opts.replace("localhost", "elsewhere"), ok=False)
        self.assertNotIn("virtual size", out)
        self.assertEqual(int(call(
            "nbdinfo", "--size", self.uri(scheme="nbds") + f"&tls-certificates={self.pki}"
            "&tls-hostname=localhost")), SIZE)

    def test_access_list(self):
        img = tool("rhea-img")
        for who, ok in (("CN=someone", True), ("CN=nobody", False)):
            sock = "ok" if ok else "no"
            self.rhea("-e", "0", "--object", self.creds("server") + ",verify-peer=on", "--tls-creds", "t",
                      "--object", f"authz-simple,id=z,identity={who}", "--tls-authz", "z", sock=sock)
            call(img, "info", "--object", self.creds("client"), "--image-opts",
                 f"driver=nbd,server.type=unix,server.path={self.path(sock)},tls-creds=t,"
                 "tls-hostname=localhost", ok=ok)

    def test_client_of_qemu_nbd(self):
        need("qemu-nbd")
        img = tool("rhea-img")
        self.start("qemu-nbd", "-t", "-k", self.path("s"), "-f", "raw", "-e", "0", "--object",
                   self.creds("server"), "--tls-creds", "t", self.image)
        call(img, "convert", "--object", self.creds("client"), "--image-opts", "-O", "raw",
             f"driver=nbd,server.type=unix,server.path={self.path('s')},tls-creds=t,"
             "tls-hostname=localhost", self.path("out"))
        call("cmp", self.path("out"), self.image)


class Client(Base):
    def same_as(self, uri, ok=True):
        return call(tool("rhea-img"), "compare", "-f", "raw", "-F", "raw", uri, self.image, ok=ok)

    def test_every_kind_of_handshake(self):
        for i, args in enumerate(([], ["-o"], ["--mask-handshake=0"], ["--no-sr"])):
            with self.subTest(args=args):
                self.kit(*args, "file", self.image, sock=f"k{i}")
                self.same_as(self.uri(sock=f"k{i}"))

    def test_old_file_names(self):
        self.kit("-e", "x", "file", self.image)
        self.same_as(f"nbd:unix:{self.path('s')}:exportname=x")
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        s.close()
        self.start("nbdkit", "-f", "-i", "127.0.0.1", "-p", str(port), "-P", self.path("pid"), "file",
                   self.image, sock="pid")
        for name in f"nbd:127.0.0.1:{port}", f"nbd://127.0.0.1:{port}/", f"nbd+tcp://127.0.0.1:{port}":
            self.same_as(name)

    def test_errors_of_the_server_are_errors_here(self):
        self.kit("--filter=error", "file", self.image, "error=EIO", "error-rate=100%",
                 f"error-file={self.path('trigger')}")
        self.same_as(self.uri())
        with open(self.path("trigger"), "w", encoding="ascii"):
            pass
        self.assertIn("Input/output error", self.same_as(self.uri(), ok=False))

    def test_no_space_is_no_space(self):
        self.kit("--filter=error", "memory", "1M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%")
        out = call(tool("rhea-io"), "-f", "raw", "-c", "write 0 4096", self.uri(), ok=False)
        self.assertIn("No space left", out)

    def test_each_kind_of_request_may_fail(self):
        """Its error comes through, nothing hangs, and the connection goes on."""
        io = tool("rhea-io")
        for n, (kind, errno, command, text) in enumerate((
                ("pread", "EIO", "read 0 64k", "Input/output error"),
                ("pread", "ENOMEM", "read 0 64k", "Cannot allocate memory"),
                ("pwrite", "ENOSPC", "write 0 64k", "No space left on device"),
                ("pwrite", "EPERM", "write 0 64k", "Operation not permitted"),
                ("pwrite", "EINVAL", "write 0 64k", "Invalid argument"),
                ("zero", "ENOSPC", "write -z 0 64k", "No space left on device"),
                ("trim", "EIO", "discard 0 64k", "Input/output error"),
                ("extents", "EIO", "alloc 0 64k", ""))):
            with self.subTest(kind, errno=errno):
                self.kit("--filter=error", "memory", "1M", f"error-{kind}={errno}", f"error-{kind}-rate=100%",
                         sock=f"k{n}")
                good = "read 64k 4k" if kind != "pread" else "write 64k 4k"
                p = subprocess.run([io, "-f", "raw", "-c", command, "-c", good, "-c", "flush", self.uri(sock=f"k{n}")],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 * SLOW)
                self.assertIn(text, p.stdout)
                self.assertIn("4 KiB, 1 ops", p.stdout)

    def test_some_requests_fail(self):
        """Every fourth; the others are right, and whoever copies is told."""
        self.kit("--filter=error", "file", self.image, "error-rate=25%", "error=EIO")
        commands = [a for i in range(64) for a in ("-c", f"read -q {i * 65536} 65536")]
        p = subprocess.run([tool("rhea-io"), "-f", "raw", *commands, self.uri()], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=60 * SLOW)
        failed = p.stdout.count("Input/output error")
        self.assertTrue(0 < failed < 64, p.stdout)
        out = call(tool("rhea-img"), "convert", "-f", "raw", "-O", "raw", self.uri(), self.path("out"), ok=False)
        self.assertIn("Input/output error", out)

    def test_sizes_that_are_not_the_files(self):
        with open(self.path("odd"), "wb") as f:
            f.write(b"\7" * 100000)
        self.kit("--filter=truncate", "file", self.path("odd"), "round-up=65536", sock="up")
        out = call(tool("rhea-io"), "-f", "raw", "-c", "read -P 7 0 100000", "-c", "read -P 0 100000 31072",
                   "-c", "write -P 0 110000 500", "-c", "length", self.uri(sock="up"))
        self.assertNotIn("failed", out)
        self.assertIn("128 KiB", out)
        out = call(tool("rhea-io"), "-f", "raw", "-c", "write -P 1 110000 500", self.uri(sock="up"), ok=False)
        self.assertIn("No space left", out)
        self.kit("--filter=truncate", "file", self.path("odd"), "truncate=1001", sock="down")
        out = call(tool("rhea-io"), "-f", "raw", "-c", "read -P 7 0 1001", "-c", "write -P 9 1000 1",
                   "-c", "read -P 9 1000 1", self.uri(sock="down"))
        self.assertNotIn("failed", out)
        with open(self.path("odd"), "rb") as f:
            self.assertEqual(f.read()[999:1002], b"\7\x09\7")

    def test_a_server_that_pauses_and_dies(self):
        """Requests that hang are repeated at the next server; without a delay they fail when the connection does."""
        for delay in (60, 0):
            with self.subTest(delay=delay):
                for s in ("s", "ctl"):
                    if os.path.exists(self.path(s)):
                        os.unlink(self.path(s))
                server = self.kit("--filter=pause", "file", self.image, f"pause-control={self.path('ctl')}")
                p = self.interactive(f"file.reconnect-delay={delay}")
                p.stdin.write(b"write -P 5 0 64k\n")
                p.stdin.flush()
                poll(lambda: open(self.image, "rb").read(65536) == b"\5" * 65536, "the first write", 20 * SLOW)
                with socket.socket(socket.AF_UNIX) as control:
                    control.connect(self.path("ctl"))
                    control.sendall(b"p")
                    self.assertEqual(control.recv(1), b"P")
                p.stdin.write(b"aio_write -P 6 64k 64k\naio_read -P 5 0 64k\n")
                p.stdin.flush()
                time.sleep(1)
                self.assertIsNone(p.poll())
                server.kill()
                server.wait()
                os.unlink(self.path("s"))
                if delay:
                    self.kit("file", self.image)
                out = p.communicate(b"aio_flush\nquit\n", timeout=60 * SLOW)[0].decode()
                self.assertEqual(out.count("Input/output error"), 0 if delay else 2, out)
                with open(self.image, "rb") as f:
                    data = f.read(131072)
                self.assertEqual(data[65536:] == b"\6" * 65536, bool(delay))
                with open(self.image, "r+b") as f:
                    f.write(bytes(131072))

    def test_a_slow_server_that_goes_away_while_it_is_copied_from(self):
        server = self.kit("--filter=delay", "file", self.image, "rdelay=100ms")
        p = subprocess.Popen([tool("rhea-img"), "convert", "-O", "raw", "--image-opts",
                              f"driver=nbd,server.type=unix,server.path={self.path('s')},reconnect-delay=60",
                              self.path("copy")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.started.append(p)
        for _ in range(3):
            time.sleep(0.3)
            server.kill()
            server.wait()
            os.unlink(self.path("s"))
            time.sleep(0.2)
            server = self.kit("--filter=delay", "file", self.image, "rdelay=50ms")
        out = p.communicate(timeout=60 * SLOW)[0].decode()
        self.assertEqual(p.returncode, 0, out)
        call(tool("rhea-img"), "compare", "-f", "raw", "-F", "raw", self.path("copy"), self.image)

    def test_slow_servers(self):
        self.kit("--filter=delay", "file", self.image, "rdelay=20ms", "wdelay=20ms")
        self.same_as(self.uri())

    def test_smallest_block_of_the_server(self):
        self.kit("--filter=blocksize-policy", "memory", "1M", "blocksize-minimum=4096",
                 "blocksize-preferred=65536", "blocksize-maximum=131072", "blocksize-error-policy=error")
        out = call(tool("rhea-io"), "-f", "raw", "-c", "write -P 1 0 1M", "-c", "write -P 2 100 1000",
                   "-c", "read -P 1 0 100", "-c", "read -P 2 100 1000", "-c", "read -P 1 1100 900000",
                   self.uri())
        self.assertNotIn("rror", out)
        self.assertNotIn("failed", out)

    def test_what_the_server_lacks_is_done_otherwise(self):
        for i, f in enumerate((["--filter=nozero", "--filter=fua"], ["--filter=nozero"])):
            self.kit(*f, "memory", "1M", "zeromode=none", sock=f"k{i}")
            out = call(tool("rhea-io"), "-f", "raw", "-c", "write -P 1 0 1M", "-c", "write -z 4096 600000",
                       "-c", "write -f -P 2 0 512", "-c", "read -P 0 4096 600000", "-c", "flush",
                       self.uri(sock=f"k{i}"))
            self.assertNotIn("failed", out)

    def test_holes_are_seen(self):
        self.kit("data", "@4194304 1*65536", "size=16M")
        rows = json.loads(call(tool("rhea-img"), "map", "--output=json", "-f", "raw", self.uri()))
        self.assertTrue(any(r["zero"] for r in rows) and any(r["data"] for r in rows))
        call(tool("rhea-img"), "convert", "-f", "raw", "-O", "raw", self.uri(), self.path("out"))
        self.assertLess(os.stat(self.path("out")).st_blocks * 512, 16 << 20)

    def test_missing_exports_and_servers(self):
        need("qemu-nbd")
        self.start("qemu-nbd", "-t", "-k", self.path("s"), "-x", "a", "-f", "raw", "-r", self.image)
        img = tool("rhea-img")
        self.assertIn("export not available", call(img, "info", self.uri("b"), ok=False))
        self.assertIn("virtual size", call(img, "info", self.uri("a")))
        self.assertIn("o such file", call(img, "info", self.uri(sock="none"), ok=False))

    def interactive(self, *opts):
        p = subprocess.Popen([tool("rhea-io"), "--image-opts", "driver=raw,file.driver=nbd,"
                              f"file.server.type=unix,file.server.path={self.path('s')}," + ",".join(opts)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.started.append(p)
        return p

    def test_connects_again_and_repeats_requests(self):
        server = self.rhea("-e", "0")
        p = self.interactive("file.reconnect-delay=60")
        p.stdin.write(b"write -P 5 0 64k\n")
        p.stdin.flush()
        poll(lambda: open(self.image, "rb").read(65536) == b"\5" * 65536, "the first write", 20 * SLOW)
        server.send_signal(signal.SIGKILL)
        server.wait()
        p.stdin.write(b"read -P 5 0 64k\nwrite -P 6 64k 64k\n")
        p.stdin.flush()
        time.sleep(1)
        os.unlink(self.path("s"))
        self.rhea("-e", "0")
        out = p.communicate(b"read -P 6 64k 64k\nquit\n", timeout=60 * SLOW)[0].decode()
        self.assertEqual(p.returncode, 0, out)
        self.assertNotIn("failed", out)
        self.assertEqual(open(self.image, "rb").read(131072)[65536:], b"\6" * 65536)

    def test_without_a_delay_requests_fail_at_once(self):
        server = self.rhea("-e", "0")
        p = self.interactive()
        p.stdin.write(b"read 0 4k\n")
        p.stdin.flush()
        time.sleep(1)
        server.kill()
        server.wait()
        time.sleep(0.5)
        out = p.communicate(b"read 0 4k\nquit\n", timeout=30 * SLOW)[0].decode()
        self.assertIn("Input/output error", out)

    def test_requests_do_not_wait_longer_than_the_delay(self):
        server = self.rhea("-e", "0")
        p = self.interactive("file.reconnect-delay=2")
        p.stdin.write(b"read 0 4k\n")
        p.stdin.flush()
        time.sleep(1)
        server.kill()
        server.wait()
        os.unlink(self.path("s"))
        silent = socket.socket(socket.AF_UNIX) # it may connect, and gets no answer
        self.addCleanup(silent.close)
        silent.bind(self.path("s"))
        silent.listen(5)
        time.sleep(0.5)
        start = time.monotonic()
        out = p.communicate(b"read 0 4k\nquit\n", timeout=30 * SLOW)[0].decode()
        self.assertIn("Input/output error", out)
        self.assertLess(time.monotonic() - start, 8 * SLOW)

    def test_waits_for_the_server_to_open(self):
        late = threading.Timer(2, lambda: self.rhea("-e", "0"))
        late.start()
        out = call(tool("rhea-img"), "info", "--image-opts",
                   f"driver=nbd,server.type=unix,server.path={self.path('s')},open-timeout=30")
        late.join()
        self.assertIn("virtual size", out)


class Liar(Base):
    """A server made of bytes: the client must end with an error, soon, and not by a signal."""

    def serve(self, talk):
        s = socket.socket(socket.AF_UNIX)
        s.bind(self.path("s"))
        s.listen(1)
        s.settimeout(30 * SLOW)
        self.addCleanup(s.close)

        def run():
            try:
                c, _ = s.accept()
                with c:
                    c.settimeout(20 * SLOW)
                    talk(c)
            except (OSError, EOFError, struct.error):
                pass
        t = threading.Thread(target=run, daemon=True)
        t.start()
        out = call(tool("rhea-io"), "-f", "raw", "-r", "-c", "read 0 64k", self.uri(), ok=False, timeout=40)
        self.assertNotIn("64 KiB, 1 ops", out)
        os.unlink(self.path("s"))
        return out

    @staticmethod
    def greet(c, structured=True, size=1 << 20, flags=1):
        """All of a good handshake."""
        c.sendall(struct.pack(">QQH", MAGIC, OPTION, 3))
        take(c, 4)
        while True:
            _, option, n = struct.unpack(">QII", take(c, 16))
            take(c, n)

            def reply(kind, data=b"", option=option):
                c.sendall(struct.pack(">QIII", REPLY, option, kind, len(data)) + data)
            if option == 8:
                reply(1 if structured else 1 | 1 << 31)
            elif option == 7:
                reply(3, struct.pack(">HQH", 0, size, flags))
                reply(1)
                return
            else:
                reply(1)

    def test_before_the_export(self):
        head = struct.pack(">QQH", MAGIC, OPTION, 3)
        for data in (b"", b"x" * 16, struct.pack(">QQ", MAGIC, 5), head + b"y" * 20,
                     head + struct.pack(">QIII", REPLY, 8, 1, 0xFFFFFFFF),
                     head + struct.pack(">QIII", REPLY, 8, 3, 0),
                     head + struct.pack(">QIII", REPLY, 8, 1, 0) + struct.pack(">QIII", REPLY, 10, 4, 2)):
            with self.subTest(data=data):
                self.serve(lambda c, data=data: (c.sendall(data), c.shutdown(socket.SHUT_WR), hung_up(c)))

    def test_impossible_exports(self):
        for size in 1 << 63, (1 << 64) - 1:
            self.assertIn("too large", self.serve(lambda c, size=size: (self.greet(c, size=size), hung_up(c))))

    def test_replies(self):
        def chunk(handle, kind, data=b"", flags=1, size=None):
            return struct.pack(">IHHQI", 0x668E33EF, flags, kind, handle,
                               len(data) if size is None else size) + data
        where = struct.pack(">Q", 0)
        for name, make in {
            "bad magic": lambda h: b"z" * 64,
            "another handle": lambda h: chunk(h ^ 1 << 40, 0),
            "a slot nobody uses": lambda h: chunk(h + 1, 0),
            "no data at all": lambda h: chunk(h, 0),
            "half of the data": lambda h: chunk(h, 1, where + bytes(1 << 15)),
            "data behind the end": lambda h: chunk(h, 1, struct.pack(">Q", 1 << 15) + bytes(1 << 16)),
            "huge data": lambda h: chunk(h, 1, where, size=0xFFFFFFFF),
            "data before the start": lambda h: chunk(h, 1, struct.pack(">Q", (1 << 64) - 1) + b"xx"),
            "a hole of nothing": lambda h: chunk(h, 2, where + bytes(4)),
            "a huge hole": lambda h: chunk(h, 2, where + b"\xff" * 4),
            "a short error": lambda h: chunk(h, 1 << 15 | 1, b"\0\0"),
            "a huge error": lambda h: chunk(h, 1 << 15 | 1, bytes(6), size=0x7FFFFFFF),
            "block status nobody asked for": lambda h: chunk(h, 5, bytes(12)),
            "a chunk of unknown kind": lambda h: chunk(h, 77, b"12345678"),
            "a simple reply": lambda h: struct.pack(">IIQ", 0x67446698, 0, h) + bytes(1 << 16),
            "nothing more": lambda h: b"",
        }.items():
            def talk(c, make=make):
                self.greet(c)
                while True:
                    _, _, cmd, handle, _, _ = struct.unpack(">IHHQQI", take(c, 28))
                    if cmd == 2:
                        return
                    c.sendall(make(handle))
                    c.shutdown(socket.SHUT_WR)
                    hung_up(c)
            with self.subTest(name):
                self.serve(talk)


if __name__ == "__main__":
    unittest.main()
