# SPDX-License-Identifier: Apache-2.0
"""Framing and pipelining: RFC 1939 section 3, RFC 2449 section 4, and clients that break every
rule.
"""

import select

from harness.case import ServerCase
from harness.messages import check_stored, sample, unstuff
from harness.server import PASSWORD
from harness.wire import Wire


class Pop3Lines(ServerCase):
    def whole_session(self, user):
        return (
            f"CAPA\r\nUSER {user}\r\nPASS {PASSWORD}\r\nSTAT\r\nLIST\r\nUIDL\r\n"
            "RETR 1\r\nTOP 1 1\r\nDELE 1\r\nNOOP\r\nQUIT\r\n"
        ).encode()

    def check_whole_session(self, client):
        def ok():
            line = client.line()
            self.assertTrue(line.startswith(b"+OK"), line)

        ok(), client.block()
        ok(), ok(), ok()
        ok(), self.assertTrue(client.block().startswith(b"1 "))
        ok(), self.assertTrue(client.block().startswith(b"1 "))
        ok(), check_stored(unstuff(client.block()), sample(1))
        ok(), client.block()
        ok(), ok(), ok()
        self.assertEqual(client.rest(), b"")

    def test_a_whole_session_in_one_packet_is_answered_in_order(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.connect()
        client.send(self.whole_session(user))
        self.check_whole_session(client)
        self.assertEqual(self.login(user).stat()[0], 0)

    def test_a_whole_session_one_octet_at_a_time_is_answered_alike(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.connect()
        client.send_in_pieces(self.whole_session(user))
        self.check_whole_session(client)

    def test_commands_sent_before_the_greeting_is_read_are_answered(self):
        for cut in (1, 3, 7, 64):
            with self.subTest(cut=cut):
                client = Wire(self.server.address("pop3"))
                self.addCleanup(client.close)
                client.send_in_pieces(b"NOOP\r\nCAPA\r\nUSER nobody\r\n", cut)
                self.assertTrue(client.line().startswith(b"+OK"))
                self.assertTrue(client.line().startswith(b"-ERR"))
                self.assertTrue(client.line().startswith(b"+OK"))
                client.block()
                self.assertTrue(client.line().startswith(b"+OK"))

    def test_ten_thousand_commands_in_one_write_are_all_answered(self):
        client = self.login(self.user())
        self.answer_many(client, b"NOOP\r\n" * 10_000 + b"QUIT\r\n", 10_001)

    def test_ten_thousand_listings_in_one_write_are_all_answered(self):
        # The replies are larger than any buffer between the two, and nothing is read before all is
        # sent.
        client = self.maildrop(sample(1), sample(2))
        self.answer_many(client, b"LIST 1\r\nUIDL 2\r\n" * 5_000, 10_000)

    def test_thousands_of_pipelined_messages_arrive(self):
        client = self.maildrop(sample(1, lines=100))
        octets = client.listing()[1]
        count = 2_000
        self.send_while_reading(client, b"RETR 1\r\n" * count)
        for _ in range(count):
            self.assertTrue(client.line().startswith(b"+OK"))
            self.assertEqual(len(client.block()), octets)
        client.ok("NOOP")

    def answer_many(self, client, commands, count):
        self.send_while_reading(client, commands)
        for _ in range(count):
            line = client.line()
            self.assertTrue(line.startswith(b"+OK"), line)

    def send_while_reading(self, client, data):
        """Sends all of data; reads only when sending is not possible, as a pipelining client has
        to.
        """
        client.socket.setblocking(False)
        try:
            while data:
                readable, writable, _ = select.select([client.socket], [client.socket], [], 150)
                self.assertTrue(readable or writable, "the server neither reads nor writes")
                if writable:
                    data = data[client.socket.send(data) :]
                elif readable:
                    client.buffer += client.socket.recv(1 << 20)
        finally:
            client.socket.settimeout(150)

    def test_a_line_of_twenty_thousand_octets_is_one_error(self):
        client = self.login(self.user())
        client.send(b"N" * 20_000 + b"\r\nNOOP\r\n")
        self.assertTrue(client.line().startswith(b"-ERR"))
        self.assertTrue(client.line().startswith(b"+OK"))
        self.assertTrue(client.quiet_for(0.05))

    def test_a_too_long_line_before_login_is_one_error(self):
        user = self.user()
        client = self.connect()
        client.send(b"USER " + b"u" * 20_000 + b"\r\n")
        self.assertTrue(client.line().startswith(b"-ERR"))
        client.login(user)

    def test_a_too_long_line_in_pieces_is_one_error(self):
        client = self.login(self.user())
        client.send_in_pieces(b"NOOP " + b"x" * 20_000 + b"\r\nSTAT\r\n", 1000)
        self.assertTrue(client.line().startswith(b"-ERR"))
        self.assertTrue(client.line().startswith(b"+OK 0 0"))

    def test_lines_around_the_limit_get_one_reply_each(self):
        for length in (
            253,
            254,
            255,
            256,
            510,
            511,
            512,
            513,
            2045,
            2046,
            2047,
            2048,
            2049,
            4095,
            4096,
            4097,
        ):
            with self.subTest(length=length):
                client = self.login(self.user())
                client.send(b"NOOP".ljust(length - 2, b"x") + b"\r\nSTAT\r\n")
                self.assertTrue(client.line().startswith(b"-ERR"))
                self.assertTrue(client.line().startswith(b"+OK 0 0"))
                client.close()

    def test_a_line_of_255_octets_is_read_whole(self):
        name = self.user() + "-long"
        password = "p" * 248
        self.server.cli("user", "add", name, "--password-file", "-", text=password + "\n")
        self.assertEqual(len(f"PASS {password}\r\n"), 255)
        self.login(name, password=password).quit()

    def test_an_endless_line_does_not_fill_the_memory(self):
        client = self.connect()
        try:
            for _ in range(400):
                client.send(b"x" * 65536)
            client.send(b"\r\n")
        except OSError:
            pass  # It may also close; it may not grow.
        self.assertLess(self.resident_kilobytes(), 1_500_000)

    def resident_kilobytes(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def test_nul_inside_a_command_is_refused(self):
        client = self.login(self.user())
        for command in (b"NOOP\0", b"NO\0OP", b"\0", b"STAT\0 1"):
            with self.subTest(command=command):
                client.err(command)
        client.ok("NOOP")

    def test_bare_cr_inside_a_command_is_refused(self):
        client = self.login(self.user())
        for command in (b"NOOP\rNOOP", b"\rNOOP", b"NO\rOP"):
            with self.subTest(command=command):
                client.err(command)
        client.ok("NOOP")

    def test_an_empty_line_is_a_bad_command(self):
        client = self.login(self.user())
        client.err("")
        client.ok("NOOP")

    def test_every_wrong_command_gets_an_error(self):
        client = self.login(self.user())
        for command in (
            "X",
            "NOOPX",
            "NOO",
            " NOOP",
            "RETR1",
            "%s%s%n",
            "LAST",
            "XTND XMIT",
            "\u00e9",
            "A" * 60,
        ):
            with self.subTest(command=command):
                client.err(command)
        client.ok("NOOP")

    def test_errors_do_not_repeat_what_the_client_sent(self):
        client = self.login(self.user())
        self.assertNotIn(b"EVIL", client.err("EVIL").upper())
        self.assertNotIn(b"evil", client.err("LIST evil"))

    def test_free_text_never_begins_with_a_bracket(self):
        client = self.login(self.user())
        for command in ("", "X", "LIST 99", "RETR", "USER x"):
            self.assertFalse(client.err(command).startswith(b"["), command)

    def test_twenty_bad_commands_after_login_end_the_session(self):
        client = self.login(self.user())
        for _ in range(19):
            client.err("NONSENSE")
        client.send(b"NONSENSE\r\n" * 5)
        self.assertLessEqual(client.rest().count(b"\r\n"), 2)

    def test_a_session_ended_by_bad_commands_removes_nothing(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.login(user)
        client.ok("DELE 1")
        client.send(b"NONSENSE\r\n" * 30 + b"QUIT\r\n")
        client.rest()
        self.assertEqual(self.login_when_free(user).stat()[0], 1)

    def test_a_half_closed_socket_gets_all_its_answers(self):
        user = self.user()
        self.deliver(user, sample(1, lines=2_000))
        client = self.login(user)
        client.send(b"STAT\r\nRETR 1\r\nNOOP\r\n")
        client.end_sending()
        self.assertTrue(client.line().startswith(b"+OK"))
        self.assertTrue(client.line().startswith(b"+OK"))
        check_stored(unstuff(client.block()), sample(1, lines=2_000))
        self.assertTrue(client.line().startswith(b"+OK"))
        self.assertEqual(client.rest(), b"")
        self.login_when_free(user).quit()

    def test_a_half_closed_socket_with_quit_commits(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.login(user)
        client.send(b"DELE 1\r\nQUIT\r\n")
        client.end_sending()
        self.assertEqual(client.rest().count(b"+OK"), 2)
        self.assertEqual(self.login_when_free(user).stat()[0], 0)

    def test_a_connection_that_says_nothing_and_goes_leaves_nothing(self):
        for _ in range(50):
            client = self.connect()
            client.reset()
        self.connect().quit()

    def test_a_line_feed_alone_ends_no_reply_early(self):
        # Lenient or strict about a bare LF: either way one line gets one reply, and the session
        # goes on.
        client = self.login(self.user())
        client.send(b"NOOP\nNOOP\r\n")
        replies = [client.line()]
        client.send(b"STAT\r\n")
        line = client.line()
        while not line.startswith(b"+OK 0 0"):
            replies.append(line)
            line = client.line()
        self.assertIn(len(replies), (1, 2))
