# SPDX-License-Identifier: GPL-2.0-or-later
"""Random commands in random states: the machine stays alive, and answers and events are what the schema promises.

RANDOM_QMP_COMMANDS: how many (1500; nightly 10000); RANDOM_QMP_SEED: which (1).  A failure prints both and the last
commands; RANDOM_QMP_LOG=file has them all, with their answers.
"""
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import tempfile
import unittest

import emu
from qmp import Client
from test_cli import tiny_bzimage

COMMANDS = int(os.environ.get("RANDOM_QMP_COMMANDS", "1500"))
SEED = int(os.environ.get("RANDOM_QMP_SEED", "1"))
LOG = os.environ.get("RANDOM_QMP_LOG")
BATCH = 250
MB = 1 << 20
FILE_LIMIT = 256 * MB  # RLIMIT_FSIZE: what fills disks gets EFBIG

# A byte on the serial port every 1.1 ms of the ACPI timer, for ever.
TICKER = bytes.fromhex("ba08060000" "ed" "c1e80c" "38c3" "74f1" "88c3" "243f" "0c40" "baf8030000" "ee" "ebe2")

ERROR_CLASSES = {"GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound", "KVMMissingCap"}
EXCLUDED = {
    "qmp_capabilities": "once for each connection: the client's first words",
    "quit": "ends the process: given on purpose, now and then, and the machine is started again",
}
CONDITIONAL = {"dump-guest-memory": "begin and length come together"}  # what the schema's language cannot say

DRIVE = "d0"
NODES = [f"n{i}" for i in range(6)]
JOBS = [f"j{i}" for i in range(3)]
EXPORTS = ["e0", "e1"]
CHARDEVS = [f"c{i}" for i in range(4)]
OBJECTS = ["io0", "sec0", "tg0", "ram0", "rng0"]
DEVICES = ["dev0", "dev1"]
BITMAPS = ["b0", "b1", "b2"]
SNAPSHOTS = ["s0", "s1"]
FDS = ["f0", "f1"]
IMAGES = ["a.qcow2", "b.qcow2", "c.qcow2", "d.qcow2", "raw.img"]
NEW_FILES = [f"new{i}" for i in range(4)]
NUMBERS = [0, 1, 2, 3, 7, 8, 511, 512, 4096, 65535, 65536, MB, 4 * MB, -1, -512, 2**31 - 1, 2**31, 2**32, 2**53 + 1,
           2**63 - 1, -2**63]
STRANGE = ["", " ", "x", "\u0001", "\u20ac\U0001f600", "a" * 300, "%s%n", "../x", ",", "id=x,,", "none", "all", "-1", "0x",
           "99999999999999999999", "{", "json:{", "nbd:", "fd:", "file:", "/dev/null", "/dev/full", "/nowhere/x",
           "/dev/fdset/0"]
BLOCK_SIZES = [0, 1, 512, 65536, MB, 4 * MB, 64 * MB, -1, 2**63 - 1]


class Broken(Exception):
    """A promise of the schema that was not kept."""


def kind_of(value):
    return {bool: "boolean", int: "int", float: "number", str: "string", list: "array", dict: "object",
            type(None): "null"}[type(value)]


class Schema:
    def __init__(self, entries):
        self.types = {e["name"]: e for e in entries}
        self.commands = {e["name"]: e for e in entries if e["meta-type"] == "command"}
        self.events = {e["name"]: e for e in entries if e["meta-type"] == "event"}

    def members(self, t, value):
        """Members of that object type for this value: name -> entry."""
        members = {m["name"]: m for m in t["members"]}
        if "tag" in t:
            case = next((v for v in t["variants"] if v["case"] == value.get(t["tag"])), None)
            if case:
                members.update({m["name"]: m for m in self.types[case["type"]].get("members", [])})
        return members

    def check(self, value, name, where):
        """Is it a value of that type?"""
        t = self.types[name]
        meta = t["meta-type"]
        if meta == "builtin":
            kinds = {"number": ("int", "number"), "value": None}.get(t["json-type"], (t["json-type"],))
            if kinds and kind_of(value) not in kinds:
                raise Broken(f"{where} is {value!r}, not {t['json-type']}")
        elif meta == "enum":
            if value not in t["values"]:
                raise Broken(f"{where} is {value!r}, not one of {t['values']}")
        elif meta == "array":
            if kind_of(value) != "array":
                raise Broken(f"{where} is {value!r}, not a list")
            for i, v in enumerate(value):
                self.check(v, t["element-type"], f"{where}[{i}]")
        elif meta == "alternate":
            self.check_alternate(value, t, where)
        else:
            self.check_object(value, t, where)

    def check_alternate(self, value, t, where):
        for choice in t["members"]:
            try:
                self.check(value, choice["type"], where)
                return
            except Broken:
                pass
        raise Broken(f"{where} is {value!r}, none of its kinds")

    def check_object(self, value, t, where):
        if kind_of(value) != "object":
            raise Broken(f"{where} is {value!r}, not an object")
        members = self.members(t, value)
        for name, m in members.items():
            if name in value:
                self.check(value[name], m["type"], f"{where}.{name}")
            elif "default" not in m:
                raise Broken(f"{where}.{name} is missing")
        for name in value:
            if name not in members:
                raise Broken(f"{where}.{name} is not in the schema")

    def is_plain(self, name, depth=0):
        """Does the schema tell everything about its values?"""
        t = self.types[name]
        if t["meta-type"] == "array":
            return self.is_plain(t["element-type"], depth)
        if t["meta-type"] == "object":
            return "tag" not in t and depth < 4 and all(self.is_plain(m["type"], depth + 1) for m in t["members"])
        return t["meta-type"] != "alternate" and t.get("json-type") != "value"


class Values:
    """What to give commands: names that exist now and then, files of one folder, numbers at limits."""

    def __init__(self, rng, schema, folder):
        self.rng, self.schema, self.folder = rng, schema, folder
        self.paths = ["/machine", "/objects", "/machine/unattached/cpu[0]", "/nowhere"]
        self.properties = ["type", "realized", "x"]
        self.types = ["isa-serial", "iothread", "pc-machine", "nothing"]
        self.hmp = ["help", "info status"]
        self.command = ""  # for which values are made
        self.live = {}  # what exists: kind -> names; Random.look() fills it
        files = [self.path(f) for f in IMAGES + NEW_FILES]
        self.by_name = {
            **dict.fromkeys(("node", "node-name", "base-node", "top-node", "bottom", "image-node-name", "replaces", "overlay",
                             "snapshot-node-name", "filter-node-name"), NODES),
            **dict.fromkeys(("filename", "mem-path", "snapshot-file", "backing-file", "base", "top", "folded", "svg",
                             "symbols", "file"), files),
            "device": NODES + JOBS + CHARDEVS + [DRIVE], "target": NODES + BITMAPS + files, "job-id": JOBS,
            "id": JOBS + EXPORTS + CHARDEVS + OBJECTS + DEVICES, "bitmap": BITMAPS, "name": BITMAPS + SNAPSHOTS + EXPORTS,
            "fdname": FDS, "format": ["raw", "qcow2"], "iothread": ["io0", "none"], "throttle-group": ["tg0"],
            "protocol": ["file:" + f for f in files[-4:]] + ["fd:f0", "fd:f1"], "host": ["127.0.0.1"],
            "port": ["0", "1", "99999", "x"], "url": ["http://127.0.0.1:1/x", "x"], "dir": [folder], "path": [],
            "type": [], "key-secret": ["sec0"], "opaque": ["x"], "data": ["0123", "AAAA"], "export": EXPORTS + NODES,
            "config": ["/dev/null"],
        }
        self.by_command = {  # (start of the command, member) -> texts
            ("query-cpu-model", "name"): ["qemu64", "max", "base", "nothing"], ("nbd-server", "name"): EXPORTS + NODES,
            ("block-export", "id"): EXPORTS, ("job-", "id"): JOBS, ("block-job", "id"): JOBS, ("block-job", "device"): JOBS,
            ("chardev", "id"): CHARDEVS, ("ringbuf", "device"): CHARDEVS, ("object", "id"): OBJECTS,
            ("device_", "id"): DEVICES, ("blockdev-snapshot", "name"): SNAPSHOTS, ("block", "device"): NODES + [DRIVE],
        }

    def exists(self, kind, names):
        """One of @names, mostly one that is there."""
        live = self.live.get(kind, [])
        return self.rng.choice(live if live and self.rng.random() < 0.8 else names)

    def free(self, kind, names):
        """One of @names, mostly one that is not there."""
        free = [n for n in names if n not in self.live.get(kind, [])]
        return self.rng.choice(free if free and self.rng.random() < 0.8 else names)

    def path(self, name):
        return os.path.join(self.folder, name)

    def one(self, *choices):
        return self.rng.choice(choices)

    def text(self, name):
        known = self.by_name.get(name)
        for (start, member), texts in self.by_command.items():
            if member == name and self.command.startswith(start):
                known = texts
                break
        if name == "command-line":
            return self.hmp_line()
        if name == "path":
            known = self.paths
        elif name in ("property",):
            known = self.properties
        elif name in ("typename", "implements", "driver"):
            known = self.types
        if known and self.rng.random() < 0.9:
            return self.rng.choice(known)
        return self.rng.choice(STRANGE)

    def number(self, name):
        if name in ("size", "prealloc-size", "prealloc-align"):  # of RAM and of images, which may be allocated at once
            return self.rng.choice(BLOCK_SIZES)
        return self.rng.choice(NUMBERS) if self.rng.random() < 0.8 else self.rng.getrandbits(self.rng.randrange(1, 63))

    def any(self, depth=0):
        kind = self.rng.randrange(8 if depth < 3 else 5)
        if kind == 5:
            return [self.any(depth + 1) for _ in range(self.rng.randrange(3))]
        if kind >= 6:
            return {self.one("type", "data", "path", "size", "x"): self.any(depth + 1) for _ in range(self.rng.randrange(4))}
        return (None, True, self.rng.choice(NUMBERS), 1.5, self.rng.choice(STRANGE))[kind]

    def valid(self, type_name, name="", depth=0):
        """Of that type; @name: of the member that it is for."""
        t = self.schema.types[type_name]
        meta = t["meta-type"]
        if meta == "enum":
            return self.rng.choice(t["values"])
        if meta == "array":
            return [self.valid(t["element-type"], name, depth + 1) for _ in range(self.rng.choice((0, 1, 1, 2, 5)))] \
                if depth < 6 else []
        if meta == "alternate":
            choices = [m["type"] for m in t["members"]]
            if depth > 4:  # the one that ends soon
                choices = [c for c in choices if self.schema.types[c]["meta-type"] == "builtin"] or choices
            return self.valid(self.rng.choice(choices), "node-name", depth + 1)
        if meta == "object":
            return self.valid_object(t, depth)
        kind = t["json-type"]
        return {"string": self.text, "int": self.number, "number": lambda n: self.one(0.5, 1e300, -1, 1),
                "boolean": lambda n: self.one(True, False), "null": lambda n: None, "value": lambda n: self.any()}[kind](name)

    def valid_object(self, t, depth):
        value = {}
        optional = self.rng.choice((0, 0.1, 0.5, 1))
        if "tag" in t:
            case = self.rng.choice(t["variants"])["case"]
            value[t["tag"]] = case
        for name, m in self.schema.members(t, value).items():
            if name not in value and ("default" not in m or self.rng.random() < optional):
                value[name] = self.valid(m["type"], name, depth + 1)
        return value

    # --- the human monitor ---

    def hmp_line(self):
        r = self.rng
        addr = lambda: r.choice(["0", "0x100000", "$pc", "0xfee00000", "-1", "0xa0000", "$eax+1", "1/0", "(", str(r.getrandbits(64))])
        file = lambda: self.path(r.choice(NEW_FILES))
        drive = lambda: r.choice(["d0", "d0", self.exists("nodes", NODES)])
        forms = [
            lambda: r.choice(self.hmp),
            lambda: f"{r.choice(['x', 'xp'])} /{r.choice(['', '1', '17', '99999999999'])}{r.choice('xduoci ')}{r.choice('bhwgz ')} {addr()}",
            lambda: f"p /{r.choice('xduocz')} {addr()}",
            lambda: f"i /{r.choice('bhw')} {r.choice([0x3f8, 0x608, 0x64, 0x71, 0xcf8, 0x510, r.getrandbits(16)])}",
            lambda: f"o /{r.choice('bhw')} {r.choice([0x3f9, 0x604, 0x64, 0x70, 0xcf9, 0x20, r.getrandbits(16)])} {r.getrandbits(16)}",
            lambda: f"sum {addr()} {r.choice([0, 1, 4096, MB, -1])}",
            lambda: f"gva2gpa {addr()}",
            lambda: f"log {r.choice(['none', 'int', 'guest_errors', 'x', 'in_asm', 'none'])}",
            lambda: f"logfile {file()}",
            lambda: f"trace-event {r.choice(['*', 'x', 'reg_*'])} {r.choice(['on', 'off'])}",
            lambda: f"info {r.choice(['block -v', 'block -n', 'block d0', 'lapic 1', 'trace-events', 'registers -a', 'qtree', 'mtree -f'])}",
            lambda: f"{r.choice(['gpa2hva', 'gpa2hpa'])} {addr()}",
            lambda: f"chardev-add {r.choice(['ringbuf', 'null', 'pty', 'x'])},id={r.choice(CHARDEVS)}",
            lambda: f"chardev-change {r.choice(CHARDEVS)} {r.choice(['ringbuf,size=64', 'null', 'file,path=' + file(), 'x'])}",
            lambda: f"ringbuf_write {r.choice(CHARDEVS)} abc def",
            lambda: f"ringbuf_read {r.choice(CHARDEVS)} {r.choice([0, 1, 100])}",
            lambda: f"block_stream {drive()} {r.choice(['', '1', '1 ' + file()])}",
            lambda: f"{r.choice(['drive_backup', 'drive_mirror'])} {r.choice(['', '-n ', '-f '])}{drive()} {file()}",
            lambda: f"block_job_{r.choice(['cancel', 'cancel -f', 'pause', 'resume', 'complete'])} {r.choice([drive(), *JOBS])}",
            lambda: f"block_job_set_speed {drive()} {r.choice(['0', '1', '1k'])}",
            lambda: f"block_resize {drive()} {r.choice(['4', '5M', '1', 'x'])}",
            lambda: f"block_set_io_throttle {drive()} {r.choice(['0 0 0 0 0 0', '1000 0 0 0 0 9', '1 1 1 1 1 1'])}",
            lambda: f"snapshot_blkdev {r.choice(['', '-n '])}{drive()} {file()} {r.choice(['', 'qcow2', 'x'])}",
            lambda: f"snapshot_blkdev_internal {drive()} {r.choice(SNAPSHOTS)}",
            lambda: f"snapshot_delete_blkdev_internal {drive()} {r.choice(SNAPSHOTS)} {r.choice(['', '1'])}",
            lambda: f"nbd_server_start {r.choice(['', '-a ', '-w ', '-a -w '])}127.0.0.1:{r.choice(['0', 'x'])}",
            lambda: f"nbd_server_{r.choice(['add', 'add -w'])} {drive()} {r.choice(['', *EXPORTS])}",
            lambda: f"nbd_server_remove {r.choice(['', '-f '])}{r.choice(['d0', *EXPORTS, *NODES])}",
            lambda: "nbd_server_stop",
            lambda: f"cpu {r.choice([0, 1, 2, -1])}",
            lambda: f"help {r.choice(['x', 'info', '', 'log', 'zz'])}",
            lambda: f"memsave {addr()} {r.choice([1, 4096, -1])} {file()}",
            lambda: f"object_add {r.choice(['iothread', 'secret', 'x'])},id={r.choice(OBJECTS)},data=x",
            lambda: f"object_del {r.choice(OBJECTS)}",
            lambda: f"chardev-remove {r.choice(CHARDEVS)}",
            lambda: f"device_add {r.choice(self.types)},id={r.choice(DEVICES)}",
            lambda: f"device_del {r.choice(DEVICES)}",
            lambda: f"qom-list {r.choice(self.paths)}",
            lambda: f"qom-get {r.choice(self.paths)} {r.choice(self.properties)}",
            lambda: f"gdbserver {r.choice(['none', 'unix:' + self.path('gdb') + ',server=on,wait=off', 'x'])}",
            lambda: " ".join(r.choice(STRANGE + ["info", "x", "/", "\"", "stop", "help", "log"]) for _ in range(r.randrange(5))),
        ]
        return r.choice(forms)()

    # --- commands that are likely to do something ---

    def recipe(self):
        r, path = self.rng, self.path
        file = lambda: {"driver": "file", "filename": path(r.choice(IMAGES))}
        node, new_node = (lambda: DRIVE if r.random() < 0.1 else self.exists("nodes", NODES)), (lambda: self.free("nodes", NODES))
        job, new_job = (lambda: self.exists("jobs", JOBS)), (lambda: self.free("jobs", JOBS))
        chardev, new_chardev = (lambda: self.exists("chardevs", CHARDEVS)), (lambda: self.free("chardevs", CHARDEVS))
        some_bitmap = lambda: r.choice(self.live.get("bitmaps") or [(node(), r.choice(BITMAPS))])
        bitmap = lambda: dict(zip(("node", "name"), some_bitmap() if r.random() < 0.7 else (node(), r.choice(BITMAPS))))
        life = {"auto-finalize": self.one(True, False), "auto-dismiss": self.one(True, False), "speed": self.one(0, 0, 65536)}
        socket_at = lambda: {"type": "unix", "data": {"path": path("nbd")}}
        return r.choice([
            lambda: ("blockdev-add", {"driver": "qcow2", "node-name": new_node(), "file": file()}),
            lambda: ("blockdev-add", {"driver": "qcow2", "node-name": new_node(), "file": file(), "backing": self.one(None, node())}),
            lambda: ("blockdev-add", {"driver": "raw", "node-name": new_node(), "file": self.one(file(), node())}),
            lambda: ("blockdev-add", {"driver": "null-co", "node-name": new_node(), "size": 4 * MB}),
            lambda: ("blockdev-add", {"driver": self.one("copy-on-read", "throttle", "preallocate"), "node-name": new_node(),
                                      "file": node(), **({"throttle-group": "tg0"} if r.random() < 0.3 else {})}),
            lambda: ("blockdev-add", {"driver": "nbd", "node-name": new_node(), "server": {"type": "unix", "path": path("nbd")},
                                      "export": node()}),
            lambda: ("blockdev-del", {"node-name": node()}),
            lambda: ("blockdev-del", {"node-name": node()}),
            lambda: ("blockdev-reopen", {"options": [{"driver": "qcow2", "node-name": node(), "file": file(),
                                                      "read-only": self.one(True, False)}]}),
            lambda: ("blockdev-create", {"job-id": new_job(), "options": {"driver": "qcow2", "file": node(), "size": 4 * MB}}),
            lambda: ("blockdev-create", {"job-id": new_job(), "options": {"driver": "file", "filename": path(r.choice(NEW_FILES)),
                                                                      "size": 4 * MB}}),
            lambda: ("blockdev-snapshot", {"node": node(), "overlay": node()}),
            lambda: ("blockdev-snapshot-sync", {"node-name": node(), "snapshot-file": path(r.choice(NEW_FILES)),
                                                "snapshot-node-name": new_node()}),
            lambda: ("blockdev-snapshot-internal-sync", {"device": node(), "name": r.choice(SNAPSHOTS)}),
            lambda: ("blockdev-snapshot-delete-internal-sync", {"device": node(), "name": r.choice(SNAPSHOTS)}),
            lambda: ("blockdev-mirror", {"job-id": new_job(), "device": node(), "target": node(), "sync": self.one("full", "top", "none"),
                                         **life}),
            lambda: ("blockdev-backup", {"job-id": new_job(), "device": node(), "target": node(), "sync": self.one("full", "top", "none"),
                                         **life}),
            lambda: ("drive-backup", {"job-id": new_job(), "device": node(), "target": path(r.choice(NEW_FILES)), "sync": "full", **life}),
            lambda: ("drive-mirror", {"job-id": new_job(), "device": node(), "target": path(r.choice(NEW_FILES)), "sync": "full"}),
            lambda: ("block-commit", {"job-id": new_job(), "device": node(), **life}),
            lambda: ("block-stream", {"job-id": new_job(), "device": node(), **life}),
            lambda: (f"block-job-{self.one('cancel', 'complete', 'pause', 'resume')}", {"device": job()}),
            lambda: (f"job-{self.one('cancel', 'complete', 'pause', 'resume', 'finalize', 'dismiss')}", {"id": job()}),
            lambda: (f"job-{self.one('cancel', 'dismiss', 'finalize')}", {"id": job()}),
            lambda: ("block-job-set-speed", {"device": job(), "speed": self.one(0, 1, 2**30)}),
            lambda: ("block_resize", {"node-name": node(), "size": self.one(0, MB, 5 * MB, 4 * MB)}),
            lambda: ("block-dirty-bitmap-add", {**bitmap(), "persistent": self.one(True, False)}),
            lambda: (f"block-dirty-bitmap-{self.one('remove', 'clear', 'enable', 'disable')}", bitmap()),
            lambda: ("block-dirty-bitmap-merge", {"node": node(), "target": r.choice(BITMAPS), "bitmaps": [r.choice(BITMAPS), bitmap()]}),
            lambda: ("transaction", {"actions": [{"type": f"block-dirty-bitmap-{self.one('add', 'remove', 'clear')}", "data": bitmap()}
                                                 for _ in range(3)]}),
            lambda: ("transaction", {"actions": [{"type": "block-dirty-bitmap-add", "data": bitmap()},
                                                 {"type": "blockdev-backup", "data": {"job-id": new_job(), "device": node(),
                                                                                      "target": node(), "sync": "full"}}],
                                     "properties": {"completion-mode": self.one("individual", "grouped")}}),
            lambda: ("nbd-server-start", {"addr": socket_at()}),
            lambda: ("nbd-server-stop", {}),
            lambda: ("block-export-add", {"type": "nbd", "id": r.choice(EXPORTS), "node-name": node(), "writable": self.one(True, False)}),
            lambda: ("block-export-del", {"id": r.choice(EXPORTS), "mode": self.one("safe", "hard")}),
            lambda: ("object-add", {"qom-type": "iothread", "id": "io0"}),
            lambda: ("object-add", {"qom-type": "secret", "id": "sec0", "data": "x"}),
            lambda: ("object-add", {"qom-type": "throttle-group", "id": "tg0"}),
            lambda: ("object-add", {"qom-type": self.one("memory-backend-ram", "memory-backend-memfd"), "id": "ram0", "size": 4 * MB}),
            lambda: ("object-add", {"qom-type": "rng-builtin", "id": "rng0"}),
            lambda: ("object-del", {"id": r.choice(OBJECTS)}),
            lambda: ("chardev-add", {"id": new_chardev(), "backend": self.backend()}),
            lambda: ("chardev-change", {"id": chardev(), "backend": self.backend()}),
            lambda: (self.one("chardev-remove", "chardev-remove", "chardev-send-break"), {"id": chardev()}),
            lambda: ("ringbuf-write", {"device": chardev(), "data": "abcd"}),
            lambda: ("ringbuf-read", {"device": chardev(), "size": self.one(1, 100, 2**40), "format": self.one("utf8", "base64")}),
            lambda: ("device_add", {"driver": r.choice(self.types), "id": r.choice(DEVICES)}),
            lambda: (self.one("stop", "cont"), {}),
            lambda: (self.one("system_reset", "system_powerdown", "system_wakeup", "inject-nmi"), {}),
            lambda: ("cont", {}),
            lambda: (self.one("getfd", "closefd"), {"fdname": r.choice(FDS)}),
            lambda: ("add-fd", self.one({}, {"fdset-id": 0}, {"fdset-id": 1})),
            lambda: ("remove-fd", {"fdset-id": self.one(0, 1, 2)}),
            lambda: ("dump-guest-memory", {"paging": self.one(True, False), "protocol": "file:" + path(r.choice(NEW_FILES)),
                                           "detach": self.one(True, False)}),
            lambda: (self.one("memsave", "pmemsave"), {"val": 0x100000, "size": 4096, "filename": path(r.choice(NEW_FILES))}),
            lambda: ("x-profile-start", {"frequency": self.one(1, 100, 1000)}),
            lambda: ("x-profile-stop", {"folded": path("folded")}),
            lambda: ("set-action", {"shutdown": self.one("pause", "pause", "poweroff"), "reboot": self.one("reset", "shutdown")}),
            lambda: ("qom-get", {"path": r.choice(self.paths), "property": r.choice(self.properties)}),
            lambda: ("qom-set", {"path": r.choice(self.paths), "property": r.choice(self.properties), "value": self.any()}),
            lambda: ("human-monitor-command", {"command-line": self.hmp_line()}),
            lambda: ("human-monitor-command", {"command-line": self.hmp_line(), "cpu-index": self.one(0, 1, 1)}),
            lambda: (r.choice([c for c in self.schema.commands if c.startswith("query-")]), {}),
        ])()

    def backend(self):
        r = self.rng
        return {"type": (k := self.one("ringbuf", "null", "file", "socket", "pty", "udp", "mux", "hub", "stdio", "x")), "data": {
            "ringbuf": {"size": self.one(1, 64, 100)},
            "file": {"out": self.path(r.choice(NEW_FILES))},
            "socket": {"addr": self.one({"type": "unix", "data": {"path": self.path(r.choice(("sock0", "nbd")))}},
                                        {"type": "inet", "data": {"host": "127.0.0.1", "port": "0"}},
                                        {"type": "fd", "data": {"str": r.choice(FDS)}}),
                       "server": self.one(True, False), **({"reconnect": 1} if r.random() < 0.3 else {})},
            "udp": {"remote": {"type": "inet", "data": {"host": "127.0.0.1", "port": "9"}}},
            "mux": {"chardev": r.choice(CHARDEVS)},
            "hub": {"chardevs": [r.choice(CHARDEVS)]},
        }.get(k, {})}

    # --- what is wrong ---

    def spoil(self, command, arguments):
        """Change something: (arguments, must it be refused?)."""
        t = self.schema.types[self.schema.commands[command]["arg-type"]]
        plain = "tag" not in t and command != "device_add"
        members = {m["name"]: m for m in t["members"]}
        how = self.rng.randrange(6)
        arguments = dict(arguments)
        if how == 0:
            arguments["x-extra"] = self.any()
            return arguments, plain
        if how == 1:
            required = [n for n, m in members.items() if "default" not in m]
            if required:
                arguments.pop(self.rng.choice(required), None)
                return arguments, True
        if how == 2 and members:
            name = self.rng.choice(list(members))
            kinds = self.schema.types[members[name]["type"]]
            arguments[name] = {"x": 1} if kinds["meta-type"] in ("builtin", "enum", "array") else 7
            return arguments, kinds["meta-type"] in ("builtin", "enum", "array") and kinds.get("json-type") != "value"
        deep = "x"
        for _ in range(self.rng.choice((3, 50, 500))):
            deep = [deep] if how == 3 else {"data": deep}
        if arguments:
            name = self.rng.choice(list(arguments))
            arguments[name] = self.one(deep, "y" * self.one(256, 5000, 65536), 1e300, 2**64, -2**63, None, [], {}, "", self.any())
        return arguments, False


class Session(Client):
    """A connection whose answers are looked at."""

    def __init__(self, path, test, oob, **kwargs):
        super().__init__(path, negotiate=False, timeout=60, **kwargs)
        self.test, self.oob, self.pending = test, oob, {}
        self.ask_dict("qmp_capabilities", {"enable": ["oob"]} if oob else {})

    def give(self, number, command, arguments, expect, fds=()):
        key = "exec-oob" if self.oob and self.test.rng.random() < 0.05 else "execute"
        text = json.dumps({key: command, "arguments": arguments, "id": number}).encode() + b"\n"
        self.pending[number] = (command, arguments, "refused" if key == "exec-oob" else expect)
        if fds:
            socket.send_fds(self.sock, [text], fds)
        else:
            self.raw(text)

    def take(self):
        """The next answer or event."""
        j = self.read()
        self.test.note("<", j)
        if "event" in j:
            self.test.check_event(j)
            return
        if j.get("id") not in self.pending:
            raise Broken(f"nobody asked for {j}")
        self.test.check_answer(j, *self.pending.pop(j["id"]))

    def drain(self):
        """Events that are here already."""
        self.sock.setblocking(False)
        try:
            while True:
                self.take()
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(60 * emu.SLOW)


class Random(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.rng = random.Random(SEED)
        self.log = open(LOG, "w", encoding="utf-8") if LOG else None
        if self.log:
            self.addCleanup(self.log.close)
        self.last, self.counted, self.given, self.done = [], {}, 0, 0
        self.process, self.sessions, self.may_end, self.drive_is_new = None, [], False, True
        with open(emu.RHEA, "rb") as f:
            self.sanitized = any(word in f.read() for word in (b"__asan_init", b"__tsan_init"))
        with open(self.path("kernel"), "wb") as f:
            f.write(tiny_bzimage(TICKER))

    def path(self, name):
        return os.path.join(self.folder, name)

    def note(self, direction, what):
        line = f"{direction} {what if isinstance(what, str) else json.dumps(what)}"
        self.last = [*self.last[-59:], line[:600]]
        if self.log:
            self.log.write(line[:20000] + "\n")
            self.log.flush()

    # --- the machine ---

    def start(self):
        command = [emu.RHEA, *emu.EXTRA, "-machine", "pc", "-m", "16", "-smp", "2", "-display", "none", "-nodefaults", "-no-shutdown",
                   "-kernel", self.path("kernel"), "-serial", "file:" + self.path("serial"),
                   "-drive", f"if=none,id={DRIVE},format=qcow2,file={self.path('drive.qcow2')}"]
        self.image("drive.qcow2")
        paths = [self.path(f"qmp{i}") for i in range(3)]
        for p in paths:
            command += ["-qmp", f"unix:{p},server=on,wait=off"]
        env = {**os.environ, "ASAN_OPTIONS": f"log_path={self.path('san')}:" + os.environ.get("ASAN_OPTIONS", ""),
               "UBSAN_OPTIONS": f"log_path={self.path('san')}:print_stacktrace=1:halt_on_error=1:" + os.environ.get("UBSAN_OPTIONS", ""),
               "TSAN_OPTIONS": f"log_path={self.path('san')}:exitcode=66:" + os.environ.get("TSAN_OPTIONS", "")}
        with open(self.path("output"), "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder, env=env,
                                            restore_signals=False, preexec_fn=lambda: resource.setrlimit(
                                                resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT)))
        self.addCleanup(self.kill)
        self.sessions = [Session(p, self, i == 0, alive=lambda: self.process.poll() is None) for i, p in enumerate(paths)]
        self.may_end = False
        self.note("#", "started")

    def kill(self):
        for s in self.sessions:
            s.sock.close()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ended(self, again=True):
        """A connection was closed: is that right?"""
        try:
            status = self.process.wait(60 * emu.SLOW)
        except subprocess.TimeoutExpired:
            raise Broken("the monitor was closed, but the process goes on") from None
        for s in self.sessions:
            try:
                while True:
                    s.take()
            except (EOFError, OSError):
                pass
            s.sock.close()
        if status or not self.may_end:
            raise Broken(f"the machine ended with status {status}")
        self.look_at_sanitizers()
        self.note("#", "ended")
        if again:
            self.start()

    def look_at_sanitizers(self):
        if any(n.startswith("san.") for n in os.listdir(self.folder)):
            raise Broken("a sanitizer has something to say")

    # --- what must hold ---

    def check_event(self, j):
        name = j["event"]
        if name not in self.schema.events:
            raise Broken(f"event {name} is not in the schema")
        t = self.schema.events[name]["arg-type"]
        self.schema.check(j.get("data", {}), t, name)
        if set(j) - {"event", "data", "timestamp"} or set(j["timestamp"]) != {"seconds", "microseconds"}:
            raise Broken(f"an event has other members: {j}")
        if name == "SHUTDOWN":
            self.may_end = True

    def check_answer(self, j, command, arguments, expect):
        self.done += 1
        good, bad = self.counted.setdefault(command, [0, 0])
        if "error" in j:
            self.counted[command] = [good, bad + 1]
            error = j["error"]
            if set(j) != {"error", "id"} or set(error) != {"class", "desc"} or error["class"] not in ERROR_CLASSES or not error["desc"]:
                raise Broken(f"{command}: an error that is none: {j}")
            if expect == "understood" and error["desc"].startswith(("Parameter '", "Invalid parameter type")) and \
                    error["desc"].endswith(("is unexpected", "is missing")) | error["desc"].startswith("Invalid parameter type"):
                raise Broken(f"{command} {arguments} is what the schema says, but: {error['desc']}")
            return
        self.counted[command] = [good + 1, bad]
        if set(j) != {"return", "id"}:
            raise Broken(f"{command}: an answer with other members: {j}")
        if expect == "refused":
            raise Broken(f"{command} takes {json.dumps(arguments)[:500]}")
        self.schema.check(j["return"], self.schema.commands[command]["ret-type"], f"the answer to {command}")

    # --- giving commands ---

    def ask(self, command, **arguments):
        """Outside of what is random: the answer, or None."""
        arguments = {k.rstrip("_").replace("_", "-"): v for k, v in arguments.items()}
        s = self.sessions[-1]
        self.given += 1
        self.note(">", {"execute": command, "arguments": arguments})
        s.raw(json.dumps({"execute": command, "arguments": arguments, "id": "own"}).encode())
        while True:
            j = s.read()
            self.note("<", j)
            if "event" in j:
                self.check_event(j)
            elif j.get("id") == "own":
                if "return" in j:
                    self.schema.check(j["return"], self.schema.commands[command]["ret-type"], f"the answer to {command}")
                return j.get("return")

    def invent(self):
        """(command, arguments, what is expected)"""
        v = self.values
        if self.rng.random() < 0.6:
            command, arguments = v.recipe()
            expect = "any"
        else:
            command = self.rng.choice([c for c in self.schema.commands if c not in EXCLUDED])
            t = self.schema.commands[command]["arg-type"]
            v.command = command
            arguments = v.valid(t)
            expect = "understood" if self.schema.is_plain(t) and command not in CONDITIONAL else "any"
        if self.rng.random() < 0.12:
            arguments, refused = v.spoil(command, arguments)
            expect = "refused" if refused else "any"
        return command, arguments, expect

    def step(self):
        """Some commands at once, on some monitors."""
        asked = []
        for _ in range(self.rng.choice((1, 1, 1, 2, 4))):
            s = self.rng.choice(self.sessions)
            command, arguments, expect = self.invent()
            self.given += 1
            self.note(">", {"execute": command, "arguments": arguments})
            with_fd = command in ("getfd", "add-fd") and self.rng.random() < 0.8
            fds = [os.open(self.path(self.rng.choice(IMAGES)), os.O_RDWR)] if with_fd else []
            s.give(self.given, command, arguments, expect, fds)
            for fd in fds:
                os.close(fd)
            asked.append(s)
        if self.rng.random() < 0.01:
            self.reconnect(self.rng.randrange(len(self.sessions)))
        for s in asked:
            while s.pending:
                s.take()

    def reconnect(self, i):
        """A client goes without waiting for its answers, and comes again."""
        old = self.sessions[i]
        old.sock.close()
        old.pending.clear()
        self.sessions[i] = Session(self.path(f"qmp{i}"), self, i == 0, alive=lambda: self.process.poll() is None)
        self.note("#", f"monitor {i} reconnected")

    def hang(self):
        """Where it stands."""
        if self.process.poll() is None and shutil.which("gdb"):
            p = subprocess.run(["gdb", "-p", str(self.process.pid), "-batch", "-ex", "thread apply all bt 12"],
                               capture_output=True, timeout=120, check=False)
            return p.stdout.decode(errors="replace")[-6000:]
        return ""

    def report(self, e):
        text = f"{e!r}\n"
        if isinstance(e, TimeoutError):
            text += self.hang()
        for name in sorted(os.listdir(self.folder)):
            if name.startswith(("san.", "output")):
                with open(self.path(name), errors="replace") as f:
                    text += f"--- {name}\n{f.read()[-6000:]}\n"
        self.fail(f"RANDOM_QMP_SEED={SEED} RANDOM_QMP_COMMANDS={COMMANDS}: {text}--- the last commands\n" + "\n".join(self.last))

    def look(self):
        """What exists now."""
        nodes = self.ask("query-named-block-nodes", flat=True)
        self.values.live = {
            "nodes": sorted(n["node-name"] for n in nodes if n["node-name"] in NODES),
            "jobs": sorted(j["id"] for j in self.ask("query-jobs")),
            "chardevs": sorted(c["label"] for c in self.ask("query-chardev") if c["label"] in CHARDEVS),
            "bitmaps": sorted((n["node-name"], b["name"]) for n in nodes for b in n.get("dirty-bitmaps", []) if b.get("name")),
        }

    # --- between batches ---

    def image(self, name, *options):
        emu.run("create", "-q", "-f", "qcow2", *options, self.path(name), "4M", program=os.path.join(emu.BUILD, "rhea-img"))

    def scene(self):
        """Something to begin with: a chain, data, a slow device, a ring buffer."""
        for name in (*IMAGES, *NEW_FILES):
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))
        for name in IMAGES[:-1]:
            self.image(name, *(["-b", self.path("a.qcow2"), "-F", "qcow2"] if name == "b.qcow2" else []))
        with open(self.path("raw.img"), "wb") as f:
            f.write(self.rng.randbytes(MB) + bytes(2 * MB) + self.rng.randbytes(MB))
        for i, (driver, name) in enumerate((("qcow2", "b.qcow2"), ("raw", "raw.img"), ("qcow2", "c.qcow2"))):
            self.ask("blockdev-add", driver=driver, node_name=NODES[i], file={"driver": "file", "filename": self.path(name)})
        self.ask("blockdev-add", driver="null-co", node_name=NODES[3], size=4 * MB, latency_ns=self.rng.choice((0, 1000000)))
        self.ask("block-dirty-bitmap-add", node=NODES[0], name=BITMAPS[0])
        self.ask("chardev-add", id=CHARDEVS[0], backend={"type": "ringbuf", "data": {"size": 64}})
        self.look()

    def until(self, what, condition):
        emu.poll(condition, what, 60)

    def clean_jobs(self):
        jobs = self.ask("query-jobs")
        for j in jobs:
            for command in ("job-resume", "job-cancel", "job-finalize", "job-dismiss"):
                self.ask(command, id=j["id"])
            self.ask("block-job-set-speed", device=j["id"], speed=0)
            self.ask("block-job-cancel", device=j["id"], force=True)
        return not jobs

    def clean_exports(self):
        exports = self.ask("query-block-exports")
        for e in exports:
            self.ask("block-export-del", id=e["id"], mode="hard")
        return not exports

    def clean_nodes(self):
        """True: nothing is left but the drive, on which an overlay may lie that cannot be taken away."""
        drive = self.ask("query-block")[0].get("inserted", {})
        nodes = [n["node-name"] for n in self.ask("query-named-block-nodes", flat=True)]
        for n in nodes:
            self.ask("blockdev-del", node_name=n)
        self.drive_is_new = not drive.get("backing_file_depth") and drive.get("node-name") not in NODES
        return not self.drive_is_new or len(nodes) <= 2

    def clean(self):
        """Back to where it began: nothing but the machine, running."""
        hmp = lambda line: self.ask("human-monitor-command", command_line=line)
        for line in ("log none", "trace-event * off", f"block_set_io_throttle {DRIVE} 0 0 0 0 0 0", f"logfile {self.path('output')}", "gdbserver none"):
            hmp(line)
        self.ask("set-action", shutdown="pause", reboot="reset")
        self.ask("x-profile-stop")
        self.until("no dump is written", lambda: self.ask("query-dump")["status"] != "active")
        self.until("all jobs end", self.clean_jobs)
        self.ask("nbd-server-stop")
        self.until("all exports end", self.clean_exports)
        self.until("all nodes go", self.clean_nodes)
        for _ in range(3):  # some use others
            for c in self.ask("query-chardev"):
                if c["label"] in CHARDEVS + STRANGE:
                    self.ask("chardev-remove", id=c["label"])
            for o in self.ask("qom-list", path="/objects"):
                self.ask("object-del", id=o["name"])
        for d in DEVICES:
            self.ask("device_del", id=d)
        for s in self.ask("query-fdsets"):
            self.ask("remove-fd", fdset_id=s["fdset-id"])
        for name in FDS + STRANGE:
            self.ask("closefd", fdname=name)
        self.ask("stop")
        self.ask("system_reset")
        self.ask("cont")

    def makes_progress(self):
        if self.ask("query-status")["status"] != "running":
            raise Broken("it does not run")
        before = os.path.getsize(self.path("serial"))
        self.until("the guest goes on", lambda: os.path.getsize(self.path("serial")) > before + 50)
        os.truncate(self.path("serial"), 0)

    def footprint(self):
        """(descriptors, bytes of memory)"""
        fds = os.listdir(f"/proc/{self.process.pid}/fd")
        with open(f"/proc/{self.process.pid}/status") as f:
            rss = next(int(line.split()[1]) << 10 for line in f if line.startswith("VmRSS"))
        return len(fds), rss

    def between(self):
        for s in self.sessions:
            s.drain()
        self.clean()
        self.makes_progress()
        self.look_at_sanitizers()
        fds, rss = self.footprint()
        if self.first is None or self.first[0] != self.process.pid:
            self.first = (self.process.pid, fds, rss)
        elif fds > self.first[1] + 8:
            names = [os.readlink(f"/proc/{self.process.pid}/fd/{n}") for n in os.listdir(f"/proc/{self.process.pid}/fd")]
            raise Broken(f"{self.first[1]} descriptors became {fds}: {names}")
        elif rss > self.first[2] + (512 if self.sanitized else 96) * MB:
            raise Broken(f"{self.first[2] // MB} MiB became {rss // MB} MiB")
        self.note("#", f"between: {fds} descriptors, {rss // MB} MiB")

    def learn(self):
        """What there is to talk about."""
        v = self.values
        hmp = lambda line: self.ask("human-monitor-command", command_line=line)
        v.hmp = [line.split()[0].split("|")[0] for line in hmp("help").splitlines() if " -- " in line]
        v.hmp = [n for n in v.hmp if n not in ("quit", "info")]  # quit: as for the command
        v.hmp += ["info " + line.split()[1] for line in hmp("help info").splitlines() if line.startswith("info ")]
        v.types += [t["name"] for t in self.ask("qom-list-types") if not t["name"].endswith("-cpu")]
        todo = ["/machine", "/objects", "/"]
        while todo:
            path = todo.pop()
            for p in self.ask("qom-list", path=path) or []:
                if p["type"].startswith("child<"):
                    v.paths.append(path.rstrip("/") + "/" + p["name"])
                    todo.append(v.paths[-1])
                else:
                    v.properties.append(p["name"])
        v.paths = sorted(set(v.paths))
        v.properties = sorted(set(v.properties))

    def run_all(self):
        batches = 0
        while self.done < COMMANDS:
            target = self.done + BATCH
            try:
                self.scene()
                while self.done < min(target, COMMANDS):
                    if self.rng.random() < 0.1:
                        self.look()
                    self.step()
                self.between()
                batches += 1
                if batches % 4 == 0 or not self.drive_is_new:
                    self.may_end = True
                    self.ask("quit")
                    self.ended()
            except (EOFError, ConnectionError):
                self.ended()

    def finish(self):
        try:
            self.may_end = True
            self.ask("quit")
            self.ended(again=False)
        except (EOFError, ConnectionError):
            self.ended(again=False)

    def test_machine_stays_alive_and_keeps_the_promises(self):
        self.schema = Schema([])
        self.first = None
        try:
            self.start()
            self.schema = Schema(self.sessions[0].ask("query-qmp-schema"))
            self.values = Values(self.rng, self.schema, self.folder)
            self.learn()
            self.run_all()
            self.finish()
        except Exception as e:  # pylint: disable=broad-except
            self.report(e)
        self.assertGreater(len([c for c, (good, _) in self.counted.items() if good]), 60 if COMMANDS >= 1500 else 0,
                           self.counted)
