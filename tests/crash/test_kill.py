# SPDX-License-Identifier: Apache-2.0
"""kill -9 in a loop, with deliveries and deletions in flight, and an oracle that forgives nothing.
"""

import statistics
import threading
import time
import unittest

from crash.clients import Clients
from crash.oracle import Broken, Oracle
from harness import settings
from harness.lmtp import Lmtp
from harness.messages import crlf
from harness.pop3 import Pop3
from harness.server import PASSWORD, Server

ROUNDS = 1000 if settings.LONG else 20
USERS = 6


class Killer(unittest.TestCase):
    def one_round(self, server, clients):
        """Load, kill at a random moment, restart, check; returns how long the restart took."""
        with clients.guard:
            pause = clients.chance.uniform(0.02, 0.7) * settings.SLOW

        def end():
            time.sleep(pause)
            server.kill()

        compactor = threading.Thread(
            target=server.cli, args=("compact", "all"), kwargs={"check": False}
        )
        compactor.start()
        clients.load_until(server, end)
        compactor.join(settings.seconds(30))
        begin = time.monotonic()
        server.start()
        elapsed = time.monotonic() - begin
        clients.check(server)
        return elapsed

    def tell(self, kills, clients, restarts):
        delivered, deleted = clients.figures()
        print(
            f"# kill: seed {settings.SEED}, {kills} kills, {delivered} deliveries and {deleted} "
            f"deletions acknowledged, slowest restart {max(restarts):.3f} s",
            flush=True,
        )

    def test_nothing_acknowledged_is_lost_changed_or_back(self):
        chance = settings.randomness("kill")
        # Checkpoints all the time put crashes between the log and the index, too; small segments,
        # copied and unlinked all the time, put them into every step of giving space back.
        server = Server(
            options=[
                "store.checkpoint_interval=20ms",
                "store.segment_size=64K",
                "store.compact_interval=20ms",
                "store.compact_live=90",
            ]
        )
        self.addCleanup(server.clean)
        server.start()
        clients = Clients(chance, [server.new_user() for _ in range(USERS)])
        restarts = []
        for number in range(1, ROUNDS + 1):
            try:
                restarts.append(self.one_round(server, clients))
            except AssertionError as problem:
                self.fail(f"round {number}, seed {settings.SEED}: {problem}\n{server.report()}")
            if number % 100 == 0 or number == ROUNDS:
                self.tell(number, clients, restarts)
        sent = next(clients.counter) - 1
        self.assertGreater(sent, ROUNDS)
        if not settings.SANITIZED:
            # Not the slowest: that one says how busy the machine was.
            self.assertLess(statistics.median(restarts), settings.seconds(2))
        server.stop()

    def test_two_kills_in_a_row_while_starting_lose_nothing(self):
        chance = settings.randomness("kill-while-starting")
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
            threading.Event().wait(chance.uniform(0, 0.15))
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
