# SPDX-License-Identifier: Apache-2.0
"""LMTP commands and replies: RFC 2033, RFC 5321, RFC 2034, RFC 1870, RFC 6531, RFC 3461."""

from harness import settings
from harness.case import ServerCase
from harness.messages import check_stored, crlf, sample, split_trace, stuff


class LmtpSession(ServerCase):
    def stored(self, user):
        """All messages of a maildrop, in order."""
        client = self.login(user)
        messages = [client.retr(number) for number in client.listing()]
        client.quit()
        return messages

    def test_greets_with_220(self):
        self.assertEqual(self.lmtp(hello=False).greeting.code, 220)

    def test_lhlo_announces_what_is_there(self):
        client = self.lmtp()
        names = {line.split()[0].upper() for line in client.capabilities}
        self.assertLessEqual(
            {"PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "SIZE", "CHUNKING"}, names
        )
        self.assertNotIn("BINARYMIME", names)

    def test_size_is_announced_as_a_number(self):
        size = [line for line in self.lmtp().capabilities if line.upper().startswith("SIZE")]
        self.assertEqual(len(size), 1)
        self.assertRegex(size[0], r"^SIZE \d+$")

    def test_helo_and_ehlo_are_500(self):
        client = self.lmtp(hello=False)
        client.expect(500, "HELO client.test")
        client.expect(500, "EHLO client.test")
        client.expect(250, "LHLO client.test")

    def test_lhlo_needs_a_name(self):
        client = self.lmtp(hello=False)
        client.expect(501, "LHLO")

    def test_mail_before_lhlo_is_503(self):
        self.lmtp(hello=False).expect(503, "MAIL FROM:<a@client.test>")

    def test_commands_in_any_case_are_taken(self):
        user = self.user()
        client = self.lmtp(hello=False)
        client.expect(250, "lhlo client.test")
        client.expect(250, "mail from:<a@client.test>")
        client.expect(250, f"Rcpt To:<{user.upper()}@LocalHost>")
        client.expect(354, "data")
        client.send(sample(1) + b".\r\n")
        self.assertEqual(client.reply().code, 250)
        client.expect(221, "quit")

    def test_unknown_commands_are_500_and_the_session_goes_on(self):
        client = self.lmtp()
        for command in ("FOO", "TURN", "MAILX FROM:<a@b>"):
            client.expect(500, command)
        client.expect(250, "NOOP")

    def test_replies_carry_enhanced_status_codes(self):
        user = self.user()
        client = self.lmtp()
        for command, code, enhanced in (
            ("MAIL FROM:<a@client.test>", 250, "2.1.0"),
            (f"RCPT TO:<{user}>", 250, "2.1.5"),
            ("RCPT TO:<nobody-of-that-name>", 550, "5.1.1"),
            ("RSET", 250, "2.0.0"),
            ("NOOP", 250, "2.0.0"),
            ("RCPT TO:<x>", 503, "5.5.1"),
            ("NONSENSE", 500, "5.5.1"),
            ("QUIT", 221, "2.0.0"),
        ):
            with self.subTest(command=command):
                reply = client.expect(code, command)
                self.assertTrue(reply.enhanced.startswith(enhanced[0]), reply)
                if code in (250, 550) and "TO:<nobody" in command:
                    self.assertEqual(reply.enhanced, enhanced)

    def test_noop_rset_vrfy_and_quit_answer(self):
        client = self.lmtp()
        client.expect(250, "NOOP")
        client.expect(250, "NOOP with words")
        client.expect(250, "RSET")
        self.assertIn(client.ask("VRFY someone").code, (252, 250, 502))
        client.expect(221, "QUIT")
        self.assertTrue(client.at_end())

    def test_one_reply_per_accepted_recipient_in_order(self):
        users = [self.user() for _ in range(3)]
        client = self.lmtp()
        client.expect(250, "MAIL FROM:<a@client.test>")
        client.expect(250, f"RCPT TO:<{users[0]}>")
        client.expect(550, "RCPT TO:<nobody-of-that-name>")
        client.expect(250, f"RCPT TO:<{users[1]}>")
        client.expect(250, f"RCPT TO:<{users[2]}>")
        client.expect(354, "DATA")
        client.send(sample(1) + b".\r\n")
        for reply in client.replies(3):
            self.assertEqual(reply.code, 250)
        client.expect(250, "NOOP")
        for user in users:
            self.assertEqual(len(self.stored(user)), 1)

    def test_a_recipient_named_twice_gets_two_replies_and_one_message(self):
        user = self.user()
        client = self.lmtp()
        replies = client.data([user, user, f"{user}@localhost"], sample(1) + b".\r\n")
        self.assertEqual([reply.code for reply in replies], [250] * 3)
        client.expect(250, "NOOP")
        self.assertEqual(len(self.stored(user)), 1)

    def test_data_without_an_accepted_recipient_is_503(self):
        client = self.lmtp()
        client.expect(250, "MAIL FROM:<a@client.test>")
        client.expect(503, "DATA")
        client.expect(550, "RCPT TO:<nobody-of-that-name>")
        client.expect(503, "DATA")
        client.expect(250, "NOOP")

    def test_bdat_without_an_accepted_recipient_is_consumed_and_503(self):
        client = self.lmtp()
        client.expect(250, "MAIL FROM:<a@client.test>")
        client.send(
            b"RCPT TO:<nobody-of-that-name>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\n"
        )
        codes = [reply.code for reply in client.replies(4)]
        self.assertEqual(codes, [550, 503, 503, 250])

    def test_data_without_mail_is_503(self):
        client = self.lmtp()
        client.expect(503, "DATA")
        client.expect(503, "RCPT TO:<someone>")

    def test_mail_twice_is_503(self):
        client = self.lmtp()
        client.expect(250, "MAIL FROM:<a@client.test>")
        client.expect(503, "MAIL FROM:<b@client.test>")

    def test_unknown_recipients_and_domains_are_550(self):
        user = self.user()
        client = self.lmtp()
        client.expect(250, "MAIL FROM:<a@client.test>")
        client.expect(550, "RCPT TO:<nobody-of-that-name>")
        client.expect(550, "RCPT TO:<nobody-of-that-name@localhost>")
        client.expect(550, f"RCPT TO:<{user}@elsewhere.test>")
        client.expect(250, f"RCPT TO:<{user}@localhost>")

    def test_rset_forgets_the_envelope(self):
        user = self.user()
        client = self.lmtp()
        client.envelope([user])
        client.expect(250, "RSET")
        client.expect(503, "DATA")
        client.expect(503, f"RCPT TO:<{user}>")
        client.deliver(user, sample(1))
        self.assertEqual(len(self.stored(user)), 1)

    def test_lhlo_again_forgets_the_envelope(self):
        user = self.user()
        client = self.lmtp()
        client.envelope([user])
        client.expect(250, "LHLO again.test")
        client.expect(503, "DATA")

    def test_the_envelope_is_forgotten_after_data(self):
        user = self.user()
        client = self.lmtp()
        client.deliver(user, sample(1))
        client.expect(503, "DATA")
        client.deliver(user, sample(2))
        self.assertEqual(len(self.stored(user)), 2)

    def test_details_behind_a_plus_reach_the_user(self):
        user = self.user()
        self.lmtp().deliver([f"{user}+lists", f"{user}+a+b@localhost"], sample(1))
        self.assertEqual(len(self.stored(user)), 1)

    def test_an_exact_account_comes_before_the_detail(self):
        user = self.user()
        exact = f"{user}+exact"
        self.server.cli("user", "add", exact, "--password-file", "-", text="secret word\n")
        self.lmtp().deliver(exact, sample(1))
        self.assertEqual(len(self.stored(exact)), 1)
        self.assertEqual(len(self.stored(user)), 0)

    def test_quoted_and_odd_addresses_are_understood(self):
        user = self.user()
        client = self.lmtp()
        client.expect(250, "MAIL FROM:<>")
        client.expect(250, "RSET")
        client.expect(250, 'MAIL FROM:<"odd name"@client.test>')
        client.expect(250, f'RCPT TO:<"{user}"@localhost>')
        client.expect(250, "RSET")
        client.expect(250, "MAIL FROM:<@relay.test,@other.test:a@client.test>")
        for bad in (
            "RCPT TO:",
            "RCPT TO:<",
            f"RCPT TO:{user}>",
            f"RCPT {user}",
            "RCPT TO:<>",
            "RCPT TO:<a b@localhost>",
        ):
            with self.subTest(command=bad):
                self.assertIn(client.ask(bad).code, (501, 550, 553, 500))

    def test_space_behind_the_colon_is_forgiven_or_refused_but_answered(self):
        client = self.lmtp()
        self.assertIn(client.ask("MAIL FROM: <a@client.test>").code, (250, 501))

    def test_size_above_the_limit_is_552_at_mail(self):
        client = self.lmtp()
        limit = next(
            int(line.split()[1]) for line in client.capabilities if line.startswith("SIZE")
        )
        client.expect(552, f"MAIL FROM:<a@client.test> SIZE={limit + 1}")
        client.expect(552, "MAIL FROM:<a@client.test> SIZE=18446744073709551616")
        client.expect(250, f"MAIL FROM:<a@client.test> SIZE={min(limit, 1000)}")

    def test_size_that_is_no_number_is_501(self):
        client = self.lmtp()
        for value in ("", "x", "-1", "1x"):
            with self.subTest(value=value):
                client.expect(501, f"MAIL FROM:<a@client.test> SIZE={value}")

    def test_body_and_smtputf8_parameters_are_accepted(self):
        client = self.lmtp()
        for parameters in (
            "BODY=8BITMIME",
            "BODY=7BIT",
            "SMTPUTF8",
            "SIZE=100 BODY=8BITMIME SMTPUTF8",
            "body=8bitmime",
        ):
            client.expect(250, f"MAIL FROM:<a@client.test> {parameters}")
            client.expect(250, "RSET")
        client.expect(250, "MAIL FROM:<\u00fcser@b\u00fccher.test> SMTPUTF8")

    def test_unknown_parameters_are_555(self):
        client = self.lmtp()
        self.assertIn(client.ask("MAIL FROM:<a@client.test> COLOUR=red").code, (555, 501))
        self.assertIn(client.ask("MAIL FROM:<a@client.test> BODY=BINARYMIME").code, (555, 501, 504))
        client.expect(250, "MAIL FROM:<a@client.test>")
        self.assertIn(client.ask("RCPT TO:<someone> COLOUR=red").code, (555, 501, 550))

    def test_dsn_parameters_are_announced_or_refused(self):
        client = self.lmtp()
        user = self.user()
        if any(line.upper() == "DSN" for line in client.capabilities):
            client.expect(250, "MAIL FROM:<a@client.test> RET=HDRS ENVID=QQ314159")
            client.expect(
                250, f"RCPT TO:<{user}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;someone@client.test"
            )
        else:
            client.expect(250, "MAIL FROM:<a@client.test>")
            self.assertIn(client.ask(f"RCPT TO:<{user}> NOTIFY=NEVER").code, (250, 555, 501))

    def test_trace_headers_are_prepended(self):
        user = self.user()
        self.lmtp().deliver(user, sample(1), sender="the.sender@client.test")
        message = self.stored(user)[0]
        sender, received, rest = split_trace(message)
        self.assertEqual(sender, b"the.sender@client.test")
        self.assertEqual(rest, sample(1))
        self.assertIn(b"LMTP", received)
        self.assertRegex(received, rb"from client\.test")
        self.assertRegex(
            received, rb"; ?(\r\n[ \t]+)?\w{3}, +\d+ \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
        )

    def test_the_empty_sender_makes_an_empty_return_path(self):
        user = self.user()
        self.lmtp().deliver(user, sample(1), sender="")
        self.assertEqual(split_trace(self.stored(user)[0])[0], b"")

    def test_trace_headers_of_the_message_are_kept(self):
        user = self.user()
        message = crlf(
            "Return-Path: <old@client.test>\nReceived: from a by b; yesterday\n"
        ) + sample(1)
        self.lmtp().deliver(user, message)
        check_stored(self.stored(user)[0], message)

    def test_two_users_read_the_same_octets(self):
        users = [self.user(), self.user()]
        self.lmtp().deliver(users, sample(1))
        self.assertEqual(self.stored(users[0]), self.stored(users[1]))

    def test_a_whole_transaction_in_one_packet_is_answered(self):
        users = [self.user(), self.user()]
        client = self.lmtp(hello=False)
        one = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n%s.\r\n"
        session = (
            b"LHLO client.test\r\n"
            + b"".join(
                one % (users[0].encode(), users[1].encode(), sample(number))
                for number in range(1, 4)
            )
            + b"QUIT\r\n"
        )
        client.send(session)
        self.check_three_transactions(client, users)

    def test_a_whole_transaction_one_octet_at_a_time_is_answered_alike(self):
        users = [self.user(), self.user()]
        client = self.lmtp(hello=False)
        one = b"MAIL FROM:<a@client.test>\r\nRCPT TO:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n%s.\r\n"
        session = (
            b"LHLO client.test\r\n"
            + b"".join(
                one % (users[0].encode(), users[1].encode(), sample(number))
                for number in range(1, 4)
            )
            + b"QUIT\r\n"
        )
        client.send_in_pieces(session)
        self.check_three_transactions(client, users)

    def check_three_transactions(self, client, users):
        codes = [reply.code for reply in client.replies(1 + 3 * 6 + 1)]
        self.assertEqual(codes, [250] + [250, 250, 250, 354, 250, 250] * 3 + [221])
        self.assertTrue(client.at_end())
        for user in users:
            messages = self.stored(user)
            self.assertEqual(len(messages), 3)
            for number, message in enumerate(messages, 1):
                check_stored(message, sample(number))

    def test_failed_recipients_and_pipelined_data_are_answered(self):
        client = self.lmtp()
        client.send(
            b"MAIL FROM:<a@client.test>\r\nRCPT TO:<nobody-of-that-name>\r\nDATA\r\nNOOP\r\n"
        )
        self.assertEqual([reply.code for reply in client.replies(4)], [250, 550, 503, 250])

    def test_many_recipients_are_taken_or_deferred(self):
        users = [self.user() for _ in range(150)]
        client = self.lmtp()
        client.expect(250, "MAIL FROM:<a@client.test>")
        client.send(b"".join(b"RCPT TO:<%s>\r\n" % user.encode() for user in users))
        replies = client.replies(len(users))
        accepted = [user for user, reply in zip(users, replies) if reply.code == 250]
        self.assertGreaterEqual(len(accepted), 100)
        self.assertEqual({reply.code for reply in replies} - {250, 452}, set())
        client.expect(354, "DATA")
        client.send(sample(1) + b".\r\n")
        self.assertEqual({reply.code for reply in client.replies(len(accepted))}, {250})
        self.assertEqual(len(self.stored(accepted[-1])), 1)

    def test_a_client_that_goes_inside_data_delivers_nothing(self):
        user = self.user()
        client = self.lmtp()
        client.envelope([user])
        client.expect(354, "DATA")
        client.send(sample(1) + b".\r")
        client.close()
        client = self.lmtp()
        client.envelope([user])
        client.expect(354, "DATA")
        client.send(sample(1))
        client.end_sending()
        client.rest()
        self.assertEqual(self.stored(user), [])

    def test_a_client_that_goes_after_the_dot_finds_its_mail_whole_or_not_at_all(self):
        user = self.user()
        for number in range(10):
            client = self.lmtp()
            client.envelope([user])
            client.expect(354, "DATA")
            client.send(sample(number) + b".\r\n")
            client.reset()
        for message in self.stored(user):
            self.assertTrue(message.endswith(b".3\r\n"), message)

    def test_too_long_lines_are_500_and_the_session_goes_on(self):
        client = self.lmtp()
        client.expect(500, b"NOOP " + b"x" * 20_000)
        client.expect(250, "NOOP")

    def test_nul_and_bare_cr_in_commands_are_refused(self):
        client = self.lmtp()
        for command in (
            b"NOOP\0",
            b"MAIL FROM:<a\0b@client.test>",
            b"MAIL FROM:<a\rb@client.test>",
        ):
            with self.subTest(command=command):
                self.assertIn(client.ask(command).code, (500, 501, 553))
        client.expect(250, "NOOP")

    def test_header_injection_through_the_sender_is_not_possible(self):
        user = self.user()
        client = self.lmtp()
        reply = client.ask(b"MAIL FROM:<a@client.test\nX-Evil: 1>")
        if reply.code == 250:
            client.expect(250, f"RCPT TO:<{user}>")
            client.expect(354, "DATA")
            client.send(sample(1) + b".\r\n")
            client.reply()
            self.assertNotIn(b"\nX-Evil", self.stored(user)[0])

    def test_ten_thousand_pipelined_commands_are_answered(self):
        client = self.lmtp()
        client.socket.settimeout(settings.seconds(60))
        client.send(b"NOOP\r\n" * 10_000)
        for reply in client.replies(10_000):
            self.assertEqual(reply.code, 250)

    def test_sessions_on_many_connections_deliver_everything(self):
        user = self.user()
        clients = [self.lmtp() for _ in range(40)]
        for number, client in enumerate(clients):
            client.send(
                b"MAIL FROM:<a@client.test>\r\nRCPT TO:<%s>\r\nDATA\r\n%s.\r\n"
                % (user.encode(), stuff(sample(number)))
            )
        for client in clients:
            self.assertEqual([reply.code for reply in client.replies(4)], [250, 250, 354, 250])
        messages = self.stored(user)
        self.assertEqual(len(messages), 40)
        numbers = sorted(
            int(message.split(b"X-Number: ")[1].split(b"\r")[0]) for message in messages
        )
        self.assertEqual(numbers, list(range(40)))

    def test_utf8_recipients_without_smtputf8_do_no_harm(self):
        client = self.lmtp()
        client.expect(250, "MAIL FROM:<a@client.test>")
        self.assertIn(client.ask("RCPT TO:<\u00fcser@localhost>").code, (550, 553, 501))
        client.expect(250, "NOOP")
