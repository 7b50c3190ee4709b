# SPDX-License-Identifier: Apache-2.0
"""What may and may not be in a maildrop after a crash.

Every message has a number. The oracle is told of an intention before it is sent to the server, and
of the acknowledgement when it is read. Between the two, either outcome is right; afterwards only
one is.
"""

import threading

SENT, THERE, LEAVING, GONE = "sent", "there", "leaving", "gone"


class Broken(AssertionError):
    """The server broke its word."""


class Oracle:
    def __init__(self):
        self.lock = threading.Lock()
        self.states = {}  # number -> state
        self.octets = {}  # number -> the message as it was sent
        self.uidls = {}  # number -> UIDL, once it was seen
        self.numbers = {}  # UIDL -> number
        self.acknowledged = self.removed = 0  # figures for the report

    def sending(self, number, octets):
        with self.lock:
            self.states[number] = SENT
            self.octets[number] = octets

    def delivered(self, number):
        """The acknowledgement was read. Another client may have seen and deleted the message
        before.
        """
        with self.lock:
            self.acknowledged += 1
            if self.states[number] == SENT:
                self.states[number] = THERE

    def refused(self, number):
        """The server has said that it did not take the message."""
        with self.lock:
            self.states[number] = GONE

    def deleting(self, numbers):
        """QUIT is about to be sent for these."""
        with self.lock:
            for number in numbers:
                self.states[number] = LEAVING

    def deleted(self, numbers):
        with self.lock:
            self.removed += len(numbers)
            for number in numbers:
                self.states[number] = GONE

    def kept(self, numbers):
        """The server has said that it removed none of them."""
        with self.lock:
            for number in numbers:
                self.states[number] = THERE

    def expected(self, states):
        with self.lock:
            return {number for number, state in self.states.items() if state in states}

    def check(self, found):
        """After a restart: `found` maps number -> (UIDL, octets without trace). Settles what was
        open.

        A message seen is there from now on, one not seen is gone: no later crash may change that.
        """
        with self.lock:
            for number, state in self.states.items():
                if state == THERE and number not in found:
                    raise Broken(f"message {number} was acknowledged and is lost")
                if state == GONE and number in found:
                    raise Broken(f"message {number} was deleted and is back")
            for number, (uidl, octets) in found.items():
                if number not in self.states:
                    raise Broken(f"message {number} was never sent")
                if octets != self.octets[number]:
                    raise Broken(f"message {number} is changed")
                if self.uidls.setdefault(number, uidl) != uidl:
                    raise Broken(f"message {number} had UIDL {self.uidls[number]}, now {uidl}")
                if self.numbers.setdefault(uidl, number) != number:
                    raise Broken(f"UIDL {uidl} stood for message {self.numbers[uidl]}")
            for number in self.states:
                self.states[number] = THERE if number in found else GONE
                if number not in found:
                    self.octets.pop(number, None)  # 1,000 kills would hold gigabytes of it
