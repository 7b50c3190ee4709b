# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: OAUTHBEARER (RFC 7628) and XOAUTH2, in one line and in two, and how they fail."""

import base64
import itertools
import json
import time
import unittest

from harness.pop3 import Pop3
from harness.server import Server, ServerFailed
from harness.tls import trusting
from harness.tokens import Issuer, write_set
from blackbox.test_sasl import WRONG, SaslCase, b64

MECHANISMS = ("OAUTHBEARER", "XOAUTH2")


def message(mechanism, user, token):
    if mechanism == "XOAUTH2":
        return f"user={user}\1auth=Bearer {token}\1\1"
    return f"n,a={user},\1host=localhost\1port=995\1auth=Bearer {token}\1\1"


class OauthCase(SaslCase):
    @classmethod
    def setUpClass(cls):
        """A server of this class alone: the issuer's keys have to be there before it."""
        cls.server = Server(options=())
        cls.addClassCleanup(cls.server.clean)
        cls.issuer = Issuer(cls.server.folder)
        jwks = cls.server.folder / "jwks.json"
        write_set(jwks, cls.issuer)
        cls.server.options += [
            "listener.pop3s.auth_oauth=true",
            "listener.pop3.auth_oauth=true",
            f"oauth.jwks={jwks}",
            "oauth.issuer=https://issuer.test",
            "oauth.audience=mail",
            "oauth.openid_configuration=https://issuer.test/.well-known/openid-configuration",
        ]
        try:
            cls.server.start()
        except ServerFailed as failure:
            if "built without" in str(failure):
                raise unittest.SkipTest("built without cjose or libcurl") from None
            raise

    def setUp(self):
        self.assertTrue(self.server.alive())

    def token(self, user, **claims):
        return self.issuer.token(email=f"{user}@localhost", **claims)

    def try_token(self, mechanism, user, token, one_line=True):
        """The client behind the exchange, and the last reply."""
        client = self.secure()
        octets = b64(message(mechanism, user, token))
        if one_line:
            reply = client.ask(f"AUTH {mechanism} {octets}")
        else:
            self.assertEqual(client.ask(f"AUTH {mechanism}"), b"+ ")
            reply = client.ask(octets)
        return client, reply

    def refused(self, mechanism, user, token, answer=""):
        """Demands the failure dance: a challenge that says why, an answer without meaning, -ERR."""
        client, reply = self.try_token(mechanism, user, token)
        self.assertTrue(reply.startswith(b"+ "), reply)
        told = json.loads(base64.b64decode(reply[2:]))
        self.assertEqual(client.err(answer), WRONG)
        return client, told


class Oauth(OauthCase):
    def test_each_mechanism_in_one_line_and_in_two(self):
        for mechanism in MECHANISMS:
            for one_line in (True, False):
                with self.subTest(mechanism=mechanism, one_line=one_line):
                    user = self.user()
                    client, reply = self.try_token(mechanism, user, self.token(user), one_line)
                    self.assertTrue(reply.startswith(b"+OK"), reply)
                    self.in_transaction(client)
                    self.in_log(rf"user={user}@localhost mechanism={mechanism}")

    def test_tokens_of_twelve_and_of_sixteen_kilobytes(self):
        for octets, mechanism, one_line in itertools.product(
            (11_900, 16_384), MECHANISMS, (True, False)
        ):
            with self.subTest(octets=octets, mechanism=mechanism, one_line=one_line):
                user = self.user()
                token = self.token(user, octets=octets + 100)
                self.assertGreater(len(token), octets)
                client, reply = self.try_token(mechanism, user, token, one_line)
                self.assertTrue(reply.startswith(b"+OK"), reply)
                self.in_transaction(client)

    def test_a_refused_token_is_told_why_and_then_fails(self):
        user = self.user()
        client, told = self.refused("OAUTHBEARER", user, self.token(user, exp=1), answer="AQ==")
        self.assertEqual(told["status"], "invalid_token")
        self.assertIn("openid-configuration", told)
        client.ok(f"AUTH OAUTHBEARER {b64(message('OAUTHBEARER', user, self.token(user)))}")
        client.quit()
        _, told = self.refused("XOAUTH2", user, self.token(user, exp=1))
        self.assertEqual(told["status"], "401")

    def test_an_exchange_can_be_ended_in_the_dance(self):
        user = self.user()
        client, reply = self.try_token("XOAUTH2", user, "nonsense")
        self.assertTrue(reply.startswith(b"+ "), reply)
        client.err("*")
        client.ok(f"AUTH XOAUTH2 {b64(message('XOAUTH2', user, self.token(user)))}")
        client.quit()

    def test_what_a_token_must_say(self):
        user = self.user()
        stranger = Issuer(self.server.folder, "stranger")
        thief = Issuer(self.server.folder, "thief")
        thief.name = self.issuer.name  # claims to be the key everybody knows
        cases = {
            "another audience": self.token(user, aud="web"),
            "another issuer": self.token(user, iss="https://elsewhere.test"),
            "no longer good": self.token(user, exp=int(time.time()) - 3600),
            "not yet good": self.token(user, nbf=int(time.time()) + 3600),
            "without a name": self.issuer.token(),
            "somebody else's name": self.token(self.user()),
            "an unknown key": stranger.token(email=f"{user}@localhost"),
            "a forged key": thief.token(email=f"{user}@localhost"),
            "not signed": self.token(user, algorithm="none"),
            "cut": self.token(user)[:-8],
            "no token": "a.b.c",
        }
        for name, token in cases.items():
            with self.subTest(token=name):
                self.refused("OAUTHBEARER", user, token)
        text = self.server.log()
        self.assertNotIn(cases["another audience"][:40], text, "a token is a secret")

    def test_an_account_that_is_not_there_is_told_nothing_else(self):
        name = "nobody-of-that-name"
        client, reply = self.try_token("XOAUTH2", name, self.token(name))
        if reply.startswith(b"+ "):
            reply = client.ask("")
        self.assertTrue(reply.startswith(b"-ERR [AUTH]"), reply)

    def test_malformed_messages_fail_and_the_session_lives(self):
        user = self.user()
        client = self.secure()
        good = message("OAUTHBEARER", user, self.token(user))
        for text in (
            "", "n", "n,", "n,a=x,", "n,a=x,\1", good[:-1], good[2:], "p=tls-unique,," + good[4:],
            good.replace("Bearer ", "Basic "), good.replace("auth=", "other="), "\0" + good,
        ):
            with self.subTest(text=text[:20]):
                reply = client.ask(f"AUTH OAUTHBEARER {b64(text) or '='}")
                if reply.startswith(b"+ "):
                    reply = client.ask("")
                self.assertTrue(reply.startswith(b"-ERR"), reply)
        client.ok(f"AUTH OAUTHBEARER {b64(good)}")
        client.quit()

    def test_no_token_is_taken_in_the_clear(self):
        user = self.user()
        client = self.connect()
        self.assertFalse(set(MECHANISMS) & set(self.mechanisms(client)))
        for mechanism in MECHANISMS:
            client.err(f"AUTH {mechanism} {b64(message(mechanism, user, self.token(user)))}")
        client.ok("STLS")
        client.start_tls(trusting(self.server))
        self.assertLessEqual(set(MECHANISMS), set(self.mechanisms(client)))
        client.ok(f"AUTH XOAUTH2 {b64(message('XOAUTH2', user, self.token(user)))}")
        client.quit()

    def test_they_are_not_there_by_default(self):
        server = self.private_server()
        server.start()
        with Pop3(server.address("pop3s"), tls=trusting(server)) as client:
            self.assertFalse(set(MECHANISMS) & set(self.mechanisms(client)))
            client.err("AUTH OAUTHBEARER =")
