# SPDX-License-Identifier: GPL-2.0-or-later
"""vdi, vpc, vmdk, vhdx and luks images: written here and read by QEMU's tools (cryptsetup for luks), and back.
Images on a web server.  Needs qemu-utils, for some cryptsetup-bin; what is missing is skipped by name."""
import http.server
import json
import os
import random
import shutil
import tempfile
import threading
import unittest

from emu import BUILD
from imgtool import call, need_programs as need, tool

SIZE = 6 << 20
SECRET = ["--object", "secret,id=s,data=pass"]


class Base(unittest.TestCase):
    def setUp(self):
        self.img = tool("rhea-img")
        need("qemu-img")
        self.dir = tempfile.mkdtemp(prefix="rhea-formats-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.raw = self.path("disk.raw")
        rnd = random.Random(2)
        with open(self.raw, "wb") as f:
            for _ in range(60):
                f.seek(rnd.randrange(SIZE // 512) * 512)
                f.write(rnd.randbytes(1536))
            f.truncate(SIZE)

    def path(self, name):
        return os.path.join(self.dir, name)

    def same_disk(self, program, fmt, name, *more):
        """Equal, but for zeroes at the end (vpc rounds sizes)."""
        call(program, "convert", *more, "-f", fmt, "-O", "raw", self.path(name), self.path("back"))
        with open(self.raw, "rb") as a, open(self.path("back"), "rb") as b:
            want, have = a.read(), b.read()
        self.assertEqual(have[:SIZE], want)
        self.assertFalse(any(have[SIZE:]))


KINDS = (("vdi", ""), ("vdi", "static=on"), ("vpc", ""), ("vpc", "subformat=fixed"), ("vpc", "force_size=on"),
         ("vmdk", ""), ("vmdk", "subformat=monolithicFlat"), ("vmdk", "subformat=streamOptimized"),
         ("vmdk", "subformat=twoGbMaxExtentSparse"), ("vmdk", "subformat=twoGbMaxExtentFlat"), ("vmdk", "zeroed_grain=on"),
         ("vhdx", ""), ("vhdx", "subformat=fixed,block_size=1M"), ("vhdx", "block_size=2M,block_state_zero=off,log_size=3M"))


class Formats(Base):
    def convert(self, program, fmt, options, name):
        call(program, "convert", "-f", "raw", "-O", fmt, *(["-o", options] if options else []), self.raw,
             self.path(name))

    def test_what_we_write_others_read(self):
        for i, (fmt, options) in enumerate(KINDS):
            with self.subTest(fmt=fmt, options=options):
                self.convert(self.img, fmt, options, f"{i}.{fmt}")
                self.same_disk("qemu-img", fmt, f"{i}.{fmt}")
                self.same_disk(self.img, fmt, f"{i}.{fmt}")

    def test_what_others_write_we_read(self):
        for i, (fmt, options) in enumerate(KINDS):
            with self.subTest(fmt=fmt, options=options):
                self.convert("qemu-img", fmt, options, f"{i}.{fmt}")
                self.same_disk(self.img, fmt, f"{i}.{fmt}")

    def test_we_write_into_what_others_made(self):
        need("qemu-io")
        for fmt in "vdi", "vpc", "vmdk", "vhdx":
            with self.subTest(fmt):
                call("qemu-img", "create", "-f", fmt, self.path("d"), str(SIZE))
                call(self.img, "convert", "-n", "-f", "raw", "-O", fmt, self.raw, self.path("d"))
                self.same_disk("qemu-img", fmt, "d")

    def test_sizes_and_details_are_reported_alike(self):
        for fmt, size in (("vdi", "10M"), ("vpc", "10M"), ("vpc", "2G"), ("vpc", "200G"), ("vmdk", "3G"), ("vhdx", "1000"), ("vhdx", "3G"),
                          ("vhdx", "64T")):
            with self.subTest(fmt=fmt, size=size):
                for program, name in (("qemu-img", "a"), (self.img, "b")):
                    call(program, "create", "-f", fmt, self.path(name), size)
                infos = [json.loads(call(p, "info", "-f", fmt, "--output=json", self.path(n)))
                         for p in ("qemu-img", self.img) for n in ("a", "b")]
                self.assertEqual({i["virtual-size"] for i in infos}, {infos[0]["virtual-size"]})
                self.assertEqual(infos[0].get("format-specific"), infos[2].get("format-specific"))


# What Linux, and so cryptsetup, has in any case.
CRYPTSETUP = {("aes-128", "xts"), ("aes-256", "xts"), ("aes-128", "cbc"), ("aes-192", "cbc"), ("aes-256", "cbc"), ("aes-256", "ctr")}


class Luks(Base):
    def luks(self, name, *options):
        call(self.img, "create", *SECRET, "-f", "luks", "-o", ",".join(("key-secret=s", "iter-time=10") + options),
             self.path(name), str(SIZE))

    def opts(self, name, secret="s"):
        return f"driver=luks,key-secret={secret},file.filename={self.path(name)}"

    def agree(self, *options, qemu=True, both=False, cryptsetup=True):
        """What one writes the other reads, and cryptsetup opens it. @both: QEMU makes an image, too (which takes a second)."""
        ours, theirs = os.path.join(BUILD, "rhea-io"), "qemu-io"
        for maker in (self.img, "qemu-img") if both else (self.img,):
            call(maker, "create", *SECRET, "-f", "luks", "-o", ",".join(("key-secret=s", "iter-time=10") + options),
                 self.path("d"), "256k")
            call(ours, *SECRET, "--image-opts", "-c", "write -q -P 7 0 256k", self.opts("d"))
            if qemu:
                out = call(theirs, *SECRET, "--image-opts", "-c", "read -P 7 0 256k", "-c", "write -q -P 8 1k 3k", self.opts("d"))
                self.assertNotIn("failed", out)
                out = call(ours, *SECRET, "--image-opts", "-c", "read -P 8 1k 3k", "-c", "read -P 7 4k 100k", self.opts("d"))
                self.assertNotIn("failed", out)
            if cryptsetup and shutil.which("cryptsetup"):
                call("cryptsetup", "open", "--test-passphrase", "--key-file", "-", self.path("d"), stdin=b"pass")

    def test_every_cipher_agrees_with_qemu(self):
        need("qemu-io")
        for algo in ("aes-128", "aes-192", "aes-256", "serpent-128", "serpent-192", "serpent-256", "twofish-128",
                     "twofish-192", "twofish-256", "cast5-128"):
            for mode in ("xts", "cbc", "ctr", "ecb"):
                if algo == "cast5-128" and mode == "xts":
                    continue
                with self.subTest(algo=algo, mode=mode):  # QEMU aborts where the key material is no whole sectors
                    self.agree(f"cipher-alg={algo}", f"cipher-mode={mode}", qemu=mode == "xts" or "192" not in algo,
                               both=(algo, mode) in (("serpent-192", "xts"), ("twofish-256", "ctr"), ("cast5-128", "cbc")),
                               cryptsetup=(algo, mode) in CRYPTSETUP)

    def test_every_digest_agrees_with_qemu(self):
        need("qemu-io")
        for digest in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160"):
            with self.subTest(digest):
                self.agree(f"hash-alg={digest}", cryptsetup=digest != "md5")

    def test_every_iv_agrees_with_qemu(self):
        need("qemu-io")
        for options in (("ivgen-alg=plain",), ("ivgen-alg=essiv", "ivgen-hash-alg=sha256"), ("ivgen-alg=essiv", "ivgen-hash-alg=md5"),
                        ("cipher-alg=twofish-256", "ivgen-alg=essiv", "ivgen-hash-alg=sha256"),
                        ("cipher-alg=serpent-192", "cipher-mode=xts", "ivgen-alg=essiv", "ivgen-hash-alg=md5")):
            with self.subTest(options):
                self.agree(*(("cipher-mode=cbc",) if "cipher-mode=xts" not in options else ()), *options,
                           cryptsetup="ivgen-hash-alg=md5" not in options and len(options) < 3)

    def test_convert_makes_encrypted_images(self):
        for fmt, prefix in (("luks", ""), ("qcow2", "encrypt.")):
            with self.subTest(fmt):
                form = "encrypt.format=luks," if prefix else ""
                call(self.img, "convert", *SECRET, "-f", "raw", "-O", fmt, "-o",
                     f"{form}{prefix}key-secret=s,{prefix}iter-time=10", self.raw, self.path("d"))
                call("qemu-img", "compare", *SECRET, "--image-opts",
                     f"driver={fmt},{prefix}key-secret=s,file.filename={self.path('d')}",
                     f"driver=raw,file.filename={self.raw}")

    def test_cryptsetup_understands_the_header(self):
        need("cryptsetup")
        self.luks("d")
        call("cryptsetup", "isLuks", self.path("d"))
        dump = call("cryptsetup", "luksDump", self.path("d"))
        self.assertRegex(dump, r"Cipher mode:\s*xts-plain64")
        self.assertRegex(dump, r"Payload offset:\s*4040")
        call("cryptsetup", "open", "--test-passphrase", "--key-file", "-", self.path("d"), stdin=b"pass")

    def test_passphrases_are_added_and_erased(self):
        self.luks("d")
        both = SECRET + ["--object", "secret,id=t,data=other"]
        call(self.img, "amend", *both, "--image-opts", self.opts("d"), "-o",
             "state=active,new-secret=t,iter-time=10")
        call("qemu-img", "amend", *both, "--image-opts", self.opts("d", "t"), "-o",
             "state=inactive,old-secret=s")
        self.assertIn("password", call(self.img, "compare", *both, "--image-opts", self.opts("d"), self.opts("d"),
                                       ok=False))
        call(self.img, "compare", *both, "--image-opts", self.opts("d", "t"), self.opts("d", "t"))
        out = call(self.img, "amend", *both, "--image-opts", self.opts("d", "t"), "-o", "state=inactive,keyslot=1",
                   ok=False)
        self.assertIn("only active keyslot", out)

    def test_a_wrong_passphrase_is_refused(self):
        self.luks("d")
        out = call(self.img, "compare", "--object", "secret,id=s,data=wrong", "--image-opts", self.opts("d"),
                   self.opts("d"), ok=False)
        self.assertIn("Invalid password", out)


class Web(Base):
    def serve(self, ranges=True):
        raw = self.raw

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.answer(b"")

            def do_GET(self):
                with open(raw, "rb") as f:
                    self.answer(f.read())

            def answer(self, data):
                wanted = self.headers.get("Range")
                first, last = 0, SIZE - 1
                if wanted and ranges:
                    first, last = map(int, wanted[6:].split("-"))
                self.send_response(206 if wanted and ranges else 200)
                if ranges:
                    self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(last - first + 1))
                self.end_headers()
                self.wfile.write(data[first:last + 1])

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}/disk.raw"

    def setUp(self):
        super().setUp()
        if "http" not in call(self.img, "--help").split():
            raise unittest.SkipTest("rhea-img is built without curl")

    def test_read(self):
        call(self.img, "compare", "-f", "raw", "-F", "raw", self.serve(), self.raw)

    def test_servers_without_ranges_and_writers_are_refused(self):
        self.assertIn("range", call(self.img, "info", self.serve(ranges=False), ok=False))
        out = call(self.img, "convert", "-n", "-f", "raw", "-O", "raw", self.raw, self.serve(), ok=False)
        self.assertIn("read-only", out)


if __name__ == "__main__":
    unittest.main()
