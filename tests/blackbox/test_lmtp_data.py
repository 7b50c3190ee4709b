# SPDX-License-Identifier: Apache-2.0
"""The octets of messages: DATA and BDAT, line ends, dots, limits. RFC 5321 section 4.5.2, RFC 3030.
"""

import itertools

from harness import options, settings
from harness.case import ServerCase
from harness.messages import (
    check_stored,
    crlf,
    expected_of_bdat,
    expected_of_data,
    sample,
    stuff,
    unstuff,
)

# Every text of these, up to a length, is sent: what a bare CR, a bare LF and a dot do in every
# order.
ALPHABET = (b"\r", b"\n", b".", b"a")


def ends_early(text):
    """True when the text holds the end of DATA before its own end."""
    stream = b"\r\n" + text
    return b"\r\n.\r\n" in stream


class LmtpData(ServerCase):
    def deliver_octets(self, user, texts, pieces=None):
        """Delivers each text by DATA as it stands, in one LMTP session; pieces cuts what is sent.
        """
        client = self.lmtp()
        client.socket.settimeout(settings.seconds(60))
        for text in texts:
            client.envelope([user])
            client.expect(354, "DATA")
            for part in pieces(text) if pieces else [text]:
                client.send(part)
            reply = client.reply()
            self.assertEqual(reply.code, 250, (text, reply))
        client.close()

    def check_all(self, user, expectations):
        """The maildrop holds exactly these messages; LIST is right; nothing ends a block early."""
        client = self.login(user)
        client.socket.settimeout(settings.seconds(60))
        listing = client.listing()
        self.assertEqual(len(listing), len(expectations))
        client.send(b"".join(b"RETR %d\r\n" % number for number in listing))
        for number, expected in zip(listing, expectations):
            self.assertTrue(client.line().startswith(b"+OK"))
            block = client.block()
            message = unstuff(block)
            check_stored(message, expected)
            self.assertEqual(listing[number], len(message), message)
            self.assertTrue(block.endswith(stuff(expected)), (block, expected))
        client.ok("STAT")
        client.quit()

    def test_every_mixture_of_line_ends_and_dots_is_stored_by_the_rules(self):
        texts = [
            b"".join(parts)
            for length in range(6)
            for parts in itertools.product(ALPHABET, repeat=length)
        ]
        texts = [text + b"\r\n.\r\n" for text in texts if not ends_early(text + b"\r\n")]
        user = self.user()
        # The next transaction's commands travel behind the data: an end seen too early or too late
        # shows at once.
        self.deliver_pipelined(user, texts)
        self.check_all(user, [expected_of_data(text) for text in texts])

    def deliver_pipelined(self, user, texts, batch=50):
        client = self.lmtp()
        client.socket.settimeout(settings.seconds(60))
        envelope = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<%s>\r\nDATA\r\n" % user.encode()
        for start in range(0, len(texts), batch):
            some = texts[start : start + batch]
            client.send(b"".join(envelope + text for text in some) + b"NOOP\r\n")
            for text in some:
                codes = [reply.code for reply in client.replies(4)]
                self.assertEqual(codes, [250, 250, 354, 250], text)
            self.assertEqual(client.reply().code, 250)
        client.close()

    def test_mixtures_cut_at_every_place_are_stored_alike(self):
        texts = [
            b"a\r\n.\r\n",
            b".\r\n",
            b"\r\n.\r\n",
            b"..\r\n.\r\n",
            b"a\n.\n\r\n.\r\n",
            b"a\r.\r\n.\r\n",
            b"\r\n..\r\n...\r\n\r\n.\r\n",
            b"x\r\n.\r.\r\n.\n\r\n.\r\n",
            b"\r\r\n.\r\n",
            b"\n\n.\n\r\n.\r\n",
            b"a\0b\r\n.\0\r\n.\r\n",
            b"\r\n.a\r\n.\r\n",
        ]
        sent = []
        user = self.user()
        client = self.lmtp()
        client.socket.settimeout(settings.seconds(60))
        for text in texts:
            for cut in range(1, len(text)):
                client.envelope([user])
                client.expect(354, "DATA")
                client.send(text[:cut])
                client.send(text[cut:])
                self.assertEqual(client.reply().code, 250)
                sent.append(text)
        self.check_all(user, [expected_of_data(text) for text in sent])

    def test_mixtures_one_octet_at_a_time_are_stored_alike(self):
        texts = [b"a\r\n.\n.\r.\r\n..\r\n\n.\n\r\n.\r\n", b".a\n..\n.\r\n\r\n.\r\n", b"\r\n.\r\n"]
        user = self.user()
        self.deliver_octets(
            user, texts, pieces=lambda text: [text[at : at + 1] for at in range(len(text))]
        )
        self.check_all(user, [expected_of_data(text) for text in texts])

    def test_long_random_mixtures_are_stored_by_the_rules(self):
        chance = settings.randomness("long_random_mixtures")
        texts = []
        while len(texts) < 40:
            size = chance.choice([10, 100, 5_000, 70_000])
            text = b"".join(
                chance.choices(
                    [b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"text", b"\0", b"\xe9"], k=size
                )
            )
            text = b"Subject: random\r\n\r\n" + text
            while b"\r\n.\r\n" in text:
                text = text.replace(b"\r\n.\r\n", b"\r\n..\r\n")
            texts.append(text + b"\r\n.\r\n")
        texts = [text for text in texts if not ends_early(text[:-3])]
        user = self.user()

        def pieces(text):
            cuts = sorted(chance.randrange(len(text)) for _ in range(chance.randrange(6)))
            return [
                text[begin:end] for begin, end in zip([0] + cuts, cuts + [len(text)]) if end > begin
            ]

        self.deliver_octets(user, texts, pieces)
        self.check_all(user, [expected_of_data(text) for text in texts])

    def test_only_a_dot_between_two_crlf_ends_data(self):
        # SMTP smuggling: each of these would end the message in a lenient server.
        endings = [
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r\n.\r",
            b"\n.\r",
            b"\r.\r\n",
            b"\r\n\0.\r\n",
        ]
        smuggled = (
            b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: smuggled\r\n\r\n"
        )
        for ending in endings:
            with self.subTest(ending=ending):
                user = self.user()
                text = (
                    b"Subject: outer\r\n\r\ntext" + ending + smuggled % user.encode() + b"\r\n.\r\n"
                )
                self.deliver_octets(user, [text])
                self.check_all(user, [expected_of_data(text)])

    def test_a_bare_line_feed_becomes_crlf(self):
        user = self.user()
        self.deliver_octets(user, [b"Subject: x\n\na\nb\n.\nc\r\n.\r\n"])
        self.check_all(user, [b"Subject: x\r\n\r\na\r\nb\r\n.\r\nc\r\n"])

    def test_bare_carriage_returns_and_nul_are_kept(self):
        user = self.user()
        self.deliver_octets(user, [b"Subject: x\r\n\r\na\rb\0c\r\r\nd\r\0\r\n.\r\n"])
        self.check_all(user, [b"Subject: x\r\n\r\na\rb\0c\r\r\nd\r\0\r\n"])

    def test_bdat_takes_a_message_in_one_chunk(self):
        user = self.user()
        replies = self.lmtp().bdat([user], [sample(1)])
        self.assertEqual(replies[0].code, 250)
        self.check_all(user, [sample(1)])

    def test_bdat_dots_are_not_stuffed_on_the_way_in(self):
        user = self.user()
        chunk = crlf("Subject: x\n\n.\n..\n.a\n\n.\n")
        self.lmtp().bdat([user], [chunk])
        self.check_all(user, [chunk])

    def test_bdat_chunks_cut_anywhere_make_one_message(self):
        text = b"S: x\r\n\r\n.\r\n..\n.\r.\r\n\r\n.\r\nend\r\n"
        user = self.user()
        count = 0
        client = self.lmtp()
        for cut in range(len(text) + 1):
            self.assertEqual(client.bdat([user], [text[:cut], text[cut:]])[0].code, 250)
            count += 1
        self.assertEqual(
            client.bdat([user], [text[at : at + 1] for at in range(len(text))])[0].code, 250
        )
        self.assertEqual(client.bdat([user], [text, b""])[0].code, 250)
        self.check_all(user, [expected_of_bdat([text])] * (count + 2))

    def test_bdat_without_a_final_line_end_gets_one(self):
        user = self.user()
        client = self.lmtp()
        texts = [
            b"S: x\r\n\r\nend",
            b"S: x\r\n\r\nend\r",
            b"S: x\r\n\r\nend\n",
            b"S: x\r\n\r\n.",
            b".",
            b"\r",
            b"\n",
            b"",
        ]
        for text in texts:
            self.assertEqual(client.bdat([user], [text])[0].code, 250)
        self.check_all(user, [expected_of_bdat([text]) for text in texts])

    def test_bdat_replies_once_per_accepted_recipient(self):
        users = [self.user(), self.user()]
        client = self.lmtp()
        replies = client.bdat([users[0], users[1], users[0]], [b"Subject: x\r\n", b"\r\nbody\r\n"])
        self.assertEqual([reply.code for reply in replies], [250] * 3)
        client.expect(250, "NOOP")
        for user in users:
            self.check_all(user, [b"Subject: x\r\n\r\nbody\r\n"])

    def test_rset_between_chunks_forgets_them(self):
        user = self.user()
        client = self.lmtp()
        client.envelope([user])
        client.send(b"BDAT 5\r\nhello")
        self.assertEqual(client.reply().code, 250)
        client.expect(250, "RSET")
        client.bdat([user], [sample(2)])
        self.check_all(user, [sample(2)])

    def test_data_after_bdat_is_refused(self):
        user = self.user()
        client = self.lmtp()
        client.envelope([user])
        client.send(b"BDAT 5\r\nhello")
        self.assertEqual(client.reply().code, 250)
        client.expect(503, "DATA")

    def test_bad_bdat_arguments_are_501(self):
        for arguments in ("", "x", "-1", "5 FIRST", "99999999999999999999999"):
            with self.subTest(arguments=arguments):
                client = self.lmtp()
                client.envelope([self.user()])
                self.assertIn(client.ask(f"BDAT {arguments}".rstrip()).code, (501, 500, 503, 552))

    def test_refused_chunks_pipelined_are_consumed_and_answered(self):
        client = self.lmtp()
        # No MAIL at all: the chunks hold commands that must not be obeyed.
        client.send(b"BDAT 6\r\nQUIT\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        codes = [reply.code for reply in client.replies(4)]
        self.assertEqual(codes, [503, 503, 503, 250])

    def test_eight_bit_text_is_kept(self):
        user = self.user()
        message = (
            "Subject: gr\u00fc\u00dfe\r\n\r\n\u00e4\u00f6\u00fc \U0001f4ee\r\n".encode()
            + bytes(range(128, 256))
            + b"\r\n"
        )
        self.lmtp().deliver(user, message)
        self.check_all(user, [message])

    def test_megabytes_by_data_and_by_bdat_are_kept(self):
        user = self.user()
        chance = settings.randomness("megabytes")
        line = chance.randbytes(3000).replace(b"\r", b"").replace(b"\n", b"")
        message = b"Subject: large\r\n\r\n" + b"".join(
            b".%d" % number + line + b"\r\n" for number in range(1500)
        )
        client = self.lmtp()
        client.deliver(user, message)
        chunks = [message[at : at + 65_521] for at in range(0, len(message), 65_521)]
        self.assertEqual(client.bdat([user], chunks)[0].code, 250)
        self.check_all(user, [message, message])

    def test_large_messages_on_many_connections_at_once_are_kept(self):
        users = [self.user() for _ in range(6)]
        clients = [self.lmtp() for _ in users]
        messages = [
            b"Subject: %d\r\n\r\n" % number + (b"%d" % number * 70 + b"\r\n") * 40_000
            for number in range(len(users))
        ]
        for client, user in zip(clients, users):
            client.socket.settimeout(settings.seconds(60))
            client.envelope([user])
            client.expect(354, "DATA")
        # Turn and turn about, so that all are in flight together.
        step = 256 * 1024
        for at in range(0, max(len(message) for message in messages), step):
            for client, message in zip(clients, messages):
                client.send(message[at : at + step])
        for client in clients:
            client.send(b".\r\n")
        for client, user, message in zip(clients, users, messages):
            self.assertEqual(client.reply().code, 250)
            self.check_all(user, [message])


class LmtpLimits(ServerCase):
    """With a small limit on the size of a message."""

    options = (options.message_octets_max(200_000),)

    def test_the_limit_is_announced(self):
        self.assertIn("SIZE 200000", self.lmtp().capabilities)

    def test_a_message_within_the_limit_is_taken(self):
        user = self.user()
        message = b"Subject: x\r\n\r\n" + b"x" * 76 + b"\r\n"
        message += b"y" * (200_000 - len(message) - 2) + b"\r\n"
        self.lmtp().deliver(user, message)
        client = self.login(user)
        check_stored(client.retr(1), message)

    def test_too_much_data_is_read_to_its_end_and_552_for_each_recipient(self):
        users = [self.user(), self.user()]
        client = self.lmtp()
        for size in (200_001, 1_000_000, 12_000_000):
            with self.subTest(size=size):
                replies = client.data(users, (b"z" * 98 + b"\r\n") * (size // 100 + 1) + b".\r\n")
                self.assertEqual([reply.code for reply in replies], [552, 552])
                self.assertEqual({reply.enhanced for reply in replies}, {"5.3.4"})
                client.expect(250, "NOOP")
        client.deliver(users[0], sample(1))
        self.assertEqual(self.login(users[0]).stat()[0], 1)
        self.assertEqual(self.login(users[1]).stat()[0], 0)

    def test_too_many_chunks_are_consumed_and_answered(self):
        user = self.user()
        client = self.lmtp()
        client.envelope([user])
        chunk = b"QUIT\r\n" * 20_000
        client.send(
            (b"BDAT %d\r\n" % len(chunk) + chunk) * 3
            + b"BDAT %d LAST\r\n" % len(chunk)
            + chunk
            + b"NOOP\r\n"
        )
        codes = [reply.code for reply in client.replies(5)]
        self.assertEqual(codes[0], 250)
        self.assertEqual(codes[-1], 250)
        # The first chunk that goes beyond, and all behind it, are refused (552, or 503 when the
        # transaction is over).
        self.assertEqual(codes[1], 552)
        self.assertLessEqual(set(codes[2:4]), {552, 503})
        client.expect(250, "RSET")
        client.deliver(user, sample(1))
        self.assertEqual(self.login(user).stat()[0], 1)

    def test_one_chunk_above_the_limit_is_consumed(self):
        user = self.user()
        client = self.lmtp()
        client.envelope([user])
        chunk = b"QUIT\r\n" * 200_000
        client.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk + b"NOOP\r\n")
        self.assertEqual([reply.code for reply in client.replies(2)], [552, 250])
