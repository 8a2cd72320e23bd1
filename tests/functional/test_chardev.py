# SPDX-License-Identifier: GPL-2.0-or-later
"""Character devices with real peers: sockets, telnet, WebSocket, TLS, UDP, pipes, terminals, and what QMP does with them."""
import base64
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import unittest

import emu
from test_cli import tiny_bzimage

# Says "hi\r\n" on COM1, then sends back what comes, each byte once it is there (protected mode, ports 0x3f8, 0x3fd).
GREETING = b"hi\r\n"


def echo_code():
    code = b""
    for byte in GREETING:
        code += bytes([0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xf7]) # mov $0x3fd,%dx; in; test $0x20; jz
        code += bytes([0x66, 0xba, 0xf8, 0x03, 0xb0, byte, 0xee])             # mov $0x3f8,%dx; mov byte; out
    code += bytes([0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7])     # wait for DR
    code += bytes([0x66, 0xba, 0xf8, 0x03, 0xec, 0xee])                       # in, out
    code += bytes([0xeb, 0xef])                                               # again
    return code


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Qmp:
    """A QMP client on a connected socket."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rw")
        self.greeting = json.loads(self.file.readline())
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        answer = self.try_(command, **arguments)
        if "error" in answer:
            raise AssertionError(f"{command}: {answer['error']}")
        return answer["return"]

    def try_(self, command, **arguments):
        arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" not in answer:
                return answer

    def close(self):
        self.file.close()
        self.sock.close()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.kernel = self.path("kernel")
        with open(self.kernel, "wb") as f:
            f.write(tiny_bzimage(echo_code()))

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def start(self, *args, **kw):
        """A guest that says hi and echoes; its standard streams are pipes."""
        e = emu.Emu("-kernel", self.kernel, "-m", "16", "-display", "none", *args, **kw)
        self.addCleanup(e.kill)
        return e

    def dial(self, path, timeout=20):
        """Connect to a Unix socket that is about to be there."""
        deadline = time.monotonic() + timeout * emu.SLOW
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
                s.settimeout(timeout * emu.SLOW)
                self.addCleanup(s.close)
                return s
            except OSError:
                s.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def dial_tcp(self, port, timeout=20):
        deadline = time.monotonic() + timeout * emu.SLOW
        while True:
            try:
                s = socket.create_connection(("127.0.0.1", port), timeout=timeout * emu.SLOW)
                self.addCleanup(s.close)
                return s
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def read(self, s, n):
        data = b""
        while len(data) < n:
            more = s.recv(n - len(data))
            if not more:
                break
            data += more
        return data

    def qmp(self, *args):
        """A machine with a QMP socket: (emu, client)."""
        path = self.path("qmp")
        e = self.start("-qmp", f"unix:{path},server=on,wait=off", *args)
        client = Qmp(self.dial(path))
        self.addCleanup(client.close)
        return e, client


class Sockets(Case):
    def test_wait_holds_the_machine_until_a_client_comes(self):
        path = self.path("s")
        e = self.start("-serial", f"unix:{path},server=on")
        e.expect("info: QEMU waiting for connection on: disconnected:unix:.*,server=on")
        s = self.dial(path)
        self.assertEqual(self.read(s, 4), GREETING)
        s.sendall(b"abc")
        self.assertEqual(self.read(s, 3), b"abc")

    def test_old_words_and_clients_that_come_and_go(self):
        path = self.path("s")
        self.start("-serial", f"unix:{path},server,nowait")
        for text in (b"one", b"two", b"three"):
            s = self.dial(path)
            deadline = time.monotonic() + 20 * emu.SLOW
            got = b""
            s.settimeout(0.2)
            while text not in got and time.monotonic() < deadline: # what was sent to nobody is gone
                s.sendall(text)
                try:
                    got += s.recv(100)
                except socket.timeout:
                    pass
            self.assertIn(text, got)
            s.close()

    def test_tcp_server(self):
        port = free_port()
        self.start("-chardev", f"socket,id=c,host=127.0.0.1,port={port},server=on,wait=on", "-serial", "chardev:c")
        s = self.dial_tcp(port)
        self.assertEqual(self.read(s, 4), GREETING)

    def test_client(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            listener.settimeout(20 * emu.SLOW)
            self.start("-serial", f"tcp:127.0.0.1:{listener.getsockname()[1]}")
            s, _ = listener.accept()
            self.assertEqual(self.read(s, 4), GREETING)
            s.close()

    def test_reconnect(self):
        path = self.path("s")
        e = self.start("-chardev", f"socket,id=c,path={path},reconnect=1", "-device", "isa-serial,chardev=c")
        time.sleep(0.5)
        self.assertIsNone(e.process.poll())
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(20 * emu.SLOW)
            for _ in range(2):
                s, _ = listener.accept()
                s.settimeout(20 * emu.SLOW)
                s.sendall(b"x")
                self.assertIn(b"x", self.read(s, 1))
                s.close()

    def test_inherited_descriptor(self):
        ours, theirs = socket.socketpair()
        ours.settimeout(20 * emu.SLOW)
        p = subprocess.Popen([emu.RHEA, *emu.EXTRA, "-kernel", self.kernel, "-m", "16", "-display", "none", "-chardev",
                              f"socket,id=c,fd={theirs.fileno()}", "-serial", "chardev:c"], pass_fds=[theirs.fileno()])
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.assertEqual(self.read(ours, 4), GREETING)
        ours.close()
        theirs.close()

    def test_udp(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            s.settimeout(20 * emu.SLOW)
            self.start("-serial", f"udp:127.0.0.1:{s.getsockname()[1]}@127.0.0.1:0")
            got = b""
            while len(got) < 4:
                data, peer = s.recvfrom(100)
                got += data
            self.assertEqual(got, GREETING)
            s.sendto(b"z", peer)
            self.assertEqual(s.recv(100), b"z")

    def test_a_peer_that_reads_nothing_does_not_stop_the_machine(self):
        path = self.path("s")
        e, q = self.qmp("-serial", f"unix:{path},server=on,wait=off")
        s = self.dial(path)
        s.settimeout(1)
        try:
            for _ in range(300):
                s.sendall(b"x" * 4096)
        except socket.timeout:
            pass
        self.assertEqual(q("query-status")["status"], "running")
        self.assertIsNone(e.process.poll())


class Telnet(Case):
    def test_negotiation_and_commands(self):
        port = free_port()
        self.start("-serial", f"telnet:127.0.0.1:{port},server=on,wait=on")
        s = self.dial_tcp(port)
        self.assertEqual(self.read(s, 12), b"\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00")
        self.assertEqual(self.read(s, 4), GREETING)
        s.sendall(b"\xff\xfd\x01a\xff\xff\xff\xfb\x00b")
        self.assertEqual(self.read(s, 4), b"a\xff\xffb")


class WebSocket(Case):
    def test_frames(self):
        port = free_port()
        self.start("-serial", f"websocket:127.0.0.1:{port},server=on,wait=on")
        s = self.dial_tcp(port)
        key = base64.b64encode(b"0123456789abcdef").decode()
        s.sendall((f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                   "Sec-WebSocket-Protocol: binary\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.read(s, 1)
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self.assertIn(b"101", answer)
        self.assertIn(b"Sec-WebSocket-Accept: " + accept, answer)
        got = b""
        while len(got) < 4:
            head = self.read(s, 2)
            self.assertEqual(head[0], 0x82)
            got += self.read(s, head[1])
        self.assertEqual(got, GREETING)
        mask = b"\1\2\3\4"
        s.sendall(b"\x82\x81" + mask + bytes([ord("q") ^ 1]))
        self.assertEqual(self.read(s, 3), b"\x82\x01q")

    def test_who_speaks_something_else_is_turned_away(self):
        port = free_port()
        self.start("-serial", f"websocket:127.0.0.1:{port},server=on,wait=off")
        s = self.dial_tcp(port)
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"400 Bad Request", self.read(s, 1000))


class Tls(Case):
    def setUp(self):
        super().setUp()
        if not shutil.which("certtool"):
            self.skipTest("no certtool (gnutls-bin)")
        if "tls-creds-x509" not in emu.run("-object", "help")[1]:
            self.skipTest("built without gnutls")
        self.make("ca", "cn = test CA\nca\ncert_signing_key\n", ["--generate-self-signed"])
        for name, lines in (("server", "cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_server\n"),
                            ("client", "cn = fred\ntls_www_client\n")):
            self.make(name, lines + "encryption_key\nsigning_key\n",
                      ["--generate-certificate", "--load-ca-certificate", self.path("ca-cert.pem"), "--load-ca-privkey",
                       self.path("ca-key.pem")])

    def make(self, name, template, how):
        with open(self.path("template"), "w") as f:
            f.write(template)
        key, cert = self.path(f"{name}-key.pem"), self.path(f"{name}-cert.pem")
        subprocess.run(["certtool", "--generate-privkey", "--ecc", "--outfile", key], check=True, capture_output=True)
        subprocess.run(["certtool", *how, "--load-privkey", key, "--template", self.path("template"), "--outfile", cert],
                       check=True, capture_output=True)

    def client(self, port, with_certificate=True):
        context = ssl.create_default_context(cafile=self.path("ca-cert.pem"))
        if with_certificate:
            context.load_cert_chain(self.path("client-cert.pem"), self.path("client-key.pem"))
        return context.wrap_socket(self.dial_tcp(port), server_hostname="localhost")

    def serve(self, *objects, creds="verify-peer=on", more=""):
        port = free_port()
        e = self.start("-object", f"tls-creds-x509,id=tls0,endpoint=server,dir={self.dir.name},{creds}", *objects, "-chardev",
                       f"socket,id=c,host=127.0.0.1,port={port},server=on,wait=off,tls-creds=tls0{more}", "-serial", "chardev:c")
        return e, port

    def echoes(self, s):
        s.settimeout(20 * emu.SLOW)
        s.sendall(b"over TLS")
        got = b""
        while b"over TLS" not in got:
            more = s.recv(100)
            self.assertTrue(more)
            got += more

    def test_server_and_client_know_each_other(self):
        _, port = self.serve()
        with self.client(port) as s:
            self.echoes(s)
        with self.client(port) as s: # the next one
            self.echoes(s)

    def test_a_client_without_certificate_is_refused(self):
        e, port = self.serve()
        with self.assertRaises((ssl.SSLError, OSError)):
            with self.client(port, with_certificate=False) as s:
                s.settimeout(20 * emu.SLOW)
                s.sendall(b"x")
                if s.recv(1) == b"":
                    raise OSError("closed")
        e.expect("warning: chardev c: ")

    def test_access_lists(self):
        e, port = self.serve("-object", "authz-simple,id=who,identity=CN=bob", more=",tls-authz=who")
        with self.client(port) as s:
            s.settimeout(20 * emu.SLOW)
            try:
                self.assertEqual(s.recv(1), b"")
            except OSError:
                pass
        e.expect("TLS client 'CN=fred' is not authorized")
        _, port = self.serve("-object", "authz-list,id=who,rules.0.match=CN=fr*,rules.0.format=glob,rules.0.policy=allow",
                             more=",tls-authz=who")
        with self.client(port) as s:
            self.echoes(s)

    def test_as_a_client(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path("server-cert.pem"), self.path("server-key.pem"))
        context.load_verify_locations(self.path("ca-cert.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            listener.settimeout(20 * emu.SLOW)
            self.start("-object", f"tls-creds-x509,id=tls0,endpoint=client,dir={self.dir.name}", "-chardev",
                       f"socket,id=c,host=127.0.0.1,port={listener.getsockname()[1]},tls-creds=tls0", "-serial", "chardev:c")
            plain, _ = listener.accept()
            with context.wrap_socket(plain, server_side=True) as s:
                self.echoes(s)

    def test_junk_is_turned_away(self):
        e, port = self.serve()
        s = self.dial_tcp(port)
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        e.expect("TLS handshake failed")


class Files(Case):
    def wait_for(self, path, text):
        def there():
            try:
                with open(path, "rb") as f:
                    return text in f.read()
            except FileNotFoundError:
                return False
        emu.poll(there, f"no {text!r} in {path}")

    def test_file_and_log(self):
        out, log = self.path("out"), self.path("log")
        self.start("-chardev", f"file,id=f,path={out},logfile={log}", "-serial", "chardev:f")
        self.wait_for(out, GREETING)
        self.wait_for(log, GREETING)
        self.start("-chardev", f"file,id=f,path={out},append=on", "-serial", "chardev:f")
        self.wait_for(out, GREETING + GREETING)

    def test_pipes(self):
        name = self.path("p")
        os.mkfifo(name + ".in")
        os.mkfifo(name + ".out")
        self.start("-serial", f"pipe:{name}")
        with open(name + ".out", "rb") as out:
            self.assertEqual(out.read(4), GREETING)
            with open(name + ".in", "wb", buffering=0) as f:
                f.write(b"!")
                self.assertEqual(out.read(1), b"!")

    def test_pty(self):
        e = self.start("-serial", "pty")
        name = e.expect(r"char device redirected to (/dev/pts/\d+) \(label serial0\)").group(1)
        fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
        time.sleep(0.5) # it looks every 200 ms
        os.write(fd, b"x")
        self.assertIn(b"x", os.read(fd, 100))
        os.close(fd)


class Multiplexer(Case):
    def test_serial_and_monitor_share_a_terminal(self):
        e = self.start("-nographic")
        e.expect("hi\r\n")
        e.send("a\x01\x01b")
        e.expect("a\x01b")
        e.send("\x01c")
        e.expect(r"monitor.*\r\n\(qemu\) ")
        e.send("info status\r")
        e.expect("VM status: running")
        e.send("\x01cz")
        e.expect("z")
        e.send("\x01x")
        self.assertEqual(e.wait(), 0)

    def test_named_and_with_another_escape_key(self):
        e = self.start("-chardev", "stdio,id=c,mux=on,signal=off", "-mon", "chardev=c", "-serial", "chardev:c", "-echr", "0x14")
        e.expect("hi\r\n")
        e.send("\x14h")
        e.expect("C-t x +exit emulator")
        e.send("\x01")
        e.expect("\x01")
        e.send("\x14x")
        self.assertEqual(e.wait(), 0)

    def test_time_stamps(self):
        e = self.start("-nographic")
        e.expect("hi\r\n")
        e.send("\x01t")
        e.send("one\ntwo\n")
        e.expect(r"one\n\[00:00:00\.\d{3}\] two")

    def test_exclusive_ones_are_in_use(self):
        status, _, err = emu.run("-kernel", self.kernel, "-display", "none", "-chardev", "null,id=c", "-serial", "chardev:c",
                                 "-mon", "chardev=c")
        self.assertEqual(status, 1)
        self.assertIn("-mon chardev=c: Device 'c' is in use", err)


class Commands(Case):
    def test_add_query_and_remove(self):
        _, q = self.qmp("-serial", "null")
        q("chardev-add", id="a", backend={"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": self.path("a")}},
                                                                       "server": True, "wait": False}})
        listed = {c["label"]: c for c in q("query-chardev")}
        self.assertEqual(listed["a"]["filename"], f"disconnected:unix:{self.path('a')},server=on")
        self.assertFalse(listed["a"]["frontend-open"])
        self.assertTrue(listed["serial0"]["frontend-open"])
        self.assertIn("already exists", q.try_("chardev-add", id="a", backend={"type": "null", "data": {}})["error"]["desc"])
        self.dial(self.path("a")).close()
        q("chardev-remove", id="a")
        self.assertIn("not found", q.try_("chardev-remove", id="a")["error"]["desc"])
        self.assertIn("busy", q.try_("chardev-remove", id="serial0")["error"]["desc"])
        self.assertFalse(os.path.exists(self.path("a")))
        self.assertIn({"name": "socket"}, q("query-chardev-backends"))
        self.assertTrue(re.match("/dev/pts/", q("chardev-add", id="p", backend={"type": "pty", "data": {}})["pty"]))
        self.assertIn("error", q.try_("chardev-add", id="x", backend={"type": "bogus", "data": {}}))
        self.assertIn("error", q.try_("chardev-add", id="x", backend=5))

    def test_ring_buffers(self):
        _, q = self.qmp("-chardev", "ringbuf,id=r,size=1024", "-serial", "chardev:r")
        got = ""
        deadline = time.monotonic() + 20 * emu.SLOW
        while got != "hi\r\n" and time.monotonic() < deadline:
            got += q("ringbuf-read", device="r", size=100)
        self.assertEqual(got, "hi\r\n")
        q("ringbuf-write", device="r", data="aGV5", format="base64")
        q("ringbuf-write", device="r", data="!")
        self.assertEqual(q("ringbuf-read", device="r", size=2), "he")
        self.assertEqual(q("ringbuf-read", device="r", size=9, format="base64"), "eSE=")
        self.assertIn("error", q.try_("ringbuf-read", device="nope", size=1))

    def test_change_under_the_guest(self):
        out = self.path("out")
        _, q = self.qmp("-chardev", "ringbuf,id=c", "-serial", "chardev:c")
        q("chardev-change", id="c", backend={"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": self.path("s")}},
                                                                        "server": True, "wait": False}})
        s = self.dial(self.path("s"))
        s.sendall(b"moved")
        got = b""
        while b"moved" not in got: # its greeting may come first
            got += self.read(s, 1) or self.fail(got)
        q("chardev-change", id="c", backend={"type": "file", "data": {"out": out}})
        self.assertEqual({c["label"]: c["filename"] for c in q("query-chardev")}["c"], "file")

    def test_break(self):
        _, q = self.qmp("-serial", "null")
        q("chardev-send-break", id="serial0")
        self.assertIn("error", q.try_("chardev-send-break", id="nope"))

    def test_objects(self):
        _, q = self.qmp()
        q("object-add", qom_type="secret", id="s", data="x")
        self.assertIn("error", q.try_("object-add", qom_type="secret", id="s", data="x"))
        q("object-del", id="s")
        self.assertIn("error", q.try_("object-del", id="s"))
        q("object-add", qom_type="iothread", id="io")


if __name__ == "__main__":
    unittest.main()
