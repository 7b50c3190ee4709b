# SPDX-License-Identifier: Apache-2.0
"""RETR and TOP: RFC 1939 sections 5 and 7."""

import threading

from harness import settings
from harness.case import ServerCase
from harness.messages import check_stored, crlf, sample, stuff, without_trace


class Pop3Fetch(ServerCase):
    def test_retr_gives_the_message_back(self):
        client = self.maildrop(sample(1))
        check_stored(client.retr(1), sample(1))

    def test_retr_names_the_octets(self):
        client = self.maildrop(sample(1))
        octets = client.listing()[1]
        self.assertIn(str(octets).encode(), client.ok("RETR 1"))
        client.block()

    def test_lines_that_begin_with_dots_come_back_whole(self):
        message = crlf("Subject: dots\n\n.\n..\n...\n.a\n..a\n\n.\n\nend\n.\n")
        client = self.maildrop(message)
        client.ok("RETR 1")
        block = client.block()
        self.assertTrue(block.endswith(stuff(message)), block)
        self.assertEqual(client.listing()[1], len(block) - block.count(b"\r\n.."))

    def test_a_message_that_is_one_dot_comes_back(self):
        client = self.maildrop(b".\r\n")
        check_stored(client.retr(1), b".\r\n")

    def test_an_empty_message_comes_back_empty(self):
        client = self.maildrop(b"")
        self.assertEqual(without_trace(client.retr(1)), b"")

    def test_octets_of_every_value_come_back(self):
        every = bytes(value for value in range(256) if value not in (10, 13))
        message = b"Subject: every octet\r\n\r\n" + every + b"\r\n" + every[::-1] + b"\r\n"
        client = self.maildrop(message)
        check_stored(client.retr(1), message)

    def test_very_long_lines_come_back(self):
        message = b"Subject: long\r\n\r\n" + b"x" * 200_000 + b"\r\n." + b"y" * 70_000 + b"\r\n"
        client = self.maildrop(message)
        check_stored(client.retr(1), message)

    def test_sizes_around_every_buffer_come_back(self):
        # Around the sizes at which the way a message is sent or stored changes.
        sizes = [
            size + by
            for size in (512, 4096, 16384, 65536, 131072, 1048576)
            for by in (-700, -1, 0, 1, 300)
        ]
        messages = []
        for size in sizes:
            line = b"." * 62 + b"\r\n"
            message = b"Subject: size %d\r\n\r\n" % size + line * (size // 64 + 1)
            messages.append(message[: size - 2].rstrip(b"\r") + b"\r\n")
        client = self.maildrop(*messages)
        listing = client.listing()
        for number, message in enumerate(messages, 1):
            with self.subTest(size=sizes[number - 1]):
                fetched = client.retr(number)
                check_stored(fetched, message)
                self.assertEqual(listing[number], len(fetched))

    def test_a_large_message_comes_back(self):
        message = b"Subject: large\r\n\r\n" + b"".join(
            b".%076d\r\n" % line for line in range(120_000)
        )
        client = self.maildrop(sample(1), message, sample(3))
        fetched = client.retr(2)
        check_stored(fetched, message)
        self.assertEqual(client.listing()[2], len(fetched))
        check_stored(client.retr(3), sample(3))

    def test_the_same_message_can_be_fetched_again(self):
        client = self.maildrop(sample(1))
        self.assertEqual(client.retr(1), client.retr(1))

    def test_top_zero_is_the_header_and_the_blank_line(self):
        client = self.maildrop(sample(1))
        message = client.retr(1)
        header = message[: message.index(b"\r\n\r\n") + 4]
        self.assertEqual(client.top(1, 0), header)

    def test_top_gives_the_lines_of_the_body_asked_for(self):
        client = self.maildrop(sample(1, lines=5))
        message = client.retr(1)
        body_at = message.index(b"\r\n\r\n") + 4
        body = message[body_at:].split(b"\r\n")
        for count in range(6):
            with self.subTest(count=count):
                expected = message[:body_at] + b"".join(line + b"\r\n" for line in body[:count])
                self.assertEqual(client.top(1, count), expected)

    def test_top_beyond_the_end_is_the_whole_message(self):
        client = self.maildrop(sample(1, lines=5))
        for count in (5, 6, 1000, 99999999, 4294967295):
            with self.subTest(count=count):
                self.assertEqual(client.top(1, count), client.retr(1))

    def test_top_counts_dotted_and_empty_lines_once(self):
        client = self.maildrop(crlf("Subject: x\n\n.\n\n..\nlast\n"))
        header = client.top(1, 0)
        self.assertEqual(client.top(1, 1), header + b".\r\n")
        self.assertEqual(client.top(1, 2), header + b".\r\n\r\n")
        self.assertEqual(client.top(1, 3), header + b".\r\n\r\n..\r\n")

    def test_top_of_a_message_without_a_body_is_the_message(self):
        client = self.maildrop(crlf("Subject: only a header\n"))
        for count in (0, 1, 5):
            self.assertEqual(client.top(1, count), client.retr(1))

    def test_top_of_a_large_message_is_exact(self):
        lines = [b".%07d" % number + b"z" * 90 for number in range(30_000)]
        client = self.maildrop(
            b"Subject: large\r\n\r\n" + b"".join(line + b"\r\n" for line in lines)
        )
        header = client.top(1, 0)
        for count in (1, 41, 165, 5000, 29_999, 30_000, 40_000):
            with self.subTest(count=count):
                expected = header + b"".join(line + b"\r\n" for line in lines[:count])
                self.assertEqual(client.top(1, count), expected)

    def test_top_with_a_long_header_is_exact(self):
        header = b"".join(b"X-Header-%d: %s\r\n" % (number, b"v" * 200) for number in range(500))
        client = self.maildrop(header + b"\r\nbody 1\r\nbody 2\r\n")
        self.assertTrue(client.top(1, 0).endswith(header + b"\r\n"))
        self.assertTrue(client.top(1, 1).endswith(header + b"\r\nbody 1\r\n"))

    def test_top_needs_a_number_of_lines(self):
        client = self.maildrop(sample(1))
        for command in (
            "TOP 1",
            "TOP 1 ",
            "TOP 1 -1",
            "TOP 1 x",
            "TOP 1 1 1",
            "TOP 1 +1",
            "TOP 1 99999999999999999999999999",
        ):
            with self.subTest(command=command):
                client.err(command)

    def test_a_message_deleted_by_an_administrator_stays_readable_in_the_session(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.login(user)
        self.deliver(user, *[sample(number, lines=200) for number in range(100)])
        check_stored(client.retr(1), sample(1))

    def test_a_client_that_never_reads_its_five_megabytes_stops_nobody(self):
        user, other = self.user(), self.user()
        message = b"Subject: big\r\n\r\n" + b"".join(b"%077d\r\n" % line for line in range(66_000))
        self.deliver(user, message)
        stuck = self.login(user, receive_buffer=4096)
        stuck.send(b"RETR 1\r\n")
        for _ in range(30):
            self.deliver(other, sample(1))
            client = self.login(other)
            self.assertEqual(client.stat()[0], 1)
            client.retr(1)
            client.ok("DELE 1")
            client.quit()
        # And it still gets its message when it wants it.
        self.assertTrue(stuck.line().startswith(b"+OK"))
        check_stored(stuck.block().replace(b"\r\n..", b"\r\n."), message)
        stuck.ok("NOOP")

    def test_many_clients_that_do_not_read_stop_nobody(self):
        user = self.user()
        message = b"Subject: big\r\n\r\n" + b"".join(b"%077d\r\n" % line for line in range(30_000))
        stuck_users = [self.user() for _ in range(20)]
        with self.lmtp() as lmtp:
            lmtp.deliver(stuck_users, message)
        stuck = [self.login(name, receive_buffer=4096) for name in stuck_users]
        for client in stuck:
            client.send(b"RETR 1\r\n" * 20)
        for _ in range(20):
            self.login(user).quit()
        for client in stuck:
            client.reset()
        for name in stuck_users:
            self.login_when_free(name).quit()

    def test_many_sessions_fetch_at_the_same_time(self):
        users = [self.user() for _ in range(30)]
        messages = [sample(number, lines=number * 50) for number in range(1, 11)]
        for message in messages:
            with self.lmtp() as lmtp:
                lmtp.deliver(users, message)
        problems = []

        def session(name):
            try:
                client = self.login(name)
                for number, message in enumerate(messages, 1):
                    check_stored(client.retr(number), message)
                client.quit()
            except (AssertionError, OSError) as problem:
                problems.append(repr(problem))

        threads = [threading.Thread(target=session, args=(name,)) for name in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(settings.seconds(60))
        self.assertEqual(problems, [])
