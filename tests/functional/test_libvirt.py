# SPDX-License-Identifier: GPL-2.0-or-later
"""What libvirt 9.0 says to rhea, said again: tests/functional/data/libvirt-*.json, which check-libvirt --record writes."""
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import unittest

import emu
import libvirt_log
from qmp import Client, QmpError
from test_cli import tiny_bzimage

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")


class Recorded:
    """One recorded emulator, run again."""

    def __init__(self, test, name):
        with open(os.path.join(DATA, f"libvirt-{name}.json")) as f:
            self.data = json.load(f)
        folder = tempfile.TemporaryDirectory()
        test.addCleanup(folder.cleanup)
        self.test, self.folder, self.files = test, folder.name, []
        self.file("kernel", tiny_bzimage(bytes.fromhex(self.data["kernel"] or "")))
        self.file("master-key.aes", os.urandom(32))
        self.file("disk.img", bytes(1 << 20))
        emu.run("create", "-q", "-f", "qcow2", os.path.join(folder.name, "disk.qcow2"), "16M",
                program=os.path.join(emu.BUILD, "rhea-img"))

    def file(self, name, data=b""):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def listener(self, name):
        s = socket.socket(socket.AF_UNIX)
        s.bind(os.path.join(self.folder, name))
        s.listen(1)
        return s

    def inherited(self, f):
        self.files.append(f)
        return str(f.fileno())

    def argument(self, text):
        text = text.replace("@DIR@", self.folder).replace("@KERNEL@", os.path.join(self.folder, "kernel"))
        if "@MONITOR@" in text:
            text = text.replace("@MONITOR@", self.inherited(self.listener("monitor")))
        if "@LISTENER@" in text:
            text = text.replace("@LISTENER@", self.inherited(self.listener("serial")))
        if "@FILE@" in text:
            text = text.replace("@FILE@", self.inherited(open(os.path.join(self.folder, "serial.out"), "wb")))
        return text

    def start(self):
        argv = [emu.RHEA, *[self.argument(a) for a in self.data["argv"]]]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, pass_fds=[f.fileno() for f in self.files], cwd="/")
        self.test.addCleanup(self.end)
        for f in self.files:
            f.close()
        return self.process

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def say(self, q, step):
        text = json.dumps(step["send"]).replace("@DIR@", self.folder)
        sent = json.loads(text)
        fds = ()
        for path in re.findall(re.escape(self.folder) + r'[^"]*', text):
            if sent["execute"] == "blockdev-add" and not os.path.exists(path):
                self.file(path)  # libvirt makes files before their nodes
        if step.get("fd"):
            f = open(os.path.join(self.folder, "passed"), "wb")
            self.test.addCleanup(f.close)
            fds = (f.fileno(),)
        try:
            answer = {"return": q.ask_dict(sent["execute"], sent.get("arguments", {}), fds)}
        except QmpError as e:
            answer = {"error": {"class": e.cls, "desc": e.desc}}
        self.test.assertIsNone(libvirt_log.mismatch(step["want"], answer), text)

    def hear(self, q, step):
        """The event comes, with the data it had."""
        while True:
            e = q.event(step["event"])
            if libvirt_log.mismatch(step["want"], e.get("data", {})) is None:
                return

    def play(self, q):
        for step in self.data["steps"]:
            if "send" in step:
                self.say(q, step)
            elif step["want"].get("reason") == '="host-signal"':
                break
            else:
                self.hear(q, step)
        self.process.send_signal(signal.SIGTERM)
        self.test.assertEqual(q.event("SHUTDOWN")["data"], {"guest": False, "reason": "host-signal"})
        with self.test.assertRaises((EOFError, ConnectionResetError)):
            q.read()
        self.test.assertEqual(self.process.wait(10 * emu.SLOW), 0)


class Libvirt(unittest.TestCase):
    def play(self, name):
        r = Recorded(self, name)
        r.start()
        with Client(os.path.join(r.folder, "monitor"), negotiate=False, alive=lambda: r.process.poll() is None) as q:
            r.play(q)
        return r

    def test_capability_probe(self):
        r = Recorded(self, "probe")
        r.start()
        _, err = r.process.communicate(timeout=30 * emu.SLOW)  # the daemon has closed standard error
        self.assertEqual(r.process.returncode, 0, err)
        with open(os.path.join(r.folder, "qmp.pid")) as f:
            pid = int(f.read())
        try:
            with Client(os.path.join(r.folder, "qmp.monitor"), negotiate=False) as q:
                for step in r.data["steps"]:
                    r.say(q, step)
                self.wanted(q)
        finally:
            os.kill(pid, signal.SIGTERM)
            emu.poll(lambda: not os.path.exists(os.path.join(r.folder, "qmp.pid")), "the probed emulator ends", 10)

    def wanted(self, q):
        """What libvirt looks for in long answers."""
        schema = {e["name"]: e for e in q.ask("query-qmp-schema")}
        arguments = schema[schema["object-add"]["arg-type"]]
        kinds = next(m["type"] for m in arguments["members"] if m["name"] == "qom-type")
        self.assertIn("json-cli-hotplug", schema["device_add"]["features"])
        self.assertIn("secret", schema[kinds]["values"])
        self.assertIn("allow-write-only-overlay", schema["blockdev-snapshot"]["features"])
        self.assertLessEqual({"block-export-add", "blockdev-reopen", "query-cpu-definitions", "query-hotpluggable-cpus",
                              "query-cpu-model-expansion", "set-action"}, {c["name"] for c in q.ask("query-commands")})
        self.assertLessEqual({"tcg-accel", "isa-serial", "iothread", "max-x86_64-cpu", "memory-backend-memfd"},
                             {t["name"] for t in q.ask("qom-list-types")})
        pc = next(m for m in q.ask("query-machines") if m["name"] == "pc")
        self.assertEqual((pc["default-ram-id"], pc["default-cpu-type"]), ("pc.ram", "qemu64-x86_64-cpu"))

    def test_life_of_a_domain(self):
        self.play("life")

    def test_power_off_by_the_guest_and_serial_ports(self):
        r = self.play("off")
        with open(os.path.join(r.folder, "serial.out"), "rb") as f:
            self.assertEqual(f.read(), b"hi")

    def test_refusals_of_what_is_not_built_yet(self):
        self.play("no")

    def test_block_jobs(self):
        self.play("block")

    def test_an_error_is_told_before_the_monitor_closes(self):
        r = Recorded(self, "life")
        r.file("kernel", bytes(4096))
        r.start()
        os.set_blocking(r.process.stderr.fileno(), False)
        with self.assertRaises((OSError, EOFError)):
            with Client(os.path.join(r.folder, "monitor"), negotiate=False, timeout=2) as q:
                q.read()
        self.assertIn(b"kernel", r.process.stderr.read() or b"")
        self.assertEqual(r.process.wait(10 * emu.SLOW), 1)

    def test_libvirtd_comes_back(self):
        r = Recorded(self, "life")
        r.start()
        path = os.path.join(r.folder, "monitor")
        with Client(path, alive=lambda: r.process.poll() is None) as q:
            q.ask("cont")
        for _ in range(3):
            with Client(path) as q:
                self.assertEqual(q.greeting["QMP"]["version"]["package"][:4], "rhea")
                q.ask("query-migrate-capabilities")
                self.assertEqual(q.ask("query-status")["status"], "running")
                for name in ("query-hotpluggable-cpus", "query-cpus-fast", "query-iothreads", "query-block",
                             "query-chardev", "query-jobs"):
                    q.ask(name)
                q.ask("qom-list", path="/machine/peripheral")
        r.process.send_signal(signal.SIGTERM)
        self.assertEqual(r.process.wait(10 * emu.SLOW), 0)


class Options(unittest.TestCase):
    """What libvirt gives, wrong."""

    def refused(self, pattern, *args):
        status, out, err = emu.run("-M", "none", "-nodefaults", "--dry-run", *args)
        self.assertEqual((status, out), (1, ""), args)
        self.assertRegex(err, pattern)

    def test_sound_goes_nowhere(self):
        for text in ("none,id=a", '{"driver":"none","id":"a"}', "driver=none,id=a,out.frequency=48000"):
            self.assertEqual(emu.run("-M", "none", "-nodefaults", "--dry-run", "-audiodev", text)[0], 0, text)
        self.refused("-audiodev alsa,id=a: .*'alsa' is not built", "-audiodev", "alsa,id=a")
        self.refused("'driver' does not accept value 'horn'", "-audiodev", "horn,id=a")
        self.refused("Parameter 'id' is missing", "-audiodev", "none")
        self.refused("Parameter 'volume' is unexpected", "-audiodev", "none,id=a,volume=11")

    def test_descriptors(self):
        self.refused("-add-fd fd=1,set=0: fd cannot be a standard I/O stream", "-add-fd", "fd=1,set=0")
        self.refused("fd is not valid or already in use", "-add-fd", "fd=99,set=0")
        self.refused("set option is required and must be non-negative", "-add-fd", "fd=99")
        self.refused("set option is required and must be non-negative", "-add-fd", "fd=99,set=-1")
        self.refused("colour", "-add-fd", "fd=99,set=0,colour=red")
        self.refused("could not open '/dev/fdset/7'", "-chardev", "file,id=a,path=/dev/fdset/7")

    def test_the_empty_machine_is_listed(self):
        self.assertRegex(emu.run("-machine", "help")[1], r"(?m)^none +empty machine$")
        self.refused("-smp 2: .* machine 'none' is 1", "-smp", "2")


if __name__ == "__main__":
    unittest.main()
