#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""golden.py --write: what users see of commands, types, properties and options, as text in tests/golden."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import emu  # noqa: E402
from qmp import Machine, QmpError  # noqa: E402

FOLDER = os.path.join(emu.TOP, "tests", "golden")


def type_text(types, name, seen=()):
    """A type without its number."""
    t = types[name]
    meta = t["meta-type"]
    if meta == "builtin":
        return name
    if meta == "array":
        return "[" + type_text(types, t["element-type"], seen) + "]"
    if meta == "enum":
        return "|".join(t["values"])
    if meta == "alternate":
        return "<" + " or ".join(type_text(types, m["type"], seen) for m in t["members"]) + ">"
    if name in seen:
        return "..."
    seen = seen + (name,)
    parts = []
    for m in t["members"]:
        if m["name"] == t.get("tag"):
            continue
        parts.append(m["name"] + ("?" if "default" in m else "") + ": " + type_text(types, m["type"], seen))
    if "tag" in t:
        for v in sorted(t["variants"], key=lambda v: v["case"]):
            parts.append(f"\n    {t['tag']}={v['case']} {type_text(types, v['type'], seen)}")
    return "{" + ", ".join(parts) + "}"


def schema_text(entries):
    types = {e["name"]: e for e in entries}
    lines = []
    for e in entries:
        if e["meta-type"] == "command":
            more = " oob" * bool(e.get("allow-oob")) + "".join(" +" + f for f in e.get("features", []))
            lines.append(f"command {e['name']}{more} {type_text(types, e['arg-type'])} -> {type_text(types, e['ret-type'])}")
        elif e["meta-type"] == "event":
            lines.append(f"event {e['name']} {type_text(types, e['arg-type'])}")
    return "\n".join(lines) + "\n"


def properties_text(q):
    lines = []
    for t in sorted(q.ask("qom-list-types"), key=lambda t: t["name"]):
        if t["name"].endswith("-cpu"):
            continue
        lines.append(f"{t['name']} ({t.get('parent', '')})")
        try:
            properties = q.ask("qom-list-properties", typename=t["name"])
        except QmpError as e:
            properties = [{"name": str(e), "type": "error"}]
        for p in properties:
            if p["name"] != "type":
                default = f" = {p['default-value']}" if "default-value" in p else ""
                lines.append(f"    {p['name']}: {p['type']}{default}")
    return "\n".join(lines) + "\n"


def hmp_text(q):
    return "".join(q.ask("human-monitor-command", command_line=line) for line in ("help", "help info")).replace("\r\n", "\n")


def produce():
    """File name -> text."""
    with Machine() as m, m.client() as q:
        return {"qmp-schema.txt": schema_text(q.ask("query-qmp-schema")), "properties.txt": properties_text(q),
                "hmp.txt": hmp_text(q), "help.txt": emu.run("-help")[1]}


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    for name, text in produce().items():
        with open(os.path.join(FOLDER, name), "w") as f:
            f.write(text)
        print(f"tests/golden/{name}: {text.count(chr(10))} lines")
