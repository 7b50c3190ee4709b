# SPDX-License-Identifier: Apache-2.0
"""The configuration file: what is right works, what is wrong is named with its place."""

import os
import re
import subprocess

from harness import settings
from harness.case import ServerCase
from harness.lmtp import Lmtp
from harness.messages import check_stored, sample
from harness.pop3 import Pop3
from harness.tls import make_certificate

GOOD = """
# A comment.
workers = 1
admin_socket = "{folder}/admin.sock"
store {{ path = "{folder}/store" }}
listener pop3    {{ protocol = "pop3"  address = "127.0.0.1:0" auth_plaintext = "always" }}
listener lmtp    {{ protocol = "lmtp"  address = "unix:{folder}/lmtp.sock" }}
listener metrics {{ protocol = "metrics" address = "${{METRICS:-127.0.0.1:0}}" }}
"""

# What the example sets, because it has to work as it is.
WITHOUT_DEFAULT = ("auth_plaintext", "default_domain")


class Configuration(ServerCase):
    def folder(self):
        return self.private_server().folder

    def check(self, text, *options, environment=None):
        folder = self.folder()
        path = folder / "restante.conf"
        path.write_text(text.format(folder=folder))
        command = [settings.BUILD / "restanted", "--check-config", "-c", path]
        for option in options:
            command += ["-o", option]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
            timeout=settings.seconds(20),
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def test_a_good_file_is_found_good(self):
        code, text = self.check(GOOD)
        self.assertEqual(code, 0, text)

    def test_a_server_runs_by_a_file(self):
        server = self.private_server()
        path = server.folder / "restante.conf"
        path.write_text(GOOD.format(folder=server.folder))
        server.config = path
        server.start()
        server.cli("user", "add", "somebody", "--password-file", "-", text="secret word\n")
        with Lmtp(server.address("lmtp")) as lmtp:
            lmtp.deliver("somebody", sample(1))
        with Pop3(server.address("pop3"), "somebody") as client:
            check_stored(client.retr(1), sample(1))

    def test_a_wrong_key_is_named_with_its_place_and_the_nearest_one(self):
        code, text = self.check(GOOD + 'pop3 {{\n    idle_timout = "10m"\n}}\n')
        self.assertNotEqual(code, 0)
        line = (GOOD + "pop3 {\n").count("\n") + 1
        self.assertIn(f"restante.conf:{line}", text)
        self.assertIn("idle_timout", text)
        self.assertIn("idle_timeout", text)

    def test_a_wrong_section_is_named_with_its_place(self):
        code, text = self.check(GOOD + 'stroe {{ path = "/tmp" }}\n')
        self.assertNotEqual(code, 0)
        self.assertIn(f"restante.conf:{GOOD.count(chr(10)) + 1}", text)
        self.assertIn("store", text)

    def test_wrong_values_are_named_with_their_place(self):
        for wrong in (
            'workers = "many"',
            "workers = -1",
            'io_backend = "kqueue"',
            'pop3 {{ idle_timeout = "10 parsecs" }}',
            'listener x {{ protocol = "imap" address = "127.0.0.1:0" }}',
            'listener x {{ protocol = "pop3" address = "nowhere:0" }}',
            'listener x {{ protocol = "pop3" address = "127.0.0.1:99999" }}',
        ):
            with self.subTest(wrong=wrong):
                code, text = self.check(GOOD + wrong + "\n")
                self.assertNotEqual(code, 0)
                self.assertIn(f"restante.conf:{GOOD.count(chr(10)) + 1}", text)

    def test_an_unfinished_file_is_refused_with_a_place(self):
        code, text = self.check(GOOD + "store {{\n")
        self.assertNotEqual(code, 0)
        self.assertIn("restante.conf:", text)

    def test_a_file_that_is_not_there_is_named(self):
        done = subprocess.run(
            [settings.BUILD / "restanted", "--check-config", "-c", "/nowhere/restante.conf"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/nowhere/restante.conf", done.stderr)

    def test_files_that_the_start_would_refuse_are_named_with_their_place(self):
        folder = self.folder()
        make_certificate(folder, "one", "one.example")
        make_certificate(folder, "two", "two.example")
        tls = GOOD + 'listener s {{ protocol = "pop3" address = "127.0.0.1:0" tls = "implicit" }}\n'
        line = tls.count("\n") + 1
        pair = f'tls {{{{ certificate = "{folder}/one.pem" key = "{folder}/one.key" }}}}'
        users = f' auth {{{{ databases = "passwd-file:{folder}/users" }}}}'
        for number, wrong, named in (
            (0, pair, ""),
            (1, pair.replace("one.pem", "none.pem"), "none.pem"),
            (1, pair.replace("one.key", "two.key"), "two.key"),
            (1, pair + users, "users"),
        ):
            with self.subTest(wrong=wrong):
                code, text = self.check(tls + wrong + "\n")
                self.assertEqual(code, number, text)
                self.assertIn(f"restante.conf:{line}: " if number else "is right", text)
                self.assertIn(named, text)

    def test_overrides_are_checked_like_the_file(self):
        self.assertEqual(self.check(GOOD, "pop3.idle_timeout=20m")[0], 0)
        self.assertEqual(self.check(GOOD, "listener.pop3.address=127.0.0.1:2110")[0], 0)
        for wrong, named in (
            ("pop3.idle_timout=20m", "idle_timout"),
            ("nonsense", "nonsense"),
            ("listener.pop9.address=127.0.0.1:1", "pop9"),
            ("workers=x", "workers"),
        ):
            with self.subTest(override=wrong):
                code, text = self.check(GOOD, wrong)
                self.assertNotEqual(code, 0)
                self.assertIn(named, text)

    def test_variables_are_taken_from_the_environment(self):
        self.assertEqual(self.check(GOOD, environment={"METRICS": "127.0.0.1:9111"})[0], 0)
        code, text = self.check(GOOD, environment={"METRICS": "nowhere"})
        self.assertNotEqual(code, 0)
        self.assertIn("nowhere", text)

    def test_idle_timeouts_below_ten_minutes_are_refused(self):
        code, text = self.check(GOOD, "pop3.idle_timeout=60s")
        self.assertNotEqual(code, 0)
        self.assertIn("idle_timeout", text)

    def test_the_manual_explains_each_key_once(self):
        manual = (settings.ROOT / "deploy/restante.conf.5").read_text()
        for section in re.split(r"^\.S[sh] ", manual, flags=re.M):
            items = re.findall(r"^\.It Ic (.*)$", section, flags=re.M)
            keys = [key.strip() for item in items for key in item.split(" , ")]
            with self.subTest(section=section.partition("\n")[0]):
                self.assertEqual(sorted(keys), sorted(set(keys)))

    def test_the_example_has_every_key_with_its_default(self):
        text = (settings.ROOT / "deploy/restante.conf.example").read_text()
        shown, section = {}, ""
        for line in text.splitlines():
            line = re.sub(r"^[# ]+", "", line)
            if begin := re.match(r"(store|auth|pop3|lmtp|tls|oauth|listener \w+) \{", line):
                section = begin[1].split()[0]
            elif pair := re.match(r"(\w+) = (.*?) *(#.*)?$", line):
                shown.setdefault((section, pair[1]), pair[2].strip('"'))
            elif line.startswith("}"):
                section = ""
        rows = (settings.ROOT / "server/setting.c").read_text()
        rows = re.findall(r'^    \{"(\w*)", "(\w+)", (.*?)\},$', rows, re.M | re.S)
        self.assertGreater(len(rows), 70)
        for section, key, rest in rows:
            if key in ("allow_short_timeouts", "protocol"):
                continue
            with self.subTest(section=section, key=key):
                self.assertIn((section, key), shown)
                default = re.search(r'"([^"|]*)",\s+(NULL|"[^"]*\|[^"]*")$', rest)
                if default and default[1] not in ("", "0") and key not in WITHOUT_DEFAULT:
                    self.assertEqual(shown[section, key], default[1])
