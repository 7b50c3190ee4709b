# SPDX-License-Identifier: Apache-2.0
"""Real clients against the demo: the ones people use, as they come from Debian."""

import email
import mailbox
import os
import pathlib
import poplib
import shutil
import smtplib
import subprocess
import tempfile

from harness import settings
from harness.case import ServerCase
from harness.messages import check_stored, crlf, sample
from harness.server import PASSWORD


class Client(ServerCase):
    def setUp(self):
        super().setUp()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="restante-client-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.name = self.user()

    def program(self, name):
        path = shutil.which(name)
        if path is None:
            self.skipTest(f"{name} is not installed")
        return path

    def run_client(self, *command, codes=(0,), text=None):
        environment = {
            **os.environ,
            "HOME": str(self.home),
            "FETCHMAILHOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
        }
        done = subprocess.run(
            [str(word) for word in command],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            cwd=self.home,
            timeout=settings.seconds(60),
            check=False,
        )
        self.assertIn(done.returncode, codes, done.stdout + done.stderr)
        return done.stdout + done.stderr

    @property
    def pop3_port(self):
        return self.server.address("pop3")[1]

    @property
    def lmtp_port(self):
        return self.server.address("lmtp")[1]

    def count(self):
        client = self.login_when_free(self.name)
        count = client.stat()[0]
        client.quit()
        return count

    def fetched(self, folder):
        """The messages of a maildir a client filled, by their number header."""
        found = {}
        for path in [*folder.glob("new/*"), *folder.glob("cur/*")]:
            message = email.message_from_bytes(path.read_bytes())
            found[int(message["X-Number"])] = message
        return found

    def delivery_agent(self, folder):
        """A command that puts the message on its standard input into a maildir."""
        command = self.home / "deliver"
        command.write_text(f'#!/bin/sh\ncat >"$(mktemp {folder}/new/XXXXXXXX)"\n')
        command.chmod(0o755)
        return command

    def maildir(self):
        folder = self.home / "Maildir"
        mailbox.Maildir(folder, create=True)
        return folder


class Poplib(Client):
    def test_poplib_does_everything_it_can(self):
        self.deliver(self.name, sample(1), sample(2, lines=500), sample(3))
        client = poplib.POP3("127.0.0.1", self.pop3_port, timeout=settings.seconds(10))
        self.assertIn("UIDL", client.capa())
        client.user(self.name)
        client.pass_(PASSWORD)
        count, octets = client.stat()
        self.assertEqual(count, 3)
        listing = [int(line.split()[1]) for line in client.list()[1]]
        self.assertEqual(sum(listing), octets)
        for number in (1, 2, 3):
            _, lines, size = client.retr(number)
            text = b"".join(line + b"\r\n" for line in lines)
            self.assertEqual(len(text), listing[number - 1])
            self.assertLessEqual(abs(size - listing[number - 1]), 64)
            self.assertIn(b"X-Number: %d\r\n" % number, text)
        self.assertEqual(len(client.uidl()[1]), 3)
        self.assertTrue(client.uidl(2).startswith(b"+OK 2 "))
        self.assertIn(b"Subject: message 2", client.top(2, 0)[1])
        client.noop()
        client.dele(1)
        client.rset()
        client.dele(2)
        client.quit()
        self.assertEqual(self.count(), 2)

    def test_poplib_utf8_refusal_is_an_error_and_no_more(self):
        client = poplib.POP3("127.0.0.1", self.pop3_port, timeout=settings.seconds(10))
        with self.assertRaises(poplib.error_proto):
            client.utf8()
        client.user(self.name)
        client.pass_(PASSWORD)
        client.quit()

    def test_poplib_reports_a_wrong_password(self):
        client = poplib.POP3("127.0.0.1", self.pop3_port, timeout=settings.seconds(10))
        client.user(self.name)
        with self.assertRaises(poplib.error_proto):
            client.pass_("wrong")
        client.quit()


class SmtplibLmtp(Client):
    def lmtp_client(self):
        return smtplib.LMTP("127.0.0.1", self.lmtp_port)

    def test_smtplib_delivers_and_is_told_who_is_unknown(self):
        # One accepted recipient a message: smtplib reads a single reply after the data.
        with self.lmtp_client() as client:
            for number in (1, 2):
                refused = client.sendmail(
                    "a@client.test", [self.name, "nobody-of-that-name"], sample(number)
                )
                self.assertEqual(list(refused), ["nobody-of-that-name"])
                self.assertEqual(refused["nobody-of-that-name"][0], 550)
        client = self.login(self.name)
        for number in (1, 2):
            check_stored(client.retr(number), sample(number))

    def test_smtplib_sends_dots_and_utf8(self):
        message = email.message.EmailMessage()
        message["From"] = "a@client.test"
        message["To"] = f"{self.name}@localhost"
        message["Subject"] = "Gr\u00fc\u00dfe"
        message.set_content(".\n..\n\u00e4\u00f6\u00fc\n.\n", cte="8bit")
        with self.lmtp_client() as client:
            client.send_message(message)
        text = self.login(self.name).retr(1)
        self.assertTrue(text.endswith("\r\n\r\n.\r\n..\r\n\u00e4\u00f6\u00fc\r\n.\r\n".encode()))


class Curl(Client):
    def curl(self, path, *options, codes=(0,)):
        self.program("curl")
        return self.run_client(
            "curl",
            "-sS",
            "--user",
            f"{self.name}:{PASSWORD}",
            f"pop3://127.0.0.1:{self.pop3_port}/{path}",
            *options,
            codes=codes,
        )

    def test_curl_lists_fetches_and_deletes(self):
        self.deliver(self.name, sample(1), sample(2))
        self.assertEqual(len(self.curl("").split("\n")), 3)
        self.assertIn("Subject: message 2", self.curl("2"))
        self.assertRegex(self.curl("", "--request", "UIDL"), r"1 [!-~]+\r?\n2 [!-~]+")
        self.curl("1", "--request", "DELE", "--head")
        self.assertEqual(self.count(), 1)

    def test_curl_gets_the_octets_exactly(self):
        message = crlf("Subject: x\n\n.\n..\n" + "text\n" * 10_000)
        self.deliver(self.name, message)
        self.curl("1", "-o", self.home / "message")
        check_stored((self.home / "message").read_bytes(), message)

    def test_curl_sees_a_wrong_password(self):
        self.program("curl")
        self.run_client(
            "curl",
            "-sS",
            "--user",
            f"{self.name}:wrong",
            f"pop3://127.0.0.1:{self.pop3_port}/",
            codes=(67,),
        )

    def test_curl_reads_the_metrics(self):
        self.program("curl")
        host, port = self.server.address("metrics")
        self.assertIn("restante_", self.run_client("curl", "-sSf", f"http://{host}:{port}/metrics"))


class Mpop(Client):
    def test_mpop_fetches_once_and_deletes(self):
        program = self.program("mpop")
        folder = self.maildir()
        configuration = self.home / "mpoprc"
        configuration.write_text(
            f"account default\nhost 127.0.0.1\nport {self.pop3_port}\nuser {self.name}\n"
            f'password "{PASSWORD}"\nauth user\ntls off\ndelivery maildir {folder}\n'
            f"uidls_file {self.home}/uidls\npipelining on\n"
        )
        configuration.chmod(0o600)
        self.deliver(self.name, sample(1), sample(2))
        self.run_client(program, "-C", configuration, "--keep=on")
        self.assertEqual(set(self.fetched(folder)), {1, 2})
        self.deliver(self.name, sample(3))
        self.run_client(program, "-C", configuration, "--keep=on")
        self.assertEqual(set(self.fetched(folder)), {1, 2, 3})
        self.assertEqual(len(list(folder.glob("new/*"))), 3)
        self.run_client(program, "-C", configuration, "--keep=off")
        self.assertEqual(self.count(), 0)

    def test_mpop_fetches_hundreds_with_pipelining(self):
        program = self.program("mpop")
        folder = self.maildir()
        self.deliver(self.name, *[sample(number, lines=30) for number in range(1, 301)])
        self.run_client(
            program,
            "--host=127.0.0.1",
            f"--port={self.pop3_port}",
            f"--user={self.name}",
            f"--passwordeval=echo '{PASSWORD}'",
            "--auth=user",
            "--tls=off",
            f"--delivery=maildir,{folder}",
            f"--uidls-file={self.home}/uidls",
            "--pipelining=on",
            "--keep=off",
        )
        self.assertEqual(len(self.fetched(folder)), 300)
        self.assertEqual(self.count(), 0)


class Fetchmail(Client):
    def fetchmail(self, *options, codes=(0,)):
        program = self.program("fetchmail")
        folder = self.maildir()
        deliver = self.delivery_agent(folder)
        configuration = self.home / "fetchmailrc"
        configuration.write_text(
            f"poll 127.0.0.1 protocol pop3 port {self.pop3_port} uidl auth password\n"
            f'  user "{self.name}" password "{PASSWORD}" sslproto "" mda "{deliver}"\n'
        )
        configuration.chmod(0o600)
        return folder, self.run_client(
            program,
            "-f",
            configuration,
            "--nosyslog",
            "-i",
            self.home / "ids",
            "--pidfile",
            self.home / "pid",
            *options,
            codes=codes,
        )

    def test_fetchmail_fetches_and_deletes(self):
        self.deliver(self.name, sample(1), sample(2))
        folder, _ = self.fetchmail()
        self.assertEqual(set(self.fetched(folder)), {1, 2})
        self.assertEqual(self.count(), 0)

    def test_fetchmail_keeps_and_knows_what_it_has_seen(self):
        self.deliver(self.name, sample(1), sample(2))
        folder, _ = self.fetchmail("--keep")
        self.deliver(self.name, sample(3))
        self.fetchmail("--keep")
        self.fetchmail("--keep", codes=(1,))
        self.assertEqual(set(self.fetched(folder)), {1, 2, 3})
        self.assertEqual(len(list(folder.glob("new/*"))), 3)
        self.assertEqual(self.count(), 3)

    def test_fetchmail_takes_a_locked_maildrop_for_busy(self):
        holder = self.login(self.name)
        _, text = self.fetchmail("-v", codes=(9, 3, 8))
        self.assertIn("lock", text.lower())
        holder.quit()


class Getmail(Client):
    def test_getmail_fetches_and_deletes(self):
        program = self.program("getmail")
        folder = self.maildir()
        configuration = self.home / "getmailrc"
        configuration.write_text(
            "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\n"
            f"port = {self.pop3_port}\nusername = {self.name}\npassword = {PASSWORD}\n"
            f"[destination]\ntype = MDA_external\npath = {self.delivery_agent(folder)}\n"
            "allow_root_commands = true\nunixfrom = false\n"
            "[options]\nread_all = false\ndelete = false\n"
        )
        self.deliver(self.name, sample(1), sample(2, lines=200))
        arguments = ["--getmaildir", self.home, "--rcfile", configuration]
        self.run_client(program, *arguments)
        self.deliver(self.name, sample(3))
        self.run_client(program, *arguments)
        self.assertEqual(set(self.fetched(folder)), {1, 2, 3})
        self.assertEqual(len(list(folder.glob("new/*"))), 3)
        self.run_client(program, *arguments, "--delete", "--all")
        self.assertEqual(self.count(), 0)


class Swaks(Client):
    def test_swaks_delivers_by_lmtp(self):
        program = self.program("swaks")
        text = self.run_client(
            program,
            "--protocol",
            "LMTP",
            "--server",
            "127.0.0.1",
            "--port",
            self.lmtp_port,
            "--from",
            "a@client.test",
            "--to",
            f"{self.name}@localhost",
            "--header",
            "Subject: from swaks",
            "--body",
            ".\\n..\\nbody",
        )
        self.assertIn("LHLO", text)
        message = self.login(self.name).retr(1)
        self.assertIn(b"Subject: from swaks\r\n", message)
        self.assertIn(b"\r\n.\r\n..\r\nbody\r\n", message)

    def test_swaks_pipelines(self):
        program = self.program("swaks")
        self.run_client(
            program,
            "--protocol",
            "LMTP",
            "--server",
            "127.0.0.1",
            "--port",
            self.lmtp_port,
            "--pipeline",
            "--from",
            "a@client.test",
            "--to",
            f"{self.name}@localhost,{self.user()}@localhost",
        )
        self.assertEqual(self.count(), 1)

    def test_swaks_is_told_of_unknown_users(self):
        program = self.program("swaks")
        text = self.run_client(
            program,
            "--protocol",
            "LMTP",
            "--server",
            "127.0.0.1",
            "--port",
            self.lmtp_port,
            "--from",
            "a@client.test",
            "--to",
            "nobody-of-that-name@localhost",
            codes=range(1, 256),
        )
        self.assertIn("550 5.1.1", text)


class SmtpSource(Client):
    def test_smtp_source_delivers_on_many_connections(self):
        unpacked = settings.TOOLS / "usr/sbin/smtp-source"
        libraries = settings.TOOLS / "usr/lib/postfix"
        program = (
            unpacked
            if unpacked.exists()
            else shutil.which("smtp-source", path=os.environ["PATH"] + ":/usr/sbin")
        )
        if program is None:
            self.skipTest("smtp-source is not there")
        count = 500
        done = subprocess.run(
            [
                program,
                "-L",
                "-s",
                "16",
                "-m",
                str(count),
                "-l",
                "4000",
                "-d",
                "-f",
                "a@client.test",
                "-t",
                f"{self.name}@localhost",
                f"inet:127.0.0.1:{self.lmtp_port}",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=settings.seconds(60),
            env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        client = self.login(self.name)
        listing = client.listing()
        self.assertEqual(len(listing), count)
        for number in (1, count // 2, count):
            self.assertEqual(len(client.retr(number)), listing[number])
