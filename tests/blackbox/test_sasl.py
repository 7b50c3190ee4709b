# SPDX-License-Identifier: Apache-2.0
"""AUTH: RFC 5034, and the mechanisms."""

import base64
import hashlib
import hmac
import re
import secrets
import ssl

from harness.case import ServerCase
from harness.pop3 import Pop3
from harness.server import PASSWORD
from harness.tls import trusting
from harness.wire import Wire, until

WRONG = b"[AUTH] wrong user name or password"


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def plain(user, password=PASSWORD, authzid=""):
    return b64(f"{authzid}\0{user}\0{password}")


class SaslCase(ServerCase):
    def secure(self):
        client = Pop3(self.server.address("pop3s"), tls=trusting(self.server))
        self.addCleanup(client.close)
        return client

    def challenge(self, reply):
        self.assertTrue(reply.startswith(b"+ "), reply)
        return base64.b64decode(reply[2:], validate=True)

    def mechanisms(self, client):
        for line in client.lines("CAPA"):
            if line.startswith("SASL "):
                return line.split()[1:]
        return []

    def in_log(self, pattern):
        until(lambda: re.search(pattern, self.server.log()), f"the log has {pattern}")

    def in_transaction(self, client):
        client.ok("STAT")
        client.quit()

    @classmethod
    def scram_user(cls):
        """A user whose account has SCRAM keys; made once, because making one is slow on purpose."""
        if not hasattr(cls.server, "scram_user"):
            cls.server.cli("user", "add", "scram", "--password-file", "-", text=PASSWORD + "\n")
            cls.server.scram_user = "scram"
        return cls.server.scram_user


class Sasl(SaslCase):
    def test_capa_and_bare_auth_list_the_same(self):
        for client in (self.connect(), self.secure()):
            listed = self.mechanisms(client)
            self.assertEqual(client.lines("AUTH"), listed)
            self.assertEqual(client.lines("AUTH "), listed)
            self.assertIn("PLAIN", listed)

    def test_plain_in_one_line_and_in_two(self):
        user = self.user()
        client = self.connect()
        client.ok(f"AUTH PLAIN {plain(user)}")
        self.in_transaction(client)
        client = self.connect()
        self.assertEqual(client.ask("auth plain"), b"+ ")
        client.ok(plain(user))
        self.in_transaction(client)

    def test_login_in_one_line_and_in_three(self):
        user = self.user()
        client = self.connect()
        self.assertEqual(self.challenge(client.ask("AUTH LOGIN")), b"Username:")
        self.assertEqual(self.challenge(client.ask(b64(user))), b"Password:")
        client.ok(b64(PASSWORD))
        self.in_transaction(client)
        client = self.connect()
        self.assertEqual(self.challenge(client.ask(f"AUTH LOGIN {b64(user)}")), b"Password:")
        client.ok(b64(PASSWORD))
        self.in_transaction(client)

    def test_failures_are_told_with_the_same_words(self):
        user = self.user()
        replies = set()
        for line in (plain(user, "wrong"), plain("nobody-there", "wrong"), b64("no nuls"), "="):
            replies.add(self.connect().err(f"AUTH PLAIN {line}"))
        client = self.connect()
        client.ok(f"USER {user}")
        replies.add(client.err("PASS wrong"))
        self.assertEqual(replies, {WRONG})

    def test_an_exchange_can_be_ended_and_begun_again(self):
        client = self.connect()
        for _ in range(5):
            self.assertEqual(client.ask("AUTH PLAIN"), b"+ ")
            client.err("*")
        client.ok(f"AUTH PLAIN {plain(self.user())}")
        client.err("AUTH PLAIN")
        client.quit()

    def test_garbage_is_refused_and_the_session_lives(self):
        user = self.user()
        client = self.connect()
        for garbage in ("!", "AA", "AAA=A", "A A A=", "QUIT", "\u00e4\u00f6"):
            client.ask("AUTH PLAIN")
            client.err(garbage)
            client.err(f"AUTH PLAIN {garbage}x")
        client.err("AUTH NO-SUCH-MECHANISM")
        client.err("AUTH NO-SUCH-MECHANISM =")
        client.err(f"AUTH PLAIN {plain(user)} {plain(user)}")
        client.ok(f"AUTH PLAIN {plain(user)}")
        client.quit()

    def test_long_lines_are_taken_and_longer_ones_refused(self):
        client = self.connect()
        self.assertEqual(client.err("AUTH PLAIN " + "A" * 12_000), WRONG)
        client.ask("AUTH PLAIN")
        self.assertEqual(client.err("A" * 12_000), WRONG)
        client.ask("AUTH PLAIN")
        client.send_in_pieces(b"A" * 12_000 + b"\r\n", 700)
        self.assertIn(b"[AUTH]", client.line())
        client = self.connect()
        self.assertEqual(client.err("AUTH PLAIN " + "A" * 24_560), WRONG)
        self.assertIn(b"too long", client.err("AUTH PLAIN " + "A" * 24_564))
        client.quit()  # which is answered next: there was one error
        client = self.connect()
        client.err("USER " + "A" * 3000)

    def test_commands_may_be_sent_ahead(self):
        user = self.user()
        client = self.connect()
        client.send(f"AUTH PLAIN\r\n{plain(user)}\r\nSTAT\r\nQUIT\r\n".encode())
        self.assertEqual(client.line(), b"+ ")
        self.assertTrue(client.line().startswith(b"+OK 0 messages"))
        self.assertEqual(client.line(), b"+OK 0 0")
        self.assertTrue(client.line().startswith(b"+OK"))

    def test_one_octet_at_a_time(self):
        client = self.connect()
        client.send_in_pieces(f"AUTH PLAIN {plain(self.user())}\r\n".encode())
        self.assertTrue(client.line().startswith(b"+OK"))
        client.quit()

    def test_a_client_that_goes_at_every_step(self):
        user = self.user()
        for lines in (["AUTH LOGIN"], ["AUTH LOGIN", b64(user)], ["AUTH SCRAM-SHA-256"]):
            for reset in (False, True):
                client = self.connect()
                for line in lines:
                    client.ask(line)
                client.reset() if reset else client.close()
        self.login(user).quit()

    def test_a_master_acts_for_a_user(self):
        user = self.user()
        self.server.cli("master", "add", f"chief-{user}", "--password-file", "-", text="m\n")
        client = self.connect()
        client.ok(f"AUTH PLAIN {plain(f'chief-{user}', 'm', authzid=user)}")
        client.quit()
        client = self.connect()
        client.login(f"{user}*chief-{user}", "m")
        client.quit()
        self.in_log(
            rf"master_login .*user={user}@localhost master=chief-{user}@localhost "
            r"peer=127\.0\.0\.1"
        )
        self.connect().err(f"AUTH PLAIN {plain(user, authzid=self.user())}")

    def test_secrets_are_never_logged(self):
        user = self.user()
        self.connect().err(f"AUTH PLAIN {plain(user, 'sesame-mucho')}")
        client = self.connect()
        client.ok(f"USER {user}")
        client.err("PASS sesame-mucho")
        self.in_log(f"login_failed user={user}@localhost .*mechanism=user")
        self.assertNotIn("sesame", self.server.log())
        self.assertNotIn(plain(user, "sesame-mucho"), self.server.log())

    def test_a_failed_login_is_one_stable_line(self):
        user = self.user()
        self.connect().err(f"AUTH PLAIN {plain(user, 'wrong')}")
        self.in_log(
            rf"info login_failed user={user}@localhost peer=127\.0\.0\.1 reason=failed id=p\S+ "
            "mechanism=PLAIN"
        )


class Challenges(SaslCase):
    def test_cram_md5_names_the_configured_host(self):
        server = self.private_server(
            options=["hostname=mail.example.org", "listener.pop3.auth_cram_md5=true"]
        )
        users = server.folder / "users"
        users.write_text("tim@localhost:{PLAIN}secret::::::\n")
        server.options.append(f"auth.databases=passwd-file:{users},embedded")
        server.start()
        client = Pop3(server.address("pop3"))
        self.addCleanup(client.close)
        challenge = self.challenge(client.ask("AUTH CRAM-MD5"))
        self.assertRegex(challenge, rb"^<\d+\.\d+@mail\.example\.org>$")
        proof = hmac.new(b"secret", challenge, "md5").hexdigest()
        client.ok(b64(f"tim {proof}"))
        self.in_transaction(client)


class Scram(SaslCase):
    """RFC 5802 by hand, so that what is bound to what can be spoiled."""

    def first(self, client, mechanism, user, gs2, nonce, one_line):
        bare = f"n={user},r={nonce}"
        if one_line:
            reply = client.ask(f"AUTH {mechanism} {b64(gs2 + bare)}")
        else:
            self.assertEqual(client.ask(f"AUTH {mechanism}"), b"+ ")
            reply = client.ask(b64(gs2 + bare))
        return bare, self.challenge(reply).decode()

    def prove(self, digest, password, bare, first, final):
        values = dict(part.split("=", 1) for part in first.split(","))
        salted = hashlib.pbkdf2_hmac(
            digest, password.encode(), base64.b64decode(values["s"]), int(values["i"])
        )
        client_key = hmac.digest(salted, b"Client Key", digest)
        stored = hashlib.new(digest, client_key).digest()
        message = f"{bare},{first},{final}".encode()
        signature = hmac.digest(stored, message, digest)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        server_key = hmac.digest(salted, b"Server Key", digest)
        return b64(proof), b64(hmac.digest(server_key, message, digest))

    def exchange(self, client, mechanism, password=PASSWORD, one_line=True, binding=None, gs2="n,,",
                 user=None):
        """Returns the reply to the last line; the server's own proof has been checked before."""
        digest = "sha256" if "256" in mechanism else "sha1"
        nonce = secrets.token_hex(12)
        if binding is not None:
            gs2 = f"p={binding[0]},,"
        bare, first = self.first(client, mechanism, user or self.scram_user(), gs2, nonce, one_line)
        both = first.split(",")[0][2:]
        self.assertTrue(both.startswith(nonce) and len(both) > len(nonce))
        bound = gs2.encode() + (binding[1] if binding is not None else b"")
        final = f"c={b64(bound)},r={both}"
        proof, expected = self.prove(digest, password, bare, first, final)
        reply = client.ask(b64(f"{final},p={proof}"))
        if reply.startswith(b"+ "):
            self.assertEqual(self.challenge(reply).decode(), f"v={expected}")
            reply = client.ask("")
        return reply

    def test_both_digests_in_one_line_and_in_two(self):
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
            for one_line in (True, False):
                with self.subTest(mechanism=mechanism, one_line=one_line):
                    client = self.connect()
                    reply = self.exchange(client, mechanism, one_line=one_line)
                    self.assertTrue(reply.startswith(b"+OK"), reply)
                    self.in_transaction(client)

    def test_a_wrong_password_and_an_unknown_user_are_told_alike(self):
        for user in (self.scram_user(), "nobody-of-that-name"):
            client = self.connect()
            reply = self.exchange(client, "SCRAM-SHA-256", "wrong", user=user)
            self.assertEqual(reply, b"-ERR " + WRONG)

    def test_an_unknown_user_always_has_the_same_salt(self):
        firsts = []
        for _ in range(2):
            client = self.connect()
            firsts.append(self.first(client, "SCRAM-SHA-256", "no-such", "n,,", "abc", True)[1])
        self.assertEqual(*[first.split(",")[1:] for first in firsts])

    def test_a_binding_binds(self):
        client = self.secure()
        self.assertIn("SCRAM-SHA-256-PLUS", self.mechanisms(client))
        reply = self.exchange(client, "SCRAM-SHA-256-PLUS", binding=("tls-exporter", bytes(32)))
        self.assertTrue(reply.startswith(b"-ERR"), "a binding of another connection")
        reply = self.exchange(client, "SCRAM-SHA-256", gs2="n,,")
        self.assertTrue(reply.startswith(b"+OK"), reply)

    def test_a_downgrade_is_noticed(self):
        client = self.secure()
        nonce = secrets.token_hex(8)
        gs2, bare = "y,,", f"n={self.scram_user()},r={nonce}"
        reply = client.ask(f"AUTH SCRAM-SHA-256 {b64(gs2 + bare)}")
        if reply.startswith(b"+ "):
            first = self.challenge(reply).decode()
            final = f"c={b64(gs2)},r={first.split(',')[0][2:]}"
            proof, _ = self.prove("sha256", PASSWORD, bare, first, final)
            reply = client.ask(b64(f"{final},p={proof}"))
        self.assertTrue(reply.startswith(b"-ERR"), reply)

    def test_unique_binding_of_tls_1_2(self):
        context = trusting(self.server, maximum_version=ssl.TLSVersion.TLSv1_2)
        client = Pop3(self.server.address("pop3s"), tls=context)
        self.addCleanup(client.close)
        binding = client.socket.get_channel_binding("tls-unique")
        reply = self.exchange(client, "SCRAM-SHA-1-PLUS", binding=("tls-unique", binding))
        self.assertTrue(reply.startswith(b"+OK"), reply)


class Readable(SaslCase):
    """Mechanisms that take passwords stored readably, as the tests' users have them."""

    options = ("listener.pop3.auth_cram_md5=true", "listener.pop3.auth_apop=true")

    def test_cram_md5(self):
        user = self.user()
        client = self.connect()
        self.assertIn("CRAM-MD5", self.mechanisms(client))
        client.err("AUTH CRAM-MD5 " + b64("too early"))
        challenge = self.challenge(client.ask("AUTH CRAM-MD5"))
        self.assertRegex(challenge, rb"^<[^<>]+@[^<>]+>$")
        digest = hmac.new(PASSWORD.encode(), challenge, "md5").hexdigest()
        client.ok(b64(f"{user} {digest}"))
        self.in_transaction(client)
        client = self.connect()
        client.ask("AUTH CRAM-MD5")
        self.assertEqual(client.err(b64(f"{user} {digest}")), WRONG)

    def test_apop(self):
        user = self.user()
        client = self.connect()
        timestamp = client.greeting[client.greeting.index(b"<") :]
        self.assertTrue(timestamp.endswith(b">"), client.greeting)
        digest = hashlib.md5(timestamp + PASSWORD.encode()).hexdigest()
        client.ok(f"APOP {user} {digest}")
        self.in_transaction(client)
        client = self.connect()
        self.assertEqual(client.err(f"APOP {user} {digest}"), WRONG)
        self.assertNotEqual(self.connect().greeting, client.greeting)

    def test_apop_is_not_there_by_default(self):
        self.assertNotIn(b"<", self.secure().greeting)


class Caps(ServerCase):
    options = (
        "auth.cap_loopback=true",
        "auth.connections_per_prefix=3",
        "auth.sessions_per_user=2",
        "pop3.takeover=true",
    )

    def test_connections_without_a_login_are_capped(self):
        clients = [self.connect() for _ in range(3)]
        with Wire(self.server.address("pop3")) as fourth:
            self.assertRegex(fourth.line(), rb"^-ERR \[SYS/TEMP\] too many connections")
            self.assertTrue(fourth.at_end())
        clients[0].login(self.user())
        self.connect().quit()
        for client in clients:
            client.quit()

    def test_sessions_of_one_user_are_capped(self):
        user = self.user()
        first, second = self.login(user), self.login(user)  # it takes the maildrop over
        third = self.connect()
        third.ok(f"USER {user}")
        self.assertRegex(third.ask(f"PASS {PASSWORD}"), rb"^-ERR \[SYS/TEMP\] too many sessions")
        self.login(self.user()).quit()
        first.close()
        second.quit()
        until(lambda: third.ask(f"USER {user}") and
              third.ask(f"PASS {PASSWORD}").startswith(b"+OK"), "a session has ended")
        third.quit()
