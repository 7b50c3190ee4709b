# SPDX-License-Identifier: Apache-2.0
"""The base of the black-box tests: a shared server, users of one's own, short ways to deliver and
to log in.
"""

import unittest

from harness.lmtp import Lmtp
from harness.pop3 import Pop3
from harness.server import PASSWORD, Server, shared_server
from harness.wire import until


class ServerCase(unittest.TestCase):
    """Tests of a class use one server together, and each test uses accounts nobody else touches."""

    options = ()

    @classmethod
    def setUpClass(cls):
        cls.server = shared_server(cls.options)

    def setUp(self):
        if not self.server.alive():
            self.server = shared_server(self.options)

    def tearDown(self):
        self.assertTrue(self.server.alive(), "the server died during this test")

    def user(self):
        return self.server.new_user()

    def connect(self, **options):
        """A POP3 connection before login."""
        client = Pop3(self.server.address("pop3"), **options)
        self.addCleanup(client.close)
        return client

    def login(self, user, **options):
        return self.connect(user=user, **options)

    def login_when_free(self, user):
        """Logs in also when the session that was just dropped is noticed a moment later."""

        def attempt():
            client = self.connect()
            client.ok(f"USER {user}")
            if client.ask(f"PASS {PASSWORD}").startswith(b"+OK"):
                return client
            client.close()
            return None

        return until(attempt, "the maildrop is free", timeout=2)

    def lmtp(self, **options):
        client = Lmtp(self.server.address("lmtp"), **options)
        self.addCleanup(client.close)
        return client

    def deliver(self, user, *contents):
        """Delivers messages to a user, in order."""
        with Lmtp(self.server.address("lmtp")) as client:
            client.deliver_many(user, contents)

    def maildrop(self, *contents):
        """A logged-in client of a new user whose maildrop holds the messages given."""
        user = self.user()
        self.deliver(user, *contents)
        return self.login(user)

    def private_server(self, **options):
        """A server for this test alone, stopped and demanded to have been well at the test's end.
        """
        server = Server(**options)
        self.addCleanup(server.clean)
        return server
