# SPDX-License-Identifier: Apache-2.0
"""The clients of the crash tests: they deliver and delete until their server is gone, and tell an
oracle for each maildrop what they are about to do and what was acknowledged.

How the server goes, and how it comes back, is the test's affair.
"""

import contextlib
import itertools
import re
import socket
import threading
import time

from crash.oracle import Broken, Oracle
from harness import settings
from harness.lmtp import Lmtp
from harness.messages import crlf, stuff, without_trace
from harness.pop3 import Pop3
from harness.server import PASSWORD
from harness.wire import until

NUMBER = re.compile(rb"^X-Number: (\d+)\r$", re.M)

# Lines in a message. Most are small; the largest is kept in a file of its own.
SIZES = (1, 5, 50, 50, 500, 500, 5_000, 30_000)


def number_of(message):
    match = NUMBER.search(message)
    if match is None:
        raise Broken(f"a message without its number: {message[:300]!r}")
    return int(match.group(1))


class Clients:
    """Four that deliver, to one or several maildrops at once, and one that deletes for each."""

    def __init__(self, chance, users, sizes=SIZES, timeout=10):
        self.chance = chance
        self.guard = threading.Lock()  # of the two that follow
        self.counter = itertools.count(1)
        self.users = list(users)
        self.sizes = sizes
        self.timeout = timeout
        self.sockets = []
        self.options = {"timeout": timeout, "sockets": self.sockets}
        self.oracles = {user: Oracle() for user in users}
        self.problems = []

    def message(self, chance, number):
        size = chance.choice(self.sizes)
        body = f".{chance.getrandbits(160):040x} of message {number}\n" * size
        return crlf(f"Subject: message {number}\nX-Number: {number}\n\n{body}")

    def deliver_until_dead(self, server, stop):
        """One LMTP client: delivers to one or several users until the server is gone."""
        try:
            with Lmtp(server.address("lmtp"), **self.options) as client:
                while not stop.is_set():
                    with self.guard:
                        number = next(self.counter)
                        message = self.message(self.chance, number)
                        chosen = self.chance.sample(self.users, self.chance.choice([1, 1, 1, 3]))
                    for user in chosen:
                        self.oracles[user].sending(number, message)
                    client.send(b"MAIL FROM:<a@client.test>\r\n")
                    client.send(b"".join(b"RCPT TO:<%s>\r\n" % user.encode() for user in chosen))
                    client.send(b"DATA\r\n" + stuff(message) + b".\r\n")
                    codes = [reply.code for reply in client.replies(2 + len(chosen))]
                    assert codes == [250] * (1 + len(chosen)) + [354], codes
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
                with Pop3(server.address("pop3"), user, **self.options) as client:
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

    def login(self, server, user):
        """A session, or None if the server asks for patience: it may, on a busy machine."""
        client = Pop3(server.address("pop3"), **self.options)
        client.ok(f"USER {user}")
        reply = client.ask(f"PASS {PASSWORD}")
        if reply.startswith(b"+OK"):
            return client
        client.close()
        assert b"[SYS/TEMP]" in reply, reply
        return None

    def look(self, server, user):
        """Everything a user has: number -> (UIDL, octets)."""
        found = {}
        with Pop3(server.address("pop3"), user, timeout=self.timeout) as client:
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

    def load_until(self, server, end):
        """All of them at work until `end`, which takes the server away, returns."""
        stop = threading.Event()
        threads = [
            threading.Thread(target=self.deliver_until_dead, args=(server, stop)) for _ in range(4)
        ] + [
            threading.Thread(target=self.delete_until_dead, args=(server, user, stop))
            for user in self.users
        ]
        self.sockets.clear()
        for thread in threads:
            thread.start()
        try:
            end()
        finally:
            stop.set()
            self.end_of(threads)

    def end_of(self, threads):
        """A client whose connection nobody had accepted is told by nobody that the server is gone.
        """
        deadline = time.monotonic() + 2
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(settings.seconds(3 * self.timeout))
        if any(thread.is_alive() for thread in threads):
            raise Broken("a client hangs")

    def check(self, server):
        """What the server has after its return, held against what was promised."""
        for user in self.users:
            self.oracles[user].check(self.look(server, user))
        if self.problems:
            raise Broken("; ".join(self.problems))

    def figures(self):
        delivered = sum(oracle.acknowledged for oracle in self.oracles.values())
        deleted = sum(oracle.removed for oracle in self.oracles.values())
        return delivered, deleted
