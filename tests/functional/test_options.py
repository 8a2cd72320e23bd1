# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line does to the process: daemon, PID file, user, sandbox, files of options, --explain, --dry-run; older spellings."""
import datetime
import json
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import emu
from test_chardev import Case, Qmp
from test_cli import tiny_bzimage

HALT = tiny_bzimage(b"\xf4\xeb\xfd")


class Base(Case):
    def setUp(self):
        super().setUp()
        with open(self.kernel, "wb") as f:
            f.write(HALT)
        self.args = ["-kernel", self.kernel, "-m", "16", "-display", "none"]

    def run_(self, *args, **kw):
        return emu.run(*self.args, *args, **kw)

    def refused(self, *args, says=()):
        status, _, err = self.run_(*args)
        self.assertEqual(status, 1, err)
        for word in says:
            self.assertIn(word, err)

    def fine(self, *args):
        """Everything is there, nothing is started."""
        status, out, err = self.run_("-dry-run", *args)
        self.assertEqual(status, 0, err)
        return err


class Daemon(Base):
    def daemon(self, *args):
        pidfile = self.path("pid")
        status, out, err = self.run_("-daemonize", "-pidfile", pidfile, *args)
        self.assertEqual((status, out), (0, ""), err)
        with open(pidfile) as f:
            pid = int(f.read())
        self.addCleanup(self.kill, pid)
        return pid

    def kill(self, pid):
        try:
            os.kill(pid, signal.SIGTERM)
            emu.poll(lambda: not os.path.exists(f"/proc/{pid}") or self.state(pid) == "Z", "the daemon lives on")
        except ProcessLookupError:
            pass

    def state(self, pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rpartition(")")[2].split()[0]
        except OSError:
            return "Z"

    def test_it_runs_on_and_removes_its_pid_file(self):
        path = self.path("qmp")
        pid = self.daemon("-qmp", f"unix:{path},server,nowait")
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        self.assertNotEqual(os.getsid(pid), os.getsid(0))
        q = Qmp(self.dial(path))
        self.assertEqual(q("query-status")["status"], "running")
        q.close()
        self.kill(pid)
        self.assertFalse(os.path.exists(self.path("pid")))

    def test_errors_reach_the_caller(self):
        self.refused("-daemonize", "-device", "bogus", says=["-device bogus: 'bogus' is not a valid device model name"])
        self.refused("-daemonize", "-kernel", "/nowhere/k", says=["/nowhere/k"])

    def test_the_pid_file_is_locked(self):
        pid = self.daemon()
        self.refused("-pidfile", self.path("pid"), says=["cannot create PID file"])
        with open(self.path("pid")) as f: # it is still the first one's
            self.assertEqual(int(f.read()), pid)
        self.refused("-pidfile", "/nowhere/x", says=["cannot create PID file: Could not create '/nowhere/x'"])


class Privileges(Base):
    def started(self, *args):
        path = tempfile.mktemp(dir=self.dir.name)
        e = emu.Emu(*self.args, "-qmp", f"unix:{path},server=on,wait=off", *args)
        self.addCleanup(e.kill)
        q = Qmp(self.dial(path))
        self.addCleanup(q.close)
        emu.poll(lambda: q("query-status")["status"] == "running", "it does not run")
        return e.process.pid

    def status_of(self, pid, key):
        with open(f"/proc/{pid}/status") as f:
            return re.search(rf"^{key}:\s*(.*)$", f.read(), re.M).group(1)

    def test_another_user(self):
        if os.getuid() != 0:
            self.skipTest("needs root")
        nobody = pwd.getpwnam("nobody")
        os.chmod(self.dir.name, 0o777)
        pid = self.started("-runas", "nobody")
        self.assertEqual(self.status_of(pid, "Uid").split(), [str(nobody.pw_uid)] * 4)
        self.assertEqual(self.status_of(pid, "Gid").split(), [str(nobody.pw_gid)] * 4)

    def test_another_user_by_number_and_root(self):
        if os.getuid() != 0:
            self.skipTest("needs root")
        pid = self.started("-runas", "12345:23456", "-chroot", self.dir.name)
        self.assertEqual(self.status_of(pid, "Uid").split(), ["12345"] * 4)
        self.assertEqual(os.path.realpath(os.readlink(f"/proc/{pid}/root")), os.path.realpath(self.dir.name))

    def test_wrong_ones(self):
        self.refused("-runas", "nobodyxx", says=['User "nobodyxx" doesn\'t exist (and is not <uid>:<gid>)'])
        self.refused("-chroot", "/nowhere", says=["chroot failed"])

    def test_the_filter_is_there(self):
        if "sandbox" in self.run_("-dry-run", "-sandbox", "on")[2]:
            self.skipTest("built without libseccomp")
        pid = self.started("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
        if self.status_of(pid, "Seccomp") == "0":
            self.fail("no filter")
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status") as f:
                self.assertIn("Seccomp:\t2", f.read())
        pid = self.started("-sandbox", "on,elevateprivileges=children")
        self.assertEqual(self.status_of(pid, "NoNewPrivs"), "1")

    def test_sandbox_words(self):
        self.fine("-sandbox", "off")
        self.refused("-sandbox", "bogus", says=["Parameter 'enable' expects 'on' or 'off'"])
        self.refused("-sandbox", "on,spawn=maybe", says=["spawn", "maybe"])
        self.refused("-sandbox", "on,foo=deny", says=["Invalid parameter 'foo'"])

    def test_names(self):
        pid = self.started("-name", "guest=g,process=myguest,debug-threads=on")
        with open(f"/proc/{pid}/comm") as f:
            self.assertEqual(f.read(), "myguest\n")


class Files(Base):
    def test_options_from_a_file(self):
        path = self.path("conf")
        with open(path, "w") as f:
            f.write('[machine]\n  type = "pc"\n[chardev "c"]\n  backend = "ringbuf"\n[device "d"]\n  driver = "isa-debugcon"\n')
        self.assertEqual(self.run_("-readconfig", path, "-set", "device.d.chardev=c", "-dry-run")[0], 0)
        self.refused("-readconfig", path, "-set", "device.d.chardev=x", says=["chardev \"x\" not found"])
        self.refused("-readconfig", "/nowhere", says=["Could not open '/nowhere'"])
        with open(path, "w") as f:
            f.write("junk\n")
        self.refused("-readconfig", path, says=[f"{path}:1: parse error"])

    def test_log_and_messages(self):
        log = self.path("log")
        with emu.Emu(*self.args, "-D", log, "-d", "cpu_reset", "-nodefaults") as e:
            emu.poll(lambda: os.path.exists(log), "no log")
            e.kill()
        err = self.run_("-msg", "timestamp=on,guest-name=on", "-name", "gg", "-device", "bogus")[2]
        self.assertRegex(err, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z gg rhea: -device bogus")


class Ways(Base):
    def test_dry_run_takes_what_a_run_would(self):
        self.fine("-serial", "null", "-chardev", "null,id=c", "-device", "isa-debug-exit")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen(1)
            self.refused("-dry-run", "-serial", f"tcp:127.0.0.1:{s.getsockname()[1]},server=on,wait=off",
                         says=["Failed to find an available port"])

    def test_explain_is_a_command_line_that_means_the_same(self):
        status, out, err = self.run_("-explain", "-no-acpi", "-enable-kvm", "-localtime", "-s", "-serial", "unix:/x,server,nowait",
                                     "-append", "a b", "-win2k-hack")
        self.assertEqual((status, err), (0, ""))
        for words in ("-machine acpi=off", "-accel kvm", "-rtc base=localtime", "-gdb tcp::1234", "-serial unix:/x,server=on,wait=off",
                      "-append 'a b'", "# -win2k-hack changes nothing"):
            self.assertIn(words, out)

    def test_older_spellings_run(self):
        self.fine("-no-acpi", "-no-hpet", "-localtime", "-balloon", "none", "-no-fd-bootchk", "-nodefconfig", "-no-quit",
                  "-rtc-td-hack", "-no-user-config", "-vga", "none", "-net", "none", "-parallel", "none", "-monitor", "none")

    def test_unknown_names_get_a_hint(self):
        self.refused("-objcet", "x", says=["-objcet: invalid option; did you mean -object?"])
        self.refused("-object", "secert,id=s", says=["did you mean secret?"])

    def test_json_and_dotted_keys(self):
        self.fine("-object", json.dumps({"qom-type": "secret", "id": "s", "data": "x,y"}), "-device",
                  json.dumps({"driver": "isa-debug-exit", "iobase": 1281, "id": "d"}), "-chardev",
                  "socket,id=c,addr.type=unix,addr.path=" + self.path("s") + ",server=on,wait=off")

    def test_globals(self):
        self.fine("-global", "isa-debug-exit.iobase=0x600", "-device", "isa-debug-exit")
        self.refused("-global", "isa-debug-exit.bogus=1", "-device", "isa-debug-exit",
                     says=["can't apply global isa-debug-exit.bogus=1: Property 'isa-debug-exit.bogus' not found"])
        self.assertIn("warning: global not-here.x has invalid class name", self.fine("-global", "not-here.x=1"))
        self.fine("-global", "driver=isa-debug-exit,property=iosize,value=4")

    def test_memory_of_objects(self):
        file = self.path("ram")
        self.fine("-object", "memory-backend-ram,id=m,size=16M", "-machine", "memory-backend=m")
        self.start("-object", f"memory-backend-file,id=m,size=16M,mem-path={file},share=on", "-machine", "pc,memory-backend=m")
        emu.poll(lambda: os.path.exists(file) and os.path.getsize(file) == 16 << 20, "its size")
        self.fine("-mem-path", self.dir.name, "-mem-prealloc")
        self.refused("-machine", "memory-backend=nope", says=["No memory-backend with id 'nope'"])
        self.refused("-object", "memory-backend-ram,id=m,size=32M", "-machine", "memory-backend=m", says=["size"])

    def test_what_the_board_lacks_is_refused(self):
        for args in (("-option-rom", "/x"), ("-fw_cfg", "name=opt/x,string=y"), ("-acpitable", "file=/x")):
            self.refused("-dry-run", *args, says=[args[0], "machine 'pc'"])

    def test_stopped(self):
        path = self.path("qmp")
        e = self.start("-S", "-qmp", f"unix:{path},server=on,wait=off")
        q = Qmp(self.dial(path))
        self.assertEqual(q("query-status")["status"], "prelaunch")
        q("cont")
        self.assertEqual(q("query-status")["status"], "running")
        q.try_("quit")
        self.assertEqual(e.wait(), 0)
        q.close()

    def test_gdb_listens(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.start("-S", "-gdb", f"tcp:127.0.0.1:{port}")
        s = self.dial_tcp(port)
        s.sendall(b"$?#3f")
        self.assertRegex(self.read(s, 2), rb"\+\$")


class Numa(Base):
    """-numa's words; the guest's view is in Guest."""

    def setUp(self):
        super().setUp()
        self.args += ["-m", "64", "-object", "memory-backend-ram,id=a,size=48M", "-object", "memory-backend-ram,id=b,size=16M"]

    def numa(self, *texts):
        return [word for text in texts for word in ("-numa", text)]

    def test_what_is_taken(self):
        self.assertEqual(self.fine(*self.numa("node,memdev=a", "node,memdev=b")), "")
        self.assertEqual(self.fine(*self.numa("node,memdev=b,nodeid=1", "node,memdev=a,nodeid=0", "node,nodeid=2")), "")
        self.fine(*self.numa("node,mem=16", "node,mem=48M"))
        self.fine(*self.numa("node,mem=16", "node,mem=48M"), "-mem-path", self.dir.name)
        self.fine("-smp", "4", *self.numa("node,memdev=a,cpus=0-1", "node,memdev=b,cpus=2,cpus=3", "dist,src=0,dst=1,val=20"))
        self.fine("-smp", "4,sockets=2,cores=2,threads=1",
                  *self.numa("node,memdev=a", "node,memdev=b", "cpu,node-id=0,socket-id=0", "cpu,node-id=1,socket-id=1"))
        self.assertIn("told of its nodes only with -kernel and ACPI", self.fine("-no-acpi", *self.numa("node,memdev=a", "node,memdev=b")))
        self.assertIn("not present in any NUMA node", self.fine("-smp", "2", *self.numa("node,memdev=a,cpus=0", "node,memdev=b")))

    def test_what_is_refused(self):
        both = ("node,memdev=a", "node,memdev=b")
        for texts, words in (
                (("node,memdev=a",), "total memory for NUMA nodes (0x3000000) should equal RAM size (0x4000000)"),
                (("node,memdev=a,nodeid=1", "node,memdev=b,nodeid=2"), "numa: Node ID missing: 0"),
                (("node,memdev=a,nodeid=0", "node,memdev=b,nodeid=0"), "Duplicate NUMA nodeid: 0"),
                (("node,memdev=a,nodeid=200",), "Max number of NUMA nodes reached: 200"),
                (("node,memdev=a", "node,memdev=nope"), "nope"), (("node,memdev=a", "node,mem=16"), "memdev option must be specified for either all"),
                (("node,memdev=a", "node,memdev=a"), "should equal RAM size"), (("node,mem=1,memdev=a",), "cannot specify both mem= and memdev="),
                (("node,memdev=a,cpus=5", "node,memdev=b"), "CPU index (5) should be smaller than maxcpus (1)"),
                (("node,memdev=a,cpus=0", "node,memdev=b,cpus=0"), "CPU is already assigned to node-id: 0"),
                (("node,memdev=a,cpus=x",), "cpus=x"), ((*both, "cpu,node-id=1,socket-id=7"), "-numa cpu,node-id=1,socket-id=7: no match found"),
                (("cpu,node-id=0",), "must be defined with -numa node"), (("cpu,socket-id=0",), "Missing mandatory node-id"),
                (("dist,src=0,dst=1,val=20",), "NUMA node is missing"), ((*both, "dist,src=0,dst=1,val=9"), "NUMA distance (9) is invalid"),
                (("node,memdev=a", "node,memdev=b", "node", "dist,src=0,dst=1,val=20"), "distance between node 0 and 2 is missing"),
                (("node,memdev=a", "node,memdev=b", "node", "dist,src=0,dst=1,val=20", "dist,src=1,dst=0,val=30", "dist,src=0,dst=2,val=20",
                  "dist,src=1,dst=2,val=20"), "At least one asymmetrical pair"),
                (("hmat-cache,node-id=0",), "'hmat-cache' is not built"), (("node,initiator=0",), "HMAT"), (("bogus",), "bogus"),
                (("node,bogus=1",), "bogus")):
            with self.subTest(texts=texts):
                self.refused("-dry-run", *self.numa(*texts), says=["uma", words])
        self.refused("-dry-run", *self.numa(*both), "-object", "memory-backend-ram,id=c,size=64M", "-machine", "memory-backend=c",
                     says=["'-machine memory-backend' and '-numa memdev' properties are mutually exclusive"])

    def test_monitors_show_the_nodes(self):
        path = self.path("qmp")
        self.start(*self.args, "-qmp", f"unix:{path},server=on,wait=off", "-smp", "2,maxcpus=3", *self.numa("node,memdev=a,cpus=0,cpus=2", "node,memdev=b,cpus=1"))
        q = Qmp(self.dial(path))
        self.addCleanup(q.close)
        self.assertEqual([c["props"]["node-id"] for c in q("query-hotpluggable-cpus")], [0, 1, 0])
        self.assertEqual([c["props"]["node-id"] for c in q("query-cpus-fast")], [0, 1])
        self.assertEqual(q("human-monitor-command", command_line="info numa").replace("\r", ""),
                         "2 nodes\nnode 0 cpus: 0\nnode 0 size: 48 MB\nnode 0 plugged: 0 MB\n"
                         "node 1 cpus: 1\nnode 1 size: 16 MB\nnode 1 plugged: 0 MB\n")


class Smbios(Base):
    def test_words(self):
        for text, words in (("bogus", "Must specify type= or file="), ("type=99", "Don't know how to build fields for SMBIOS type 99"),
                            ("type=16", "SMBIOS type 16"), ("type=1,bogus=1", "Invalid parameter 'bogus'"), ("type=1,uuid=x", "Invalid UUID"),
                            ("type=0,release=abc", "Invalid release"), ("type=0,uefi=maybe", "'on' or 'off'"),
                            ("type=4,max-speed=99999", "SMBIOS CPU speed is too large (> 65535)"), ("file=/nowhere", "Cannot read SMBIOS file /nowhere"),
                            ("type=11,path=/nowhere", "/nowhere"), ("type=17,speed=x", "number"), ("type=-1", "out of range")):
            with self.subTest(text=text):
                self.refused("-dry-run", "-smbios", text, says=[f"-smbios {text}: ", words])
        self.refused("-dry-run", "-machine", "smbios-entry-point-type=48", says=["smbios-entry-point-type=48", "32 or 64"])
        self.refused("-dry-run", *["-smbios", "type=11,value=" + "x" * 40000] * 2, says=["do not fit into 64 KiB"])

    def test_files_are_checked(self):
        good = bytes([200, 6, 0, 0, 1, 2]) + b"one\0two\0\0"
        for data, ok in ((good, True), (good[:-1], False), (b"", False), (good[:3], False), (bytes([200, 3, 0, 0]) + bytes(2), False),
                         (bytes([200, 255]) + bytes(100), False), (good + b"x", False), (bytes([127, 4, 0, 0, 0, 0]), False), (bytes(40000), False)):
            path = self.path("table")
            with open(path, "wb") as f:
                f.write(data)
            with self.subTest(data=data[:20]):
                if ok:
                    self.fine("-smbios", f"file={path}")
                else:
                    self.refused("-dry-run", "-smbios", f"file={path}", says=[path])
        with open(path, "wb") as f:
            f.write(bytes([1, 27]) + bytes(25) + b"\0\0")
        self.refused("-dry-run", "-smbios", f"file={path}", "-smbios", "type=1,serial=1", says=["binary structure has already been specified"])
        self.refused("-dry-run", "-smbios", "type=1,serial=1", "-smbios", f"file={path}", says=["fields already specified"])


class Guest(unittest.TestCase):
    """What Debian's amd64 kernel sees."""

    def boot(self, *args):
        e = emu.Emu("-nographic", "-no-reboot", "-kernel", emu.guest("x86_64/vmlinuz"), "-initrd", emu.guest("x86_64/initrd.cpio"), "-append",
                    "console=ttyS0 quiet", *args)
        self.addCleanup(e.kill)
        e.expect("GUEST-READY", 240)
        e.expect(emu.PROMPT, 60)
        return e

    def test_numa_nodes(self):
        e = self.boot("-m", "768", "-smp", "6,sockets=2,cores=3,threads=1", "-object", "memory-backend-ram,id=m0,size=512M", "-object",
                      "memory-backend-memfd,id=m1,size=256M", "-numa", "node,memdev=m0,cpus=0-2", "-numa", "node,memdev=m1,cpus=3-5",
                      "-numa", "dist,src=0,dst=1,val=33")
        log = e.shell("dmesg | grep -i -E 'srat|numa'")
        for words in ("SRAT: PXM 0 -> APIC 0x02 -> Node 0", "SRAT: PXM 1 -> APIC 0x04 -> Node 1", "Node 1 PXM 1 [mem 0x20000000-0x2fffffff]"):
            self.assertIn(words, log)
        out = e.shell("cd /sys/devices/system/node; for n in 0 1; do echo \"$n $(cat node$n/cpulist) / $(cat node$n/distance) / "
                      "$(awk '/MemTotal/ {print int($4 / 1024)}' node$n/meminfo)\"; done")
        found = re.findall(r"^(\d) (\S+) / (.*) / (\d+)$", out, re.M)
        self.assertEqual([f[:3] for f in found], [("0", "0-2", "10 33"), ("1", "3-5", "33 10")])
        self.assertTrue(400 < int(found[0][3]) <= 512 and 200 < int(found[1][3]) <= 256, out)

    def test_smbios_tables(self):
        uuid = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
        fields = {"bios_vendor": "V", "bios_version": "0.9", "bios_date": "01/02/2023", "bios_release": "3.4", "sys_vendor": "Me, too",
                  "product_name": "Prod", "product_version": "v2", "product_serial": "S1", "product_sku": "K", "product_family": "F",
                  "product_uuid": uuid, "board_vendor": "BM", "board_name": "BP", "board_serial": "BS", "board_asset_tag": "BA",
                  "chassis_vendor": "CM", "chassis_serial": "CS", "chassis_asset_tag": "CA", "chassis_version": "CV"}
        args = ("type=0,vendor=V,version=0.9,date=01/02/2023,release=3.4,uefi=on",
                "type=1,manufacturer=Me,, too,product=Prod,version=v2,serial=S1,sku=K,family=F", "type=2,manufacturer=BM,product=BP,serial=BS,asset=BA",
                "type=3,manufacturer=CM,serial=CS,asset=CA,version=CV", "type=4,sock_pfx=So,manufacturer=CpuM,max-speed=3000",
                "type=11,value=hello,value=world", "type=17,loc_pfx=Slot,manufacturer=Dimm,speed=1333")
        for kind, banner in (("32", "SMBIOS 2.8 present"), ("64", "SMBIOS 3.0.0 present")):
            with self.subTest(kind=kind):
                e = self.boot("-m", "512", "-uuid", uuid, "-machine", f"smbios-entry-point-type={kind}", *(w for a in args for w in ("-smbios", a)))
                self.assertIn(banner, e.shell("dmesg | grep SMBIOS"))
                out = e.shell("cd /sys/class/dmi/id; for f in *_*; do echo \"$f=$(cat $f)\"; done")
                found = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
                self.assertEqual({k: found.get(k) for k in fields}, fields)
                raw = e.shell("strings /sys/firmware/dmi/tables/DMI")
                for word in ("hello", "world", "So 0", "CpuM", "Slot 0", "Dimm"):
                    self.assertIn(word, raw.splitlines())
                e.kill()

    def test_topology(self):
        for smp, places in (("4,sockets=2,cores=1,threads=2", {0: (0, 0, "0-1", 0), 1: (0, 0, "0-1", 1), 3: (1, 0, "2-3", 3)}),
                            ("6,sockets=2,cores=3,threads=1", {2: (0, 2, "2", 2), 3: (1, 0, "3", 4), 5: (1, 2, "5", 6)}),
                            ("8,dies=2,cores=2,threads=2", {0: (0, 0, "0-1", 0), 5: (0, 2, "4-5", 5), 7: (0, 3, "6-7", 7)})):
            with self.subTest(smp=smp):
                e = self.boot("-m", "512", "-cpu", "Skylake-Client", "-smp", smp)
                out = e.shell("cd /sys/devices/system/cpu; for c in cpu[0-9]*; do t=$c/topology; echo \"$c $(cat $t/physical_package_id) "
                              "$(cat $t/core_id) $(cat $t/thread_siblings_list)\"; done; grep ^apicid /proc/cpuinfo")
                found = {int(c): (int(p), int(k), t) for c, p, k, t in re.findall(r"^cpu(\d+) (\d+) (\d+) (\S+)$", out, re.M)}
                ids = [int(i) for i in re.findall(r"^apicid\s*: (\d+)$", out, re.M)]
                for c, place in places.items():
                    self.assertEqual((*found[c], ids[c]), place, out)
                e.kill()

    def test_processors_that_could_come(self):
        e = self.boot("-m", "512", "-smp", "2,maxcpus=4")
        self.assertIn("Allowing 4 CPUs, 2 hotplug CPUs", e.shell("dmesg | grep -i smpboot"))
        self.assertEqual(e.shell("cat /sys/devices/system/cpu/online").strip(), "0-1")


def speaker(body):
    """A multiboot program that writes to port 0xe9 and leaves; body(address of its data) is (code, data)."""
    head = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x10000c, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    tail = b"\xb0\0\xe6\xf4\xf4\xeb\xfd"  # mov al, 0; out 0xf4, al; hlt; jmp
    code, data = body(0x10000c + len(body(0)[0] + tail))
    load = struct.pack("<III", 0x1BADB002, 0, -0x1BADB002 & 0xffffffff) + code + tail + data
    return head + struct.pack("<IIIIIIII", 1, 84, 0x100000, 0x100000, len(load), len(load), 5, 4) + load


class Programs(Base):
    def said(self, program, *args, emulator=None, env=None, after=None):
        """What the program wrote, run to its end."""
        path, out = self.path("program"), self.path("said")
        with open(path, "wb") as f:
            f.write(program)
        words = [emulator or emu.RHEA, "-kernel", path, "-m", "16", "-nodefaults", "-display", "none", "-no-reboot", "-debugcon", f"file:{out}",
                 "-device", "isa-debug-exit,iobase=0xf4,iosize=4", *args]
        p = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(os.environ, **(env or {})))
        try:
            if after:
                after()
            p.wait(60 * emu.SLOW)
            self.assertEqual(p.returncode, 1, p.stderr.read())
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
            p.stderr.close()
        with open(out, "rb") as f:
            return f.read()

    # --- the clock ---

    def clock(self, *args, **kw):
        """The RTC's time at the start."""
        order = (9, 8, 7, 4, 2, 0)  # mov al, n; out 0x70, al; in al, 0x71; out 0xe9, al
        code = b"".join(b"\xb0" + bytes([n]) + b"\xe6\x70\xe4\x71\xe6\xe9" for n in order)
        year, *rest = (int(f"{b:x}") for b in self.said(speaker(lambda at: (code, b"")), *args, **kw))
        return datetime.datetime(2000 + year, *rest)

    def test_the_clock_starts_at_its_base(self):
        def near(a, b):
            self.assertLess(abs((a - b).total_seconds()), 30 * emu.SLOW)
        utc = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        near(self.clock(), utc)
        near(self.clock("-rtc", "base=utc,clock=rt"), utc)
        near(self.clock("-rtc", "base=localtime", env={"TZ": "XXX-5:30"}), utc + datetime.timedelta(hours=5, minutes=30))
        near(self.clock("-localtime", env={"TZ": "XXX-5:30"}), utc + datetime.timedelta(hours=5, minutes=30))
        near(self.clock("-rtc", "base=2001-02-03T04:05:06"), datetime.datetime(2001, 2, 3, 4, 5, 6))
        near(self.clock("-rtc", "base=2001-02-03,clock=vm"), datetime.datetime(2001, 2, 3))

    def test_clock_vm_stands_while_the_machine_does(self):
        path = self.path("qmp")
        def late():
            q = Qmp(self.dial(path))
            time.sleep(2.5)  # of which one clock knows and the other does not
            q("cont")
            q.close()
        spent = {}
        for kind in ("vm", "host"):
            now = self.clock("-S", "-rtc", f"base=2001-02-03,clock={kind}", "-qmp", f"unix:{path},server=on,wait=off", after=late)
            spent[kind] = (now - datetime.datetime(2001, 2, 3)).total_seconds()
        self.assertLess(spent["vm"], 2)
        self.assertGreaterEqual(spent["host"], 2)

    def test_words_of_the_clock(self):
        for text in ("clock=bogus", "driftfix=bogus", "base=bogus", "bogus=1"):
            self.refused("-dry-run", "-rtc", text, says=["-rtc " + text, "bogus"])

    # --- processors ---

    def test_topology_leaves_are_as_qemus(self):
        qemu = shutil.which("qemu-system-x86_64", path="/usr/bin:/usr/local/bin")
        if not qemu:
            self.skipTest("no qemu-system-x86_64 to compare with")
        leaves = [(1, 0), (4, 0), (4, 1), (4, 2), (4, 3), (4, 4), (0xb, 0), (0xb, 1), (0xb, 2), (0x80000008, 0)]

        def dump_leaves(at):
            dump = b"\xe6\xe9\xc1\xe8\x08" * 4  # out 0xe9, al; shr eax, 8
            loop = b"\x8b\x06\x8b\x4e\x04\x0f\xa2" + dump + b"\x89\xd8" + dump + b"\x89\xc8" + dump + b"\x89\xd0" + dump + b"\x83\xc6\x08"
            loop += b"\x81\xfe" + struct.pack("<I", at + 8 * len(wanted))  # cmp esi, end
            return b"\xbe" + struct.pack("<I", at) + loop + b"\x0f\x85" + struct.pack("<i", -(len(loop) + 6)), \
                b"".join(struct.pack("<II", *leaf) for leaf in wanted)

        for smp in ("1", "2", "3", "4,sockets=2,cores=1,threads=2", "6,sockets=1,cores=3,threads=2", "8,sockets=2,dies=2,cores=2,threads=1",
                    "12,sockets=1,dies=2,cores=3,threads=2"):
            wanted = leaves + [(0x1f, n) for n in range(4)] * ("dies" in smp)
            answers = []
            for emulator in (qemu, emu.RHEA):
                data = self.said(speaker(dump_leaves), "-accel", "tcg", "-cpu", "Nehalem", "-smp", smp, emulator=emulator)
                answers.append({leaf: list(struct.unpack_from("<IIII", data, 16 * i)) for i, leaf in enumerate(wanted)})
            for (leaf, sub), (theirs, ours) in ((k, (answers[0][k], answers[1][k])) for k in wanted):
                with self.subTest(smp=smp, leaf=f"{leaf:x}.{sub}"):
                    if leaf == 1:  # ours are other features
                        theirs[2] = ours[2] = theirs[0] = ours[0] = 0
                    if leaf == 4:  # another size of cache
                        theirs[2] = ours[2] = 0
                    self.assertEqual([f"{v:08x}" for v in ours], [f"{v:08x}" for v in theirs])


class Help(unittest.TestCase):
    def shows(self, *args, says=()):
        status, out, err = emu.run(*args)
        self.assertEqual((status, err), (0, ""))
        for word in says:
            self.assertIn(word, out)
        return out

    def test_kinds(self):
        self.shows("-chardev", "help", says=["Available chardev backend types", "  socket\n"])
        self.shows("-chardev", "socket,help", says=["reconnect=<"])
        self.shows("-object", "?", says=["  secret\n"])
        self.shows("-object", "iothread,help", says=["poll-max-ns"])
        self.shows("-trace", "help")

    def test_xv6_finds_gdb(self):
        self.assertRegex(self.shows("-help"), r"(?m)^-gdb")  # its Makefile looks for that

    def test_version_by_name(self):
        with tempfile.TemporaryDirectory() as d:
            os.symlink(emu.RHEA, os.path.join(d, "qemu-system-x86_64"))
            out = emu.run("-version", program=os.path.join(d, "qemu-system-x86_64"))[1]
        self.assertRegex(out, r"^QEMU emulator version 7\.2\.0 ")


class Docs(unittest.TestCase):
    """tools/make-docs: pages that render, with all there is; completion in a real bash; make install."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.dir = cls.folder.name
        subprocess.run([os.path.join(emu.TOP, "tools", "make-docs"), emu.BUILD, cls.dir], check=True)

    def help(self, program, *args):
        return emu.run(*args, program=os.path.join(emu.BUILD, program))[1]

    def page(self, name):
        with open(os.path.join(self.dir, "man1", name + ".1")) as f:
            return f.read()

    def test_manual_pages_render_without_warnings(self):
        if not shutil.which("groff"):
            self.skipTest("no groff")
        for name in ("rhea", "rhea-img", "rhea-io", "rhea-nbd"):
            path = os.path.join(self.dir, "man1", name + ".1")
            for width in (60, 80, 132):
                with self.subTest(name=name, width=width):
                    p = subprocess.run(["groff", "-ww", "-man", "-Tutf8", f"-rLL={width}n", path], capture_output=True, text=True)
                    self.assertEqual((p.returncode, p.stderr), (0, ""))
            if shutil.which("man"):
                p = subprocess.run(["man", "--warnings", "-l", path], capture_output=True, text=True, env=dict(os.environ, MANWIDTH="78"))
                self.assertEqual((p.returncode, p.stderr), (0, ""))
                for part in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
                    self.assertIn(part, re.sub(".\b", "", p.stdout))

    def test_every_option_and_subcommand_is_in_the_pages(self):
        page = self.page("rhea")
        names = re.findall(r"^-([A-Za-z0-9_-]+)", self.help("rhea", "-help"), re.M)
        self.assertGreater(len(names), 50)
        for name in names:
            self.assertRegex(page, r"(?m)^\\fB\\-" + re.escape(name.replace("-", "\\-")) + r"\\fR")
        for name in ("no-kvm", "realtime", "spice", "balloon"):  # older ones, missing ones
            self.assertIn("\\fB\\-" + name.replace("-", "\\-"), page)
        page = self.page("rhea-img")
        commands = re.findall(r"(?m)^  ([a-z]+) [\[(]", self.help("rhea-img", "--help"))
        self.assertIn("convert", commands)
        for name in commands:
            self.assertIn(f"\\fB{name}\\fR", page)
        page = self.page("rhea-io")
        for name in re.findall(r"(?m)^(\w+)(?: .*)? -- ", self.help("rhea-io", "-c", "help")):
            self.assertIn(f"\\fB{name}\\fR", page)
        for tool in ("rhea-img", "rhea-io", "rhea-nbd"):
            plain = self.page(tool).replace("\\-", "-").replace("\\:", "").replace("\\fR", "").replace("\\fB", "")
            for name in re.findall(r"(?m)(?<![\w-])(--[a-z][a-z-]*)", self.help(tool, "--help")):
                self.assertIn(name, plain)

    def complete(self, *words):
        """What a real bash offers after these words."""
        program = os.path.join(emu.BUILD, words[0])
        function = "_rhea" if words[0] == "rhea" else "_rhea_tool"
        script = (f'source {self.dir}/completion; complete -p {words[0]} >/dev/null || exit 3; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  f'{function} "$1" "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"; printf "%s\\n" "${{COMPREPLY[@]}}"')
        p = subprocess.run(["bash", "-c", script, "bash", program, *words[1:]], capture_output=True, text=True, cwd=self.dir)
        self.assertEqual((p.returncode, p.stderr), (0, ""))
        return p.stdout.split()

    def test_completion(self):
        if not shutil.which("bash"):
            self.skipTest("no bash")
        names = re.findall(r"^(-[A-Za-z0-9_-]+)", self.help("rhea", "-help"), re.M)
        self.assertEqual(sorted(set(self.complete("rhea", "-"))), sorted(set(names)))
        self.assertEqual(self.complete("rhea", "--kern"), ["--kernel"])
        self.assertEqual(self.complete("rhea", "-nographic", "-machine", "p"), ["pc"])
        self.assertEqual(self.complete("rhea", "-device", "isa-debug-"), ["isa-debug-exit"])
        self.assertIn("qemu64", self.complete("rhea", "-cpu", "qemu"))
        self.assertEqual(self.complete("rhea", "-object", "memory-backend-m"), ["memory-backend-memfd"])
        self.assertEqual(self.complete("rhea", "-chardev", "sock"), ["socket"])
        self.assertEqual(self.complete("rhea", "-accel", "j"), ["jit"])
        self.assertEqual(self.complete("rhea", "-d", "in_"), ["in_asm"])
        self.assertEqual(self.complete("rhea", "-display", ""), ["none"])
        self.assertEqual(self.complete("rhea", "-kernel", "compl"), ["completion"])
        self.assertEqual(self.complete("rhea-img", "conv"), ["convert"])
        commands = re.findall(r"(?m)^  ([a-z]+) [\[(]", self.help("rhea-img", "--help"))
        self.assertEqual(self.complete("rhea-img", ""), commands)
        self.assertEqual(self.complete("rhea-img", "resize", "--shr"), ["--shrink"])
        self.assertIn("-O", self.complete("rhea-img", "convert", "-"))
        self.assertNotIn("-O", self.complete("rhea-img", "resize", "-"))
        self.assertIn("--persistent", self.complete("rhea-nbd", "--p"))
        self.assertIn("-c", self.complete("rhea-io", "-"))

    def test_the_reference_has_all(self):
        with open(os.path.join(self.dir, "reference.md")) as f:
            text = f.read()
        for option in ("-device", "-object", "-chardev"):
            for name in re.findall(r'^(?:name "|  )([a-z0-9-]+)', self.help("rhea", option, "help"), re.M):
                self.assertIn(f"\n### {name}\n", text)
        self.assertIn("  index=<", text)

    def test_make_install(self):
        make = ["make", "-C", emu.TOP, f"B={emu.BUILD}"]
        if subprocess.run([*make, "-q", "all"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("the build is older than the sources")
        with tempfile.TemporaryDirectory() as root:
            p = subprocess.run([*make, "install", f"DESTDIR={root}", "PREFIX=/usr"], capture_output=True, text=True)
            self.assertEqual(p.returncode, 0, p.stderr)
            found = {os.path.relpath(os.path.join(d, f), root) for d, _, files in os.walk(root) for f in files}
            for name in ("bin/rhea", "bin/rhea-img", "bin/rhea-system-i386", "share/man/man1/rhea.1", "share/man/man1/rhea-nbd.1",
                         "share/man/man1/rhea-system-x86_64.1", "share/bash-completion/completions/rhea", "share/doc/rhea/reference.md",
                         "share/bash-completion/completions/rhea-img", "lib/rhea/compat/qemu-img", "share/doc/rhea/LICENSE"):
                self.assertIn("usr/" + name, found)
                self.assertTrue(os.path.exists(os.path.join(root, "usr", name)), f"{name} leads nowhere")
            self.assertEqual(emu.run("-version", program=os.path.join(root, "usr/lib/rhea/compat/qemu-system-x86_64"))[0], 0)


if __name__ == "__main__":
    unittest.main()
