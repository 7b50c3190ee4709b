# SPDX-License-Identifier: Apache-2.0
"""The administrator's command, with a server and without."""

import json
import mailbox
import subprocess

from harness import settings
from harness.case import ServerCase
from harness.lmtp import Lmtp
from harness.messages import crlf, end_lines, sample
from harness.pop3 import Pop3
from harness.server import PASSWORD


class Users(ServerCase):
    def new_name(self):
        return self.user() + "-cli"

    def add(self, name, password=PASSWORD):
        return self.server.cli("user", "add", name, "--password-file", "-", text=password + "\n")

    def test_a_user_is_added_listed_shown_and_removed(self):
        name = self.new_name()
        self.add(name)
        self.assertIn(name, self.server.cli("user", "list").stdout)
        self.assertIn(name, self.server.cli("user", "show", name).stdout)
        self.login(name).quit()
        self.server.cli("user", "del", name)
        self.assertNotIn(name + "@", self.server.cli("user", "list").stdout)
        client = self.connect()
        client.ok(f"USER {name}")
        client.err(f"PASS {PASSWORD}")
        with self.lmtp() as lmtp:
            lmtp.expect(250, "MAIL FROM:<a@client.test>")
            lmtp.expect(550, f"RCPT TO:<{name}>")

    def test_a_removed_and_added_user_begins_anew(self):
        name = self.new_name()
        self.add(name)
        self.deliver(name, sample(1))
        self.server.cli("user", "del", name)
        self.add(name)
        self.assertEqual(self.login(name).stat(), (0, 0))

    def test_a_password_comes_from_a_file_too(self):
        name = self.new_name()
        path = self.server.folder / f"{name}.password"
        path.write_text("from a file\n")
        self.server.cli("user", "add", name, "--password-file", str(path))
        path.unlink()
        self.login(name, password="from a file").quit()

    def test_a_user_that_exists_is_not_added_again(self):
        name = self.new_name()
        self.add(name)
        done = self.server.cli(
            "user", "add", name, "--password-file", "-", text="other\n", check=False
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(name, done.stderr)
        self.login(name).quit()

    def test_a_user_that_does_not_exist_is_an_error_that_names_it(self):
        for command in (["del"], ["show"], ["passwd"]):
            with self.subTest(command=command):
                arguments = ["user", *command, "nobody-of-that-name"]
                if command == ["passwd"]:
                    arguments += ["--password-file", "-"]
                done = self.server.cli(*arguments, text="x\n", check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("nobody-of-that-name", done.stderr)

    def test_names_that_cannot_be_accounts_are_refused(self):
        for name in ("", "a b", "a\nb", "<x>", "x" * 400, "\x01"):
            with self.subTest(name=name):
                done = self.server.cli(
                    "user", "add", name, "--password-file", "-", text="x\n", check=False
                )
                self.assertNotEqual(done.returncode, 0)

    def test_dovecot_hashes_are_imported(self):
        # Made with doveadm pw, mkpasswd and openssl from the password "secret word".
        name = self.new_name()
        sha512 = subprocess.run(
            ["openssl", "passwd", "-6", "-salt", "saltsalt", PASSWORD],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        lines = {
            f"{name}-plain": "{PLAIN}" + PASSWORD,
            f"{name}-sha512": "{SHA512-CRYPT}" + sha512,
            f"{name}-crypt": "{CRYPT}" + sha512,
            f"{name}-bare": sha512,
        }
        path = self.server.folder / "import.passwd"
        path.write_text("".join(f"{user}:{secret}::::::\n" for user, secret in lines.items()))
        self.server.cli("user", "import", str(path))
        path.unlink()
        for user in lines:
            with self.subTest(user=user):
                self.login(user).quit()
                client = self.connect()
                client.ok(f"USER {user}")
                client.err("PASS wrong")

    def test_a_bad_import_line_is_named(self):
        path = self.server.folder / "bad.passwd"
        path.write_text("good-one-of-bad:{PLAIN}x::::::\nbad line without colon\n")
        done = self.server.cli("user", "import", str(path), check=False)
        path.unlink()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("2", done.stderr)

    def test_json_is_json(self):
        name = self.new_name()
        self.add(name)
        for command in (["user", "list"], ["user", "show", name], ["stat"], ["health"]):
            with self.subTest(command=command):
                json.loads(self.server.cli("--json", *command).stdout)
        self.assertIn(name, json.dumps(self.server.cli_json("user", "list")))

    def test_errors_are_json_or_text_but_never_silent(self):
        done = self.server.cli("--json", "user", "show", "nobody-of-that-name", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertTrue(done.stderr or done.stdout)

    def test_unknown_commands_name_the_help(self):
        for arguments in (["nonsense"], ["user", "nonsense"], ["user"], []):
            with self.subTest(arguments=arguments):
                done = self.server.cli(*arguments, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("--help", done.stderr)

    def test_stat_and_health_answer(self):
        self.assertTrue(self.server.cli("stat").stdout.strip())
        self.server.cli("health")


class Mail(ServerCase):
    def test_deliver_takes_standard_input(self):
        user = self.user()
        self.server.cli("deliver", user, text="Subject: by hand\n\n.\nbody\n")
        message = self.login(user).retr(1)
        self.assertTrue(message.endswith(crlf("Subject: by hand\n\n.\nbody\n")), message)

    def test_deliver_takes_files_in_order(self):
        user = self.user()
        paths = []
        for number in (1, 2, 3):
            path = self.server.folder / f"{user}-{number}.eml"
            path.write_bytes(sample(number))
            paths.append(str(path))
        self.server.cli("deliver", user, *paths)
        client = self.login(user)
        for number in (1, 2, 3):
            self.assertTrue(client.retr(number).endswith(sample(number)))

    def test_deliver_to_nobody_names_the_user(self):
        done = self.server.cli("deliver", "nobody-of-that-name", text="x\n", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("nobody-of-that-name", done.stderr)

    def test_deliver_of_a_file_that_is_not_there_names_it(self):
        done = self.server.cli("deliver", self.user(), "/nowhere/mail.eml", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/nowhere/mail.eml", done.stderr)

    def test_eml_files_are_imported_with_their_line_ends_made_right(self):
        user = self.user()
        folder = self.server.folder / f"{user}-eml"
        folder.mkdir()
        (folder / "1.eml").write_bytes(b"Subject: one\n\n.\nunix\n")
        (folder / "2.eml").write_bytes(b"Subject: two\r\n\r\nno end")
        self.server.cli("import", "eml", user, str(folder / "1.eml"), str(folder / "2.eml"))
        client = self.login(user)
        self.assertTrue(client.retr(1).endswith(b"Subject: one\r\n\r\n.\r\nunix\r\n"))
        self.assertTrue(client.retr(2).endswith(b"Subject: two\r\n\r\nno end\r\n"))

    def test_a_maildir_is_imported_in_order(self):
        user = self.user()
        folder = self.server.folder / f"{user}-maildir"
        mailbox.Maildir(folder, create=True)
        for number in range(1, 21):
            place = "cur" if number % 2 else "new"
            name = f"{1_600_000_000 + number}.M{number}P1.host" + (":2,S" if number % 2 else "")
            (folder / place / name).write_bytes(sample(number).replace(b"\r\n", b"\n"))
        self.server.cli("import", "maildir", user, str(folder))
        client = self.login(user)
        self.assertEqual(client.stat()[0], 20)
        for number in range(1, 21):
            self.assertTrue(client.retr(number).endswith(sample(number)))

    def test_an_mbox_is_imported_in_order(self):
        user = self.user()
        path = self.server.folder / f"{user}.mbox"
        text = b""
        for number in range(1, 11):
            text += b"From sender@client.test Mon Jan  %d 10:00:00 2024\n" % number
            text += sample(number).replace(b"\r\n", b"\n") + b">From the body\n\n"
        path.write_bytes(text)
        self.server.cli("import", "mbox", user, str(path))
        client = self.login(user)
        self.assertEqual(client.stat()[0], 10)
        for number in range(1, 11):
            message = client.retr(number)
            self.assertIn(b"X-Number: %d\r\n" % number, message)
            self.assertRegex(message, rb">?From the body\r\n$")

    def test_imported_octets_are_as_they_were(self):
        user = self.user()
        octets = bytes(value for value in range(256) if value not in (10, 13)) + b"\n.\r\n\r\0\n"
        path = self.server.folder / f"{user}.eml"
        path.write_bytes(b"Subject: x\n\n" + octets)
        self.server.cli("import", "eml", user, str(path))
        expected = end_lines(b"Subject: x\n\n" + octets)
        self.assertTrue(self.login(user).retr(1).endswith(expected))


class Offline(ServerCase):
    def test_the_store_is_managed_without_a_server(self):
        server = self.private_server()
        server.start()
        server.stop()
        name = "made-offline"
        server.cli("user", "add", name, "--password-file", "-", text=PASSWORD + "\n", offline=True)
        server.cli("deliver", name, text="Subject: offline\n\nbody\n", offline=True)
        self.assertIn(name, server.cli("user", "list", offline=True).stdout)
        server.start()
        with Pop3(server.address("pop3"), name) as client:
            self.assertTrue(client.retr(1).endswith(crlf("Subject: offline\n\nbody\n")))
        with Lmtp(server.address("lmtp")) as lmtp:
            lmtp.deliver(name, sample(2))

    def test_a_store_in_use_is_refused_and_the_cure_is_named(self):
        done = self.server.cli("user", "list", offline=True, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--socket", done.stderr)

    def test_a_server_that_does_not_run_is_named_with_the_cure(self):
        server = self.private_server()
        done = server.cli("user", "list", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("admin.sock", done.stderr)
        self.assertIn("--store", done.stderr)

    def test_the_command_names_its_version(self):
        done = subprocess.run(
            [settings.BUILD / "restante", "--version"], capture_output=True, text=True, check=True
        )
        self.assertRegex(done.stdout, r"\d+\.\d+\.\d+")
