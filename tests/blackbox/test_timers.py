# SPDX-License-Identifier: Apache-2.0
"""Clocks: RFC 1939 section 3 (silent autologout), RFC 5321 section 4.5.3.2, and clients that hang.
"""

import time

from harness import options, settings
from harness.case import ServerCase
from harness.messages import check_stored, sample, unstuff
from harness.wire import Wire


# Of the clocks below. Long enough for a client that is now and then late by half a second.
IDLE_S = 2


class IdleClock(ServerCase):
    options = (
        options.SHORT,
        options.pop3_idle(f"{IDLE_S}s"),
        options.lmtp_idle(f"{IDLE_S}s"),
    )

    def test_an_idle_session_is_closed_without_a_word(self):
        client = self.login(self.user())
        self.assertEqual(client.rest(), b"")

    @settings.against_the_clock
    def test_an_idle_session_removes_nothing(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.login(user)
        client.ok("DELE 1")
        self.assertEqual(client.rest(), b"")
        self.assertEqual(self.login_when_free(user).stat()[0], 1)

    def test_half_a_command_does_not_keep_a_session_alive(self):
        client = self.login(self.user())
        begin = time.monotonic()
        try:
            while time.monotonic() - begin < settings.seconds(8):
                client.send(b"N")
                if not client.quiet_for(0.2):
                    break
        except OSError:
            return
        except AssertionError:
            return
        self.assertLess(time.monotonic() - begin, settings.seconds(8))

    @settings.against_the_clock
    def test_any_command_starts_the_clock_again(self):
        client = self.login(self.user())
        for command in ("NOOP", "STAT", "NONSENSE", "CAPA", "NOOP"):
            self.assertTrue(client.quiet_for(IDLE_S / 4))
            client.ask(command)
            if command == "CAPA":
                client.block()
        self.assertEqual(client.rest(), b"")

    def read_slowly(self, client, size, pause):
        """Reads all the time, for two and a half times the idle limit."""
        begin = time.monotonic()
        while time.monotonic() - begin < 2.5 * IDLE_S:
            data = client.socket.recv(size)
            self.assertTrue(data, "the server closed the connection")
            client.buffer += data
            time.sleep(pause)

    @settings.against_the_clock
    def test_a_slow_download_is_not_idle(self):
        # Larger than what the kernel holds for a connection, so that the server waits for us.
        line = b"x" * 8190 + b"\r\n"
        message = b"Subject: slow\r\n\r\n" + line * 2000
        user = self.user()
        self.deliver(user, message)
        client = self.login(user, receive_buffer=16384)
        client.send(b"RETR 1\r\n")
        self.read_slowly(client, 8192, 0.01)
        self.assertTrue(client.line().startswith(b"+OK"))
        block = client.block()
        client.ok("NOOP")  # before what may take a while
        check_stored(unstuff(block), message)

    @settings.against_the_clock
    def test_what_the_kernel_still_holds_for_a_slow_reader_is_not_idle(self):
        # Small enough that the server's socket takes all of it at once, too much for ours.
        message = b"Subject: held\r\n\r\n" + (b"y" * 1022 + b"\r\n") * 300
        user = self.user()
        self.deliver(user, message)
        client = self.login(user, receive_buffer=4096)
        client.send(b"RETR 1\r\n")
        self.read_slowly(client, 1024, 0.03)
        self.assertTrue(client.line().startswith(b"+OK"))
        block = client.block()
        client.ok("NOOP")
        check_stored(unstuff(block), message)

    def test_an_idle_lmtp_session_is_told_421_and_closed(self):
        client = self.lmtp()
        rest = client.rest()
        self.assertRegex(rest, rb"^421 [^\r\n]*\r\n$")

    def test_lmtp_inside_data_is_ended_when_nothing_comes(self):
        client = self.lmtp()
        client.envelope([self.user()])
        client.expect(354, "DATA")
        client.send(b"Subject: x\r\n")
        self.assertRegex(client.rest(), rb"^(421 [^\r\n]*\r\n)?$")


class LoginClock(ServerCase):
    options = (options.SHORT, options.pop3_login("2s"))

    def test_a_connection_that_does_not_log_in_is_ended_however_busy(self):
        client = self.connect()
        begin = time.monotonic()
        try:
            while time.monotonic() - begin < settings.seconds(8):
                client.ok("CAPA")
                client.block()
        except (OSError, AssertionError):
            pass
        self.assertLess(time.monotonic() - begin, settings.seconds(6))

    def test_a_silent_connection_is_ended(self):
        with Wire(self.server.address("pop3")) as client:
            client.line()
            self.assertEqual(client.rest(), b"")

    @settings.against_the_clock
    def test_a_session_that_is_logged_in_lives_on(self):
        client = self.login(self.user())
        self.assertTrue(client.quiet_for(2.5))
        client.ok("NOOP")


class StallClock(ServerCase):
    options = (options.SHORT, options.pop3_stall("1s"))

    def test_a_client_that_reads_nothing_at_all_is_ended_and_its_maildrop_free(self):
        message = b"Subject: big\r\n\r\n" + b"".join(b"%077d\r\n" % line for line in range(100_000))
        user = self.user()
        self.deliver(user, message)
        client = self.login(user, receive_buffer=4096)
        client.send(b"RETR 1\r\n")
        deadline = time.monotonic() + settings.seconds(10)
        while True:
            other = self.connect()
            other.ok(f"USER {user}")
            if other.ask("PASS secret word").startswith(b"+OK"):
                break
            other.close()
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
