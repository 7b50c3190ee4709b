# SPDX-License-Identifier: Apache-2.0
"""STAT, LIST and UIDL, and what counts as a message number: RFC 1939 sections 5 and 7."""

from harness.case import ServerCase
from harness.messages import sample

BAD_NUMBERS = (
    "0",
    "4",
    "-1",
    "+1",
    "1x",
    "x",
    "1.0",
    "0x1",
    "4294967297",
    "18446744073709551617",
    "9" * 60,
    "1 2",
    "-0",
    "1,2",
    "''",
    "\u0661",
)


class Pop3List(ServerCase):
    def test_an_empty_maildrop_is_listed_as_nothing(self):
        client = self.login(self.user())
        self.assertEqual(client.stat(), (0, 0))
        self.assertEqual(client.lines("LIST"), [])
        self.assertEqual(client.lines("UIDL"), [])

    def test_stat_counts_messages_and_octets(self):
        client = self.maildrop(sample(1), sample(2), sample(3))
        listing = client.listing()
        self.assertEqual(list(listing), [1, 2, 3])
        self.assertEqual(client.stat(), (3, sum(listing.values())))

    def test_sizes_are_the_octets_sent_without_dot_stuffing(self):
        dotted = sample(2) + b".\r\n..\r\n.text\r\n"
        client = self.maildrop(sample(1), dotted, sample(3, lines=500))
        for number, octets in client.listing().items():
            self.assertEqual(len(client.retr(number)), octets)

    def test_messages_are_numbered_in_order_of_arrival(self):
        client = self.maildrop(*[sample(number) for number in range(1, 13)])
        for number in range(1, 13):
            self.assertIn(b"X-Number: %d\r\n" % number, client.retr(number))

    def test_list_of_one_message_is_one_line(self):
        client = self.maildrop(sample(1), sample(2))
        listing = client.listing()
        self.assertEqual(client.ok("LIST 2").split()[:2], [b"2", b"%d" % listing[2]])
        client.ok("NOOP")

    def test_uidl_of_one_message_is_one_line(self):
        client = self.maildrop(sample(1), sample(2))
        uidls = client.uidls()
        self.assertEqual(client.ok("UIDL 2").split(), [b"2", uidls[2].encode()])
        client.ok("NOOP")

    def test_leading_zeros_are_accepted(self):
        client = self.maildrop(sample(1), sample(2))
        self.assertEqual(client.ok("LIST 0002").split()[0], b"2")

    def test_listings_leave_out_deleted_messages_and_keep_the_numbers(self):
        client = self.maildrop(sample(1), sample(2), sample(3), sample(4))
        listing, uidls = client.listing(), client.uidls()
        client.ok("DELE 2")
        client.ok("DELE 3")
        for gone in (2, 3):
            del listing[gone], uidls[gone]
        self.assertEqual(client.listing(), listing)
        self.assertEqual(client.uidls(), uidls)
        self.assertEqual(client.stat(), (2, sum(listing.values())))

    def test_all_messages_deleted_is_an_empty_listing(self):
        client = self.maildrop(sample(1))
        client.ok("DELE 1")
        self.assertEqual(client.stat(), (0, 0))
        self.assertEqual(client.lines("LIST"), [])
        self.assertEqual(client.lines("UIDL"), [])

    def test_a_deleted_message_is_refused_everywhere(self):
        client = self.maildrop(sample(1), sample(2))
        client.ok("DELE 1")
        for command in ("LIST 1", "UIDL 1", "RETR 1", "TOP 1 0", "DELE 1"):
            with self.subTest(command=command):
                client.err(command)
        client.ok("LIST 2")

    def test_bad_message_numbers_are_refused(self):
        client = self.maildrop(sample(1), sample(2), sample(3))
        answers = 0
        for number in BAD_NUMBERS:
            for command in (
                f"LIST {number}",
                f"UIDL {number}",
                f"RETR {number}",
                f"DELE {number}",
                f"TOP {number} 1",
            ):
                with self.subTest(command=command):
                    client.err(command)
                    answers += 1
                    if answers % 10 == 0:
                        # Bad commands are counted; a session is not meant to consist of nothing
                        # else.
                        client.close()
                        client = self.maildrop(sample(1), sample(2), sample(3))
        self.assertEqual(client.stat()[0], 3)

    def test_message_numbers_are_needed_by_retr_dele_and_top(self):
        client = self.maildrop(sample(1))
        for command in ("RETR", "DELE", "TOP", "TOP 1", "RETR ", "DELE "):
            with self.subTest(command=command):
                client.err(command)
        self.assertEqual(client.stat()[0], 1)

    def test_several_spaces_before_a_number_are_forgiven(self):
        client = self.maildrop(sample(1))
        client.ok("LIST  1")
        client.ok("STAT")

    def test_uidls_are_short_printable_and_unique(self):
        uidls = self.maildrop(*[sample(1)] * 5).uidls()
        self.assertEqual(len(set(uidls.values())), 5)
        for uidl in uidls.values():
            self.assertRegex(uidl, r"^[!-~]{1,70}$")

    def test_uidls_of_new_mail_are_epoch_and_sequence(self):
        for uidl in self.maildrop(sample(1), sample(2)).uidls().values():
            self.assertRegex(uidl, r"^[0-9a-f]{8}\.[0-9a-f]{16}$")

    def test_uidls_stay_over_sessions_and_deletions(self):
        user = self.user()
        self.deliver(user, sample(1), sample(2), sample(3))
        client = self.login(user)
        before = client.uidls()
        client.ok("DELE 2")
        client.quit()
        after = self.login(user).uidls()
        self.assertEqual(after, {1: before[1], 2: before[3]})

    def test_uidls_stay_when_a_session_ends_without_update(self):
        user = self.user()
        self.deliver(user, sample(1), sample(2))
        client = self.login(user)
        before = client.uidls()
        client.ok("DELE 1")
        client.close()
        self.assertEqual(self.login_when_free(user).uidls(), before)

    def test_a_uidl_is_never_used_again(self):
        user = self.user()
        seen = set()
        for number in range(5):
            self.deliver(user, sample(number))
            client = self.login(user)
            uidl = client.uidls()[1]
            self.assertNotIn(uidl, seen)
            seen.add(uidl)
            client.ok("DELE 1")
            client.quit()

    def test_mail_that_arrives_is_not_in_the_session(self):
        user = self.user()
        self.deliver(user, sample(1), sample(2))
        client = self.login(user)
        stat, listing, uidls = client.stat(), client.listing(), client.uidls()
        self.deliver(user, sample(3), sample(4))
        self.assertEqual(client.stat(), stat)
        self.assertEqual(client.listing(), listing)
        self.assertEqual(client.uidls(), uidls)
        client.err("RETR 3")
        client.ok("DELE 1")
        client.quit()
        client = self.login(user)
        self.assertEqual(client.stat()[0], 3)
        self.assertIn(b"X-Number: 4\r\n", client.retr(3))

    def test_a_large_listing_is_complete(self):
        user = self.user()
        self.deliver(user, *[sample(number, lines=1) for number in range(1, 1001)])
        client = self.login(user)
        listing, uidls = client.listing(), client.uidls()
        self.assertEqual(list(listing), list(range(1, 1001)))
        self.assertEqual(len(set(uidls.values())), 1000)
        self.assertEqual(client.stat(), (1000, sum(listing.values())))

    def test_stat_list_and_uidl_take_no_more_than_their_arguments(self):
        client = self.maildrop(sample(1))
        for command in ("STAT 1", "LIST 1 1", "UIDL 1 1", "NOOP 1", "RSET 1", "QUIT 1"):
            with self.subTest(command=command):
                client.err(command)
        client.ok("NOOP")
