# SPDX-License-Identifier: Apache-2.0
"""DELE, RSET, QUIT and the UPDATE state: RFC 1939 sections 5 and 6."""

from harness.case import ServerCase
from harness.messages import check_stored, sample


class Pop3Update(ServerCase):
    def test_quit_removes_the_messages_marked(self):
        user = self.user()
        self.deliver(user, sample(1), sample(2), sample(3))
        client = self.login(user)
        client.ok("DELE 1")
        client.ok("DELE 3")
        client.quit()
        client = self.login(user)
        self.assertEqual(client.stat()[0], 1)
        check_stored(client.retr(1), sample(2))

    def test_nothing_is_removed_without_quit(self):
        user = self.user()
        self.deliver(user, sample(1), sample(2))
        for drop in ("close", "reset", "end_sending"):
            with self.subTest(how=drop):
                client = self.login_when_free(user)
                client.ok("DELE 1")
                client.ok("DELE 2")
                getattr(client, drop)()
        self.assertEqual(self.login_when_free(user).stat()[0], 2)

    def test_nothing_is_removed_when_half_a_quit_arrives(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.login(user)
        client.ok("DELE 1")
        client.send(b"QUIT")
        client.end_sending()
        client.rest()
        self.assertEqual(self.login_when_free(user).stat()[0], 1)

    def test_rset_takes_the_marks_back(self):
        user = self.user()
        self.deliver(user, sample(1), sample(2))
        client = self.login(user)
        before = client.stat(), client.listing(), client.uidls()
        client.ok("DELE 1")
        client.ok("DELE 2")
        client.ok("RSET")
        self.assertEqual((client.stat(), client.listing(), client.uidls()), before)
        client.ok("DELE 2")
        client.quit()
        client = self.login(user)
        self.assertEqual(client.stat()[0], 1)
        check_stored(client.retr(1), sample(1))

    def test_a_message_is_deleted_once(self):
        client = self.maildrop(sample(1), sample(2))
        client.ok("DELE 1")
        client.err("DELE 1")
        self.assertEqual(client.stat()[0], 1)

    def test_retr_and_top_delete_nothing(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.login(user)
        client.retr(1)
        client.top(1, 10)
        client.quit()
        self.assertEqual(self.login(user).stat()[0], 1)

    def test_quit_without_deletions_changes_nothing(self):
        user = self.user()
        self.deliver(user, sample(1))
        client = self.login(user)
        uidls = client.uidls()
        client.quit()
        self.assertEqual(self.login(user).uidls(), uidls)

    def test_commands_behind_quit_are_not_answered(self):
        client = self.maildrop(sample(1))
        client.send(b"QUIT\r\nSTAT\r\nNOOP\r\n")
        self.assertTrue(client.line().startswith(b"+OK"))
        self.assertEqual(client.rest(), b"")

    def test_many_messages_are_deleted_in_one_session(self):
        user = self.user()
        self.deliver(user, *[sample(number, lines=1) for number in range(1, 501)])
        client = self.login(user)
        odd = b"".join(b"DELE %d\r\n" % number for number in range(1, 501, 2))
        client.send(odd + b"QUIT\r\n")
        for _ in range(251):
            self.assertTrue(client.line().startswith(b"+OK"))
        client = self.login(user)
        self.assertEqual(client.stat()[0], 250)
        for number in range(1, 251, 31):
            self.assertIn(b"X-Number: %d\r\n" % (2 * number), client.retr(number))

    def test_one_copy_deleted_leaves_the_others(self):
        first, second = self.user(), self.user()
        with self.lmtp() as lmtp:
            lmtp.deliver([first, second], sample(7))
        client = self.login(first)
        client.ok("DELE 1")
        client.quit()
        self.assertEqual(self.login(first).stat()[0], 0)
        client = self.login(second)
        self.assertEqual(client.stat()[0], 1)
        check_stored(client.retr(1), sample(7))

    def test_a_session_that_deletes_while_mail_arrives_loses_nothing(self):
        user = self.user()
        self.deliver(user, sample(1), sample(2))
        client = self.login(user)
        client.ok("DELE 1")
        self.deliver(user, sample(3))
        client.ok("DELE 2")
        self.deliver(user, sample(4))
        client.quit()
        client = self.login(user)
        self.assertEqual(client.stat()[0], 2)
        check_stored(client.retr(1), sample(3))
        check_stored(client.retr(2), sample(4))
