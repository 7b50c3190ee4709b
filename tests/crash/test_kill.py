# SPDX-License-Identifier: Apache-2.0
"""kill -9 in a loop, with deliveries and deletions in flight, and an oracle that forgives nothing.
"""

import itertools
import re
import threading
import time
import unittest

from crash.oracle import Broken, Oracle
from harness import settings
from harness.lmtp import Lmtp
from harness.messages import crlf, stuff, without_trace
from harness.pop3 import Pop3
from harness.server import PASSWORD, Server

ROUNDS = 1000 if settings.LONG else 20
USERS = 6
NUMBER = re.compile(rb"^X-Number: (\d+)\r$", re.M)


def number_of(message):
    match = NUMBER.search(message)
    if match is None:
        raise Broken(f"a message without its number: {message[:300]!r}")
    return int(match.group(1))


class Killer(unittest.TestCase):
    def message(self, chance, number):
        """Most are small; some are large enough to be kept in a file of their own."""
        size = chance.choice([1, 5, 50, 50, 500, 500, 5_000, 30_000])
        body = f".{chance.getrandbits(160):040x} of message {number}\n" * size
        return crlf(f"Subject: message {number}\nX-Number: {number}\n\n{body}")

    def deliver_until_dead(self, server, users, stop):
        """One LMTP client: delivers to one or several users until the server is gone."""
        try:
            with Lmtp(server.address("lmtp")) as client:
                while not stop.is_set():
                    with self.guard:
                        number = next(self.counter)
                        message = self.message(self.chance, number)
                        chosen = self.chance.sample(users, self.chance.choice([1, 1, 1, 3]))
                    for user in chosen:
                        self.oracles[user].sending(number, message)
                    client.send(b"MAIL FROM:<a@client.test>\r\n")
                    client.send(b"".join(b"RCPT TO:<%s>\r\n" % user.encode() for user in chosen))
                    client.send(b"DATA\r\n" + stuff(message) + b".\r\n")
                    for _ in range(2 + len(chosen)):
                        client.reply()
                    for user in chosen:
                        if client.reply().code == 250:
                            self.oracles[user].delivered(number)
        except (OSError, AssertionError):
            pass  # The server was killed; what was not acknowledged may be there or not.

    def delete_until_dead(self, server, user, stop):
        """One POP3 client: deletes a part of its maildrop, session by session."""
        oracle = self.oracles[user]
        try:
            while not stop.is_set():
                with Pop3(server.address("pop3"), user) as client:
                    numbers = {}
                    for msgno in client.listing():
                        header = client.top(msgno, 0)
                        numbers[msgno] = number_of(header)
                    with self.guard:
                        chosen = [one for one in numbers if self.chance.random() < 0.4]
                    client.send(b"".join(b"DELE %d\r\n" % msgno for msgno in chosen))
                    for _ in chosen:
                        if not client.line().startswith(b"+OK"):
                            raise Broken("DELE was refused")
                    leaving = [numbers[msgno] for msgno in chosen]
                    oracle.deleting(leaving)
                    if client.ask("QUIT").startswith(b"+OK"):
                        oracle.deleted(leaving)
        except Broken as broken:
            self.problems.append(str(broken))
        except (OSError, AssertionError):
            pass

    def look(self, server, user):
        """Everything a user has: number -> (UIDL, octets)."""
        found = {}
        with Pop3(server.address("pop3"), user) as client:
            uidls, listing = client.uidls(), client.listing()
            if set(uidls) != set(listing):
                raise Broken(f"LIST and UIDL of {user} differ")
            for msgno in listing:
                message = client.retr(msgno)
                if len(message) != listing[msgno]:
                    raise Broken(f"LIST says {listing[msgno]} octets, RETR gave {len(message)}")
                number = number_of(message)
                if number in found:
                    raise Broken(f"message {number} is there twice")
                found[number] = (uidls[msgno], without_trace(message))
            client.quit()
        return found

    def one_round(self, server, users):
        """Load, kill at a random moment, restart, check; returns how long the restart took."""
        stop = threading.Event()
        threads = [
            threading.Thread(target=self.deliver_until_dead, args=(server, users, stop))
            for _ in range(4)
        ] + [
            threading.Thread(target=self.delete_until_dead, args=(server, user, stop))
            for user in users
        ]
        for thread in threads:
            thread.start()
        with self.guard:
            pause = self.chance.uniform(0.02, 0.7) * settings.SLOW
        stop.wait(pause)
        server.kill()
        stop.set()
        for thread in threads:
            thread.join(settings.seconds(30))
            self.assertFalse(thread.is_alive(), "a client hangs")
        begin = time.monotonic()
        server.start()
        elapsed = time.monotonic() - begin
        for user in users:
            self.oracles[user].check(self.look(server, user))
        return elapsed

    def test_nothing_acknowledged_is_lost_changed_or_back(self):
        self.chance = settings.randomness("kill")
        self.guard = threading.Lock()
        self.counter = itertools.count(1)
        self.problems = []
        # Checkpoints all the time put crashes between the log and the index, too.
        server = Server(options=["store.checkpoint_interval=20ms", "store.segment_size=1M"])
        self.addCleanup(server.clean)
        server.start()
        users = [server.new_user() for _ in range(USERS)]
        self.oracles = {user: Oracle() for user in users}
        restarts = []
        for number in range(1, ROUNDS + 1):
            try:
                restarts.append(self.one_round(server, users))
            except AssertionError as problem:
                self.fail(f"round {number}, seed {settings.SEED}: {problem}\n{server.report()}")
        self.assertEqual(self.problems, [])
        sent = next(self.counter) - 1
        delivered = sum(oracle.acknowledged for oracle in self.oracles.values())
        deleted = sum(oracle.removed for oracle in self.oracles.values())
        print(
            f"# kill: seed {settings.SEED}, {ROUNDS} kills, {sent} messages sent, {delivered} "
            f"deliveries and {deleted} deletions acknowledged, slowest restart "
            f"{max(restarts):.3f} s"
        )
        self.assertGreater(sent, ROUNDS)
        if not settings.SANITIZED:
            self.assertLess(max(restarts), settings.seconds(2))
        server.stop()

    def test_two_kills_in_a_row_while_starting_lose_nothing(self):
        self.chance = settings.randomness("kill-while-starting")
        server = Server(options=["store.checkpoint_interval=200ms"])
        self.addCleanup(server.clean)
        server.start()
        user = server.new_user()
        with Lmtp(server.address("lmtp")) as lmtp:
            lmtp.deliver_many(user, [crlf(f"X-Number: {n}\n\nbody\n") for n in range(300)])
        with Pop3(server.address("pop3"), user) as client:
            before = client.uidls()
        for _ in range(40 if settings.LONG else 8):
            server.kill()
            server.start(wait=False)
            threading.Event().wait(self.chance.uniform(0, 0.15))
        server.kill()
        server.start()
        with Pop3(server.address("pop3"), user, password=PASSWORD) as client:
            self.assertEqual(client.uidls(), before)
            client.quit()
        server.stop()


class OracleTest(unittest.TestCase):
    def setUp(self):
        self.oracle = Oracle()
        for number in (1, 2, 3):
            self.oracle.sending(number, b"%d" % number)
        self.oracle.delivered(1)
        self.oracle.delivered(2)
        self.oracle.deleting([2])
        self.oracle.deleted([2])

    def test_the_oracle_accepts_both_ends_of_what_was_open(self):
        self.oracle.check({1: ("a", b"1"), 3: ("c", b"3")})
        self.assertEqual(self.oracle.expected({"there"}), {1, 3})

    def test_the_oracle_holds_the_server_to_what_it_saw(self):
        self.oracle.check({1: ("a", b"1")})
        with self.assertRaises(Broken):
            self.oracle.check({1: ("a", b"1"), 3: ("c", b"3")})

    def test_an_acknowledgement_read_late_undoes_no_deletion(self):
        self.oracle.deleting([3])
        self.oracle.deleted([3])
        self.oracle.delivered(3)
        self.oracle.check({1: ("a", b"1")})

    def test_the_oracle_finds_every_breach(self):
        for found in (
            {},
            {1: ("a", b"1"), 2: ("b", b"2")},
            {1: ("a", b"x")},
            {1: ("a", b"1"), 9: ("z", b"9")},
        ):
            with self.subTest(found=found), self.assertRaises(Broken):
                self.oracle.check(found)
        self.oracle.check({1: ("a", b"1"), 3: ("c", b"3")})
        with self.assertRaises(Broken):
            self.oracle.check({1: ("b", b"1"), 3: ("c", b"3")})
