# SPDX-License-Identifier: Apache-2.0
"""POP3 before login: RFC 1939 section 4 and 7, RFC 2449, RFC 3206."""

import statistics
import time

from harness import settings
from harness.case import ServerCase
from harness.pop3 import Pop3
from harness.server import PASSWORD
from harness.wire import until


class Pop3Login(ServerCase):
    def test_greets_with_one_ok_line(self):
        client = self.connect()
        self.assertRegex(client.greeting, rb"^\+OK [^\[]")
        self.assertLessEqual(len(client.greeting), 510)
        self.assertTrue(client.quiet_for(0.05))

    def test_greeting_announces_no_apop_that_is_not_there(self):
        self.assertNotIn(b"<", self.connect().greeting)

    def test_accepts_user_and_pass(self):
        client = self.login(self.user())
        self.assertEqual(client.stat(), (0, 0))

    def test_takes_commands_in_any_case(self):
        client = self.connect()
        client.ok(f"uSeR {self.user()}")
        client.ok(f"pASs {PASSWORD}")
        client.ok("stat")
        client.ok("nOOp")
        client.ok("quit")

    def test_status_words_are_upper_case_and_alone(self):
        client = self.connect()
        self.assertRegex(client.ask("NONSENSE"), rb"^-ERR( |$)")
        self.assertRegex(client.ask(f"USER {self.user()}"), rb"^\+OK( |$)")

    def test_takes_a_password_with_spaces_inside_and_at_its_ends(self):
        name = self.user() + "-spaces"
        password = "  two  spaces around, one inside "
        self.server.cli("user", "add", name, "--password-file", "-", text=password + "\n")
        client = self.connect()
        client.ok(f"USER {name}")
        client.err("PASS two  spaces around, one inside")
        client.ok(f"USER {name}")
        client.ok(f"PASS {password}")

    def test_a_space_more_before_the_password_is_part_of_it(self):
        client = self.connect()
        client.ok(f"USER {self.user()}")
        client.err(f"PASS  {PASSWORD}")

    def test_user_is_accepted_for_names_that_do_not_exist(self):
        known, unknown = self.connect(), self.connect()
        reply_known = known.ask(f"USER {self.user()}")
        reply_unknown = unknown.ask("USER nobody-of-that-name")
        self.assertEqual(reply_known, reply_unknown)
        self.assertTrue(reply_unknown.startswith(b"+OK"))

    def test_pass_without_user_is_refused(self):
        client = self.connect()
        client.err(f"PASS {PASSWORD}")
        client.ok(f"USER {self.user()}")
        client.ok(f"PASS {PASSWORD}")

    def test_only_pass_may_follow_user(self):
        user = self.user()
        client = self.connect()
        client.ok(f"USER {user}")
        client.err("STAT")
        client.err(f"PASS {PASSWORD}")
        client.ok(f"USER {user}")
        client.ok(f"PASS {PASSWORD}")

    def test_quit_may_follow_user(self):
        client = self.connect()
        client.ok(f"USER {self.user()}")
        client.quit()

    def test_user_and_pass_need_arguments(self):
        client = self.connect()
        client.err("USER")
        client.ok(f"USER {self.user()}")
        client.err("PASS")

    def test_a_failed_pass_forgets_the_user(self):
        client = self.connect()
        client.ok(f"USER {self.user()}")
        client.err("PASS wrong")
        client.err(f"PASS {PASSWORD}")

    def test_logs_in_after_a_wrong_password(self):
        user = self.user()
        client = self.connect()
        client.ok(f"USER {user}")
        client.err("PASS wrong")
        client.login(user)
        client.stat()

    def test_wrong_password_and_unknown_user_get_the_same_words(self):
        client = self.connect()
        client.ok(f"USER {self.user()}")
        wrong = client.ask("PASS wrong")
        other = self.connect()
        other.ok("USER nobody-of-that-name")
        unknown = other.ask("PASS wrong")
        self.assertEqual(wrong, unknown)
        self.assertTrue(wrong.startswith(b"-ERR [AUTH] "), wrong)

    @settings.against_the_clock
    def test_wrong_password_and_unknown_user_take_the_same_time(self):
        # Accounts made by `user add` have a slow hash; a name that does not exist has to cost as
        # much.
        name = self.user() + "-slow"
        self.server.cli("user", "add", name, "--password-file", "-", text="right\n")

        def duration(user, number):
            client = self.connect()
            client.ok(f"USER {user}")
            begin = time.monotonic()
            client.err(f"PASS wrong {number}")
            elapsed = time.monotonic() - begin
            client.close()
            return elapsed

        wrong, unknown = [], []
        for number in range(9):
            wrong.append(duration(name, number))
            unknown.append(duration(f"no-{name}-{number}", number))
        wrong, unknown = statistics.median(wrong), statistics.median(unknown)
        self.assertLess(
            max(wrong, unknown),
            3 * min(wrong, unknown) + 0.004,
            f"wrong password {wrong * 1000:.2f} ms, unknown user {unknown * 1000:.2f} ms",
        )

    def test_names_are_compared_without_case_and_with_the_default_domain(self):
        user = self.user()
        for name in (user.upper(), f"{user}@localhost", f"{user}@LOCALHOST"):
            self.login(name).quit()

    def test_a_foreign_domain_is_an_unknown_user(self):
        client = self.connect()
        client.ok(f"USER {self.user()}@elsewhere.test")
        self.assertTrue(client.err(f"PASS {PASSWORD}").startswith(b"[AUTH]"))

    def test_transaction_commands_are_refused_before_login(self):
        for command in ("STAT", "LIST", "RETR 1", "DELE 1", "NOOP", "RSET", "TOP 1 1", "UIDL"):
            with self.subTest(command=command):
                self.connect().err(command)

    def test_login_commands_are_refused_after_login(self):
        client = self.login(self.user())
        client.err("USER someone")
        client.err("PASS something")
        client.ok("NOOP")

    def test_quit_before_login_says_ok_and_closes(self):
        self.connect().quit()

    def test_second_login_is_refused_as_in_use_with_the_word_lock(self):
        user = self.user()
        first = self.login(user)
        second = self.connect()
        second.ok(f"USER {user}")
        text = second.err(f"PASS {PASSWORD}")
        self.assertTrue(text.startswith(b"[IN-USE] "), text)
        self.assertIn(b"lock", text.lower())
        first.ok("NOOP")

    def test_in_use_is_not_told_to_those_with_a_wrong_password(self):
        user = self.user()
        self.login(user)
        second = self.connect()
        second.ok(f"USER {user}")
        self.assertTrue(second.err("PASS wrong").startswith(b"[AUTH]"))

    def test_refused_second_login_does_not_hold_the_maildrop(self):
        user = self.user()
        first = self.login(user)
        second = self.connect()
        second.ok(f"USER {user}")
        second.err(f"PASS {PASSWORD}")
        first.quit()
        self.login(user).quit()

    def test_maildrop_is_free_when_quit_is_answered(self):
        user = self.user()
        for _ in range(20):
            client = self.login(user)
            client.ok("QUIT")
            client.close()

    def test_maildrop_is_free_at_once_when_the_client_is_gone(self):
        user = self.user()
        for drop in (Pop3.close, Pop3.reset, Pop3.end_sending):
            with self.subTest(how=drop.__name__):
                client = self.login(user)
                drop(client)
                until(lambda: self._can_login(user), "the maildrop is free", timeout=2)

    def test_maildrop_is_free_when_a_client_vanishes_inside_a_command(self):
        user = self.user()
        client = self.login(user)
        client.send(b"RET")
        client.close()
        until(lambda: self._can_login(user), "the maildrop is free", timeout=2)

    def _can_login(self, user):
        client = self.connect()
        client.ok(f"USER {user}")
        reply = client.ask(f"PASS {PASSWORD}")
        if not reply.startswith(b"+OK"):
            self.assertTrue(reply.startswith(b"-ERR [IN-USE]"), reply)
            client.close()
            return False
        client.quit()
        return True

    def test_three_bad_commands_before_login_end_the_connection(self):
        client = self.connect()
        client.err("ONE")
        client.err("TWO")
        client.send(b"THREE\r\nFOUR\r\nFIVE\r\n")
        rest = client.rest().split(b"\r\n")
        self.assertLessEqual(len(rest), 2, rest)

    @settings.against_the_clock
    def test_many_logins_with_one_password_are_quick(self):
        # The verified-credential cache: a slow hash at every poll would take 20 ms and more of
        # each.
        name = self.user() + "-poll"
        self.server.cli("user", "add", name, "--password-file", "-", text=PASSWORD + "\n")
        self.login(name).quit()
        durations = []
        for _ in range(20):
            client = self.connect()
            client.ok(f"USER {name}")
            begin = time.monotonic()
            client.ok(f"PASS {PASSWORD}")
            durations.append(time.monotonic() - begin)
            client.quit()
        self.assertLess(statistics.median(durations), 0.010)

    def test_an_old_password_stops_working_when_it_is_changed(self):
        name = self.user() + "-change"
        self.server.cli("user", "add", name, "--password-file", "-", text="old\n")
        self.login(name, password="old").quit()
        self.server.cli("user", "passwd", name, "--password-file", "-", text="new\n")
        client = self.connect()
        client.ok(f"USER {name}")
        client.err("PASS old")
        self.login(name, password="new").quit()
