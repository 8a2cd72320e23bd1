# SPDX-License-Identifier: GPL-2.0-or-later
"""What libvirt says to rhea: from libvirtd's log to a small file (check-libvirt --record), and what a file expects.

A file is {"argv", "kernel", "steps"}; a step is {"send", "want"[, "fd"]} or {"event"[, "want"]}.  @NAMES@ stand for what
differs each time.  A `want` has the members that libvirt saw, with "string", "number", "boolean" or "null" for values that
may differ, "=" and JSON for those that may not; of a list, one element that must be among those that come.
"""
import json
import os
import re
import shlex

EXACT = {"status", "running", "reason", "class", "arch", "label", "guest", "capability", "enabled"}
MANY = 4  # members that are kept of an object whose members are data, and features of processors asked for
DATA = {"props"}
MOVING = {"query-block-jobs"}  # asked while something goes on: no value is the same each time


KINDS = {bool: "boolean", str: "string", int: "number", float: "number", type(None): "null"}


def pattern(value, exact, key=None):
    if key in exact and not isinstance(value, (dict, list)):
        return "=" + json.dumps(value)
    if isinstance(value, dict):
        keys = sorted(value)[:MANY] if key in DATA else value
        return {k: pattern(value[k], exact, k) for k in keys}
    if isinstance(value, list):
        return [pattern(value[0], exact)] if value else []
    return KINDS[type(value)]


def mismatch(want, value, path="answer"):
    """How @value is not what @want says, or None."""
    if isinstance(want, dict):
        if not isinstance(value, dict):
            return f"{path} is {value!r} and no object"
        for k, w in want.items():
            why = mismatch(w, value[k], f"{path}.{k}") if k in value else f"{path} has no {k}"
            if why:
                return why
        return None
    if isinstance(want, list):
        if not isinstance(value, list):
            return f"{path} is {value!r} and no list"
        reasons = [mismatch(want[0], v, path + "[]") for v in value] if want else []
        return None if not want or None in reasons else reasons[0] if reasons else f"{path} is empty"
    if want.startswith("="):
        return None if json.dumps(value) == want[1:] else f"{path} is {value!r}, not {want[1:]}"
    return None if KINDS.get(type(value)) == want else f"{path} is {value!r} and no {want}"


# --- recording ---

LINE = re.compile(r"QEMU_MONITOR_(SEND_MSG|RECV_REPLY|RECV_EVENT): mon=(\w+) (?:msg|reply|event)=(.*)$")


def sessions(log):
    """Lists of steps, one for each monitor, in order of their beginning."""
    found, by_monitor, last = [], {}, None
    with open(log, errors="replace") as f:
        for line in f:
            fd = re.match(r" fd=(\d+)$", line)
            if fd and last:
                last["fd"] = True
            m = LINE.search(line.rstrip())
            if not m and not line.startswith(" fd="):
                continue
            last = None
            if not m:
                continue
            kind, monitor, message = m[1], m[2], json.loads(m[3])
            if kind == "SEND_MSG":
                if message["execute"] == "qmp_capabilities":
                    by_monitor[monitor] = []
                    found.append(by_monitor[monitor])
                last = {"id": message.pop("id"), "send": message}
                by_monitor[monitor].append(last)
            elif kind == "RECV_REPLY":
                step = next(s for s in by_monitor[monitor] if s.get("id") == message["id"])
                exact = set() if step["send"]["execute"] in MOVING else EXACT
                step["want"] = {k: pattern(v, exact) for k, v in message.items() if k != "id"}
            else:
                by_monitor[monitor].append({"event": message["event"], "want": pattern(message.get("data", {}), EXACT)})
    for steps in found:
        for s in steps:
            s.pop("id", None)
            if "error" in s.get("want", {}):
                s["want"]["error"].pop("desc")
    return found


def arguments(log):
    """Of the first emulator that a domain's log names."""
    with open(log) as f:
        text = f.read()
    command = re.search(r"starting up.*\n((?:.* \\\n)*.*\n)", text)[1]
    words = shlex.split(command.replace("\\\n", " "))
    words = words[next(i for i, w in enumerate(words) if w.startswith("/")) + 1:]
    disks = [i for i, w in enumerate(words) if w.startswith('{"driver":"virtio-blk-pci"')]
    return [w for i, w in enumerate(words) if i not in disks and i + 1 not in disks]  # as check-libvirt starts them


def general(text, folder):
    """@text without what differs each time."""
    text = re.sub(r"/var/lib/libvirt/qemu/domain-[^/\"]*", "@DIR@", text.replace(folder, "@DIR@"))
    text = re.sub(r"(id=charmonitor,fd=)\d+", r"\1@MONITOR@", text)
    text = re.sub(r"(^socket,id=char[^,]*,fd=)\d+", r"\1@LISTENER@", text)
    return re.sub(r"(^set=\d+,fd=)\d+", r"\1@FILE@", text)


def kernel_of(argv):
    if "-kernel" not in argv:
        return None
    i = argv.index("-kernel") + 1
    with open(argv[i], "rb") as f:
        code = f.read()[1024:-512].hex()
    argv[i] = "@KERNEL@"
    return code


def essential(steps):
    """Without most of the hundreds of questions for single features of processors."""
    asked = 0
    for s in steps:
        asked += "qom-get" in json.dumps(s) and "unattached" in json.dumps(s)
        if asked <= MANY or "qom-get" not in json.dumps(s):
            yield s


def write(folder, out, name, argv, steps):
    argv = list(argv)
    data = {"kernel": kernel_of(argv), "argv": [general(a, folder) for a in argv]}
    lines = [general(json.dumps(s), folder) for s in essential(steps)]
    with open(os.path.join(out, f"libvirt-{name}.json"), "w") as f:
        head = json.dumps(data)[:-1]
        f.write(head + ', "steps": [\n' + ",\n".join(lines) + "\n]}\n")


def record(log, logs, folder, out):
    """The first capability probe, and each domain's monitor in the order of their starts."""
    found = sessions(log)
    probe = ["-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg",
             "-qmp", "unix:@DIR@/qmp.monitor,server=on,wait=off", "-pidfile", "@DIR@/qmp.pid", "-daemonize"]
    write(folder, out, "probe", probe, next(s for s in found if any(x["send"]["execute"] == "query-qmp-schema" for x in s)))
    domains = [s for s in found if any(x.get("send", {}).get("execute") == "query-cpus-fast" for x in s)]
    names = sorted(os.listdir(logs), key=lambda n: os.stat(os.path.join(logs, n)).st_mtime)
    for name, steps in zip(names, domains):
        write(folder, out, name[:-4], arguments(os.path.join(logs, name)), steps)
