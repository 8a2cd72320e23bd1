# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command line does to the process: daemon, PID file, user, sandbox, files of options, --explain, --dry-run; older spellings."""
import json
import os
import pwd
import re
import signal
import socket
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
        self.fine("-object", f"memory-backend-file,id=m,size=16M,mem-path={file},share=on", "-machine", "pc,memory-backend=m")
        self.assertEqual(os.path.getsize(file), 16 << 20)
        self.fine("-mem-path", self.dir.name, "-mem-prealloc")
        self.refused("-machine", "memory-backend=nope", says=["No memory-backend with id 'nope'"])
        self.refused("-object", "memory-backend-ram,id=m,size=32M", "-machine", "memory-backend=m", says=["size"])

    def test_what_the_board_lacks_is_refused(self):
        for args, words in ((("-numa", "node,mem=16M"), "-numa"), (("-option-rom", "/x"), "-option-rom")):
            status, _, err = self.run_("-dry-run", *args)
            if status:
                self.assertIn(words, err)
                self.assertIn("machine 'pc'", err)

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

    def test_every_option_is_in_the_manual_and_the_completion(self):
        names = re.findall(r"^-([A-Za-z0-9_-]+)", self.shows("-help"), re.M)
        manual, completion = self.shows("-help-man"), self.shows("-help-completion")
        self.assertGreater(len(names), 50)
        for name in names:
            self.assertIn("\\fB\\-" + name.replace("-", "\\-"), manual)
            self.assertIn(f" -{name}", completion)
        self.assertRegex(self.shows("-help"), r"(?m)^-gdb")  # xv6's Makefile looks for it

    def test_version_by_name(self):
        with tempfile.TemporaryDirectory() as d:
            os.symlink(emu.RHEA, os.path.join(d, "qemu-system-x86_64"))
            out = emu.run("-version", program=os.path.join(d, "qemu-system-x86_64"))[1]
        self.assertRegex(out, r"^QEMU emulator version 7\.2\.0 ")


if __name__ == "__main__":
    unittest.main()
