# SPDX-License-Identifier: GPL-2.0-or-later
"""Block commands over QMP as libvirt and backup tools use them; images are looked at with QEMU's tools.

With RHEA=/usr/bin/qemu-system-x86_64 the same tests run against QEMU 7.2: what they expect is what it does.
"""
import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest

import emu
from qmp import Machine, QmpError

MB = 1 << 20
LIFE = ["created", "running", "waiting", "pending", "BLOCK_JOB_COMPLETED", "concluded", "null"]
MIRROR_LIFE = ["created", "running", "ready", "BLOCK_JOB_READY", *LIFE[2:]]
CANCELLED = ["aborting", "BLOCK_JOB_CANCELLED", "concluded", "null"]


class Case(unittest.TestCase):
    """A machine without disks, a folder, and words for what tests do with them."""

    def setUp(self):
        for tool in ("qemu-img", "qemu-io"):
            if not shutil.which(tool):
                self.skipTest(f"no {tool} (package qemu-utils)")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        self.machine = None
        self.start()

    def start(self, *args):
        """Another machine instead of the one there is."""
        self.stop()
        self.machine = Machine(*args)
        self.addCleanup(self.machine.__exit__)
        self.q = self.machine.client()
        self.server = False

    def stop(self):
        if self.machine and self.machine.process.poll() is None:
            self.q.ask("quit")
            self.assertEqual(self.machine.wait(), 0)
            self.q.sock.close()

    def path(self, name):
        return os.path.join(self.dir, name)

    def tool(self, *args, fails=False):
        status, out, err = emu.run(*args[1:], program=args[0])
        self.assertEqual(status != 0, fails, f"{args}: {out}{err}")
        return out

    def image(self, name, size=4 * MB, backing=None, fmt="qcow2"):
        """A new image; if it is a letter, with 64 KiB of it at its own place (a: 0, b: 1 MiB, ...)."""
        args = ["-b", self.path(backing), "-F", "qcow2"] if backing else []
        self.tool("qemu-img", "create", "-q", "-f", fmt, *args, self.path(name), str(size))
        if name in "abcd":
            letter = ord(name)
            self.tool("qemu-io", "-f", fmt, "-c", f"write -q -P {letter} {(letter - 97) * MB} 64k", self.path(name))
        return self.path(name)

    def add(self, node, name=None, driver="qcow2", **more):
        file = {"driver": "file", "filename": self.path(name or node)}
        options = {"driver": driver, "node-name": node, "file": file}
        options.update({k.replace("_", "-"): v for k, v in more.items()})
        self.q.ask_dict("blockdev-add", options)

    def chain(self, *names, **more):
        """Images, each on the one before, all opened by their names."""
        for n, below in zip(names, (None, *names)):
            self.image(n, backing=below)
        for n, below in zip(names, (None, *names)):
            self.add(n, **more, **({"backing": below} if below else {}))

    def serve(self):
        if not self.server:
            self.q.ask("nbd-server-start", addr={"type": "unix", "data": {"path": self.path("nbd")}})
            self.server = True

    def export(self, node, **more):
        self.serve()
        self.q.ask_dict("block-export-add", {"type": "nbd", "id": f"x-{node}", "node-name": node, **more})
        return self.uri(node)

    def uri(self, name):
        return f"nbd+unix:///{name}?socket={self.path('nbd')}"

    def unexport(self, node):
        # The client has ended; the server may hear of it a moment later.
        self.q.ask("block-export-del", id=f"x-{node}", mode="hard")
        self.q.event("BLOCK_EXPORT_DELETED")

    def io(self, node, *commands):
        """Through an export for this moment."""
        self.client(self.export(node, writable=True), *commands)
        self.unexport(node)

    def client(self, uri, *commands, flags=()):
        out = self.tool("qemu-io", *flags, "-f", "raw", *[a for c in commands for a in ("-c", c)], uri)
        self.assertNotIn("failed", out)

    def holds(self, node, letters):
        """What image() wrote is there, and where nobody wrote there is nothing."""
        self.client(self.export(node), flags=["-r"],
                    *[f"read -q -P {ord(c) if c in letters else 0} {i * MB} 64k" for i, c in enumerate("abcd")])
        self.unexport(node)

    def check(self, *names):
        for n in names:
            self.tool("qemu-img", "check", "-q", "-U", "-f", "qcow2", self.path(n))

    def same(self, a, b):
        self.tool("qemu-img", "compare", "-U", self.path(a), self.path(b))

    def info(self, name):
        return json.loads(self.tool("qemu-img", "info", "-U", "--output=json", self.path(name)))

    def node(self, name):
        return next(n for n in self.q.ask("query-named-block-nodes", flat=True) if n["node-name"] == name)

    def refused(self, text, command, cls="GenericError", **arguments):
        with self.assertRaisesRegex(QmpError, text) as e:
            self.q.ask(command, **arguments)
        self.assertEqual(e.exception.cls, cls)

    def until(self, job, last):
        """Names of the job's events, its states by their own, up to @last."""
        seen = []
        while True:
            while self.q.events:
                e = self.q.events.pop(0)
                d = e.get("data", {})
                if d.get("id", d.get("device")) == job and e["event"] != "BLOCK_EXPORT_DELETED":
                    seen.append(d["status"] if e["event"] == "JOB_STATUS_CHANGE" else e["event"])
                    if seen[-1] == "BLOCK_JOB_COMPLETED":
                        self.assertNotIn("error", d)
                    if d.get("status") == "paused" and last != "paused":  # QEMU's jobs do so while it drains
                        seen.pop()
                    elif seen[-1] == last:
                        return [s for n, s in enumerate(seen) if not n or s != seen[n - 1]]
            self.q.events.append(self.q.read())

    def forget(self):
        self.q.events.clear()

    def job(self, name="j"):
        return next(j for j in self.q.ask("query-jobs") if j["id"] == name)

    def block_job(self, name="j"):
        return next(j for j in self.q.ask("query-block-jobs") if j["device"] == name)


class Nodes(Case):
    def test_nodes_come_and_go(self):
        self.image("a")
        self.q.ask("object-add", qom_type="throttle-group", id="g", limits={"iops-total": 1000})
        self.add("a", discard="unmap")
        self.q.ask("blockdev-add", driver="throttle", node_name="slow", throttle_group="g", file="a")
        self.q.ask("blockdev-add", driver="copy-on-read", node_name="cor", file="slow")
        names = {n["node-name"] for n in self.q.ask("query-named-block-nodes")}
        self.assertLessEqual({"a", "slow", "cor"}, names)
        a = self.node("a")
        self.assertEqual((a["drv"], a["ro"], a["image"]["virtual-size"], a["image"]["format"]),
                         ("qcow2", False, 4 * MB, "qcow2"))
        self.assertEqual(a["file"], self.path("a"))
        self.holds("cor", "a")
        for node in ("a", "slow"):
            self.refused(f"(Node|Block device) {node} is in use", "blockdev-del", node_name=node)
        self.refused("in use", "object-del", id="g")
        for node in ("cor", "slow", "a"):
            self.q.ask("blockdev-del", node_name=node)
        self.q.ask("object-del", id="g")
        self.assertEqual(self.q.ask("query-named-block-nodes"), [])

    def test_raw_shows_a_part(self):
        with open(self.path("r"), "wb") as f:
            f.write(b"x" * MB + b"y" * MB + b"z" * MB)
        self.add("r", driver="raw", offset=MB, size=MB)
        self.assertEqual(self.node("r")["image"]["virtual-size"], MB)
        self.io("r", "read -q -P 121 0 1M", "write -q -P 122 0 64k")
        with open(self.path("r"), "rb") as f:
            data = f.read()
        self.assertEqual((data[:MB], data[MB:MB + 65537]), (b"x" * MB, b"z" * 65536 + b"y"))
        for wrong in ({"offset": 4 * MB}, {"offset": 512, "size": 3 * MB}):
            with self.assertRaises(QmpError):
                self.add("r2", "r", driver="raw", read_only=True, **wrong)

    def test_drives_and_their_roots(self):
        self.image("a")
        self.start("-drive", f"if=none,id=d0,format=qcow2,file={self.path('a')},node-name=n0",
                   "-blockdev", f"driver=file,node-name=f1,filename={self.path('a')},read-only=on,force-share=on")
        self.refused("Node n0 is in use", "blockdev-del", node_name="n0")
        self.q.ask("blockdev-del", node_name="f1")
        d = self.q.ask("query-block")[0]
        self.assertEqual((d["device"], d["inserted"]["node-name"], d["type"], d["locked"]),
                         ("d0", "n0", "unknown", False))
        self.assertEqual(d["inserted"]["image"]["filename"], self.path("a"))
        s = self.q.ask("query-blockstats")[0]
        self.assertEqual((s["device"], s["node-name"]), ("d0", "n0"))
        self.assertIn("wr_highest_offset", s["stats"])
        self.assertEqual(s["parent"]["stats"]["wr_operations"], 0)
        nodes = self.q.ask("query-blockstats", query_nodes=True)
        self.assertIn("n0", [n.get("node-name") for n in nodes])

    def test_limits_of_a_drive(self):
        self.image("a")
        self.start("-drive", f"if=none,id=d0,format=qcow2,file={self.path('a')}")
        zero = {k: 0 for k in ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")}
        self.q.ask_dict("block_set_io_throttle", {"device": "d0", **zero, "iops": 100, "iops_max": 200})
        self.assertEqual(self.q.ask("query-block")[0]["inserted"]["iops"], 100)
        with self.assertRaisesRegex(QmpError, "cannot be used at the same time"):
            self.q.ask_dict("block_set_io_throttle", {"device": "d0", **zero, "iops": 1, "iops_rd": 1})
        with self.assertRaisesRegex(QmpError, "DeviceNotFound"):
            self.q.ask_dict("block_set_io_throttle", {"device": "nobody", **zero})
        self.q.ask_dict("block_set_io_throttle", {"device": "d0", **zero})
        self.assertEqual(self.q.ask("query-block")[0]["inserted"]["iops"], 0)

    def test_drives_that_share_limits(self):
        drives = []
        for n in "abc":
            self.image(n)
            drives += ["-drive", f"if=none,id={n},format=qcow2,file={self.path(n)}," + {
                "a": "throttling.bps-total=1000,throttling.group=g",
                "b": "group=g,bps=2000,bps_max=5000,iops=10,iops_size=4096",
                "c": "throttling.group=g"}[n]]
        self.start(*drives)

        def limits():
            return {d["device"]: {k: v for k, v in d["inserted"].items() if v and ("ps" in k or k == "group")}
                    for d in self.q.ask("query-block")}

        def limit(device, **more):
            zero = {k: 0 for k in ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")}
            self.q.ask_dict("block_set_io_throttle", {"device": device, **zero, **more})
        g = {"group": "g", "bps": 2000, "bps_max": 5000, "bps_max_length": 1, "iops": 10, "iops_size": 4096}
        self.assertEqual(limits(), {"a": g, "b": g, "c": {}})  # those of the last one; without any it is not in it
        limit("c", bps=3000, group="g")
        g = {"group": "g", "bps": 3000}
        self.assertEqual(limits(), {"a": g, "b": g, "c": g})
        limit("b", bps=10, group="h")
        limit("c", bps=4000)
        g["bps"] = 4000
        self.assertEqual(limits(), {"a": g, "b": {"group": "h", "bps": 10}, "c": g})
        limit("c")
        self.assertEqual(limits()["c"], {})
        limit("c", iops=3)
        self.assertEqual(limits()["c"], {"group": "c", "iops": 3})
        self.q.ask("object-add", qom_type="throttle-group", id="o", limits={"iops-total": 7})
        limit("c", iops=8, group="o")
        self.refused("in use", "object-del", id="o")
        limit("c", iops=9, group="g")
        self.assertEqual(limits()["a"], {"group": "g", "iops": 9})
        self.q.ask("object-del", id="o")
        for wrong in ({"bps": -1}, {"bps": 1 << 60}):
            with self.assertRaisesRegex(QmpError, "must be within"):
                limit("c", **wrong)

    def test_sizes(self):
        self.image("a")
        self.add("a")
        self.q.ask("block_resize", node_name="a", size=8 * MB)
        self.assertEqual(self.node("a")["image"]["virtual-size"], 8 * MB)
        self.refused("size", "block_resize", node_name="a", size=-1)
        self.q.ask("block_resize", node_name="a", size=2 * MB)
        self.io("a", "read -q -P 97 0 64k")
        self.q.ask("blockdev-del", node_name="a")
        self.assertEqual(self.info("a")["virtual-size"], 2 * MB)
        self.check("a")

    def test_create(self):
        self.q.ask("blockdev-create", job_id="j", options={"driver": "file", "filename": self.path("n"), "size": 0})
        self.assertEqual(self.until("j", "concluded"), ["created", "running", "waiting", "pending", "concluded"])
        self.q.ask("job-dismiss", id="j")
        self.q.ask("blockdev-add", driver="file", node_name="f", filename=self.path("n"))
        self.q.ask("blockdev-create", job_id="j", options={"driver": "qcow2", "file": "f", "size": 4 * MB,
                                                           "cluster-size": 4096})
        self.until("j", "concluded")
        self.assertNotIn("error", self.job())
        self.q.ask("job-dismiss", id="j")
        self.refused("Job not found", "job-dismiss", id="j", cls="GenericError")
        self.q.ask("blockdev-create", job_id="j", options={"driver": "qcow2", "file": "f", "size": 4 * MB,
                                                           "cluster-size": 1000})
        self.assertEqual(self.until("j", "concluded"), ["null", "created", "running", "aborting", "concluded"])
        self.assertIn("luster size", self.job()["error"])
        self.q.ask("job-dismiss", id="j")
        self.q.ask("blockdev-del", node_name="f")
        self.assertEqual(self.info("n")["cluster-size"], 4096)
        self.check("n")


    def test_what_create_takes(self):
        open(self.path("n"), "w").close()
        self.q.ask("blockdev-add", driver="file", node_name="f", filename=self.path("n"))
        good = {"driver": "qcow2", "file": "f", "size": MB}
        for options, text in (
                ({"driver": "raw"}, "Driver does not support blockdev-create"),
                ({"driver": "null-co"}, "Driver does not support blockdev-create"),
                ({"driver": "raw", "size": MB, "file": "f"}, "Parameter 'options.(size|file)' is unexpected"),
                ({"driver": "nonsense"}, "'driver' does not accept value 'nonsense'"),
                ({"size": MB}, "'(options.)?driver' is missing"),
                ({"driver": "qcow2", "file": "f"}, "'options.size' is missing"),
                ({"driver": "qcow2", "size": MB}, "'options.file' is missing"),
                ({"driver": "file", "size": MB}, "'options.filename' is missing"),
                ({**good, "size": "1M"}, "'options.size'"),
                ({**good, "compat": "v2"}, "'options.compat' is unexpected"),
                ({**good, "version": "1.1"}, "does not accept value '1.1'"),
                ({**good, "lazy-refcounts": "on"}, "'options.lazy-refcounts', expected: boolean"),
                ({**good, "encrypt": {}}, "'options.encrypt.format' is missing"),
                ({**good, "encrypt": {"format": "luks", "foo": 1}}, "'options.encrypt.foo' is unexpected"),
                ({**good, "driver": "vpc", "subformat": "none"}, "does not accept value 'none'"),
                ({**good, "driver": "vpc", "cluster-size": 65536}, "'options.cluster-size' is unexpected"),
                ({**good, "driver": "vmdk", "adapter-type": "x"}, "does not accept value 'x'")):
            with self.subTest(options):
                self.refused(text, "blockdev-create", job_id="j", options=options)
        self.assertEqual(self.q.ask("query-jobs"), [])
        self.q.ask("object-add", qom_type="secret", id="s", data="abc")
        file = {"driver": "file", "filename": self.path("n")}
        self.q.ask("blockdev-del", node_name="f")
        for options, fmt in (
                ({"version": "v2", "refcount-bits": 16, "cluster-size": 4096, "preallocation": "metadata"}, "qcow2"),
                ({"extended-l2": True, "cluster-size": 131072, "lazy-refcounts": True, "compression-type": "zstd",
                  "backing-file": "/nowhere", "backing-fmt": "raw"}, "qcow2"),
                ({"encrypt": {"format": "luks", "key-secret": "s", "cipher-alg": "aes-128", "iter-time": 10}}, "qcow2"),
                ({"key-secret": "s", "cipher-alg": "aes-256", "cipher-mode": "xts", "iter-time": 10}, "luks"),
                ({"subformat": "dynamic", "force-size": True}, "vpc"),
                ({"subformat": "streamOptimized", "adapter-type": "lsilogic", "hwversion": "6"}, "vmdk"),
                ({"block-size": 1 << 20, "subformat": "dynamic"}, "vhdx"),
                ({"preallocation": "metadata"}, "vdi")):
            with self.subTest(fmt, **{k.replace("-", "_"): v for k, v in options.items()}):
                open(self.path("n"), "w").close()
                self.q.ask("blockdev-create", job_id="j",
                           options={"driver": fmt, "file": file, "size": 4 * MB, **options})
                self.until("j", "concluded")
                self.assertNotIn("error", self.job())
                self.q.ask("job-dismiss", id="j")
                self.forget()
                self.assertEqual(self.info("n")["format"], fmt)
        self.assertEqual(self.q.ask("query-named-block-nodes"), [])


class Chains(Case):
    def test_snapshot_then_stream(self):
        self.chain("a", "b")
        guest = self.export("b", writable=True)
        self.q.ask("blockdev-snapshot-sync", node_name="b", snapshot_file=self.path("c"), snapshot_node_name="c")
        self.assertEqual(self.info("c")["backing-filename"], self.path("b"))
        self.assertTrue(self.node("b")["ro"])
        self.client(guest, "write -q -P 99 2M 64k")
        self.holds("c", "abc")
        self.forget()
        self.q.ask("block-stream", job_id="j", device="c", base_node="a")
        self.assertEqual(self.until("j", "null"), LIFE)
        self.assertEqual(self.info("c")["backing-filename"], self.path("a"))
        self.holds("c", "abc")
        self.q.ask("blockdev-del", node_name="b")
        self.q.ask("block-stream", job_id="j", device="c")
        self.until("j", "null")
        self.assertNotIn("backing-filename", self.info("c"))
        self.q.ask("blockdev-del", node_name="a")
        self.client(guest, "read -q -P 97 0 64k", "read -q -P 98 1M 64k", "read -q -P 99 2M 64k")
        self.unexport("b")
        self.assertEqual(self.q.ask("query-named-block-nodes"), [])
        self.check("a", "b", "c")

    def test_overlay_that_is_there(self):
        self.image("a")
        self.image("b", backing="a")
        self.add("a")
        self.add("b", backing=None)
        uri = self.export("a", writable=True)
        self.q.ask("blockdev-snapshot", node="a", overlay="b")
        self.client(uri, "read -q -P 97 0 64k", "write -q -P 1 0 64k")
        self.unexport("a")
        self.io("b", "read -q -P 1 0 64k")
        self.holds("a", "a")
        self.assertTrue(self.node("a")["ro"])
        for overlay in ("b", "none"):
            with self.assertRaises(QmpError):
                self.q.ask("blockdev-snapshot", node="a", overlay=overlay)
        self.check("a", "b")

    def test_internal_snapshots(self):
        self.image("a")
        self.start("-drive", f"if=none,id=d0,format=qcow2,file={self.path('a')},node-name=a")
        self.q.ask("blockdev-snapshot-internal-sync", device="d0", name_="s1")
        self.refused("s1", "blockdev-snapshot-internal-sync", device="d0", name_="s1")
        self.io("a", "write -q -P 1 0 64k")
        self.assertEqual(self.node("a")["image"]["snapshots"][0]["name"], "s1")
        self.assertEqual(self.q.ask("blockdev-snapshot-delete-internal-sync", device="d0", name_="s1")["name"], "s1")
        self.refused("s1", "blockdev-snapshot-delete-internal-sync", device="d0", name_="s1")
        self.io("a", "read -q -P 1 0 64k")
        self.check("a")

    def test_commit_in_the_middle(self):
        self.chain("a", "b", "c", "d")
        self.q.ask("block-commit", job_id="j", device="d", top_node="c", base_node="b")
        self.assertEqual(self.until("j", "null"), LIFE)
        self.assertEqual(self.info("d")["backing-filename"], self.path("b"))
        self.q.ask("blockdev-del", node_name="c")
        self.holds("d", "abcd")
        self.q.ask("block-commit", job_id="j", device="d", top=self.path("b"))
        self.until("j", "null")
        self.assertEqual(self.info("d")["backing-filename"], self.path("a"))
        self.holds("d", "abcd")
        self.check("a", "d")
        self.assertEqual(self.info("a")["backing-filename"] if "backing-filename" in self.info("a") else None, None)

    def test_commit_of_the_active_image(self):
        self.chain("a", "b")
        uri = self.export("b", writable=True)
        self.q.ask("block-commit", job_id="j", device="b")
        self.assertEqual(self.until("j", "BLOCK_JOB_READY"), MIRROR_LIFE[:4])
        self.assertEqual(self.block_job()["type"], "commit")
        self.client(uri, "write -q -P 100 3M 64k")
        self.q.ask("job-complete", id="j")
        self.assertEqual(self.until("j", "null"), MIRROR_LIFE[4:])
        self.client(uri, "read -q -P 97 0 64k", "read -q -P 98 1M 64k", "read -q -P 100 3M 64k", "write -q -P 1 0 64k")
        self.unexport("b")
        self.q.ask("blockdev-del", node_name="b")
        self.io("a", "read -q -P 1 0 64k", "read -q -P 98 1M 64k")
        self.check("a")

    def test_snapshot_and_back(self):
        self.chain("a")
        guest = self.export("a", writable=True)
        self.q.ask("blockdev-snapshot-sync", node_name="a", snapshot_file=self.path("b"), snapshot_node_name="b")
        self.client(guest, "write -q -P 98 1M 64k")
        self.assertTrue(self.node("a")["ro"])
        self.q.ask("block-commit", job_id="j", device="b")
        self.until("j", "BLOCK_JOB_READY")
        self.q.ask("job-complete", id="j")
        self.assertEqual(self.until("j", "null"), MIRROR_LIFE[4:])
        self.client(guest, "read -q -P 98 1M 64k", "write -q -P 1 2M 64k")
        self.unexport("a")
        self.assertEqual(self.node("a")["ro"], False)
        self.q.ask("blockdev-del", node_name="a")
        self.tool("qemu-io", "-r", "-f", "qcow2", "-c", "read -q -P 97 0 64k", "-c", "read -q -P 1 2M 64k", self.path("a"))
        self.check("a", "b")

    def test_commit_that_is_cancelled_changes_nothing(self):
        self.chain("a", "b")
        self.q.ask("block-commit", job_id="j", device="b")
        self.until("j", "BLOCK_JOB_READY")
        self.q.ask("job-cancel", id="j")
        self.assertEqual(self.until("j", "null"), CANCELLED)
        self.holds("b", "ab")
        self.assertEqual(self.info("b")["backing-filename"], self.path("a"))
        self.check("a", "b")

    def test_name_of_the_backing_file(self):
        self.chain("a", "b")
        os.link(self.path("a"), self.path("a2"))
        self.q.ask("change-backing-file", device="b", image_node_name="b", backing_file=self.path("a2"))
        self.assertEqual(self.info("b")["backing-filename"], self.path("a2"))
        self.refused("backing", "change-backing-file", device="b", image_node_name="a", backing_file="x")
        self.refused("root|chain|not found", "change-backing-file", device="a", image_node_name="b", backing_file="x")
        self.holds("b", "ab")
        self.check("a", "b")

    def test_what_jobs_refuse(self):
        self.chain("a", "b", "c")
        for text, command, arguments in (
                ("", "block-stream", {"job_id": "j", "device": "b", "base_node": "c"}),
                ("", "block-stream", {"device": "c"}),
                ("same time|exclusive", "block-stream", {"job_id": "j", "device": "c", "base_node": "a", "base": "x"}),
                ("", "block-commit", {"job_id": "j", "device": "c", "top_node": "a", "base_node": "b"}),
                ("", "block-commit", {"job_id": "j", "device": "c", "top_node": "b", "base_node": "b"}),
                ("exclusive", "block-commit", {"job_id": "j", "device": "c", "top_node": "b", "top": "b"}),
                ("not-negative|speed", "block-commit", {"job_id": "j", "device": "c", "speed": -1}),
                ("Invalid job ID", "block-stream", {"job_id": "1j", "device": "c"}),
                ("nobody", "block-stream", {"job_id": "j", "device": "nobody"}),
                ("nobody", "blockdev-mirror", {"job_id": "j", "device": "c", "target": "nobody", "sync": "full"}),
                ("", "blockdev-mirror", {"job_id": "j", "device": "c", "target": "c", "sync": "full"}),
                ("", "blockdev-backup", {"job_id": "j", "device": "c", "target": "c", "sync": "full"}),
                ("bitmap", "blockdev-backup", {"job_id": "j", "device": "c", "target": "a", "sync": "incremental"})):
            with self.assertRaisesRegex(QmpError, text, msg=f"{command} {arguments}"):
                self.q.ask(command, **arguments)
        self.assertEqual(self.q.ask("query-jobs"), [])
        self.holds("c", "abc")
        self.check("a", "b", "c")


class Transactions(Case):
    def bitmaps(self, node):
        return {b["name"]: b for b in self.node(node).get("dirty-bitmaps", [])}

    def run_all(self, *actions, **properties):
        self.q.ask_dict("transaction", {"actions": [{"type": t, "data": d} for t, d in actions],
                                        **({"properties": properties} if properties else {})})

    def test_all_or_none(self):
        self.chain("a")
        for n in ("b", "c"):
            self.image(n)
        self.add("b")
        self.q.ask("block-dirty-bitmap-add", node="a", name_="m0")
        self.io("a", "write -q -P 97 0 64k")
        before = self.node("a")
        files = sorted(os.listdir(self.dir))
        with self.assertRaisesRegex(QmpError, "Abort action"):
            self.run_all(("block-dirty-bitmap-add", {"node": "a", "name": "m1"}),
                         ("block-dirty-bitmap-clear", {"node": "a", "name": "m0"}),
                         ("block-dirty-bitmap-disable", {"node": "a", "name": "m0"}),
                         ("block-dirty-bitmap-add", {"node": "b", "name": "m2"}),
                         ("blockdev-snapshot-sync", {"node-name": "a", "snapshot-file": self.path("o"),
                                                     "snapshot-node-name": "o"}),
                         ("abort", {}))
        self.assertEqual(self.node("a"), before)
        self.assertEqual(self.bitmaps("b"), {})
        self.assertEqual(self.bitmaps("a")["m0"]["count"], 65536)
        self.assertNotIn("o", [n["node-name"] for n in self.q.ask("query-named-block-nodes")])
        self.assertEqual(sorted(set(os.listdir(self.dir)) - {"o"}), files)
        self.export("a", writable=True)
        self.client(self.uri("a"), "read -q -P 97 0 64k", "write -q -P 97 0 512")
        self.run_all(("blockdev-snapshot-sync", {"node-name": "a", "snapshot-file": self.path("o"),
                                                 "snapshot-node-name": "o"}),
                     ("block-dirty-bitmap-add", {"node": "o", "name": "m0"}),
                     ("block-dirty-bitmap-add", {"node": "b", "name": "m3", "disabled": True}))
        self.assertEqual((list(self.bitmaps("o")), self.bitmaps("b")["m3"]["recording"]), (["m0"], False))
        self.holds("o", "a")
        self.check("a", "b", "o")

    def test_jobs_of_what_is_undone_never_run(self):
        self.chain("a")
        self.image("t")
        self.add("t")
        self.forget()
        with self.assertRaisesRegex(QmpError, "Abort action"):
            self.run_all(("blockdev-backup", {"job-id": "j", "device": "a", "target": "t", "sync": "full"}),
                         ("abort", {}))
        seen = self.until("j", "null")
        self.assertEqual(seen[0], "created")
        self.assertNotIn("running", seen)
        self.assertNotIn("BLOCK_JOB_CANCELLED", seen)
        self.assertEqual(self.q.ask("query-jobs"), [])
        self.q.ask("blockdev-del", node_name="t")
        self.tool("qemu-io", "-r", "-f", "qcow2", "-c", "read -q -P 0 0 4M", self.path("t"))
        self.holds("a", "a")

    def test_wrong_actions_leave_no_trace(self):
        self.chain("a")
        for actions in ([("nothing", {})], [("block-dirty-bitmap-add", {"node": "a", "name": "x"}),
                                            ("block-dirty-bitmap-add", {"node": "a", "name": "x"})],
                        [("block-dirty-bitmap-add", {"node": "a", "name": "x"}),
                         ("blockdev-backup", {"job-id": "j", "device": "a", "target": "nobody", "sync": "full"})]):
            with self.assertRaises(QmpError):
                self.run_all(*actions)
            self.assertEqual(self.bitmaps("a"), {})

    def test_backups_live_and_die_together(self):
        for n in ("a", "b", "ta", "tb"):
            self.image(n)
            self.add(n)
        def start(mode):
            self.run_all(*[("blockdev-backup", {"job-id": f"j{n}", "device": n, "target": f"t{n}", "sync": "full",
                                                "speed": 65536 if n == "b" else 0}) for n in "ab"],
                         **{"completion-mode": mode})
        self.forget()
        start("grouped")
        emu.poll(lambda: self.job("ja")["status"] == "waiting", "the first waits for the other")
        self.q.ask("job-cancel", id="jb")
        seen = self.until("jb", "null")
        self.assertEqual(seen[-4:], CANCELLED)
        emu.poll(lambda: not self.q.ask("query-jobs"), "both are gone")
        start("individual")
        emu.poll(lambda: [j["id"] for j in self.q.ask("query-jobs")] == ["jb"], "the first is done alone")
        self.q.ask("block-job-set-speed", device="jb", speed=0)
        emu.poll(lambda: not self.q.ask("query-jobs"), "the second, too")
        for n in ("a", "b", "ta", "tb"):
            self.q.ask("blockdev-del", node_name=n)
        self.same("a", "ta")
        self.same("b", "tb")
        self.check("a", "b", "ta", "tb")


class Copies(Case):
    def test_mirror_while_written(self):
        self.image("a")
        self.image("t")
        self.tool("qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 4M", self.path("t"))  # not what is wanted there
        self.add("a")
        self.add("t")
        uri = self.export("a", writable=True)
        self.q.ask("blockdev-mirror", job_id="j", device="a", target="t", sync="full")
        self.assertEqual(self.until("j", "BLOCK_JOB_READY"), MIRROR_LIFE[:4])
        j = self.block_job()
        self.assertEqual((j["type"], j["ready"], j["status"], j["io-status"], j["paused"]),
                         ("mirror", True, "ready", "ok", False))
        self.client(uri, "write -q -P 100 3M 64k", "discard 1M 64k")
        for node in ("a", "t"):
            with self.assertRaises(QmpError):
                self.q.ask("block-stream", job_id="k", device=node)
            with self.assertRaises(QmpError):
                self.q.ask("blockdev-del", node_name=node)
        self.q.ask("job-pause", id="j")
        self.until("j", "standby")
        self.q.ask("job-resume", id="j")
        self.until("j", "ready")
        self.q.ask("job-complete", id="j")
        self.assertEqual(self.until("j", "null"), MIRROR_LIFE[4:])
        self.same("a", "t")
        self.client(uri, "read -q -P 100 3M 64k", "write -q -P 1 0 64k")  # goes to the target now
        self.unexport("a")
        self.q.ask("blockdev-del", node_name="a")
        self.io("t", "read -q -P 1 0 64k")
        self.tool("qemu-io", "-r", "-f", "qcow2", "-c", "read -q -P 97 0 64k", self.path("a"))
        self.check("a", "t")

    def test_mirror_that_is_cancelled_when_ready_is_a_copy(self):
        self.image("a")
        self.image("t", fmt="raw")
        self.add("a")
        self.add("t", driver="raw")
        self.q.ask("blockdev-mirror", job_id="j", device="a", target="t", sync="full", speed=0)
        self.until("j", "BLOCK_JOB_READY")
        self.io("a", "write -q -P 3 2M 64k")
        self.forget()
        self.q.ask("block-job-cancel", device="j")
        self.assertEqual(self.until("j", "null"), MIRROR_LIFE[4:])
        self.same("a", "t")
        self.q.ask("blockdev-mirror", job_id="j", device="a", target="t", sync="full")
        self.until("j", "BLOCK_JOB_READY")
        self.q.ask("block-job-cancel", device="j", force=True)
        self.assertEqual(self.until("j", "null"), CANCELLED)
        self.io("a", "read -q -P 97 0 64k", "read -q -P 3 2M 64k")
        self.check("a")

    def test_job_waits_to_be_finalized_and_dismissed(self):
        self.image("a")
        self.image("t")
        self.add("a")
        self.add("t")
        self.q.ask("blockdev-mirror", job_id="j", device="a", target="t", sync="full", auto_finalize=False,
                   auto_dismiss=False)
        self.until("j", "BLOCK_JOB_READY")
        self.refused("cannot accept command verb 'finalize'", "job-finalize", id="j")
        self.refused("cannot accept command verb 'dismiss'", "job-dismiss", id="j")
        self.q.ask("job-complete", id="j")
        self.assertEqual(self.until("j", "BLOCK_JOB_PENDING"), ["waiting", "pending", "BLOCK_JOB_PENDING"])
        self.assertEqual(self.block_job()["status"], "pending")
        self.refused("cannot accept command verb 'pause'", "job-pause", id="j")
        self.refused("cannot accept command verb 'complete'", "job-complete", id="j")
        self.q.ask("job-finalize", id="j")
        self.assertEqual(self.until("j", "concluded"), ["BLOCK_JOB_COMPLETED", "concluded"])
        j = self.block_job()
        self.assertEqual((j["status"], j["auto-finalize"], j["auto-dismiss"], j["offset"] == j["len"]),
                         ("concluded", False, False, True))
        self.refused("cannot accept command verb 'cancel'", "job-cancel", id="j")
        self.q.ask("block-job-dismiss", id="j")
        self.assertEqual(self.q.ask("query-block-jobs"), [])
        self.same("a", "t")

    def test_a_full_target_stops_the_job_until_it_is_resumed(self):
        self.image("a")
        self.image("t", fmt="raw")
        self.add("a")
        self.q.ask_dict("blockdev-add", {"driver": "raw", "node-name": "t", "file": {
            "driver": "blkdebug", "image": {"driver": "file", "filename": self.path("t")},
            "inject-error": [{"event": "write_aio", "errno": 28, "once": True}]}})
        self.q.ask("blockdev-mirror", job_id="j", device="a", target="t", sync="full", on_target_error="stop")
        self.assertEqual(self.q.event("BLOCK_JOB_ERROR")["data"],
                         {"device": "j", "operation": "write", "action": "stop"})
        emu.poll(lambda: self.block_job()["status"] == "paused", "it stops")
        self.assertEqual((self.block_job()["io-status"], self.block_job()["paused"]), ("nospace", True))
        self.forget()
        self.q.ask("job-resume", id="j")
        self.until("j", "BLOCK_JOB_READY")
        self.assertEqual(self.block_job()["io-status"], "ok")
        self.q.ask("job-complete", id="j")
        self.until("j", "null")
        self.same("a", "t")

    def test_an_error_ends_the_job_with_its_text(self):
        self.image("a")
        self.image("t", fmt="raw")
        self.add("a")
        self.q.ask_dict("blockdev-add", {"driver": "raw", "node-name": "t", "file": {
            "driver": "blkdebug", "image": {"driver": "file", "filename": self.path("t")},
            "inject-error": [{"event": "write_aio", "errno": 5}]}})
        self.q.ask("blockdev-backup", job_id="j", device="a", target="t", sync="full", auto_dismiss=False)
        done = self.q.event("BLOCK_JOB_COMPLETED")["data"]
        self.assertEqual((done["error"], done["type"]), ("Input/output error", "backup"))
        emu.poll(lambda: self.job()["status"] == "concluded", "it concludes")
        self.assertEqual(self.job()["error"], "Input/output error")
        self.q.ask("job-dismiss", id="j")
        for node in ("a", "t"):
            self.q.ask("blockdev-del", node_name=node)
        self.check("a")

    def test_a_stream_that_cannot_read_stops_and_can_be_cancelled(self):
        self.image("a")
        self.image("b", backing="a")
        self.q.ask_dict("blockdev-add", {"driver": "qcow2", "node-name": "a", "file": {
            "driver": "blkdebug", "image": {"driver": "file", "filename": self.path("a")},
            "inject-error": [{"event": "read_aio", "errno": 5, "sector": 640}]}})
        self.add("b", backing="a")
        self.q.ask("block-stream", job_id="j", device="b", on_error="stop")
        self.assertEqual(self.q.event("BLOCK_JOB_ERROR")["data"],
                         {"device": "j", "operation": "read", "action": "stop"})
        emu.poll(lambda: self.block_job()["status"] == "paused", "it stops")
        self.assertEqual((self.block_job()["io-status"], self.block_job()["paused"]), ("failed", True))
        self.forget()
        self.q.ask("job-cancel", id="j")
        self.assertEqual(self.until("j", "null")[-4:], CANCELLED)

    def test_verbs_and_speed(self):
        self.image("a")
        self.image("t")
        self.tool("qemu-io", "-f", "qcow2", "-c", "write -q -P 9 0 4M", self.path("a"))
        self.add("a")
        self.add("t")
        self.q.ask("blockdev-mirror", job_id="j", device="a", target="t", sync="full", speed=65536)
        with self.assertRaises(QmpError):
            self.q.ask("blockdev-mirror", job_id="j", device="a", target="t", sync="full")
        self.assertEqual((self.block_job()["speed"], self.block_job()["ready"]), (65536, False))
        self.refused("cannot be completed|cannot accept", "job-complete", id="j")
        self.q.ask("block-job-pause", device="j")
        self.until("j", "paused")
        self.assertTrue(self.block_job()["paused"])
        self.refused("already paused", "job-pause", id="j")
        self.refused("paused", "block-job-cancel", device="j")
        self.q.ask("block-job-resume", device="j")
        self.refused("not paused", "job-resume", id="j")
        self.q.ask("job-cancel", id="j")
        self.assertEqual(self.until("j", "null")[-4:], CANCELLED)
        for command in ("block-job-pause", "block-job-cancel", "block-job-complete"):
            self.refused("not found", command, device="j", cls="DeviceNotActive")
        self.refused("Job not found", "job-pause", id="j")
        self.check("a", "t")

    def test_drive_mirror_and_the_name_of_its_job(self):
        self.image("a")
        self.image("b", backing="a")
        self.start("-drive", f"if=none,id=d0,format=qcow2,file={self.path('b')},node-name=b")
        self.q.ask("drive-mirror", device="d0", target=self.path("t"), format="qcow2", sync="top", node_name="t")
        self.until("d0", "BLOCK_JOB_READY")
        self.assertEqual(self.info("t")["backing-filename"], self.path("a"))
        self.q.ask("block-job-complete", device="d0")
        self.until("d0", "null")
        self.assertEqual(self.q.ask("query-block")[0]["inserted"]["node-name"], "t")
        self.holds("t", "ab")
        self.check("t")
        self.q.ask("drive-mirror", device="d0", target=self.path("u"), format="raw", sync="full")
        self.until("d0", "BLOCK_JOB_READY")
        self.q.ask("block-job-cancel", device="d0")
        self.until("d0", "null")
        self.same("t", "u")

    def test_drive_mirror_gives_its_target_the_rest(self):
        for sync, backing, made in (("top", "a", "a"), ("none", "b", "b"), ("full", None, None)):
            with self.subTest(sync):
                self.stop()
                self.image("a")
                self.image("b", backing="a")
                self.start("-drive", f"if=none,id=d0,format=qcow2,file={self.path('b')},node-name=b")
                uri = self.export("b", writable=True)
                self.q.ask("drive-mirror", device="d0", target=self.path("t"), format="qcow2", sync=sync, node_name="t")
                self.until("d0", "BLOCK_JOB_READY")
                self.client(uri, "write -q -P 99 2M 64k", "write -q -P 5 3M 4k")
                self.q.ask("block-job-complete", device="d0")
                self.until("d0", "null")
                image = self.q.ask("query-block")[0]["inserted"]["image"]
                below = image.get("backing-image", {}).get("filename")
                self.assertEqual(below, backing and self.path(backing))
                self.assertEqual(self.info("t").get("backing-filename"), made and self.path(made))
                self.client(uri, *[f"read -q -P {ord(c)} {i}M 64k" for i, c in enumerate("abc")], "read -q -P 5 3M 4k")
                self.unexport("b")
                self.check("t")

    def test_large_clusters_and_granularities(self):
        self.image("a", size=8 * MB)
        self.tool("qemu-io", "-f", "qcow2", "-c", "write -q -P 9 1000k 6M", self.path("a"))
        self.add("a")
        for n, (command, more) in enumerate((
                ("blockdev-backup", {}), ("blockdev-backup", {"compress": True}),
                ("blockdev-mirror", {"granularity": 64 * MB}),
                ("blockdev-mirror", {"granularity": 65536, "buf_size": 4096}),
                ("blockdev-mirror", {"copy_mode": "write-blocking", "granularity": 4 * MB}))):
            with self.subTest(command, **more):
                t = f"t{n}"
                self.tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", self.path(t), "8M")
                self.add(t)
                self.q.ask(command, job_id="j", device="a", target=t, sync="full", **more)
                if "mirror" in command:
                    self.until("j", "BLOCK_JOB_READY")
                    self.q.ask("block-job-cancel", device="j")
                self.until("j", "null")
                self.q.ask("blockdev-del", node_name=t)
                self.same("a", t)

    def test_backup_full(self):
        self.chain("a", "b")
        self.image("t")
        self.add("t")
        uri = self.export("b", writable=True)
        self.q.ask("blockdev-backup", job_id="j", device="b", target="t", sync="full", speed=65536)
        self.client(uri, "write -q -P 1 0 4M")
        self.q.ask("block-job-set-speed", device="j", speed=0)
        self.assertEqual(self.until("j", "null"), LIFE)
        self.unexport("b")
        self.holds("t", "ab")
        self.io("b", "read -q -P 1 0 4M")
        self.check("a", "b", "t")

    def test_backup_by_bitmap(self):
        self.image("a")
        self.add("a")
        self.q.ask("block-dirty-bitmap-add", node="a", name_="m", granularity=65536)
        self.q.ask("drive-backup", job_id="j", device="a", target=self.path("full"), format="qcow2", sync="full")
        self.until("j", "null")
        self.q.ask("block-dirty-bitmap-clear", node="a", name_="m")
        self.io("a", "write -q -P 5 2M 64k")
        self.tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", self.path("full"), "-F", "qcow2", self.path("i"))
        self.add("i", backing=None)
        self.q.ask("blockdev-backup", job_id="j", device="a", target="i", sync="incremental", bitmap="m")
        self.assertEqual(self.until("j", "null"), LIFE)
        self.assertEqual(self.node("a")["dirty-bitmaps"][0]["count"], 0)
        self.q.ask("blockdev-del", node_name="i")
        self.same("a", "i")
        where = json.loads(self.tool("qemu-img", "map", "-U", "--output=json", self.path("i")))
        self.assertEqual([e["start"] for e in where if e["depth"] == 0 and e["data"]], [2 * MB])
        self.io("a", "write -q -P 6 3M 64k")
        self.add("i", backing=None)
        self.q.ask("blockdev-backup", job_id="j", device="a", target="i", sync="bitmap", bitmap="m",
                   bitmap_mode="never")
        self.until("j", "null")
        self.assertEqual(self.node("a")["dirty-bitmaps"][0]["count"], 65536)
        self.check("a", "i", "full")

    def test_fleecing(self):
        self.image("a")
        self.image("t")
        self.add("a")
        self.tool("qemu-img", "create", "-q", "-f", "qcow2", self.path("t"), str(4 * MB))
        self.add("t")
        self.q.ask("blockdev-add", driver="copy-before-write", node_name="cbw", file="a", target="t")
        guest = self.export("cbw", writable=True)
        self.q.ask("blockdev-add", driver="snapshot-access", node_name="old", file="cbw")
        old = self.export("old")
        self.client(guest, "write -q -P 1 0 128k", "write -q -z 1M 64k")
        self.client(old, "read -q -P 97 0 64k", "read -q -P 0 64k 64k", "read -q -P 0 1M 3M", flags=["-r"])
        self.client(guest, "read -q -P 1 0 128k", "write -q -P 2 0 64k")
        self.client(old, "read -q -P 97 0 64k", flags=["-r"])
        self.tool("qemu-img", "convert", "-f", "raw", "-O", "raw", old, self.path("copy"))
        self.unexport("old")
        self.unexport("cbw")
        for node in ("old", "cbw", "t"):
            self.q.ask("blockdev-del", node_name=node)
        with open(self.path("copy"), "rb") as f:
            self.assertEqual(f.read(), b"a" * 65536 + bytes(4 * MB - 65536))
        self.io("a", "read -q -P 2 0 64k", "read -q -P 1 64k 64k")
        self.check("a", "t")

    def test_pull_backup_as_libvirt_does_it(self):
        self.image("a")
        self.add("a")
        guest = self.export("a", writable=True)
        self.q.ask("block-dirty-bitmap-add", node="a", name_="old", granularity=65536)
        self.client(guest, "write -q -P 5 2M 64k")
        self.tool("qemu-img", "create", "-q", "-f", "qcow2", self.path("scratch"), str(4 * MB))
        self.add("s", "scratch", backing="a")
        self.q.ask_dict("transaction", {"actions": [
            {"type": "blockdev-backup", "data": {"job-id": "j", "device": "a", "target": "s", "sync": "none"}},
            {"type": "block-dirty-bitmap-add", "data": {"node": "a", "name": "new"}},
            {"type": "block-dirty-bitmap-disable", "data": {"node": "a", "name": "old"}},
            {"type": "block-dirty-bitmap-add", "data": {"node": "s", "name": "show", "disabled": True,
                                                        "granularity": 65536}},
            {"type": "block-dirty-bitmap-merge", "data": {"node": "s", "target": "show",
                                                          "bitmaps": [{"node": "a", "name": "old"}]}}]})
        old = self.export("s", bitmaps=["show"])
        self.client(guest, "write -q -P 1 0 256k", "write -q -P 2 2M 64k", "write -q -P 3 3M 64k")
        self.client(old, "read -q -P 97 0 64k", "read -q -P 0 64k 64k", "read -q -P 5 2M 64k", "read -q -P 0 3M 64k",
                    flags=["-r"])
        if shutil.which("nbdinfo"):
            out = json.loads(self.tool("nbdinfo", "--map=qemu:dirty-bitmap:show", "--json", old))
            self.assertEqual([(e["offset"], e["length"]) for e in out if e["type"] == 1], [(2 * MB, 65536)])
        self.assertEqual(self.block_job()["status"], "running")
        self.unexport("s")
        self.forget()
        self.q.ask("job-cancel", id="j")
        self.assertEqual(self.until("j", "null"), CANCELLED)
        self.q.ask("blockdev-del", node_name="s")
        counts = {b["name"]: b["count"] for b in self.node("a")["dirty-bitmaps"]}
        self.assertEqual(counts, {"old": 65536, "new": 6 * 65536})
        self.client(guest, "read -q -P 1 0 256k", "read -q -P 2 2M 64k")
        self.unexport("a")
        self.check("a")

    def test_push_backup_to_a_server(self):
        self.image("a")
        self.image("t")
        self.add("a")
        far = subprocess.Popen(["qemu-nbd", "-f", "qcow2", "-x", "t", "-k", self.path("far"), self.path("t")])
        self.addCleanup(far.wait)
        self.addCleanup(far.kill)
        emu.poll(lambda: os.path.exists(self.path("far")), "the server listens")
        self.q.ask("blockdev-add", driver="nbd", node_name="far", export="t",
                   server={"type": "unix", "path": self.path("far")})
        self.q.ask("blockdev-backup", job_id="j", device="a", target="far", sync="full")
        self.assertEqual(self.until("j", "null"), LIFE)
        self.q.ask("blockdev-del", node_name="far")
        self.assertEqual(far.wait(20 * emu.SLOW), 0)
        self.q.ask("blockdev-del", node_name="a")
        self.same("a", "t")
        self.check("a", "t")

    def test_errors_of_targets(self):
        self.image("a")
        self.image("t", size=MB, fmt="raw")
        self.add("a")
        self.add("t", driver="raw")
        with self.assertRaises(QmpError):
            self.q.ask("blockdev-backup", job_id="j", device="a", target="t", sync="full")
        for wrong in ({"granularity": 1000}, {"granularity": 256}, {"buf_size": -1}, {"speed": -1},
                      {"sync": "incremental"}, {"replaces": "nobody"}):
            with self.assertRaises(QmpError, msg=str(wrong)):
                self.q.ask("blockdev-mirror", **{"job_id": "j", "device": "a", "target": "t", "sync": "full", **wrong})
        self.assertEqual(self.q.ask("query-jobs"), [])
        self.refused("Could not|Unknown driver", "drive-backup", job_id="j", device="a", target="/nowhere/x",
                     format="qcow2", sync="full")
        self.holds("a", "a")
        self.check("a")

    def test_write_blocking_keeps_up_with_a_writer(self):
        self.image("a")
        self.image("t")
        self.tool("qemu-io", "-f", "qcow2", "-c", "write -q -P 9 0 4M", self.path("a"))
        self.add("a")
        self.add("t")
        uri = self.export("a", writable=True)
        writer = subprocess.Popen(["qemu-img", "bench", "-w", "-c", "100000000", "-d", "4", "-s", "65536",
                                   "--pattern=77", "-f", "raw", uri], stdout=subprocess.DEVNULL)
        try:
            mirror = {"job_id": "j", "device": "a", "target": "t", "sync": "full", "speed": 4 * MB}
            self.q.ask("blockdev-mirror", **mirror, copy_mode="background")
            time.sleep(3)
            self.assertFalse(self.block_job()["ready"])
            self.q.ask("job-cancel", id="j")
            self.until("j", "null")
            self.q.ask("blockdev-mirror", **mirror, copy_mode="write-blocking", filter_node_name="top")
            self.assertEqual(self.node("top")["drv"], "mirror_top")
            self.assertEqual(self.until("j", "BLOCK_JOB_READY"), MIRROR_LIFE[:4])
            with self.assertRaises(QmpError):
                self.q.ask_dict("block-export-add", {"type": "nbd", "id": "y", "node-name": "t", "writable": True})
            before = self.block_job()["offset"]
            emu.poll(lambda: self.block_job()["offset"] > before, "writes count")
        finally:
            writer.kill()
            writer.wait()
        self.client(uri, "write -q -z 1M 100k", "discard 2M 1M", "write -q -P 100 3000001 12345")
        self.q.ask("job-complete", id="j")
        self.assertEqual(self.until("j", "null"), MIRROR_LIFE[4:])
        self.same("a", "t")
        self.client(uri, "read -q -P 100 3000001 12345", "read -q -P 0 1M 100k", "write -q -P 1 0 64k")
        self.unexport("a")
        self.assertNotIn("mirror_top", [n["drv"] for n in self.q.ask("query-named-block-nodes")])
        self.io("t", "read -q -P 1 0 64k")
        self.check("a", "t")

    def test_write_blocking_names_its_filter(self):
        self.image("a")
        self.image("t")
        self.add("a")
        self.add("t")
        mirror = {"job_id": "j", "device": "a", "target": "t", "sync": "full", "copy_mode": "write-blocking"}
        self.refused("node-name", "blockdev-mirror", **mirror, filter_node_name="t")
        self.assertEqual(self.q.ask("query-jobs"), [])
        self.refused("copy-mode|does not accept value", "blockdev-mirror", **{**mirror, "copy_mode": "both"})
        with self.assertRaises(QmpError):
            self.q.ask_dict("blockdev-add", {"driver": "mirror_top", "node-name": "x", "file": "a", "target": "t"})
        self.q.ask("blockdev-mirror", **mirror)
        self.until("j", "BLOCK_JOB_READY")
        self.q.ask("job-cancel", id="j")
        self.until("j", "null")
        for node in ("a", "t"):
            self.q.ask("blockdev-del", node_name=node)

    def test_a_target_of_larger_clusters_gets_its_backing_file_at_the_end(self):
        for mode in ("background", "write-blocking"):
            if mode == "write-blocking" and "rhea" not in os.path.basename(emu.RHEA):
                continue  # QEMU 7.2 loses what is around the write
            with self.subTest(mode):
                self.start()
                self.image("a")
                self.image("c", backing="a")
                self.tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", "-b", self.path("a"),
                          "-F", "qcow2", self.path("t"))
                self.add("a")
                self.add("c", backing="a")
                self.add("t", backing=None)
                uri = self.export("c", writable=True)
                self.q.ask("blockdev-mirror", job_id="j", device="c", target="t", sync="top", copy_mode=mode)
                self.until("j", "BLOCK_JOB_READY")
                self.client(uri, "write -q -P 5 512k 4k")
                self.q.ask("job-complete", id="j")
                self.until("j", "null")
                self.client(uri, "read -q -P 97 0 64k", "read -q -P 5 512k 4k", "read -q -P 99 2M 64k")
                self.unexport("c")
                self.stop()
                self.same("c", "t")


class Bitmaps(Case):
    def bitmaps(self):
        return {b["name"]: b for b in self.node("a").get("dirty-bitmaps", [])}

    def test_what_is_written_is_recorded(self):
        self.image("a")
        self.add("a")
        for name, more in (("m", {}), ("off", {"disabled": True}), ("fine", {"granularity": 512})):
            self.q.ask("block-dirty-bitmap-add", node="a", name_=name, **more)
        self.io("a", "write -q 0 64k", "write -q 1M 512", "write -q -z 2M 64k")
        self.assertEqual({n: b["count"] for n, b in self.bitmaps().items()},
                         {"m": 3 * 65536, "off": 0, "fine": 2 * 65536 + 512})
        self.q.ask("block-dirty-bitmap-disable", node="a", name_="m")
        self.q.ask("block-dirty-bitmap-enable", node="a", name_="off")
        self.io("a", "write -q 3M 64k")
        self.assertEqual((self.bitmaps()["m"]["count"], self.bitmaps()["off"]["count"]), (3 * 65536, 65536))
        self.q.ask("block-dirty-bitmap-merge", node="a", target="off", bitmaps=["m", {"node": "a", "name": "off"}])
        self.assertEqual(self.bitmaps()["off"]["count"], 4 * 65536)
        self.q.ask("block-dirty-bitmap-clear", node="a", name_="off")
        self.assertEqual(self.bitmaps()["off"]["count"], 0)
        self.q.ask("block-dirty-bitmap-remove", node="a", name_="off")
        self.assertEqual(sorted(self.bitmaps()), ["fine", "m"])
        for text, command, arguments in (
                ("already exists", "add", {"name": "m"}), ("empty", "add", {"name": ""}),
                ("ower of 2|granularity|Granularity", "add", {"name": "g", "granularity": 1000}),
                ("not found", "clear", {"name": "nobody"}), ("not found", "remove", {"name": "nobody"}),
                ("not found", "merge", {"target": "m", "bitmaps": ["nobody"]}),
                ("not found", "merge", {"target": "nobody", "bitmaps": ["m"]})):
            with self.assertRaisesRegex(QmpError, text):
                self.q.ask_dict(f"block-dirty-bitmap-{command}", {"node": "a", **arguments})
        self.assertEqual(sorted(self.bitmaps()), ["fine", "m"])

    def test_persistent_over_a_restart(self):
        self.image("a")
        self.add("a")
        self.q.ask("block-dirty-bitmap-add", node="a", name_="p", persistent=True)
        self.q.ask("block-dirty-bitmap-add", node="a", name_="gone", persistent=True)
        self.q.ask("block-dirty-bitmap-add", node="a", name_="lost")
        self.io("a", "write -q -P 97 0 64k", "write -q -P 99 2M 512")
        self.q.ask("block-dirty-bitmap-remove", node="a", name_="gone")
        self.stop()
        self.check("a")
        self.assertEqual([b["name"] for b in self.info("a")["format-specific"]["data"]["bitmaps"]], ["p"])
        self.start()
        self.add("a")
        p = self.bitmaps()
        self.assertEqual(list(p), ["p"])
        self.assertEqual((p["p"]["count"], p["p"]["recording"], p["p"]["persistent"], p["p"].get("inconsistent")),
                         (2 * 65536, True, True, None))
        self.io("a", "write -q -P 1 3M 64k")
        self.assertEqual(self.bitmaps()["p"]["count"], 3 * 65536)
        self.machine.process.kill()
        self.machine.wait()
        self.q.sock.close()
        self.start()
        self.add("a")
        self.assertTrue(self.bitmaps()["p"].get("inconsistent"))
        self.refused("nconsistent", "block-dirty-bitmap-clear", node="a", name_="p")
        self.q.ask("block-dirty-bitmap-remove", node="a", name_="p")
        self.stop()
        self.check("a")


class Exports(Case):
    def test_server_and_exports(self):
        self.image("a")
        self.add("a")
        self.refused("not running", "nbd-server-stop")
        self.refused("not running", "nbd-server-add", device="a")
        self.serve()
        self.refused("already running", "nbd-server-start", addr={"type": "unix", "data": {"path": self.path("2")}})
        self.q.ask("nbd-server-add", device="a", name_="first", description="of a test")
        self.refused("first", "nbd-server-add", device="a", name_="first")
        self.refused("nobody", "nbd-server-add", device="nobody")
        self.q.ask_dict("block-export-add", {"type": "nbd", "id": "e", "node-name": "a", "name": "second"})
        self.refused("e", "block-export-add", type="nbd", id="e", node_name="a", name_="third")
        self.assertEqual(sorted((e["id"], e["node-name"]) for e in self.q.ask("query-block-exports")),
                         [("e", "a"), ("first", "a")])
        self.assertEqual(json.loads(self.tool("qemu-img", "info", "--output=json", self.uri("second")))["virtual-size"],
                         4 * MB)
        if shutil.which("nbdinfo"):
            listing = json.loads(self.tool("nbdinfo", "--list", "--json", f"nbd+unix:///?socket={self.path('nbd')}"))
            self.assertEqual({e["export-name"]: e.get("description") for e in listing["exports"]},
                             {"first": "of a test", "second": None})
        self.client(self.uri("first"), "read -q -P 97 0 64k", flags=["-r"])
        self.tool("qemu-io", "-f", "raw", "-c", "write 0 64k", self.uri("first"), fails=True)
        self.refused("in use", "blockdev-del", node_name="a")
        self.q.ask("nbd-server-remove", name_="first")
        self.q.event("BLOCK_EXPORT_DELETED")
        self.refused("first", "nbd-server-remove", name_="first")
        self.refused("nobody", "block-export-del", id="nobody")
        self.q.ask("nbd-server-stop")
        self.assertEqual(self.q.event("BLOCK_EXPORT_DELETED")["data"], {"id": "e"})
        self.assertEqual(self.q.ask("query-block-exports"), [])
        self.q.ask("blockdev-del", node_name="a")
        self.check("a")

    def test_a_bitmap_is_shown(self):
        if not shutil.which("nbdinfo"):
            self.skipTest("no nbdinfo (package libnbd-bin)")
        self.image("a")
        self.add("a")
        self.q.ask("block-dirty-bitmap-add", node="a", name_="m")
        self.io("a", "write -q -P 1 1M 64k")
        self.refused("nabled|m", "block-export-add", type="nbd", id="x-e", node_name="nobody", bitmaps=["m"])
        self.q.ask("block-dirty-bitmap-disable", node="a", name_="m")
        self.forget()
        uri = self.export("a", bitmaps=["m"])
        out = self.tool("nbdinfo", "--map=qemu:dirty-bitmap:m", "--json", uri)
        self.assertEqual([e["offset"] for e in json.loads(out) if e["type"] == 1], [MB])
        self.unexport("a")


class Wrong(Case):
    def test_arguments(self):
        self.image("a")
        self.add("a")
        with open(self.path("a"), "rb") as f:
            before = f.read()
        cases = (
            ("blockdev-add", {"driver": "qcow2", "node-name": "b"}), ("blockdev-add", {"driver": "none", "node-name": "b"}),
            ("blockdev-add", {"driver": "qcow2", "node-name": "a", "file": "a"}),
            ("blockdev-add", {"driver": "qcow2", "node-name": "0", "file": "a"}),
            ("blockdev-add", {"driver": "qcow2", "node-name": "b", "file": "nobody"}),
            ("blockdev-add", {"driver": "qcow2", "node-name": "b", "file": "a"}),
            ("blockdev-add", {"driver": "file", "node-name": "b", "filename": "/nowhere/x"}),
            ("blockdev-add", {"driver": "file", "node-name": "b", "filename": self.path("a"), "x": 1}),
            ("blockdev-add", {"driver": "throttle", "node-name": "b", "file": "a", "throttle-group": "none"}),
            ("blockdev-del", {"node-name": "nobody"}), ("blockdev-del", {"node-name": ""}),
            ("block_resize", {"node-name": "nobody", "size": 1}), ("block_resize", {"size": 1}),
            ("block_resize", {"node-name": "a", "size": (1 << 63) - 1}),
            ("blockdev-snapshot", {"node": "a", "overlay": "a"}),
            ("blockdev-snapshot-sync", {"node-name": "a", "snapshot-file": "/nowhere/x"}),
            ("blockdev-snapshot-sync", {"snapshot-file": self.path("x")}),
            ("blockdev-snapshot-sync", {"node-name": "a", "snapshot-file": self.path("x"), "format": "none"}),
            ("blockdev-snapshot-internal-sync", {"device": "nobody", "name": "s"}),
            ("blockdev-create", {"job-id": "j", "options": {"driver": "none"}}),
            ("blockdev-create", {"job-id": "", "options": {"driver": "file", "filename": "/nowhere/x", "size": 0}}),
            ("blockdev-reopen", {"options": [{"driver": "qcow2", "node-name": "nobody", "file": "a"}]}),
            ("blockdev-reopen", {"options": [{"driver": "raw", "node-name": "a", "file": "a"}]}),
            ("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "/nowhere/x"}}}),
            ("block-export-add", {"type": "nbd", "id": "e", "node-name": "a"}))
        for command, arguments in cases:
            with self.assertRaises(QmpError, msg=f"{command} {arguments}") as e:
                self.q.ask_dict(command, arguments)
            self.assertIn(e.exception.cls, ("GenericError", "DeviceNotFound"), f"{command} {arguments}")
        self.assertEqual([n["node-name"] for n in self.q.ask("query-named-block-nodes") if n["drv"] == "qcow2"], ["a"])
        self.assertEqual(len(self.q.ask("query-named-block-nodes")), 2)
        with open(self.path("a"), "rb") as f:
            self.assertEqual(f.read(), before)
        self.holds("a", "a")
        self.check("a")
