# SPDX-License-Identifier: Apache-2.0
"""A disk that others fill to its last block while clients deliver, delete and read, and that is
made free again: nothing acknowledged is lost, nothing refused is there, nothing has to be started
again.
"""

import threading
import unittest

from crash.clients import Clients, number_of
from crash.oracle import Broken
from harness import settings
from harness.lmtp import Lmtp
from harness.messages import stuff, without_trace
from harness.mount import MIB, Mount, write_until_full
from harness.pop3 import Pop3
from harness.server import Server
from harness.wire import until

ROUNDS = 60 if settings.LONG else 1
USERS = 3
SIZES = (1, 5, 50, 500, 5_000, 20_000)  # lines; the largest is kept in a file of its own
PAUSE_S = 0.005  # of a client that was refused


class Patient(Clients):
    """Clients that are refused for want of room, and try again: everything else is a problem."""

    def __init__(self, chance, users):
        super().__init__(chance, users, SIZES)
        self.refusals = 0  # of deliveries
        self.sessions = 0  # that read and deleted
        self.expunges = 0  # of them those that deleted something
        self.kept = 0  # and those that were told that they could not
        self.may_keep = False  # is that allowed now?
        self.may_delete = True

    def note(self, stop, problem):
        if not stop.is_set():  # else its connection was taken away
            self.problems.append(repr(problem))

    def deliver_until_dead(self, server, stop):
        try:
            with Lmtp(server.address("lmtp"), **self.options) as client:
                while not stop.is_set():
                    if not self.deliver(client):
                        self.refusals += 1
                        stop.wait(PAUSE_S)
        except (OSError, AssertionError) as problem:
            self.note(stop, problem)

    def deliver(self, client):
        """One message to one or several; false: the disk is full."""
        with self.guard:
            number = next(self.counter)
            message = self.message(self.chance, number)
            chosen = self.chance.sample(self.users, self.chance.choice([1, 1, USERS]))
        client.expect(250, "MAIL FROM:<a@client.test>")
        taken = [user for user in chosen if self.is_welcome(client.ask(f"RCPT TO:<{user}>"))]
        if not taken:
            client.expect(250, "RSET")
            return False
        for user in taken:
            self.oracles[user].sending(number, message)
        reply = client.ask("DATA")
        if reply.code != 354:
            self.is_welcome(reply)
            for user in taken:
                self.oracles[user].refused(number)
            client.expect(250, "RSET")
            return False
        client.send(stuff(message) + b".\r\n")
        answers = [self.is_welcome(reply) for reply in client.replies(len(taken))]
        for user, is_there in zip(taken, answers):
            if is_there:
                self.oracles[user].delivered(number)
            else:
                self.oracles[user].refused(number)
        return all(answers) and taken == chosen

    def is_welcome(self, reply):
        if reply.code != 250 and (reply.code, reply.enhanced) != (452, "4.3.1"):
            raise Broken(f"a delivery was answered {reply}")
        return reply.code == 250

    def delete_until_dead(self, server, user, stop):
        try:
            while not stop.is_set():
                with Pop3(server.address("pop3"), user, **self.options) as client:
                    self.read_and_delete(client, self.oracles[user])
        except (OSError, AssertionError) as problem:
            self.note(stop, problem)

    def read_and_delete(self, client, oracle):
        leaving = []
        for msgno in client.listing():
            with self.guard:
                is_read, is_deleted = self.chance.random() < 0.5, self.chance.random() < 0.3
                is_deleted = is_deleted and self.may_delete
            message = client.retr(msgno) if is_read else client.top(msgno, 0)
            number = number_of(message)
            if is_read and without_trace(message) != oracle.octets[number]:
                raise Broken(f"message {number} is changed")
            if is_deleted:
                client.ok(f"DELE {msgno}")
                leaving.append(number)
        self.sessions += 1
        oracle.deleting(leaving)
        reply = client.ask("QUIT")
        if reply.startswith(b"+OK"):
            oracle.deleted(leaving)
            self.expunges += bool(leaving)
        elif self.may_keep and reply.startswith(b"-ERR [SYS/TEMP]"):
            oracle.kept(leaving)
            self.kept += 1
        else:
            raise Broken(f"QUIT with {len(leaving)} deletions was answered {reply}")

    def acknowledged(self):
        return self.figures()[0]


class Filler:
    """Somebody else's file on the same disk."""

    def __init__(self, mount):
        self.path = mount.place / "filler"
        self.file = open(self.path, "wb", buffering=0)

    def fill(self):
        write_until_full(self.file)

    def fill_on(self, over):
        while not over.wait(0.01):
            self.fill()

    def free(self):
        self.file.close()
        self.path.unlink()


class FullDisk(unittest.TestCase):
    def setUp(self):
        mount = Mount("ext4", 64 * MIB)
        self.addCleanup(mount.clean)
        self.mount = mount
        self.server = Server(
            folder=mount.store_folder(),
            options=[
                "store.segment_size=1M",
                "store.map_size=64M",
                "store.checkpoint_interval=50ms",
                "store.compact_interval=50ms",
            ],
        )
        self.addCleanup(self.server.kill)
        self.server.start()
        self.chance = settings.randomness("full disk")
        self.clients = Patient(self.chance, [self.server.new_user() for _ in range(USERS)])

    def until_more(self, what, **wanted):
        """Waits until counters of the clients have grown by so much each."""
        before = {name: self.count(name) for name in wanted}

        def is_there():
            if self.clients.problems:
                return True
            return all(self.count(name) >= before[name] + more for name, more in wanted.items())

        until(is_there, what, timeout=60)
        self.assertEqual(self.clients.problems, [], self.server.log()[-2000:])

    def count(self, name):
        value = getattr(self.clients, name)
        return value() if callable(value) else value

    def fill_and_free(self):
        """While the clients work."""
        self.until_more("mail comes and goes", acknowledged=self.some(30), expunges=4)
        self.clients.may_delete = False  # so that there is something to delete then
        self.until_more("there is more mail", acknowledged=30)
        filler = Filler(self.mount)
        filler.fill()
        self.clients.may_delete = True
        self.until_more("mail is refused and still goes", refusals=20, sessions=9, expunges=4)
        # And now by somebody who takes at once whatever is given back.
        self.clients.may_keep = True
        over = threading.Event()
        hungry = threading.Thread(target=filler.fill_on, args=(over,))
        hungry.start()
        try:
            self.until_more("mail is refused again", refusals=self.some(40), sessions=self.some(9))
        finally:
            over.set()
            hungry.join()
        filler.free()
        health = self.server.cli
        until(lambda: health("health", check=False).returncode == 0, "there is room again")
        self.clients.may_keep = False
        self.until_more("mail is taken again", acknowledged=40, expunges=4)

    def some(self, count):
        """So many, or more in a long run."""
        return self.chance.randint(count, 5 * count) if settings.LONG else count

    def test_filled_and_freed_under_load_it_keeps_every_word(self):
        for _ in range(ROUNDS):
            self.clients.load_until(self.server, self.fill_and_free)
            self.clients.check(self.server)
        self.assertIn("no damage found", self.server.cli("check").stdout)
        self.server.stop()
        self.assertIn("no damage found", self.server.cli("check", offline=True).stdout)
        self.server.cli("rebuild", offline=True)
        self.server.start()
        self.clients.check(self.server)
        self.server.stop()
        delivered, deleted = self.clients.figures()
        print(
            f"# full disk: {ROUNDS} times filled, {delivered} deliveries and {deleted} deletions "
            f"acknowledged, {self.clients.refusals} deliveries refused, {self.clients.kept} "
            "sessions could not delete"
        )
