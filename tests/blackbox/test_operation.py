# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping, restarting, and what is written down: the operator's view."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

from harness import settings
from harness.case import ServerCase
from harness.lmtp import Lmtp
from harness.messages import check_stored, sample, unstuff
from harness.pop3 import Pop3
from harness.server import Server, ServerFailed
from harness.wire import until

DENY = [sys.executable, "-B", str(settings.ROOT / "tests/harness/deny_io_uring.py")]
LOG_LINE = re.compile(r"^[ -~]*$")


class Demo(ServerCase):
    def test_prints_curl_lines_and_then_that_it_is_ready(self):
        self.assertEqual(self.server.output[-1], "restante: ready")
        self.assertTrue(any(line.strip().startswith("curl ") for line in self.server.output))

    def test_the_curl_lines_work_as_printed(self):
        lines = [line.strip() for line in self.server.output if line.strip().startswith("curl ")]
        for line in lines:
            with self.subTest(line=line):
                done = subprocess.run(
                    line,
                    shell=True,
                    cwd=self.server.folder,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=settings.seconds(20),
                    check=False,
                )
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_delivery_line_works_as_printed(self):
        line = next(line for line in self.server.output if " deliver demo1" in line)
        done = subprocess.run(
            line,
            shell=True,
            capture_output=True,
            text=True,
            timeout=settings.seconds(20),
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_ten_users_have_mail(self):
        for number in range(1, 11):
            client = self.connect(user=f"demo{number}", password="demo")
            self.assertGreater(client.stat()[0], 0)
            for message in client.listing():
                self.assertIn(b"\r\n\r\n", client.retr(message))
            client.quit()

    def test_a_temporary_store_is_removed_in_the_end(self):
        line = [settings.BUILD / "restanted", "--demo"]
        for name in ("pop3", "pop3s", "lmtp", "metrics"):
            line += ["-o", f"listener.{name}.address=127.0.0.1:0"]
        output = ""
        with subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            for text in process.stdout:
                output += text
                if text == "restante: ready\n":
                    break
            process.send_signal(signal.SIGTERM)
            process.wait(settings.seconds(60))
        folder = re.search(r"The store is (\S+)\.$", output, re.M)[1]
        self.assertTrue(folder.startswith("/tmp/restante-demo-"), folder)
        self.assertFalse(os.path.exists(folder), folder)

    def test_names_its_version(self):
        done = subprocess.run(
            [settings.BUILD / "restanted", "--version"], capture_output=True, text=True, check=True
        )
        self.assertRegex(done.stdout, r"\d+\.\d+\.\d+")

    def test_explains_itself(self):
        for program in ("restanted", "restante"):
            done = subprocess.run(
                [settings.BUILD / program, "--help"], capture_output=True, text=True, check=True
            )
            self.assertIn("--help", done.stdout)
            for line in done.stdout.splitlines():
                self.assertLessEqual(len(line), 100)

    def test_unknown_options_are_refused(self):
        done = subprocess.run(
            [settings.BUILD / "restanted", "--no-such-option"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no-such-option", done.stderr)


class Life(ServerCase):
    """Each test starts servers of its own."""

    def started(self, **options):
        server = self.private_server(**options)
        server.start()
        return server

    def test_mail_and_uidls_are_the_same_after_a_restart(self):
        server = self.started()
        user = server.new_user()
        with Lmtp(server.address("lmtp")) as lmtp:
            lmtp.deliver_many(user, [sample(number) for number in range(1, 21)])
        with Pop3(server.address("pop3"), user) as client:
            for number in (3, 7):
                client.ok(f"DELE {number}")
            client.quit()
        with Pop3(server.address("pop3"), user) as client:
            before = client.listing(), client.uidls(), [client.retr(n) for n in range(1, 19)]
        for end in (server.stop, server.kill):
            end()
            server.start()
            with Pop3(server.address("pop3"), user) as client:
                after = client.listing(), client.uidls(), [client.retr(n) for n in range(1, 19)]
            self.assertEqual(before, after)

    def test_a_demo_folder_that_is_there_is_opened_as_it_is(self):
        server = self.started()
        with Pop3(server.address("pop3"), "demo1", password="demo") as client:
            count = client.stat()[0]
            client.ok("DELE 1")
            client.quit()
        server.stop()
        server.start()
        with Pop3(server.address("pop3"), "demo1", password="demo") as client:
            self.assertEqual(client.stat()[0], count - 1)

    def test_what_was_acknowledged_survives_kill_nine(self):
        server = self.started()
        user = server.new_user()
        lmtp = Lmtp(server.address("lmtp"))
        lmtp.deliver(user, sample(1))
        server.kill()
        lmtp.close()
        server.start()
        with Pop3(server.address("pop3"), user) as client:
            check_stored(client.retr(1), sample(1))
            client.ok("DELE 1")
            self.assertTrue(client.ask("QUIT").startswith(b"+OK"))
            server.kill()
        server.start()
        with Pop3(server.address("pop3"), user) as client:
            self.assertEqual(client.stat(), (0, 0))

    @settings.against_the_clock
    def test_a_restart_takes_less_than_two_seconds(self):
        server = self.started()
        server.kill()
        begin = time.monotonic()
        server.start()
        self.assertLess(time.monotonic() - begin, 2 * settings.SLOW)

    def test_a_second_server_on_the_same_folder_is_refused(self):
        server = self.started()
        second = Server(folder=server.folder)
        with self.assertRaises(ServerFailed) as failure:
            second.start()
        self.assertNotIn("did not get ready", str(failure.exception))
        self.assertIn("another process has this store open", second.log())
        second.kill()
        with Pop3(server.address("pop3"), "demo1", password="demo") as client:
            client.stat()

    def test_a_taken_port_is_named(self):
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = self.private_server(options=[f"listener.pop3.address=127.0.0.1:{port}"])
        with self.assertRaises(ServerFailed) as failure:
            server.start()
        self.assertIn(str(port), server.log() + str(failure.exception).split("log:")[-1])
        server.kill()

    def test_sigterm_ends_idle_sessions_and_the_process(self):
        server = self.started()
        client = Pop3(server.address("pop3"), "demo1", password="demo")
        lmtp = Lmtp(server.address("lmtp"))
        begin = time.monotonic()
        server.stop()
        self.assertLess(time.monotonic() - begin, settings.seconds(2))
        self.assertNotIn(b"+OK", client.rest())
        lmtp.rest()

    def stopped_while_downloading(self):
        """A server told to end, a client that has begun a RETR, what that should get."""
        server = self.started()
        user = server.new_user()
        message = b"Subject: big\r\n\r\n" + b"".join(b"%077d\r\n" % n for n in range(50_000))
        with Lmtp(server.address("lmtp")) as lmtp:
            lmtp.deliver(user, message)
        client = Pop3(server.address("pop3"), user, receive_buffer=16384)
        client.send(b"RETR 1\r\n")
        self.assertTrue(client.line().startswith(b"+OK"))
        server.process.send_signal(signal.SIGTERM)
        return server, client, message

    def test_sigterm_lets_a_download_end(self):
        server, client, message = self.stopped_while_downloading()
        check_stored(unstuff(client.block()), message)
        client.close()
        server.wait_end()

    def test_sigterm_refuses_newcomers_at_once_instead_of_leaving_them_waiting(self):
        server, client, message = self.stopped_while_downloading()
        for name in ("pop3", "lmtp"):
            until(lambda name=name: self.refused(server.address(name)), "a connection is refused")
        check_stored(unstuff(client.block()), message)  # meanwhile it served who was there
        client.close()
        server.wait_end()

    def refused(self, address):
        try:
            socket.create_connection(address).close()
        except ConnectionRefusedError:
            return True
        return False

    def test_sigterm_while_mail_is_being_delivered_loses_nothing(self):
        server = self.started()
        user = server.new_user()
        clients = [Lmtp(server.address("lmtp")) for _ in range(10)]
        for client in clients:
            client.envelope([user])
            client.expect(354, "DATA")
            client.send(sample(1) + b".\r\n")
        server.process.send_signal(signal.SIGTERM)
        acknowledged = 0
        for client in clients:
            if b"250 " in client.rest():
                acknowledged += 1
        server.wait_end()
        server.start()
        with Pop3(server.address("pop3"), user) as client:
            self.assertGreaterEqual(client.stat()[0], acknowledged)

    def test_sigint_ends_it_too(self):
        server = self.started()
        server.process.send_signal(signal.SIGINT)
        server.wait_end()

    def test_a_store_made_by_one_back_end_is_read_by_the_other(self):
        server = self.started(io="epoll")
        user = server.new_user()
        with Lmtp(server.address("lmtp")) as lmtp:
            lmtp.deliver(user, sample(1))
        server.stop()
        server.io = "io_uring"
        server.start()
        with Pop3(server.address("pop3"), user) as client:
            check_stored(client.retr(1), sample(1))

    def test_refused_io_uring_falls_back_with_one_line_that_names_the_cause(self):
        for code in ("EPERM", "ENOSYS", "ENOMEM"):
            with self.subTest(errno=code):
                server = Server(io="auto", wrapper=DENY + [code], options=["workers=3"])
                with server:
                    with Pop3(server.address("pop3"), "demo1", password="demo") as client:
                        self.assertGreater(client.stat()[0], 0)
                    lines = [line for line in server.log().splitlines() if "io_uring" in line]
                    self.assertEqual(len(lines), 1, lines)
                    self.assertIn("epoll", lines[0])

    def test_refused_io_uring_that_was_demanded_ends_the_server(self):
        for code in ("EPERM", "ENOSYS"):
            with self.subTest(errno=code):
                server = self.private_server(io="io_uring", wrapper=DENY + [code])
                with self.assertRaises(ServerFailed):
                    server.start()
                self.assertNotEqual(server.process.returncode, 0)
                self.assertGreater(server.process.returncode, 0)
                self.assertIn("io_uring", server.log())
                server.kill()

    def test_listens_on_ipv6_and_unix_sockets_and_on_several_addresses(self):
        if not os.path.exists("/proc/net/if_inet6"):
            self.skipTest("no IPv6 here")
        server = self.private_server()
        lmtp_path = server.folder / "lmtp.sock"
        server.options = [
            "listener.pop3.address=[::1]:0,127.0.0.1:0",
            f"listener.lmtp.address=unix:{lmtp_path}",
        ]
        server.start()
        with Lmtp(server.address("lmtp")) as lmtp:
            lmtp.deliver("demo1", sample(1))
        self.assertEqual(len(server.addresses("pop3")), 2)
        for address in server.addresses("pop3"):
            with Pop3(address, "demo1", password="demo") as client:
                client.quit()
        server.stop()
        # A socket file that a killed server left is no obstacle.
        server.start()
        server.kill()
        server.start()

    def test_the_admin_socket_is_for_its_owner_alone(self):
        server = self.started()
        mode = os.stat(server.folder / "admin.sock").st_mode & 0o777
        self.assertEqual(mode, 0o600)


class Log(ServerCase):
    def session_lines(self, user):
        return [line for line in self.server.log().splitlines() if user in line]

    def test_a_session_ends_with_one_line_that_tells_its_story(self):
        user = self.user()
        self.deliver(user, sample(1), sample(2))
        client = self.login(user)
        client.retr(1)
        client.top(2, 0)
        client.ok("DELE 1")
        client.quit()

        def line():
            lines = [one for one in self.session_lines(user) if "retr" in one.lower()]
            return lines[0] if lines else None

        text = until(line, "the session's line is in the log")
        for word in ("127.0.0.1", "quit"):
            self.assertIn(word, text)

    def test_a_delivery_and_an_expunge_are_logged_with_the_uidl(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.login(user)
        uidl = client.uidls()[1]
        client.ok("DELE 1")
        client.quit()
        until(lambda: uidl in self.server.log(), "the expunged message's UIDL is in the log")
        self.assertTrue(any("sender@client.test" in line for line in self.session_lines(user)))

    def test_what_clients_send_is_escaped(self):
        client = self.connect()
        client.send(b'USER a"b\\c=d \x1b[31m\xff\r\n')
        client.line()
        client.ask("PASS wrong")
        client.quit()
        with self.lmtp() as lmtp:
            lmtp.ask(b"MAIL FROM:<x\x1b\xe9@client.test> SMTPUTF8")
        for line in self.server.log().splitlines():
            self.assertRegex(line, LOG_LINE)

    def test_passwords_are_never_logged(self):
        client = self.connect()
        client.ok(f"USER {self.user()}")
        client.err("PASS unmistakable-secret")
        client.ask("pass unmistakable-secret")
        client.ask("PASSunmistakable-secret")
        client.close()
        self.login(self.user()).quit()
        self.assertNotIn("unmistakable-secret", self.server.log())
