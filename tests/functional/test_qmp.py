# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP and the human monitor from outside: every command, hostile clients, what libvirt asks, golden files."""
import json
import os
import random
import re
import shutil
import socket
import struct
import tempfile
import threading
import time
import unittest
import zlib

import emu
import golden
from qmp import Client, Machine, QmpError
from test_cli import tiny_bzimage

HALT = b"\xfa\xf4\xeb\xfd"                       # cli; hlt; jmp $-1
SPIN = b"\xeb\xfe"                               # jmp $
POWER_OFF = b"\x66\xba\x04\x06\x66\xb8\x00\x20\x66\xef\xf4\xeb\xfd"  # PM1_CNT = SLP_EN
NO_LINT1 = bytes.fromhex("c7056003e0fe00000100" "ebfe")  # masked at the local APIC; jmp $
RESET = b"\x66\xba\xf9\x0c\xb0\x06\xee\xf4\xeb\xfd"                  # port 0xcf9 = 6
SET_CLOCK = b"".join(b"\xb0%c\xe6\x70\xb0%c\xe6\x71" % pair for pair in  # CMOS: hold, a year later or earlier, go on
                     [(0x0b, 0x82), (9, 0x40), (0x0b, 0x02)]) + b"\xf4\xeb\xfd"
SECONDS = float(os.environ.get("QMP_SECONDS", "3"))
APART = ("quit", "qmp_capabilities")             # commands that are not for every moment


def pc(code, *args, **kwargs):
    """A PC that runs @code."""
    f = tempfile.NamedTemporaryFile()
    f.write(tiny_bzimage(code))
    f.flush()
    m = Machine("-m", "16", "-kernel", f.name, *args, machine="pc", **kwargs)
    m.kernel = f
    return m


class Schema:
    """query-qmp-schema, and values that it allows."""

    def __init__(self, entries):
        self.by_name = {e["name"]: e for e in entries}

    def of(self, kind):
        return [e for e in self.by_name.values() if e["meta-type"] == kind]

    def valid(self, name, depth=0):
        t = self.by_name[name]
        meta = t["meta-type"]
        if meta == "builtin":
            return {"string": "x", "int": 1, "number": 1.5, "boolean": True, "null": None, "value": {}}[t["json-type"]]
        if meta == "enum":
            return t["values"][0]
        if meta == "array":
            return [self.valid(t["element-type"], depth + 1)] if depth < 4 else []
        if meta == "alternate":
            return self.valid(t["members"][0]["type"], depth + 1)
        value = {m["name"]: self.valid(m["type"], depth + 1) for m in t["members"] if "default" not in m}
        if "tag" in t:
            case = t["variants"][0]
            value[t["tag"]] = case["case"]
            value.update(self.valid(case["type"], depth + 1))
        return value

    def is_open(self, name):
        """Are there values whose members the schema does not tell, or tells by case?"""
        t = self.by_name[name]
        if t["meta-type"] == "array":
            return self.is_open(t["element-type"])
        return t.get("json-type") == "value" or t["meta-type"] == "alternate" or "tag" in t or \
            any("default" not in m and self.is_open(m["type"]) for m in t.get("members", []) if "type" in m)

    def wrong(self, name):
        """A value of another kind; None: everything is allowed."""
        t = self.by_name[name]
        if t["meta-type"] == "builtin" and t["json-type"] == "value":
            return None
        if t["meta-type"] == "alternate":
            return None
        return 7 if t["meta-type"] in ("enum", "array", "object") or t.get("json-type") in ("string", "boolean") \
            else {"a": 1}


class Commands(unittest.TestCase):
    def test_every_command_with_valid_missing_extra_and_wrong_arguments(self):
        with pc(SPIN) as m, m.client() as q:
            schema = Schema(q.ask("query-qmp-schema"))
            self.assertGreater(len(schema.of("command")), 40)
            for c in schema.of("command"):
                if c["name"] not in APART:
                    self.try_command(q, schema, c)
            q.ask("query-status")
            self.assertIsNone(m.process.poll())

    def refused(self, q, name, arguments, text):
        try:
            q.ask_dict(name, arguments)
        except QmpError as e:
            self.assertIn(text, e.desc, f"{name} {arguments}")
            return
        self.fail(f"{name} takes {arguments}")

    def try_command(self, q, schema, c):
        name, args = c["name"], schema.by_name[c["arg-type"]]
        try:
            valid = schema.valid(c["arg-type"])
            if name in ("memsave", "pmemsave"):
                valid["filename"] = "/dev/null"
            q.ask_dict(name, valid)
        except QmpError as e:
            if not schema.is_open(c["arg-type"]):
                self.assertNotRegex(e.desc, r"^Parameter '.*' is (missing|unexpected)|^Invalid parameter type", name)
            self.assertNotEqual(e.cls, "CommandNotFound")
        if "tag" not in args and name != "device_add":
            self.refused(q, name, {**valid, "x-extra": 1}, "Parameter 'x-extra' is unexpected")
        for member in args["members"]:
            wrong = schema.wrong(member["type"])
            if wrong is not None and "tag" not in args:
                self.refused(q, name, {**valid, member["name"]: wrong}, f"'{member['name']}'")
            if "default" not in member:
                less = {k: v for k, v in valid.items() if k != member["name"]}
                self.refused(q, name, less, f"Parameter '{member['name']}' is missing")

    def test_commands_are_those_of_the_schema(self):
        with Machine() as m, m.client() as q:
            names = {c["name"] for c in q.ask("query-commands")}
            self.assertEqual(names, {c["name"] for c in Schema(q.ask("query-qmp-schema")).of("command")})

    def test_descriptors_come_along(self):
        with Machine() as m, m.client() as q, tempfile.TemporaryFile() as f:
            q.ask("getfd", fds=[f.fileno()], fdname="mine")
            q.ask("closefd", fdname="mine")
            with self.assertRaisesRegex(QmpError, "not found"):
                q.ask("closefd", fdname="mine")
            added = q.ask("add-fd", fds=[f.fileno()], opaque="a file")
            self.assertEqual(q.ask("query-fdsets"), [{"fdset-id": 0, "fds": [{"fd": added["fd"], "opaque": "a file"}]}])
            q.ask("remove-fd", fdset_id=0)
            with self.assertRaisesRegex(QmpError, "No file descriptor supplied"):
                q.ask("getfd", fdname="mine")

    def test_sockets_come_along(self):
        with Machine() as m, m.client() as q:
            ours, theirs = socket.socketpair()
            q.ask("getfd", fds=[theirs.fileno()], fdname="s")
            theirs.close()
            address = {"type": "fd", "data": {"str": "s"}}
            q.ask("chardev-add", id="c", backend={"type": "socket", "data": {"addr": address, "server": False}})
            with self.assertRaisesRegex(QmpError, "named 's' not found"):  # it is the device's now
                q.ask("closefd", fdname="s")
            q.ask("chardev-remove", id="c")
            ours.settimeout(20)
            self.assertEqual(ours.recv(1), b"")
            ours.close()
            with self.assertRaisesRegex(QmpError, "named 's' has not been found"):
                q.ask("chardev-add", id="c", backend={"type": "socket", "data": {"addr": address, "server": False}})
            with open("/dev/null", "rb") as f:
                q.ask("getfd", fds=[f.fileno()], fdname="s")
            with self.assertRaisesRegex(QmpError, "'s' is not a socket"):
                q.ask("nbd-server-start", addr=address)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                q.ask("getfd", fds=[listener.fileno()], fdname="s")
                q.ask("nbd-server-start", addr=address)
                with socket.create_connection(listener.getsockname()) as client:
                    self.assertEqual(client.recv(8), b"NBDMAGIC")

    def test_memory_backends(self):
        with pc(HALT, "-object", "memory-backend-memfd,id=more,size=1M,share=on,merge=off") as m, m.client() as q:
            common = {"dump": True, "prealloc": False, "reserve": True, "host-nodes": [], "policy": "default"}
            self.assertEqual(q.ask("query-memdev"), [{"id": "pc.ram", "size": 16 << 20, "merge": True, "share": False, **common},
                                                     {"id": "more", "size": 1 << 20, "merge": False, "share": True, **common}])

    def test_nmi_takes_the_way_of_lint1(self):
        for code, lint1 in ((SPIN, 0x400), (NO_LINT1, 0x10000)):
            with pc(code, "-action", "reboot=shutdown") as m, m.client() as q:
                q.ask("cont")
                emu.poll(lambda: f"lvt=65536 65536 65536 1792 {lint1} " in
                         q.ask("human-monitor-command", command_line="info lapic"), "the guest spins")
                q.ask("inject-nmi")
                if lint1 == 0x400:  # there is no IDT: that is the end
                    self.assertEqual(q.event("SHUTDOWN")["data"]["reason"], "guest-reset")
                else:
                    self.assertEqual(q.ask("query-status")["status"], "running")

    def test_what_random_commands_found(self):
        with Machine() as m, m.client() as q:
            q.ask("blockdev-add", driver="null-co", node_name="n")
            bitmap = {"node": "n", "name": "b"}
            q.ask("block-dirty-bitmap-add", **bitmap)
            remove = {"type": "block-dirty-bitmap-remove", "data": bitmap}
            with self.assertRaisesRegex(QmpError, "in use by another operation"):
                q.ask("transaction", actions=[remove, remove])
            q.ask("transaction", actions=[remove])
            q.ask("chardev-add", id="c", backend={"type": "null", "data": {}})
            with self.assertRaisesRegex(QmpError, "cannot become a hub"):
                q.ask("chardev-change", id="c", backend={"type": "hub", "data": {"chardevs": ["c"]}})

    def test_memory_is_written_to_files(self):
        with pc(HALT) as m, m.client() as q, tempfile.NamedTemporaryFile() as f:
            q.ask("pmemsave", val=0x100000, size=4096, filename=f.name)
            self.assertTrue(open(f.name, "rb").read().startswith(HALT))
            with self.assertRaisesRegex(QmpError, "could not open '/nowhere/x'"):
                q.ask("pmemsave", val=0, size=1, filename="/nowhere/x")


class Dump(unittest.TestCase):
    """dump-guest-memory, read back by the letter of the formats."""

    def dump(self, q, **arguments):
        with tempfile.NamedTemporaryFile() as f:
            q.ask("dump-guest-memory", protocol=f"file:{f.name}", **arguments)
            done = q.event("DUMP_COMPLETED")["data"]
            self.assertEqual(done["result"], q.ask("query-dump"))
            self.assertEqual((done["result"]["status"], done["result"]["completed"]),
                             ("completed", done["result"]["total"]))
            return open(f.name, "rb").read()

    def notes(self, data):
        """(name, type, contents) of each."""
        while data:
            n, size, kind = struct.unpack_from("<III", data)
            at = 12 + (n + 3) // 4 * 4
            yield data[12:12 + n - 1].decode(), kind, data[at:at + size]
            data = data[at + (size + 3) // 4 * 4:]

    def check_notes(self, data):
        notes = list(self.notes(data))
        self.assertEqual([(n, k, len(c)) for n, k, c in notes], [("CORE", 1, 336), ("QEMU", 0, 440)])
        self.assertEqual(struct.unpack_from("<Q", notes[0][2], 112 + 16 * 8)[0], 0x100000)  # rip

    def test_elf(self):
        for detach in (False, True):
            with pc(SPIN) as m, m.client() as q:
                q.ask("cont")
                emu.poll(lambda: "RIP=0000000000100000" in q.ask("human-monitor-command", command_line="info registers"),
                         "the guest spins")
                data = self.dump(q, paging=False, detach=detach)
                self.assertEqual(q.ask("query-status")["status"], "running")
            self.assertEqual(data[:6], b"\x7fELF\x02\x01")
            self.assertEqual(struct.unpack_from("<HH", data, 16), (4, 62))
            loads = []
            for i in range(struct.unpack_from("<H", data, 56)[0]):
                kind, _, at, _, pa, size, _, _ = struct.unpack_from("<IIQQQQQQ", data, 64 + 56 * i)
                if kind == 4:
                    self.check_notes(data[at:at + size])
                else:
                    loads.append((pa, data[at:at + size]))
            pa, memory = next((pa, c) for pa, c in loads if pa <= 0x100000 < pa + len(c))
            self.assertTrue(memory[0x100000 - pa:].startswith(SPIN))
            self.assertGreaterEqual(sum(len(c) for _, c in loads), 15 << 20)

    def test_kdump(self):
        with pc(SPIN) as m, m.client() as q:
            q.ask("cont")
            emu.poll(lambda: "RIP=0000000000100000" in q.ask("human-monitor-command", command_line="info registers"),
                     "the guest spins")
            flat = self.dump(q, paging=False, format="kdump-zlib")
        self.assertTrue(flat.startswith(b"makedumpfile\0"))
        self.assertLess(len(flat), 4 << 20)
        data, at = bytearray(), 4096
        while True:
            to, size = struct.unpack_from(">qq", flat, at)
            if to < 0:
                break
            data.extend(bytes(max(0, to + size - len(data))))
            data[to:to + size] = flat[at + 16:at + 16 + size]
            at += 16 + size
        self.assertEqual(at + 16, len(flat))
        self.assertTrue(data.startswith(b"KDUMP   "))
        block, sub, bitmaps = struct.unpack_from("<III", data, 428)
        note_at, note_size = struct.unpack_from("<QQ", data, 4096 + 48)
        self.check_notes(bytes(data[note_at:note_at + note_size]))
        bits_at = (1 + sub) * block + bitmaps * block // 2
        bits = data[bits_at:bits_at + bitmaps * block // 2]
        index = sum(bits[p // 8] >> p % 8 & 1 for p in range(0x100))
        desc = bits_at + bitmaps * block // 2 + 24 * index
        page_at, size, flags = struct.unpack_from("<QII", data, desc)
        page = bytes(data[page_at:page_at + size])
        self.assertTrue((zlib.decompress(page) if flags == 1 else page).startswith(SPIN))

    def test_what_cannot_be(self):
        with pc(HALT) as m, m.client() as q:
            for arguments, text in [({"protocol": "x"}, "Invalid parameter 'protocol'"),
                                    ({"protocol": "file:/nowhere/x"}, "could not open '/nowhere/x'"),
                                    ({"protocol": "fd:none"}, "File descriptor named 'none' has not been found"),
                                    ({"protocol": "file:/dev/full"}, "failed to save memory"),
                                    ({"protocol": "file:/dev/null", "begin": 0}, "Parameter 'length' is missing")]:
                with self.assertRaisesRegex(QmpError, text):
                    q.ask("dump-guest-memory", paging=False, **arguments)
            r, w = os.pipe()  # nobody reads: it ends with the process
            q.ask("getfd", fds=[w], fdname="w")
            q.ask("dump-guest-memory", paging=False, detach=True, protocol="fd:w")
            self.assertEqual(q.ask("query-dump")["status"], "active")
            with self.assertRaisesRegex(QmpError, "Dump in process"):
                q.ask("dump-guest-memory", paging=False, protocol="file:/dev/null")
            with self.assertRaisesRegex(QmpError, "There is a dump in process, please wait"):
                q.ask("cont")
            os.close(w)
            q.ask("quit")
            self.assertEqual(m.wait(), 0)
            os.close(r)


    def test_a_reset_waits(self):
        with pc(HALT) as m, m.client() as q:
            r, w = os.pipe()
            q.ask("getfd", fds=[w], fdname="w")
            os.close(w)
            q.ask("dump-guest-memory", paging=False, detach=True, protocol="fd:w")
            q.ask("system_reset")
            self.assertEqual(q.ask("query-dump")["status"], "active")
            self.assertNotIn("RESET", [e["event"] for e in q.events])
            while os.read(r, 1 << 20):
                pass
            os.close(r)
            self.assertEqual(q.event("DUMP_COMPLETED")["data"]["result"]["status"], "completed")
            q.event("RESET")


class Profile(unittest.TestCase):
    def test_a_spinning_guest(self):
        with pc(SPIN, "-smp", "2") as m, m.client() as q, tempfile.TemporaryDirectory() as d:
            symbols, folded, svg = (os.path.join(d, n) for n in ("System.map", "folded", "svg"))
            with open(symbols, "w") as f:
                f.write("0000000000001000 T early\n0000000000100000 T the_<spin>\n0000000000200000 T late\n")
            with self.assertRaisesRegex(QmpError, "has no symbols"):
                q.ask("x-profile-start", symbols="/dev/null" if not os.path.exists("/etc/hostname") else "/etc/hostname")
            q.ask("x-profile-start", symbols=symbols, frequency=200)
            q.ask("cont")
            time.sleep(1)
            r = q.ask("x-profile-stop", folded=folded, svg=svg)
            self.assertGreater(r["samples"], 20)
            self.assertEqual({(t["cpu-index"], t["name"]) for t in r["top"]} & {(0, "the_<spin>"), (1, "(halted)")},
                             {(0, "the_<spin>"), (1, "(halted)")}, r)
            self.assertRegex(open(folded).read(), r"(?m)^vcpu0;the_<spin> \d+$")
            self.assertIn("the_&#60;spin&#62;", open(svg).read())
            with self.assertRaisesRegex(QmpError, "no profile is being made"):
                q.ask("x-profile-stop")


class Events(unittest.TestCase):
    def names(self, q):
        return [e["event"] for e in q.events]

    def test_stop_cont_reset_quit(self):
        with pc(SPIN) as m, m.client() as q:
            self.assertEqual(q.ask("query-status")["status"], "prelaunch")
            q.ask("cont")
            q.event("RESUME")
            self.assertEqual(q.ask("query-status"), {"status": "running", "running": True, "singlestep": False})
            self.assertGreater(q.ask("query-cpus-fast")[0]["thread-id"], 0)
            q.ask("stop")
            stamp = q.event("STOP")["timestamp"]
            self.assertLess(abs(stamp["seconds"] - time.time()), 60)
            q.ask("system_reset")
            self.assertEqual(q.event("RESET")["data"], {"guest": False, "reason": "host-qmp-system-reset"})
            q.ask("quit")
            self.assertEqual(q.event("SHUTDOWN")["data"], {"guest": False, "reason": "host-qmp-quit"})
            self.assertEqual(m.wait(), 0)

    def test_power_off_with_no_shutdown(self):
        with pc(POWER_OFF, "-no-shutdown") as m, m.client() as q:
            q.ask("cont")
            self.assertEqual(q.event("SHUTDOWN")["data"], {"guest": True, "reason": "guest-shutdown"})
            q.event("STOP")
            self.assertEqual(q.ask("query-status")["status"], "shutdown")
            with self.assertRaisesRegex(QmpError, "Resetting the Virtual Machine is required"):
                q.ask("cont")
            q.ask("system_reset")
            q.event("RESET")
            q.ask("cont")
            q.event("SHUTDOWN")
            m.process.terminate()
            self.assertEqual(q.event("SHUTDOWN")["data"], {"guest": False, "reason": "host-signal"})
            self.assertEqual(m.wait(), 0)

    def test_guest_sets_its_clock(self):
        with pc(SET_CLOCK, "-rtc", "base=2030-06-01T12:00:00") as m, m.client() as q:
            q.ask("cont")
            change = q.event("RTC_CHANGE")["data"]
            self.assertAlmostEqual(change["offset"], 3653 * 86400, delta=5)
            self.assertEqual(q.ask("qom-get", path=change["qom-path"], property="type"), "mc146818rtc")

    def test_guest_resets(self):
        with pc(RESET) as m, m.client() as q:
            q.ask("cont")
            for _ in range(3):
                self.assertEqual(q.event("RESET")["data"], {"guest": True, "reason": "guest-reset"})
            q.ask("set-action", reboot="shutdown")
            self.assertEqual(q.event("SHUTDOWN")["data"], {"guest": True, "reason": "guest-reset"})
            self.assertEqual(m.wait(), 0)


class Hostile(unittest.TestCase):
    def test_many_monitors_talk_and_die(self):
        with pc(SPIN, monitors=100) as m:
            end = time.monotonic() + SECONDS
            errors, sessions = [], [0] * len(m.paths)
            with m.client(99) as q:
                q.ask("cont")

            def talk(n):
                rng = random.Random(n)
                try:
                    while time.monotonic() < end:
                        with Client(m.paths[n], negotiate=rng.random() < 0.9) as q:
                            for _ in range(rng.randrange(6)):
                                q.raw(rng.choice([b'{"execute":"query-status"}', b'{"execute":"query-commands"',
                                                  b'}}}', b'"x', b'{"execute":"query-qmp-schema"}\n']))
                            if rng.random() < 0.5:
                                q.sock.settimeout(0.02)
                                try:
                                    q.sock.recv(100)
                                except OSError:
                                    pass
                        sessions[n] += 1
                except Exception as e:  # pylint: disable=broad-except
                    errors.append(f"monitor {n}: {e!r}")

            threads = [threading.Thread(target=talk, args=(n,)) for n in range(len(m.paths))]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual(errors, [])
            self.assertGreater(min(sessions), 0)
            with m.client(0) as q:
                self.assertEqual(q.ask("query-status")["status"], "running")

    def test_client_that_never_reads(self):
        with Machine(monitors=2) as m, m.client(1) as other:
            deaf = m.client(0)
            before = m.rss()
            deaf.sock.setblocking(False)
            sent = 0
            end = time.monotonic() + 2
            while time.monotonic() < end and sent < 64 << 20:
                try:
                    sent += deaf.sock.send(b'{"execute":"query-qmp-schema"}\n' * 1000)
                except BlockingIOError:
                    time.sleep(0.01)
                other.ask("query-status")
            self.assertLess(sent, 16 << 20)
            self.assertLess(m.rss() - before, 32 << 20)
            deaf.sock.close()
            with m.client(0) as q:
                q.ask("query-status")

    def test_bytes_at_random(self):
        rng = random.Random(1)
        pieces = [b"{", b"}", b"[", b"]", b":", b",", b'"execute"', b'"stop"', b"'", b'"', b"\\", b"1e9", b"true", b"\n",
                  b"\xff", b"\x00", b"nul", b'{"execute":"query-status"}', b"\\u0000", b"\\ud800"]
        with Machine() as m:
            for _ in range(20):
                q = m.client()
                q.raw(b"".join(rng.choice(pieces) for _ in range(2000)))
                q.raw(b'\xff\n\n]}]}\n{"execute":"query-version","id":"mark"}\n')
                while True:
                    j = q.read()
                    if j.get("id") == "mark":
                        break
                self.assertIn("return", j)
                q.sock.close()


class Probe(unittest.TestCase):
    """What libvirt 9.0 asks of an emulator that it does not know."""

    def test_capabilities(self):
        with tempfile.TemporaryDirectory() as d:
            sock, pidfile = os.path.join(d, "qmp.monitor"), os.path.join(d, "qmp.pid")
            status, _, err = emu.run("-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg",
                                     "-qmp", f"unix:{sock},server=on,wait=off", "-pidfile", pidfile, "-daemonize")
            self.assertEqual(status, 0, err)
            pid = int(open(pidfile).read())
            try:
                self.probe(Client(sock))
            finally:
                os.kill(pid, 15)

    def probe(self, q):
        version = q.ask("query-version")
        self.assertGreaterEqual((version["qemu"]["major"], version["qemu"]["minor"]), (4, 2))
        self.assertIsInstance(version["package"], str)
        self.assertEqual(q.ask("query-target"), {"arch": "x86_64"})
        schema = Schema(q.ask("query-qmp-schema"))
        self.assertIn("json-cli-hotplug", schema.by_name["device_add"]["features"])
        types = {t["name"] for t in q.ask("qom-list-types")}
        self.assertLessEqual({"tcg-accel", "max-x86_64-cpu", "none-machine", "pc-machine", "isa-serial"}, types)
        with self.assertRaises(QmpError) as e:
            q.ask("device-list-properties", typename="virtio-blk-ccw")
        self.assertEqual(e.exception.cls, "DeviceNotFound")
        q.ask("qom-list-properties", typename="none-machine")
        q.ask("qom-list-properties", typename="max-x86_64-cpu")
        machines = q.ask("query-machines")
        self.assertEqual([m["name"] for m in machines if m.get("is-default")], ["pc"])
        for m in machines:
            self.assertLessEqual({"name", "cpu-max", "hotpluggable-cpus", "numa-mem-supported", "deprecated"}, set(m))
        cpus = {c["name"]: c for c in q.ask("query-cpu-definitions")}
        self.assertEqual(cpus["qemu64"]["typename"], "qemu64-x86_64-cpu")
        self.assertEqual(cpus["max"]["unavailable-features"], [])
        for kind in ("static", "full"):
            model = q.ask_dict("query-cpu-model-expansion",
                               {"type": kind, "model": {"name": "max", "props": {"migratable": False, "sse2": False}}})
            self.assertIs(model["model"]["props"]["cmov"], True)
            self.assertIs(model["model"]["props"]["sse2"], False)
        for name in ("query-tpm-models", "query-tpm-types"):
            self.assertEqual(q.ask(name), [])
        for state in (False, True):
            q.ask("migrate-set-capabilities", capabilities=[{"capability": "events", "state": state}])
            self.assertEqual(q.ask("query-migrate-capabilities"), [{"capability": "events", "state": state}])
        options = {o["option"]: {p["name"] for p in o["parameters"]} for o in q.ask("query-command-line-options")}
        self.assertIn("machine", options)
        self.assertEqual(q.ask("query-kvm").keys(), {"enabled", "present"})


class Human(unittest.TestCase):
    def test_a_session(self):
        with pc(HALT, hmp=True) as m, m.client():
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(20 * emu.SLOW)
            s.connect(m.hmp_path)
            data = ""

            def until(text):
                nonlocal data
                while text not in data:
                    data += s.recv(65536).decode()
                head, _, data = data.partition(text)
                return head

            self.assertRegex(until("(qemu) "), r"monitor .*type 'help'")
            for command, expected in [
                    ("info status", "VM status: paused (prelaunch)\r\n"),
                    ("xp/2xb 0x100000", "0000000000100000: 0xfa 0xf4\r\n"),
                    ("xp/1i 0x100000", "cli"),
                    ("p/x 3*(2+1) & 0xff", "0x9\r\n"),
                    ("x /2q 0", "invalid char"),
                    ("print $nothing", "unknown register"),
                    ("sendkey a", "not built yet"),
                    ("bogus", "unknown command: 'bogus'"),
                    ("device_del x", "Error: Device 'x' not found"),
                    ("help cpu", "cpu index -- "),
                    ("info regi\t-a", "CPU#0"),
                    ("foo\x15info versi\x08ion", "7.2.0"),
                    ("\x1b[A\x1b[A\x7f\x7f -a", "CPU#0"),
                    ("info history", "2: 'xp/1i 0x100000'"),
                    ("c", ""), ("info status", "VM status: running"), ("stop", ""), ("info status", "VM status: paused\r\n")]:
                s.sendall(command.encode() + b"\r")
                self.assertIn(expected, until("\r\n") * 0 + until("(qemu) "), command)
            s.close()

    def test_every_line_of_help(self):
        with pc(SPIN, hmp=True) as m, m.client() as q:
            lines = q.ask("human-monitor-command", command_line="help").splitlines()
            lines += q.ask("human-monitor-command", command_line="help info").splitlines()
            names = [re.split(r"[| ]", x)[0] if not x.startswith("info ") else " ".join(x.split()[:2]) for x in lines]
            self.assertGreater(len(names), 50)
            q.ask("cont")
            for name in names:
                if name in ("quit", "stop"):
                    continue
                for args in ("", " 0", " 0 0", " x y z", "/3xw 0", ' "unterminated'):
                    if name in ("o", "logfile", "memsave", "pmemsave", "dump-guest-memory", "gdbserver"):
                        continue
                    self.assertIsInstance(q.ask("human-monitor-command", command_line=name + args), str)
            self.assertEqual(q.ask("query-status")["status"], "running")


class Guest(unittest.TestCase):
    """A Linux guest while management meddles."""

    def test_power_button_nmi_and_looks_into_it(self):
        kernel, initrd = emu.guest("x86_64/vmlinuz-cloud"), emu.guest("x86_64/initrd.cpio")
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "qmp")
            with emu.Emu("-m", "512", "-smp", "2", "-nographic", "-kernel", kernel, "-initrd", initrd,
                         "-append", "console=ttyS0 quiet", "-qmp", f"unix:{path},server=on,wait=off") as e, \
                    Client(path, timeout=60) as q:
                for _ in range(20):
                    q.ask("stop")
                    q.ask("human-monitor-command", command_line="info registers -a")
                    q.ask("cont")
                    q.ask("human-monitor-command", command_line="info mem")
                    time.sleep(0.1)
                e.expect("GUEST-READY", 180)
                e.expect(emu.PROMPT)
                button = "cat /sys/firmware/acpi/interrupts/ff_pwr_btn"
                self.assertNotIn("STS", e.shell(button))
                q.ask("system_powerdown")
                q.event("POWERDOWN")
                self.assertIn("STS", e.shell(button))  # this kernel has no driver that would take it
                q.ask("inject-nmi")
                e.expect("NMI received for unknown reason")
                pa = int(q.ask("human-monitor-command", command_line="gva2gpa $pc").split()[1], 16)
                self.assertLess(pa, 512 << 20)
                e.send("poweroff -f\n")
                self.assertEqual(q.event("SHUTDOWN")["data"]["reason"], "guest-shutdown")
                self.assertEqual(e.wait(), 0)


class HumanCommands(unittest.TestCase):
    """What QEMU's human monitor has."""

    def hmp(self, q, line):
        return q.ask("human-monitor-command", command_line=line).replace("\r\n", "\n")

    def test_every_command_of_qemu_is_known(self):
        qemu = shutil.which("qemu-system-x86_64")
        if not qemu:
            self.skipTest("no qemu-system-x86_64 (package qemu-system-x86)")
        _, out, _ = emu.run("-M", "none", "-display", "none", "-nodefaults", "-monitor", "stdio", program=qemu,
                            stdin=b"help\ninfo\nquit\n")
        names = re.findall(r"(?m)^(info \S+|[a-z_][\w-]*)(?:\|\S+)? .*-- ", out)
        self.assertGreater(len(names), 150)
        with Machine() as m, m.client() as q:
            for name in names:
                if name not in ("quit", "info [subcommand]"):
                    self.assertNotIn("unknown command", self.hmp(q, name), name)

    def test_devices_memory_and_disks(self):
        with tempfile.TemporaryDirectory() as d:
            image = os.path.join(d, "image.qcow2")
            emu.run("create", "-q", "-f", "qcow2", image, "4M", program=os.path.join(emu.BUILD, "rhea-img"))
            with pc(SPIN, "-drive", f"if=none,id=d0,file={image}") as m, m.client() as q:
                for line, expected in (
                        ("chardev-add ringbuf,id=c", ""), ("ringbuf_write c a b", ""), ("ringbuf_read c 9", "a b\n"),
                        ("chardev-change c null", ""), ("info chardev", "c: filename=null\n"),
                        ("chardev-change c null,id=x", "Unexpected 'id' parameter"), ("chardev-add nothing,id=x", "Error: "),
                        ("info memdev", "memory backend: pc.ram\n  size:  16777216\n  merge: true\n"),
                        ("info numa", "0 nodes\n"), ("info irq", "IRQ statistics for isa-pic:\n 0: "),
                        ("info lapic 0", "dumping local APIC state for CPU 0\n\nbase=4276095232\n"),
                        ("info block", f"): {image} (qcow2)\n    Removable device: not locked, tray closed\n"
                                       "    Cache mode:       writeback\n"),
                        ("info block -v d0", "virtual size: 4 MiB (4194304 bytes)\n"), ("info block -n nothing", ""),
                        ("block_resize d0 6", ""), ("info block -v", "virtual size: 6 MiB"), ("block_resize d0 x", "invalid size"),
                        ("block_set_io_throttle d0 1000 0 0 0 0 9", ""), ("info block", "bps=1000 bps_rd=0 bps_wr=0 bps_max=0"),
                        ("snapshot_blkdev_internal d0 before", ""), ("info snapshots", "snapshots on 'd0':\n"),
                        ("snapshot_delete_blkdev_internal d0 before", ""), ("info snapshots", "There is no snapshot available.\n"),
                        ("info block-jobs", "No active jobs\n"), ("block_job_cancel -f d0", "Error: Block job 'd0' not found\n"),
                        ("info blockstats", "d0: rd_bytes="), ("nbd_server_start x", "Error: error parsing address 'x'\n"),
                        ("nbd_server_start -a 127.0.0.1:0", ""), ("nbd_server_remove -f d0", ""), ("nbd_server_stop", ""),
                        (f"snapshot_blkdev d0 {d}/overlay", ""), ("info block", "chain depth: 1"),
                        ("trace-event reg_read on", ""), ("info trace-events reg_read", "reg_read : state 1\n"),
                        ("trace-event * off", ""), ("info trace-events reg_read", "reg_read : state 0\n"),
                        ("gpa2hva 0x1000", "Host virtual address for 0x1000 (pc.ram) is 0x"), ("info mice", "No mouse"),
                        ("qom-list /objects", "type (string)\n"), ("info vnc", "info vnc: this command is not built yet\n")):
                    got = self.hmp(q, line)
                    self.assertTrue(expected in got if expected else got == "", f"{line}: {got!r}")


class Golden(unittest.TestCase):
    def test_schema_and_properties(self):
        for name, text in golden.produce().items():
            with open(os.path.join(golden.FOLDER, name)) as f:
                self.assertEqual(f.read(), text, f"tests/golden/{name} differs: look at it, then `make golden`")


if __name__ == "__main__":
    unittest.main()
