# SPDX-License-Identifier: Apache-2.0
"""A POP3 client that says what it is told."""

import re

from harness.messages import unstuff
from harness.server import PASSWORD
from harness.wire import Wire


class Pop3(Wire):
    def __init__(self, address, user=None, password=PASSWORD, **options):
        super().__init__(address, **options)
        self.greeting = self.line()
        assert self.greeting.startswith(b"+OK"), self.greeting
        if user is not None:
            self.login(user, password)

    def ask(self, command):
        """Sends one command line and returns the first line of the reply."""
        if isinstance(command, str):
            command = command.encode("utf-8")
        self.send(command + b"\r\n")
        return self.line()

    def ok(self, command):
        """Like ask, for a command that has to succeed; returns the text after +OK."""
        reply = self.ask(command)
        assert reply == b"+OK" or reply.startswith(b"+OK "), f"{command!r} was answered {reply!r}"
        return reply[4:]

    def err(self, command):
        """Like ask, for a command that has to fail; returns the text after -ERR."""
        reply = self.ask(command)
        assert reply == b"-ERR" or reply.startswith(b"-ERR "), f"{command!r} was answered {reply!r}"
        return reply[5:]

    def lines(self, command):
        """Asks for a listing: the lines between +OK and the dot."""
        self.ok(command)
        return self.block().decode("ascii").splitlines()

    def login(self, user, password=PASSWORD):
        self.ok(f"USER {user}")
        self.ok(f"PASS {password}")

    def stat(self):
        text = self.ok("STAT").decode("ascii")
        assert re.match(r"^\d+ \d+( |$)", text), f"STAT was answered {text!r}"
        count, octets = text.split()[:2]
        return int(count), int(octets)

    def listing(self):
        """LIST as a dictionary number -> octets."""
        return {int(line.split()[0]): int(line.split()[1]) for line in self.lines("LIST")}

    def uidls(self):
        """UIDL as a dictionary number -> unique id."""
        return {int(line.split()[0]): line.split()[1] for line in self.lines("UIDL")}

    def retr(self, number):
        """The message, unstuffed."""
        self.ok(f"RETR {number}")
        return unstuff(self.block())

    def top(self, number, count):
        self.ok(f"TOP {number} {count}")
        return unstuff(self.block())

    def quit(self):
        """Ends the session properly and waits for the server to close."""
        reply = self.ok("QUIT")
        assert self.at_end(), "the server said more after the reply to QUIT"
        self.close()
        return reply
