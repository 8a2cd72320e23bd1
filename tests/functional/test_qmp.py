# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP and the human monitor from outside: every command, hostile clients, what libvirt asks, golden files."""
import json
import os
import random
import re
import socket
import tempfile
import threading
import time
import unittest

import emu
import golden
from qmp import Client, Machine, QmpError
from test_cli import tiny_bzimage

HALT = b"\xfa\xf4\xeb\xfd"                       # cli; hlt; jmp $-1
SPIN = b"\xeb\xfe"                               # jmp $
POWER_OFF = b"\x66\xba\x04\x06\x66\xb8\x00\x20\x66\xef\xf4\xeb\xfd"  # PM1_CNT = SLP_EN
RESET = b"\x66\xba\xf9\x0c\xb0\x06\xee\xf4\xeb\xfd"                  # port 0xcf9 = 6
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

    def test_memory_is_written_to_files(self):
        with pc(HALT) as m, m.client() as q, tempfile.NamedTemporaryFile() as f:
            q.ask("pmemsave", val=0x100000, size=4096, filename=f.name)
            self.assertTrue(open(f.name, "rb").read().startswith(HALT))
            with self.assertRaisesRegex(QmpError, "could not open '/nowhere/x'"):
                q.ask("pmemsave", val=0, size=1, filename="/nowhere/x")


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
        for name in ("query-tpm-models", "query-tpm-types", "query-migrate-capabilities"):
            self.assertEqual(q.ask(name), [])
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
                    ("x /2 i 0", "invalid char"),
                    ("print $nothing", "unknown register"),
                    ("sendkey a", "not built yet"),
                    ("bogus", "unknown command: 'bogus'"),
                    ("device_del x", "Error: Device 'x' not found"),
                    ("help cpu", "cpu index -- "),
                    ("info regi\t-a", "CPU#0"),
                    ("foo\x15info versi\x08ion", "7.2.0"),
                    ("\x1b[A\x1b[A\x7f\x7f -a", "CPU#0"),
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
                    if name in ("o", "logfile", "memsave", "pmemsave"):
                        continue
                    self.assertIsInstance(q.ask("human-monitor-command", command_line=name + args), str)
            self.assertEqual(q.ask("query-status")["status"], "running")


class Golden(unittest.TestCase):
    def test_schema_and_properties(self):
        for name, text in golden.produce().items():
            with open(os.path.join(golden.FOLDER, name)) as f:
                self.assertEqual(f.read(), text, f"tests/golden/{name} differs: look at it, then `make golden`")


if __name__ == "__main__":
    unittest.main()
