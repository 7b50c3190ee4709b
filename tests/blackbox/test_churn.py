# SPDX-License-Identifier: Apache-2.0
"""Mail that comes and goes for a long time: the store stays as large as what is in it.
"""

import unittest

from harness import settings
from harness.lmtp import Lmtp
from harness.messages import check_stored, crlf, unstuff
from harness.pop3 import Pop3
from harness.server import Server
from harness.wire import until

SEGMENT = 256 << 10
USERS = 8
KEPT = 40  # messages of a maildrop, about
ROUNDS = 400 if settings.LONG else 12  # each renews a third of all mail
RECORD_OCTETS = 300  # what the log needs for a message besides the message


def size_of(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # unlinked since it was listed


class Churn(unittest.TestCase):
    def setUp(self):
        self.chance = settings.randomness("churn")
        self.server = Server(
            options=[
                f"store.segment_size={SEGMENT}",
                "store.checkpoint_interval=100ms",
                "store.compact_interval=100ms",
                "store.blob_min=64K",
            ]
        )
        self.addCleanup(self.server.clean)
        self.server.start()
        self.mail = {self.server.new_user(): {} for _ in range(USERS)}  # user -> number -> content
        self.number = 0

    def message(self):
        self.number += 1
        octets = self.chance.choice([300, 1000, 4000, 4000, 9000, 30000, 90000])
        line = f"{self.number:08} {self.chance.getrandbits(200):050x}\n"
        return crlf(f"X-Number: {self.number}\n\n" + line * (octets // len(line)))

    def deliver(self):
        """Every maildrop is filled up again."""
        with Lmtp(self.server.address("lmtp")) as lmtp:
            for user, mail in self.mail.items():
                contents = [self.message() for _ in range(KEPT - len(mail))]
                first = self.number - len(contents) + 1
                lmtp.deliver_many(user, contents)
                mail.update(enumerate(contents, first))

    def delete(self):
        """A third of each maildrop, chosen at random, so that old mail stays among the new."""
        for user, mail in self.mail.items():
            leaving = {number for number in mail if self.chance.random() < 0.33}
            with Pop3(self.server.address("pop3"), user) as client:
                for msgno, number in enumerate(list(mail), 1):
                    if number in leaving:
                        client.ok(f"DELE {msgno}")
                        del mail[number]
                client.quit()

    def disk_octets(self):
        volume = self.server.folder / "volume"
        files = [*volume.glob("segments/*.seg"), *volume.glob("blobs/*/*.blob")]
        return sum(size_of(path) for path in files)

    def bound(self):
        live = sum(
            len(content) + RECORD_OCTETS for mail in self.mail.values() for content in mail.values()
        )
        return live * 3 // 2 + 2 * SEGMENT

    def look(self):
        """The unique-ids of all mail, whose octets are compared."""
        found = {}
        for user, mail in self.mail.items():
            with Pop3(self.server.address("pop3"), user) as client:
                found[user] = client.uidls()
                self.assertEqual(len(found[user]), len(mail))
                for msgno, content in enumerate(mail.values(), 1):
                    client.ok(f"RETR {msgno}")
                    check_stored(unstuff(client.block()), content)
                client.quit()
        return found

    def test_the_store_stays_within_its_bound_and_keeps_every_octet(self):
        largest = delivered = 0
        for _ in range(ROUNDS):
            self.deliver()
            self.delete()
            largest = max(largest, self.disk_octets() / self.bound())
            until(lambda: self.disk_octets() <= self.bound(), "space has come back", timeout=20)
            delivered = self.number
        before = self.look()
        found = self.server.cli_json("stat")
        segments, blobs = found["reclaimed_segments"], found["reclaimed_blobs"]
        print(
            f"# churn: {delivered} messages through {USERS} maildrops in {ROUNDS} rounds, "
            f"{segments} segments and {blobs} blobs unlinked, at most {largest:.2f} of the bound "
            "at the end of a round"
        )
        self.assertGreater(segments, ROUNDS // 2)
        self.assertGreater(blobs, ROUNDS // 2)
        self.server.stop()
        self.server.cli("rebuild", offline=True)
        self.server.start()
        self.assertEqual(self.look(), before)
        self.server.stop()
