# SPDX-License-Identifier: Apache-2.0
"""Space comes back while a client is still to be sent what stood there: it gets every octet right,
on whatever file system the tests run and on others, where the machine allows a mount.
"""

import socket
import unittest

from harness import settings
from harness.lmtp import Lmtp
from harness.messages import check_stored, crlf, unstuff
from harness.mount import MIB, Mount
from harness.pop3 import Pop3
from harness.server import PASSWORD, Server

COUNT = 40
MORE = 60 if settings.LONG else 6  # rounds of other mail that comes and goes meanwhile
MORE_MOUNTED = 60 if settings.LONG else 2


def message(number, octets=40000):
    line = f"{number:06} " + "x" * 60 + "\n"
    return crlf(f"Subject: {number}\n\n" + line * (octets // len(line)))


class InFlight(unittest.TestCase):
    def start(self, folder=None):
        self.server = Server(
            folder=folder,
            options=[
                "store.segment_size=64K",
                "store.map_size=64M",
                "store.checkpoint_interval=50ms",
            ],
        )
        self.addCleanup(self.server.clean)
        self.server.start()

    def deliver(self, user, contents):
        with Lmtp(self.server.address("lmtp")) as lmtp:
            lmtp.deliver_many(user, contents)

    def churn(self, user, rounds):
        """Mail that comes and goes, and space given back as fast as it can be."""
        for number in range(rounds):
            self.deliver(user, [message(number, 9000) for _ in range(10)])
            with Pop3(self.server.address("pop3"), user) as client:
                for msgno in client.listing():
                    client.ok(f"DELE {msgno}")
                client.quit()
            self.server.cli("compact", "all")

    def check_reclaim(self, rounds):
        """A client that does not read gets every octet of what was compacted."""
        reader, other = self.server.new_user(), self.server.new_user()
        self.server.cli("checkpoint")  # which is what `stat` counts
        before = self.server.cli_json("stat")["messages"]
        # The large ones are sent from files, one of them from a file of its own.
        contents = [message(number) for number in range(COUNT)] + [message(COUNT, 1 << 21)]
        self.deliver(reader, contents)
        client = Pop3(self.server.address("pop3"), reader, PASSWORD, receive_buffer=4096)
        self.addCleanup(client.close)
        numbers = range(1, len(contents) + 1)
        commands = [f"RETR {msgno}" for msgno in numbers]
        client.send("".join(command + "\r\n" for command in commands).encode("ascii"))
        self.churn(other, rounds)
        self.assertGreater(self.server.cli_json("stat")["reclaimed_segments"], 0)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # now it reads fast
        for msgno in numbers:
            self.assertTrue(client.line().startswith(b"+OK"))
            check_stored(unstuff(client.block()), contents[msgno - 1])
        deletions = "".join(f"DELE {msgno}\r\n" for msgno in numbers) + "QUIT\r\n"
        client.send(deletions.encode("ascii"))
        for _ in range(len(contents) + 1):
            self.assertTrue(client.line().startswith(b"+OK"))
        self.assertTrue(client.at_end())
        self.server.cli("checkpoint")
        self.server.cli("compact")
        found = self.server.cli_json("stat")
        self.assertEqual(found["messages"], before)
        self.assertEqual(found["reclaimed_blobs"], 1)
        self.assertLess(found["log_octets"], 4 << 16)
        self.server.stop()

    def on_mount(self, kind):
        mount = Mount(kind, 128 * MIB)
        self.addCleanup(mount.clean)
        self.start(mount.store_folder())
        self.check_reclaim(MORE_MOUNTED)

    def test_a_client_that_does_not_read_gets_every_octet_of_what_was_compacted(self):
        self.start()
        self.check_reclaim(MORE)

    def test_it_does_so_on_ext4(self):
        self.on_mount("ext4")

    def test_it_does_so_on_xfs(self):
        self.on_mount("xfs")
