# SPDX-License-Identifier: GPL-2.0-or-later
"""rhea-img and rhea-io: every command against QEMU's tools where those are installed, and by what they do.

Outputs are compared line by line after masking what may differ: times, speeds, host allocation, suggestions we add.
"""
import json
import os
import re
import shlex
import signal
import subprocess
import time
import unittest

import emu
import imgtool

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

MASKS = [
    (r"ops; .*", "ops"),                                         # speed of qemu-io
    (r"^\d+,1,\d:.*", "STATISTICS"),
    (r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", "DATE"),
    (r'("date-n?sec": )\d+', r"\1N"),
    (r"in [\d.]+ seconds", "in T seconds"),
    (r"#block\d+", "#blockN"),
    (r"disk size: .*", "disk size: N"),                          # how much the host gave
    (r'("actual-size": )\d+', r"\1N"),
    (r"(?i)(\bc?uu?id\"?: )\S+", r"\1N"),
    (r"(iters\"?: )\d+", r"\1N"),
    (r"(cid\"?: )\d{6,}", r"\1N"),
    (r"(Image format driver) '\w+'", r"\1"),
    (r".*' was changed after '.*", ""),
    (r"Check failed: \w+ images can be checked, but not .*", "This image format does not support checks"),
    (r"(Operation not supported) by format '\w+'| \(at most [^)]*\)", r"\1"),
    (r"(; | \()did you mean .*", ""),                                # what we add
    (r"; add -F \S+ if that is right", ""),
    (r" \((known|subformat|adapter_type): .*\)| \(active, inactive\)", ""),
    (r"(Could not open '[^']*': )Could not open the encrypted image: ", r"\1"),
    (r" \(process \d+, .*\)", ""),
    (r"(?i)(image.end.offset\"?: )\d+", r"\1N"),
    (r"[\d.]+% fragmented", "N% fragmented"),
    (r'(, "offset": )\d+', r"\1N"),                              # where in the file is the writer's choice
    (r"^(0x?[\da-f]* +0x[\da-f]+ +)0x[\da-f]+", r"\1N"),
    (r"^    \([\d.]+/100%\).*", ""),
]


FORMATS = ("raw", "qcow2", "vhdx", "vmdk", "vdi", "vpc", "luks")
CREATE = (("vhdx", ""), ("vhdx", "subformat=dynamic,block_size=1M,log_size=2M"), ("vhdx", "block_state_zero=off"),
          ("vmdk", ""), ("vmdk", "adapter_type=lsilogic,hwversion=7,toolsversion=99"), ("vmdk", "adapter_type=buslogic,compat6=on"),
          ("vmdk", "subformat=monolithicFlat"), ("vmdk", "subformat=twoGbMaxExtentSparse,adapter_type=legacyESX"),
          ("vmdk", "subformat=twoGbMaxExtentFlat"), ("vmdk", "subformat=monolithicSparse,zeroed_grain=on"), ("vdi", ""), ("vdi", "static=on"),
          ("vpc", ""), ("vpc", "force_size=on,subformat=dynamic"), ("vpc", "subformat=fixed"))
REFUSED = (("vhdx", "subformat=foo"), ("vhdx", "block_size=3M"), ("vhdx", "log_size=5G"), ("vmdk", "subformat=foo"), ("vmdk", "adapter_type=foo"),
           ("vmdk", "compat6=on,hwversion=7"), ("vmdk", "subformat=monolithicFlat,zeroed_grain=on"), ("vpc", "subformat=foo"), ("vdi", "static=foo"),
           ("vdi", "foo=1"), ("vdi", "size=1M"), ("qcow2", "cluster_size=-5"), ("qcow2", "refcount_bits=3x"), ("qcow2", "lazy_refcounts=maybe"),
           ("qcow2", "size=1M"), ("luks", "key-secret=nope"), ("luks", "hash-alg=foo"), ("luks", "cipher-alg=foo"))


def masked(text):
    lines = []
    for line in text.replace("\r", "\n").split("\n"):
        for pattern, to in MASKS:
            line = re.sub(pattern, to, line)
        if line:
            lines.append(line)
    return lines


class Reference(imgtool.Case):
    """The same command lines in two folders, with our tools and with QEMU's."""

    def setUp(self):
        super().setUp()
        imgtool.need_reference()
        self.folders = {}
        for who in ("ours", "theirs"):
            self.folders[who] = os.path.join(self.dir, who)
            os.mkdir(self.folders[who])

    def tool(self, who, name):
        if name not in imgtool.OURS:
            return name
        return os.path.join(self.bin, name) if who == "ours" else imgtool.REFERENCE[name]

    def same(self, *lines, content=()):
        """Each line must give the same status and the same output with both; then the files of `content` hold the same."""
        for line in lines:
            words = shlex.split(line)
            results = {}
            for who, folder in self.folders.items():
                rc, out, err = self.run_tool(self.tool(who, words[0]), *words[1:], cwd=folder)
                results[who] = (rc, masked(out), masked(err))
            self.assertEqual(results["ours"], results["theirs"], f"{line} (ours first)")
        for name in content:
            rc, out, err = self.run_tool(imgtool.REFERENCE["qemu-img"], "compare", os.path.join(self.folders["ours"], name),
                                         os.path.join(self.folders["theirs"], name))
            self.assertEqual(rc, 0, f"{name}: {out}{err}")

    def chain(self):
        self.same("qemu-img create -f qcow2 base.qcow2 64M",
                  "qemu-io -c 'write -P 1 0 64k' -c 'write -z 1M 128k' -c 'write -P 2 2M 64k' base.qcow2",
                  "qemu-img create -f qcow2 -b base.qcow2 -F qcow2 top.qcow2",
                  "qemu-io -c 'write -P 3 3M 200k' -c 'write -z 64k 64k' top.qcow2")

    def test_create_says_what_it_formats(self):
        self.same("qemu-img create a.raw 10M", "qemu-img create -f qcow2 a.qcow2 10M",
                  "qemu-img create -f qcow2 -o cluster_size=4k,preallocation=metadata,compat=0.10 x.qcow2 1M",
                  "qemu-img create -f qcow2 -o size=3M,lazy_refcounts=on x.qcow2",
                  "qemu-img create -f qcow2 -b a.raw -F raw x.qcow2", "qemu-img create -f qcow2 -b a.raw -F raw x.qcow2 1G",
                  "qemu-img create -f qcow2 -b nofile -F qcow2 -u x.qcow2 1G", "qemu-img create -q -f qcow2 x.qcow2 1G",
                  "qemu-img create -f qcow2 -o extended_l2=on,cluster_size=128k x.qcow2 1536k")

    def test_create_refuses_the_same(self):
        self.same("qemu-img create a.raw 1M", "qemu-img create", "qemu-img create -f qcow2 foo", "qemu-img create -f qcow2 foo 12z",
                  "qemu-img create -f qcow2 -o foo=1 foo 12", "qemu-img create -f qcow2 -b nofile -F qcow2 d.qcow2",
                  "qemu-img create -f foo x 1M", "qemu-img create -f qcow2 -o cluster_size=3 x 1M", "qemu-img create -f qcow2 x -1",
                  "qemu-img create -f raw -b a.raw x", "qemu-img create -o '' x 1M", "qemu-img create -o , x 1M", "qemu-img create x 1 2",
                  "qemu-img create -f qcow2 -b x -F raw x")

    def test_create_lists_options(self):
        self.same(*(f"qemu-img create -f {fmt} -o help" for fmt in FORMATS), "qemu-img create -f qcow2 -o '?' a.qcow2",
                  *(f"qemu-img create -f {fmt} -o help x" for fmt in FORMATS))

    def test_amend_lists_options(self):
        self.same("qemu-img amend -f qcow2 -o help", "qemu-img amend -f luks -o help", "qemu-img amend -f raw -o help",
                  "qemu-img amend -f vmdk -o help")

    def test_create_other_formats(self):
        lines = []
        for i, (fmt, options) in enumerate(CREATE):
            lines += [f"qemu-img create -f {fmt} {'-o ' + options if options else ''} {i}.{fmt} 9M", f"qemu-img info {i}.{fmt}",
                      f"qemu-img info --output=json {i}.{fmt}", f"qemu-img map --output=json {i}.{fmt}",
                      f"qemu-io -c 'write -P 7 1M 100k' {i}.{fmt}", f"qemu-img check {i}.{fmt}", f"qemu-img check -r all {i}.{fmt}",
                      f"qemu-img measure -O {fmt} --size 1G", f"qemu-img resize -f {fmt} {i}.{fmt} +1M", f"qemu-img compare {i}.{fmt} {i}.{fmt}",
                      f"qemu-img amend -f {fmt} -o size=1 {i}.{fmt}", f"qemu-img snapshot -c x {i}.{fmt}", f"qemu-img rebase -u -b x -F raw {i}.{fmt}"]
        # QEMU says that all of a vhdx is data, and looks for holes in the files of flat images.
        flat = [str(i) for i, (fmt, options) in enumerate(CREATE) if fmt == "vhdx" or re.search("[Ff]lat|fixed|static", options)]
        self.same(*(line for line in lines if not re.search(f" map .* ({'|'.join(flat)})\\.", line)))

    def test_create_other_formats_refuses_the_same(self):
        self.same("qemu-img create a.raw 1M", *(f"qemu-img create -f {fmt} -o {options} x.{fmt} 9M" for fmt, options in REFUSED),
                  *(f"qemu-img create -f {fmt} -b a.raw -F raw x.{fmt}" for fmt in FORMATS if fmt != "qcow2"),
                  "qemu-img create -f vhdx x.vhdx 65T", "qemu-img create -f vpc x.vpc 3T", "qemu-img info x.vmdk")

    def test_a_vmdk_on_another(self):
        self.same("qemu-img create -f vmdk base.vmdk 10M", "qemu-io -c 'write -P 1 0 1M' base.vmdk",
                  "qemu-img create -f vmdk -b base.vmdk -F vmdk top.vmdk", "qemu-img create -f vmdk -b base.vmdk -F vmdk -o "
                  "subformat=twoGbMaxExtentSparse,zeroed_grain=on split.vmdk 3G", "qemu-io -c 'write -P 2 512k 1M' top.vmdk",
                  "qemu-io -c 'write -P 2 512k 1M' -c 'write -z 64k 64k' -c 'write -P 3 2G 64k' split.vmdk",
                  "qemu-img info --backing-chain split.vmdk",
                  "qemu-img map --output=json top.vmdk", "qemu-img create -f vmdk -b top.vmdk -F vmdk -o subformat=monolithicFlat x.vmdk",
                  "qemu-img convert -B base.vmdk -F vmdk -O vmdk top.vmdk copy.vmdk", "qemu-io -c 'write -P 3 0 64k' base.vmdk",
                  "qemu-io -c 'read 9M 64k' top.vmdk", "qemu-img create -f vmdk -b nofile -F vmdk x.vmdk 1M",
                  content=["base.vmdk"])

    def secrets(self, *ids):
        return " ".join(f"--object secret,id={i},data=pass-{i}" for i in ids)

    def test_keyslots(self):
        def amend(key, options, more=""):
            return f"qemu-img amend {more} {self.secrets('s', 't', 'u')} --image-opts driver=luks,key-secret={key},file.filename=l.img -o '{options}'"

        info = "qemu-img info l.img"
        self.same(f"qemu-img create {self.secrets('s')} -f luks -o key-secret=s,iter-time=10 l.img 1M", info, "qemu-img info --output=json l.img",
                  amend("s", "state=active,new-secret=t,iter-time=10"), amend("s", "state=active,new-secret=t,iter-time=10,keyslot=0"),
                  amend("s", "state=active,new-secret=u,iter-time=10,keyslot=5"), info, amend("s", "state=active"),
                  amend("s", "state=active,new-secret=nope"), amend("s", "state=active,new-secret=t,old-secret=s"),
                  amend("s", "state=active,new-secret=t,keyslot=9"), amend("s", "state=foo,new-secret=t"), amend("s", "new-secret=t"),
                  amend("s", "state=inactive"), amend("s", "state=inactive,new-secret=t"), amend("s", "state=inactive,keyslot=8"),
                  amend("s", "state=inactive,keyslot=1,old-secret=s"), amend("s", "state=inactive,keyslot=1,iter-time=10"),
                  amend("s", "state=inactive,old-secret=nope"), amend("s", "state=inactive,keyslot=1"), amend("s", "state=inactive,old-secret=t"),
                  amend("s", "state=inactive,old-secret=u"), info, amend("s", "state=inactive,old-secret=s"), amend("s", "state=inactive,keyslot=0"),
                  amend("s", "state=active,new-secret=t,keyslot=0,iter-time=10", "--force"), info, amend("t", "foo=1"), amend("t", ""),
                  amend("s", "state=inactive,keyslot=0"),
                  amend("t", "state=inactive,keyslot=4", "--force"), amend("t", "state=inactive,keyslot=0", "--force"), info,
                  amend("t", "state=inactive,keyslot=0"), "qemu-img amend -f luks l.img -o state=active")

    def test_encrypted_qcow2(self):
        def create(options, name):
            return f"qemu-img create {self.secrets('s')} -f qcow2 -o '{options}' {name} 1M"

        def io(command, name):
            return f"qemu-io {self.secrets('s')} --image-opts -c '{command}' driver=qcow2,encrypt.key-secret=s,file.filename={name}"

        self.same(create("encrypt.format=aes,encrypt.key-secret=s", "a.qcow2"), create("encryption=on,encrypt.key-secret=s", "b.qcow2"),
                  "qemu-img info a.qcow2", "qemu-img info --output=json b.qcow2", io("write -P 3 0 100k", "a.qcow2"),
                  io("read -P 3 0 100k", "a.qcow2"), create("encrypt.format=aes,encrypt.key-secret=s,preallocation=metadata", "p.qcow2"),
                  io("read -P 0 0 100k", "p.qcow2"), create("encryption=off", "plain.qcow2"),
                  create("encryption=on", "x.qcow2"), create("encryption=on,encrypt.format=luks", "x.qcow2"),
                  create("encrypt.format=aes,encrypt.key-secret=nope", "x.qcow2"), create("encrypt.format=foo,encrypt.key-secret=s", "x.qcow2"),
                  create("encrypt.key-secret=s", "x.qcow2"), create("encrypt.format=luks", "x.qcow2"),
                  create("encrypt.format=aes,encrypt.key-secret=s,encrypt.cipher-alg=aes-256", "x.qcow2"), "qemu-img info x.qcow2",
                  f"qemu-img convert {self.secrets('s')} -c -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s plain.qcow2 y.qcow2",
                  f"qemu-img convert {self.secrets('s')} -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s plain.qcow2 z.qcow2",
                  f"qemu-img measure {self.secrets('s')} -O qcow2 -o encrypt.format=aes,encrypt.key-secret=s --size 1M",
                  f"qemu-img measure {self.secrets('s')} -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s --size 1M",
                  f"qemu-img measure {self.secrets('s')} -O luks -o key-secret=s --size 1M",
                  "qemu-img amend -o encrypt.state=active plain.qcow2", "qemu-img amend -o encrypt.format=luks plain.qcow2")
        for writer, reader in (("ours", "theirs"), ("theirs", "ours")):  # each reads what the other wrote
            out = self.good(self.run_tool(self.tool(reader, "qemu-io"), *self.secrets("s").split(), "--image-opts", "-r", "-c", "read -P 3 0 100k",
                                          "driver=qcow2,encrypt.key-secret=s,file.filename=a.qcow2", cwd=self.folders[writer]))
            self.assertNotIn("failed", out)

    def test_info(self):
        self.chain()
        self.same("qemu-img info top.qcow2", "qemu-img info --output=json top.qcow2", "qemu-img info --backing-chain top.qcow2",
                  "qemu-img info --output=json --backing-chain -U top.qcow2", "qemu-img snapshot -c s1 base.qcow2",
                  "qemu-img info base.qcow2", "qemu-img info --output=json base.qcow2",
                  "qemu-img info --image-opts driver=qcow2,file.filename=base.qcow2",
                  "qemu-img info nofile", "qemu-img info -f foo base.qcow2", "qemu-img info --output=foo base.qcow2",
                  "qemu-img info", "qemu-img info -f", "qemu-img info --foo base.qcow2", "qemu-img info -Y", "qemu-img foo",
                  "qemu-img info -f raw --image-opts a")

    def test_map(self):
        self.chain()
        self.same("qemu-img map top.qcow2", "qemu-img map --output=json top.qcow2", "qemu-img map --output=json base.qcow2",
                  "qemu-img map --start-offset 4k --max-length 8k base.qcow2", "qemu-img map --start-offset 4x base.qcow2",
                  "qemu-img convert -O raw top.qcow2 flat.raw", "qemu-img map flat.raw", "qemu-img map --output=json flat.raw",
                  "qemu-img convert -c -O qcow2 top.qcow2 small.qcow2", "qemu-img map small.qcow2",
                  "qemu-img map --output=json small.qcow2")

    def test_check(self):
        self.chain()
        self.same("qemu-img check top.qcow2", "qemu-img check --output=json base.qcow2", "qemu-img check base.qcow2",
                  "qemu-img check -r leaks base.qcow2", "qemu-img check -q base.qcow2", "qemu-img create a.raw 1M",
                  "qemu-img check a.raw", "qemu-img check -r foo base.qcow2", "qemu-img check", "qemu-img check nofile")

    def test_check_repairs_the_same_damage(self):
        # One image for both, since refcount blocks may lie elsewhere.
        for damage, what in ((b"\0\x02", "leak"), (b"\0\0", "corruption")):
            results = {}
            made = os.path.join(self.dir, "made.qcow2")
            self.good(self.ref_img("create", "-f", "qcow2", made, "1M"))
            self.good(self.ref_io("-c", "write 0 64k", made))
            with open(made, "r+b") as f:
                f.seek(48)
                table = int.from_bytes(f.read(8), "big")
                f.seek(table)
                block = int.from_bytes(f.read(8), "big")
                f.seek(block + 2 * 5)  # the data cluster's
                f.write(damage)
            for who, folder in self.folders.items():
                path = os.path.join(folder, "a.qcow2")
                with open(made, "rb") as src, open(path, "wb") as dst:
                    dst.write(src.read())
                tool = self.tool(who, "qemu-img")
                results[who] = [self.run_tool(tool, *args, "a.qcow2", cwd=folder)[0::2 if what == "leak" else 3]
                                for args in (["check"], ["check", "-r", "leaks"], ["check", "-r", "all"], ["check"])]
            self.assertEqual(results["ours"], results["theirs"], what)

    def test_snapshots(self):
        self.chain()
        self.same("qemu-img snapshot -c one base.qcow2", "qemu-io -c 'write -P 9 0 64k' base.qcow2", "qemu-img snapshot -c two base.qcow2",
                  "qemu-img snapshot -l base.qcow2", "qemu-img snapshot -a one base.qcow2",
                  "qemu-io -c 'read -P 1 0 64k' base.qcow2", "qemu-img snapshot -d two base.qcow2", "qemu-img snapshot -l base.qcow2",
                  "qemu-img check base.qcow2", "qemu-img snapshot -c a -d b base.qcow2", "qemu-img snapshot -U -c x base.qcow2",
                  content=["base.qcow2"])

    def test_convert(self):
        self.chain()
        self.same("qemu-img convert -O qcow2 top.qcow2 o1.qcow2", "qemu-img map --output=json o1.qcow2",
                  "qemu-img convert -c -O qcow2 top.qcow2 o2.qcow2", "qemu-img check o2.qcow2",
                  "qemu-img convert -c -o compression_type=zstd -O qcow2 top.qcow2 o3.qcow2", "qemu-img info o3.qcow2",
                  "qemu-img convert -B base.qcow2 -F qcow2 -O qcow2 top.qcow2 o4.qcow2", "qemu-img map --output=json o4.qcow2",
                  "qemu-img convert top.qcow2 o5.raw", "qemu-img map --output=json o5.raw", "qemu-img convert -n -W top.qcow2 o5.raw",
                  "qemu-img convert -S 0 base.qcow2 o6.raw", "qemu-img map --output=json o6.raw",
                  "qemu-img convert -C top.qcow2 o7.raw", "qemu-img convert --target-is-zero -n top.qcow2 o7.raw",
                  "qemu-img convert -p -m 2 -T none -t writeback top.qcow2 o8.raw", "qemu-img convert o5.raw o7.raw o9.raw",
                  content=["o1.qcow2", "o2.qcow2", "o3.qcow2", "o4.qcow2", "o5.raw", "o6.raw", "o7.raw", "o8.raw", "o9.raw"])

    def test_convert_snapshots_and_bitmaps(self):
        self.chain()
        self.same("qemu-img snapshot -c s1 base.qcow2", "qemu-io -c 'write -P 9 0 64k' base.qcow2",
                  "qemu-img convert -l s1 base.qcow2 x1.raw", "qemu-img convert -l snapshot.name=s1 base.qcow2 x2.raw",
                  "qemu-img bitmap --add top.qcow2 b0", "qemu-io -c 'write 5M 64k' top.qcow2",
                  "qemu-img bitmap --add --disable -g 32k top.qcow2 b1", "qemu-img convert --bitmaps -O qcow2 top.qcow2 y.qcow2",
                  "qemu-img info y.qcow2", content=["x1.raw", "x2.raw", "y.qcow2"])

    def test_convert_refuses_the_same(self):
        self.chain()
        self.same("qemu-img create a.raw 1M", "qemu-img convert -m 100 a.raw x", "qemu-img convert --target-is-zero a.raw x",
                  "qemu-img convert -n -o size=1 a.raw x", "qemu-img convert -c -O raw a.raw x", "qemu-img convert -l foo a.raw x",
                  "qemu-img convert -r 10x a.raw x", "qemu-img convert -n a.raw nofile", "qemu-img convert -n -O raw a.raw a.raw",
                  "qemu-img convert -n -O raw top.qcow2 a.raw", "qemu-img convert -B base.qcow2 -O qcow2 a.raw x",
                  "qemu-img convert --bitmaps a.raw x", "qemu-img convert -O qcow2 -c -o preallocation=full a.raw x",
                  "qemu-img convert -C -S 4k a.raw x", "qemu-img convert -t foo a.raw x", "qemu-img convert a.raw", "qemu-img convert",
                  "qemu-img convert -O foo a.raw x", "qemu-img convert -O qcow2 a.raw /nonexist/x")

    def test_commit(self):
        self.chain()
        self.same("qemu-img commit top.qcow2", "qemu-img map --output=json top.qcow2", "qemu-img commit base.qcow2", "qemu-img commit",
                  "qemu-io -c 'write -P 5 8M 1M' top.qcow2", "qemu-img commit -d top.qcow2", "qemu-img create -f qcow2 -b top.qcow2 -F qcow2 "
                  "over.qcow2 80M", "qemu-io -c 'write -P 6 70M 64k' -c 'write -P 7 9M 64k' over.qcow2",
                  "qemu-img commit -b base.qcow2 over.qcow2", "qemu-img commit -b nofile over.qcow2", "qemu-img info base.qcow2",
                  "qemu-img check base.qcow2", content=["base.qcow2", "top.qcow2", "over.qcow2"])

    def test_rebase(self):
        self.chain()
        self.same("qemu-img create -f qcow2 other.qcow2 32M", "qemu-io -c 'write -P 8 2M 1M' -c 'write -P 4 30M 64k' other.qcow2",
                  "qemu-img rebase -p -b other.qcow2 -F qcow2 top.qcow2", "qemu-img info top.qcow2",
                  "qemu-img rebase -b '' top.qcow2", "qemu-img info top.qcow2", "qemu-img rebase -u -b gone.qcow2 -F qcow2 top.qcow2",
                  "qemu-img info -U top.qcow2", "qemu-img rebase -u -b other.qcow2 -F qcow2 top.qcow2", "qemu-img rebase top.qcow2",
                  "qemu-img rebase -b nofile -F raw top.qcow2", "qemu-img rebase -b other.qcow2 top.qcow2", content=["top.qcow2"])

    def test_compare(self):
        self.chain()
        self.same("qemu-img convert top.qcow2 flat.raw", "qemu-img compare top.qcow2 flat.raw", "qemu-img compare -p top.qcow2 flat.raw",
                  "qemu-img compare -s top.qcow2 flat.raw", "qemu-img compare base.qcow2 top.qcow2", "qemu-img compare nofile top.qcow2",
                  "qemu-img compare top.qcow2", "qemu-img resize -f raw flat.raw +1M", "qemu-img compare top.qcow2 flat.raw",
                  "qemu-img compare -s top.qcow2 flat.raw", "qemu-io -f raw -c 'write 64M 512' flat.raw", "qemu-img compare -q top.qcow2 flat.raw",
                  "qemu-img compare top.qcow2 flat.raw")

    def test_resize(self):
        self.chain()
        self.same("qemu-img resize top.qcow2 +64M", "qemu-img resize top.qcow2 100M", "qemu-img resize --shrink top.qcow2 -90M",
                  "qemu-img info top.qcow2", "qemu-img check top.qcow2", "qemu-img resize --preallocation=full base.qcow2 80M",
                  "qemu-img create a.raw 1M", "qemu-img resize -f raw a.raw -512k", "qemu-img resize -f raw a.raw 10Q", "qemu-img resize a.raw +1M",
                  "qemu-img resize a.raw", "qemu-img resize -f raw --preallocation=full --shrink a.raw 512k", content=["base.qcow2"])

    def test_measure(self):
        self.chain()
        self.same("qemu-img measure -O qcow2 base.qcow2", "qemu-img measure --output=json -O qcow2 top.qcow2", "qemu-img measure -O raw base.qcow2",
                  "qemu-img measure -O raw --size 1G", "qemu-img measure -O qcow2 --size 1G -o cluster_size=4k",
                  "qemu-img measure -O qcow2 --size 1G base.qcow2", "qemu-img measure", "qemu-img measure -O qcow2 --size 1T")

    def test_amend(self):
        self.chain()
        self.same("qemu-img amend -o compat=0.10 base.qcow2", "qemu-img info base.qcow2", "qemu-img amend -o compat=1.1,lazy_refcounts=on base.qcow2",
                  "qemu-img info base.qcow2", "qemu-img amend -o foo=1 base.qcow2", "qemu-img amend base.qcow2", "qemu-img create a.raw 1M",
                  "qemu-img amend -f raw -o size=1 a.raw", "qemu-img check base.qcow2", "qemu-img amend -o backing_file=x base.qcow2",
                  "qemu-img amend -o backing_fmt=raw top.qcow2",
                  "qemu-img amend -o cluster_size=4k base.qcow2", "qemu-img amend -o help base.qcow2", content=["base.qcow2"])

    def test_options_and_names(self):
        self.chain()
        self.same("qemu-img create -f raw -o preallocation=full c.raw 1M", "qemu-img create -f file f.raw 1M", "qemu-img create -f qcow2 g.qcow2 9E",
                  "qemu-img create -f qcow2 g.qcow2 16E", "qemu-img create -f qcow2 -u -b base.qcow2 g.qcow2 1M",
                  "qemu-img info --image-opts file.filename=base.qcow2", "qemu-img info --image-opts file.driver=file,file.filename=base.qcow2",
                  "qemu-img info file:base.qcow2", "qemu-img info ''", "qemu-img info 'json:{\"driver\":\"qcow2\"}'",
                  "qemu-img info --image-opts driver=foo,file.filename=nofile", "qemu-img map -s 1M -l 2M top.qcow2", "qemu-img map -s 100M top.qcow2",
                  "qemu-img map -s -1 top.qcow2", "qemu-img measure --size 1G -O qcow2 -o foo=1", "qemu-img measure --size x -O raw",
                  "qemu-img measure --size 1G -O vmdk", "qemu-img measure -o help -O qcow2", "qemu-img snapshot base.qcow2",
                  "qemu-img snapshot -c s1 c.raw", "qemu-img resize base.qcow2 +0", "qemu-img resize base.qcow2 +x",
                  "qemu-img rebase -t foo -b base.qcow2 top.qcow2", "qemu-img rebase -b c.raw -F raw c.raw", "qemu-img commit -r x top.qcow2",
                  "qemu-img commit -t foo top.qcow2", "qemu-img compare -T foo c.raw c.raw", "qemu-img compare c.raw c.raw c.raw",
                  "qemu-img convert -F raw -f raw c.raw x", "qemu-img convert -S foo c.raw x", "qemu-img convert -m x c.raw x",
                  "qemu-img convert -B nofile -F qcow2 -O qcow2 top.qcow2 x.qcow2", "qemu-img convert --skip-broken-bitmaps top.qcow2 x",
                  "qemu-img convert --target-image-opts top.qcow2 driver=raw,file.filename=x", "qemu-img dd foo",
                  "qemu-img dd -U -f qcow2 -O qcow2 if=base.qcow2 of=dd.qcow2 bs=1M count=4", "qemu-img bitmap --add -g 64k top.qcow2 b0",
                  "qemu-img bitmap --add base.qcow2 b0", "qemu-img bitmap --merge b0 -b top.qcow2 -F qcow2 base.qcow2 b0",
                  "qemu-img bitmap --merge b0 -F qcow2 base.qcow2 b0", "qemu-img bitmap -b top.qcow2 --add base.qcow2 b7",
                  "qemu-img resize --preallocation=falloc base.qcow2 65M", "qemu-img resize --image-opts driver=qcow2,file.filename=base.qcow2 68M",
                  "qemu-img --trace", "qemu-img -T", "qemu-img", "qemu-img --foo", content=["base.qcow2", "dd.qcow2"])

    def test_bitmaps(self):
        self.chain()
        self.same("qemu-img bitmap --add base.qcow2 b0", "qemu-img bitmap --add --disable -g 4k base.qcow2 b1", "qemu-img info base.qcow2",
                  "qemu-io -c 'write 0 64k' base.qcow2", "qemu-img bitmap --merge b0 base.qcow2 b1", "qemu-img bitmap --clear base.qcow2 b0",
                  "qemu-img bitmap --enable base.qcow2 b1", "qemu-img info --output=json base.qcow2", "qemu-img bitmap --remove base.qcow2 b0",
                  "qemu-img bitmap --remove base.qcow2 b0", "qemu-img bitmap --merge nothing base.qcow2 b1",
                  "qemu-img bitmap --add -g 3 base.qcow2 b2", "qemu-img bitmap base.qcow2", "qemu-img bitmap base.qcow2 b1",
                  "qemu-img check base.qcow2")

    def test_dd(self):
        self.chain()
        self.same("qemu-img dd if=base.qcow2 of=a.raw bs=64k count=3", "qemu-img dd -O qcow2 bs=1M skip=2 if=base.qcow2 of=b.qcow2",
                  "qemu-img dd if=base.qcow2", "qemu-img dd if=base.qcow2 of=y bs=0", "qemu-img dd if=base.qcow2 of=y bs=x",
                  "qemu-img dd if=base.qcow2 of=y count=x", "qemu-img info a.raw", content=["a.raw", "b.qcow2"])

    def test_bench(self):
        self.chain()
        self.same("qemu-img bench -c 100 base.qcow2", "qemu-img bench -c 100 -d 4 -w --pattern=7 -s 8k -S 64k -o 1M base.qcow2",
                  "qemu-img bench -c 100 -w --flush-interval=10 base.qcow2", "qemu-img bench -c 640 -w --flush-interval=64 base.qcow2",
                  "qemu-img bench -c 640 -w -d 8 --flush-interval=64 --no-drain base.qcow2", "qemu-img bench -c 0 base.qcow2",
                  content=["base.qcow2"])

    def test_images_in_use(self):
        self.chain()
        for who, folder in self.folders.items():
            with subprocess.Popen([self.tool(who, "qemu-io"), "base.qcow2"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
                p.stdout.read(5)
                try:
                    results = [self.run_tool(self.tool(who, "qemu-img"), *a, cwd=folder)[0] for a in
                               (["info", "base.qcow2"], ["info", "-U", "base.qcow2"], ["check", "base.qcow2"], ["resize", "base.qcow2", "1G"],
                                ["convert", "-U", "base.qcow2", "o.raw"])]
                finally:
                    p.stdin.close()
                    p.stdout.read()
            self.assertEqual(results, [1, 0, 1, 1, 0], who)

    def test_io(self):
        script = ["write -P 0x55 0 64k", "write -q 64k 64k", "read -P 0x55 0 64k", "read -P 0x56 1k 4k", "read -v 0 64", "read -vb 0 64",
                  "readv -v 0 16 32", "writev 0 512 512 1024", "write -z 1M 64k", "write -z -u 1M 64k", "write -c 2M 64k", "write 1 1",
                  "write 0 1x", "write", "write -Y 0 1", "read 2G 512", "discard 0 64k", "flush", "truncate 2G", "length", "map", "alloc 0",
                  "alloc 0 4M", "alloc 1M 64k", "info", "aio_read -v 64k 32", "aio_flush", "open foo", "help flush", "read 0 -1", "read 0 4G",
                  "write -u 0 1", "write -z -c 0 1", "write -z -P 1 0 1", "write -n 0 1", "write -P 300 0 1", "read -P 1 -s 4 -l 10000 0 512",
                  "alloc 5G", "sleep 1", "close", "length", "open -o driver=qcow2,file.filename=a.qcow2 -r", "write 0 512"]
        self.same("qemu-img create -f qcow2 a.qcow2 64M", *(f"qemu-io -c '{c}' a.qcow2" for c in script if not c.startswith(("open", "close"))),
                  content=["a.qcow2"])
        script.remove("write -c 2M 64k")  # QEMU refuses it where there is something
        outputs = {}
        for who, folder in self.folders.items():
            p = subprocess.run([self.tool(who, "qemu-io"), "a.qcow2"], input="\n".join(script), text=True, capture_output=True, cwd=folder,
                               timeout=60, check=False)
            outputs[who] = (p.returncode, [line for line in masked(p.stdout.replace("qemu-io> ", ""))], masked(p.stderr))
        self.assertEqual(outputs["ours"], outputs["theirs"])


class BothWays(imgtool.Case):
    """What one makes the other reads, checks and writes."""

    def setUp(self):
        super().setUp()
        imgtool.need_reference()
        self.make_raw("src.raw", 33 * MIB + 512, [(0, 300 * KIB), (5 * MIB + 4096, 100 * KIB), (32 * MIB, MIB + 512)])

    def both(self, fmt, *options):
        ours, theirs = f"ours.{fmt}", f"theirs.{fmt}"
        self.good(self.img("convert", "-f", "raw", "-O", fmt, *options, "src.raw", ours))
        self.good(self.ref_img("convert", "-f", "raw", "-O", fmt, *options, "src.raw", theirs))
        for tool in (self.img, self.ref_img):
            for name in (ours, theirs):
                self.good(tool("compare", "-f", "raw", "-F", fmt, "src.raw", name))
                rc, out, err = tool("check", "-f", fmt, name)
                self.assertIn(rc, (0, 63), f"{name}: {out}{err}")
        self.good(self.io("-f", fmt, "-c", "write -P 9 1M 200k", theirs))
        self.good(self.ref_io("-f", fmt, "-c", "write -P 9 1M 200k", ours))
        for tool in (self.io, self.ref_io):
            for name in (ours, theirs):
                self.good(tool("-f", fmt, "-r", "-c", "read -P 9 1M 200k", name))

    def test_qcow2(self):
        self.both("qcow2")

    def test_qcow2_old(self):
        self.both("qcow2", "-o", "compat=0.10,cluster_size=4k")

    def test_qcow2_subclusters(self):
        self.both("qcow2", "-o", "extended_l2=on,cluster_size=128k")

    def test_qcow2_narrow_refcounts(self):
        self.both("qcow2", "-o", "refcount_bits=1,cluster_size=512")

    def test_qcow2_zlib(self):
        self.both("qcow2", "-c")

    def test_qcow2_zstd(self):
        self.both("qcow2", "-c", "-o", "compression_type=zstd")

    def test_qcow2_preallocated(self):
        self.both("qcow2", "-o", "preallocation=metadata")

    def test_raw(self):
        self.both("raw")

    def other_format(self, fmt, *options):
        out = self.good(self.img("--help"))
        if fmt not in out.rpartition("Supported formats:")[2].split():
            self.skipTest(f"format {fmt} is not built yet")
        with open(self.path("src.raw"), "r+b") as f:
            f.truncate(34 * MIB)
        rc, _, err = self.img("create", "-f", fmt, "probe", "34M")
        if rc and "does not support image creation" in err:
            self.skipTest(f"format {fmt} can be read only, so far")
        self.both(fmt, *options)

    def test_vmdk(self):
        self.other_format("vmdk")

    def test_vdi(self):
        self.other_format("vdi")

    def test_vhdx(self):
        self.other_format("vhdx")

    def test_vpc(self):
        self.other_format("vpc", "-o", "force_size=on")


class Behaviour(imgtool.Case):
    """What needs no reference."""

    def test_help_and_version(self):
        self.assertIn("Supported formats:", self.good(self.img("--help")))
        self.assertRegex(self.good(self.img("--version")), r"^qemu-img version 7\.2\.")
        for command in ("create", "info", "check", "convert", "commit", "rebase", "resize", "snapshot", "map", "compare", "measure", "dd",
                        "bench", "amend", "bitmap"):
            self.assertIn("usage", self.good(self.img(command, "--help")))

    def test_near_names_are_suggested(self):
        self.fails(self.img("cretae"), "create")
        self.fails(self.img("info", "--outptu=json", "x"), "--output")
        self.fails(self.img("create", "-f", "qcow", "x.qcow2", "1M"), "qcow2")
        self.fails(self.img("create", "-f", "qcow2", "-o", "clustersize=64k", "x.qcow2", "1M"), "cluster_size")
        self.fails(self.img("convert", "-t", "writebak", "a", "b"), "writeback")

    def test_progress_lines(self):
        self.make_raw("a.raw", 64 * MIB, [(0, 64 * MIB)])
        out = self.good(self.img("convert", "-p", "-f", "raw", "-O", "qcow2", "a.raw", "b.qcow2"))
        self.assertTrue(out.startswith("    (0.00/100%)"), out[:40])
        self.assertRegex(out, r"\r    \(100\.00/100%\)[^\r]*\r\n$")

    def test_progress_json(self):
        self.make_raw("a.raw", 8 * MIB, [(0, 8 * MIB)])
        out = self.good(self.img("convert", "--progress=json", "-r", "4M", "-f", "raw", "-O", "qcow2", "a.raw", "b.qcow2"))
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertGreaterEqual(len(lines), 3)
        self.assertEqual(lines[-1]["percent"], 100)
        self.assertEqual(lines[-1]["done"], 8 * MIB)

    def test_rate_limit(self):
        self.make_raw("a.raw", 8 * MIB, [(0, 8 * MIB)])
        start = time.monotonic()
        self.good(self.img("convert", "-r", "8M", "-f", "raw", "a.raw", "b.raw"))
        self.assertGreater(time.monotonic() - start, 0.7)

    def test_a_signal_asks_for_progress(self):
        self.make_raw("a.raw", 8 * MIB, [(0, 8 * MIB)])
        with subprocess.Popen([os.path.join(self.bin, "qemu-img"), "convert", "-r", "4M", "-f", "raw", "a.raw", "b.raw"], cwd=self.work,
                              stderr=subprocess.PIPE, text=True) as p:
            for _ in range(100):  # until it has its handler; before, the signal would be its end
                with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
                    if int(re.search(r"SigCgt:\s*(\w+)", f.read())[1], 16) >> (signal.SIGUSR1 - 1) & 1:
                        break
                time.sleep(0.05)
            p.send_signal(signal.SIGUSR1)
            self.assertRegex(p.communicate(timeout=60)[1], r"^    \(\d+\.\d\d/100%\)\n$")
        self.assertEqual(p.returncode, 0)

    def test_salvage(self):
        out = self.good(self.img("--help"))
        if "blkdebug" not in out.rpartition("Supported formats:")[2].split():
            self.skipTest("blkdebug is not built yet: nothing can be made unreadable")
        self.make_raw("a.raw", MIB, [(0, MIB)])
        bad = "driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename=a.raw,file.inject-error.0.event=none," \
              "file.inject-error.0.iotype=read,file.inject-error.0.sector=8"
        self.fails(self.img("convert", "--image-opts", bad, "b.raw"), "error while reading")
        self.good(self.img("convert", "--salvage", "--image-opts", bad, "b.raw"))
        with open(self.path("a.raw"), "rb") as a, open(self.path("b.raw"), "rb") as b:
            want, got = bytearray(a.read()), b.read()
        want[8 * 512:9 * 512] = bytes(512)
        self.assertEqual(got, bytes(want))

    def test_holes_stay_holes(self):
        self.make_raw("a.raw", GIB, [(0, 64 * KIB), (512 * MIB, 64 * KIB)])
        self.good(self.img("convert", "-f", "raw", "-O", "qcow2", "a.raw", "b.qcow2"))
        self.good(self.img("convert", "-O", "raw", "b.qcow2", "c.raw"))
        for name in ("b.qcow2", "c.raw"):
            self.assertLess(os.stat(self.path(name)).st_blocks * 512, 2 * MIB, name)
        self.good(self.img("compare", "-f", "raw", "-F", "raw", "a.raw", "c.raw"))

    def test_concatenation_of_odd_sizes_is_compressed(self):
        self.make_raw("a.raw", MIB + 1024, [(0, MIB + 1024)])
        self.make_raw("b.raw", 2 * MIB + 512, [(MIB, 4096)], seed=2)
        self.good(self.img("convert", "-f", "raw", "-c", "-O", "qcow2", "a.raw", "b.raw", "c.qcow2"))
        self.good(self.img("convert", "-O", "raw", "c.qcow2", "c.raw"))
        with open(self.path("a.raw"), "rb") as a, open(self.path("b.raw"), "rb") as b, open(self.path("c.raw"), "rb") as c:
            self.assertEqual(a.read() + b.read(), c.read())

    def test_a_new_terabyte_is_fast(self):
        start = time.monotonic()
        self.good(self.img("create", "-f", "qcow2", "t.qcow2", "1T"))
        self.assertLess(time.monotonic() - start, 1 * emu.SLOW)  # the figure is tools/run-block-bench's


class BadInput(imgtool.Case):
    """Messages name the file, what is wrong and the way out; images stay as they are."""

    def image(self, name="a.qcow2", size="16M"):
        self.good(self.img("create", "-f", "qcow2", name, size))
        self.good(self.io("-c", "write -P 7 0 1M", name))
        return self.digest(name)

    def test_missing_backing_file(self):
        self.good(self.img("create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "gone.qcow2", "a.qcow2", "1M"))
        before = self.digest("a.qcow2")
        for args in (["check"], ["map"], ["convert", "-O", "raw"]):
            extra = ["x.raw"] if args[0] == "convert" else []
            self.fails(self.img(*args, "a.qcow2", *extra), "a.qcow2", "gone.qcow2", "No such file")
        self.assertEqual(self.digest("a.qcow2"), before)
        self.good(self.img("info", "a.qcow2"))
        self.good(self.img("rebase", "-u", "-b", "", "a.qcow2"))
        self.good(self.img("check", "a.qcow2"))

    def test_cyclic_backing_files(self):
        self.good(self.img("create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "b.qcow2", "a.qcow2", "1M"))
        self.good(self.img("create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "a.qcow2", "b.qcow2", "1M"))
        self.fails(self.img("info", "--backing-chain", "a.qcow2"), "a.qcow2", "infinite loop")
        self.fails(self.img("check", "a.qcow2"), "a.qcow2")
        self.fails(self.img("convert", "-O", "raw", "a.qcow2", "x.raw"), "a.qcow2")

    def test_wrong_sizes(self):
        before = self.image()
        for size in ("12z", "1.", "-5G", "99999999999G", ""):
            self.assertNotEqual(self.img("resize", "a.qcow2", size)[0], 0, size)
        self.fails(self.img("resize", "a.qcow2", "-100M"), "positive")
        self.fails(self.img("resize", "a.qcow2", "1M"), "--shrink")
        self.assertEqual(self.digest("a.qcow2"), before)

    def test_a_file_of_another_format(self):
        self.make_raw("a.raw", MIB, [(0, MIB)])
        before = self.digest("a.raw")
        self.fails(self.img("check", "-f", "qcow2", "a.raw"), "a.raw", "qcow2")
        self.fails(self.img("info", "-f", "qcow2", "a.raw"), "a.raw", "qcow2")
        self.assertEqual(self.digest("a.raw"), before)

    def test_a_truncated_image(self):
        self.image()
        with open(self.path("a.qcow2"), "r+b") as f:
            f.truncate(70000)
        before = self.digest("a.qcow2")
        rc, out, err = self.img("check", "a.qcow2")
        self.assertIn(rc, (1, 2), out + err)
        self.assertEqual(self.digest("a.qcow2"), before)

    def test_no_permission(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to become somebody else")
        self.image()
        os.chmod(self.path("a.qcow2"), 0o600)
        if self.img("--version", user=65534)[0] != 0:
            self.skipTest("another user cannot run our tools where they are")
        self.fails(self.img("info", "a.qcow2", user=65534), "a.qcow2", "Permission denied")
        os.chmod(self.path("a.qcow2"), 0o644)
        self.good(self.img("info", "a.qcow2", user=65534))
        before = self.digest("a.qcow2")
        self.fails(self.img("resize", "a.qcow2", "1G", user=65534), "a.qcow2", "Permission denied")
        self.fails(self.img("create", "-f", "qcow2", "new.qcow2", "1G", user=65534), "new.qcow2", "Permission denied")
        self.assertEqual(self.digest("a.qcow2"), before)

    def test_a_file_in_use(self):
        before = self.image()
        with subprocess.Popen([os.path.join(self.bin, "qemu-io"), "a.qcow2"], cwd=self.work, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
            p.stdout.read(5)
            try:
                self.fails(self.img("resize", "a.qcow2", "1G"), "a.qcow2", "lock", "another process")
                self.fails(self.img("info", "a.qcow2"), "a.qcow2", "lock")
            finally:
                p.stdin.close()
                p.stdout.read()
        self.assertEqual(self.digest("a.qcow2"), before)

    def test_source_and_target_are_one(self):
        before = self.image()
        self.fails(self.img("convert", "-n", "-O", "qcow2", "a.qcow2", "a.qcow2"), "a.qcow2", "lock")
        self.assertEqual(self.digest("a.qcow2"), before)

    def test_no_space(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to mount a small file system")
        small = self.path("small")
        os.mkdir(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "none", small], capture_output=True, check=False).returncode:
            self.skipTest("this host does not let us mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", small], check=False)
        self.make_raw("a.raw", 8 * MIB, [(0, 8 * MIB)])
        before = self.digest("a.raw")
        for fmt, options in (("raw", "size=8M"), ("qcow2", "cluster_size=64k"), ("vhdx", "block_size=1M"), ("vdi", "static=off"),
                             ("vpc", "subformat=dynamic"), ("vmdk", "zeroed_grain=on"), ("vmdk", "subformat=twoGbMaxExtentSparse")):
            self.fails(self.img("convert", "-f", "raw", "-O", fmt, "-o", options, "a.raw", f"small/b.{fmt}"), f"small/b.{fmt}", "No space left",
                       "make room")
            for name in os.listdir(small):
                os.unlink(os.path.join(small, name))
        self.assertEqual(self.digest("a.raw"), before)
        # An overlay that cannot grow stays whole, and goes on when there is room.
        self.good(self.img("create", "-q", "-f", "qcow2", "-b", self.path("a.raw"), "-F", "raw", "small/top.qcow2"))
        rc, out, _ = self.io("-c", "write -P 5 0 4M", "small/top.qcow2")
        self.assertEqual(rc, 1)
        self.assertIn("No space left", out)
        rc, out, err = self.img("check", "small/top.qcow2")
        self.assertIn(rc, (0, 3), out + err)
        subprocess.run(["mount", "-o", "remount,size=16M", small], check=True)
        self.good(self.io("-c", "write -P 5 0 4M", "-c", "read -P 5 0 4M", "small/top.qcow2"))

    def test_no_space_leaves_images_whole(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to mount a small file system")
        small = self.path("small")
        os.mkdir(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6M", "none", small], capture_output=True, check=False).returncode:
            self.skipTest("this host does not let us mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", small], check=False)
        for fmt, options in (("vhdx", "block_size=1M"), ("vdi", "static=off"), ("vmdk", "zeroed_grain=on"), ("vpc", "force_size=on")):
            name = f"small/a.{fmt}"
            self.good(self.img("create", "-q", "-f", fmt, "-o", options, name, "16M"))
            self.good(self.io("-f", fmt, "-c", "write -q -P 1 0 1M", name))
            rc, out, _ = self.io("-f", fmt, "-c", "write -q -P 2 0 16M", name)
            self.assertEqual((rc, "No space left" in out), (1, True), f"{fmt}: {out}")
            self.assertIn(self.img("check", "-f", fmt, name)[0], (0, 3, 63), fmt)
            out = self.good(self.io("-r", "-f", fmt, "-c", "read 0 16M", name))
            self.assertNotIn("failed", out)
            subprocess.run(["mount", "-o", "remount,size=64M", small], check=True)
            self.good(self.io("-f", fmt, "-c", "write -q -P 5 0 16M", "-c", "read -P 5 0 16M", name))
            self.assertIn(self.img("check", "-f", fmt, name)[0], (0, 3, 63), fmt)
            os.unlink(self.path(name))
            subprocess.run(["mount", "-o", "remount,size=6M", small], check=True)

    def test_a_read_only_file_system(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to mount a file system")
        place = self.path("ro")
        os.mkdir(place)
        if subprocess.run(["mount", "-t", "tmpfs", "none", place], capture_output=True, check=False).returncode:
            self.skipTest("this host does not let us mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", place], check=False)
        before = {}
        for fmt in ("qcow2", "vhdx", "vmdk", "vdi", "vpc"):
            self.good(self.img("create", "-q", "-f", fmt, f"ro/a.{fmt}", "1M"))
            before[fmt] = self.digest(f"ro/a.{fmt}")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        self.make_raw("a.raw", MIB, [(0, MIB)])
        for fmt, digest in before.items():
            name = f"ro/a.{fmt}"
            self.good(self.img("info", name))
            self.fails(self.img("convert", "-n", "-f", "raw", "-O", fmt, "a.raw", name), name, "Read-only file system")
            self.fails(self.img("create", "-f", fmt, f"ro/new.{fmt}", "1M"), f"ro/new.{fmt}", "Read-only file system")
            self.assertEqual(self.io("-f", fmt, "-c", "write 0 512", name)[0], 1)
            self.assertEqual(self.digest(name), digest)
        self.fails(self.img("resize", "ro/a.qcow2", "2M"), "ro/a.qcow2", "Read-only file system")
        self.fails(self.img("check", "-r", "all", "ro/a.qcow2"), "ro/a.qcow2", "Read-only file system")

    def test_a_failed_create_leaves_what_was_there(self):
        before = self.image()
        for fmt, options in (("vhdx", "block_size=3M"), ("vmdk", "adapter_type=x"), ("vdi", "static=maybe"), ("vpc", "subformat=x"),
                             ("luks", "key-secret=gone"), ("qcow2", "cluster_size=3"), ("qcow2", "encrypt.format=aes,encrypt.key-secret=gone")):
            self.fails(self.img("create", "-q", "-f", fmt, "-o", options, "a.qcow2", "1M"), "a.qcow2")
            self.assertEqual(self.digest("a.qcow2"), before, f"{fmt} {options}")
        self.fails(self.img("create", "-q", "-f", "vmdk", "-b", "gone.vmdk", "-F", "vmdk", "a.qcow2", "1M"), "a.qcow2", "gone.vmdk")
        self.assertEqual(self.digest("a.qcow2"), before)

    def test_missing_parts_of_a_vmdk(self):
        self.good(self.img("create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentFlat", "a.vmdk", "3G"))
        os.unlink(self.path("a-f002.vmdk"))
        self.fails(self.img("info", "a.vmdk"), "a.vmdk", "a-f002.vmdk", "No such file")
        self.good(self.img("create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentFlat", "a.vmdk", "3G"))
        with open(self.path("a-f002.vmdk"), "r+b") as f:
            f.truncate(MIB)
        self.fails(self.img("info", "a.vmdk"), "a.vmdk", "a-f002.vmdk")

    def test_directories_and_nothing(self):
        os.mkdir(self.path("d"))
        self.assertNotEqual(self.img("info", "d")[0], 0)
        self.assertNotEqual(self.img("create", "-f", "qcow2", "d", "1M")[0], 0)
        open(self.path("empty"), "wb").close()
        self.good(self.img("info", "-f", "raw", "empty"))
        self.fails(self.img("info", "-f", "qcow2", "empty"), "empty")


if __name__ == "__main__":
    unittest.main()
