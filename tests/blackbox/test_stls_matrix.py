# SPDX-License-Identifier: Apache-2.0
"""What may happen around STLS, and what has to come of it. The expected results were written first:

 cell                                                   expected
 a  octets behind STLS in one segment                   connection ends, not even "+OK"
 b  octets in a second segment, before "+OK" is read    ends, without a word under TLS; see below
 c  octets after "+OK" that are no ClientHello          ends, nothing in the clear
 d  injected: CAPA, USER/PASS, AUTH, QUIT, half a line  as a to c, each; nobody is logged in
 e  STLS twice, inside TLS, after login, on POP3S       -ERR, the session lives on
 f  USER before STLS, PASS after it                     -ERR: nobody has said USER
 g  CAPA before and after                               STLS gone; what TLS allows is there
 h  a handshake that fails                              ends, never goes on in the clear
 i  octets behind the ClientHello in one segment        never taken as plaintext
 j  bad commands before STLS                            still count after it

In b the octets race with the reply. Whether they are met before or behind it, nothing of them is
executed and nothing but "+OK" has been said.
"""

import ssl

from harness.case import ServerCase
from harness.server import PASSWORD
from harness.tls import blind, trusting

BEGIN = b"+OK begin TLS now\r\n"


def injections(user):
    return {
        "CAPA": b"CAPA\r\n",
        "a login": f"USER {user}\r\nPASS {PASSWORD}\r\n".encode(),
        "AUTH": b"AUTH PLAIN AGRlbW8AZGVtbw==\r\n",
        "QUIT": b"QUIT\r\n",
        "half a line": b"CAP",
        "one octet": b"\n",
        "STLS again": b"STLS\r\n",
        "much": b"NOOP\r\n" * 2000,
    }


class StlsMatrix(ServerCase):
    def everything(self, client):
        """What the server says until it ends the connection; a reset is an end."""
        return client.rest()

    def logged_in(self, user):
        return f"user={user}@localhost mechanism" in self.server.log()

    def hello(self):
        """The octets of a ClientHello."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        layer = blind().wrap_bio(incoming, outgoing, server_hostname="localhost")
        try:
            layer.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return outgoing.read()

    @staticmethod
    def offer(client, *segments):
        """Sends each by itself, then the end, or half a line could be half a handshake. The server
        may have ended the connection before the last of it.
        """
        try:
            for segment in segments:
                client.send(segment)
            client.end_sending()
        except OSError:
            pass

    def test_a_octets_behind_stls_in_one_segment(self):
        user = self.user()
        for name, octets in injections(user).items():
            with self.subTest(injected=name):
                client = self.connect()
                client.send(b"STLS\r\n" + octets)
                self.assertEqual(self.everything(client), b"")
        self.assertFalse(self.logged_in(user))

    def test_a_a_client_hello_behind_stls_is_no_better(self):
        client = self.connect()
        client.send(b"STLS\r\n" + self.hello())
        self.assertEqual(self.everything(client), b"")

    def test_b_octets_in_a_segment_of_their_own_before_the_reply(self):
        user = self.user()
        for name, octets in injections(user).items():
            with self.subTest(injected=name):
                client = self.connect()
                self.offer(client, b"STLS\r\n", octets)
                said = self.everything(client)
                self.assertTrue(said in (b"", BEGIN) or said.startswith(BEGIN + b"\x15\x03"), said)
        self.assertFalse(self.logged_in(user))

    def test_c_octets_after_the_reply_that_are_no_handshake(self):
        user = self.user()
        for name, octets in injections(user).items():
            with self.subTest(injected=name):
                client = self.connect()
                client.ok("STLS")
                self.offer(client, octets)
                said = self.everything(client)
                self.assertTrue(said == b"" or said.startswith(b"\x15\x03"), said)
        self.assertFalse(self.logged_in(user))

    def test_d_every_cut_of_stls_and_an_injection(self):
        stream = b"STLS\r\nCAPA\r\n"
        for cut in range(1, len(stream)):
            with self.subTest(cut=cut):
                client = self.connect()
                self.offer(client, stream[:cut], stream[cut:])
                said = self.everything(client)
                self.assertTrue(said in (b"", BEGIN) or said.startswith(BEGIN + b"\x15\x03"), said)

    def test_e_stls_where_it_has_no_place(self):
        client = self.connect()
        client.ok("STLS")
        client.start_tls(trusting(self.server))
        client.err("STLS")
        client.login(self.user())
        client.err("STLS")
        client.quit()
        plain = self.login(self.user())
        plain.err("STLS")
        plain.ok("NOOP")
        self.connect().err("STLS now")

    def test_f_what_was_said_before_is_forgotten(self):
        client = self.connect()
        client.ok(f"USER {self.user()}")
        client.ok("STLS")
        client.start_tls(trusting(self.server))
        client.err(f"PASS {PASSWORD}")

    def test_g_capabilities_differ(self):
        client = self.connect()
        self.assertIn("STLS", client.lines("CAPA"))
        client.ok("STLS")
        client.start_tls(trusting(self.server))
        self.assertNotIn("STLS", client.lines("CAPA"))

    def test_h_a_handshake_that_fails_ends_the_connection(self):
        client = self.connect()
        client.ok("STLS")
        context = blind(maximum_version=ssl.TLSVersion.TLSv1_1)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaises(OSError):
            client.start_tls(context)
        client = self.connect()
        client.ok("STLS")
        self.offer(
            client, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"CAPA\r\nQUIT\r\n"
        )
        self.assertNotIn(b"+OK", self.everything(client))

    def test_i_octets_behind_the_client_hello(self):
        client = self.connect()
        client.ok("STLS")
        client.send(self.hello() + b"CAPA\r\nQUIT\r\n")
        client.end_sending()
        said = self.everything(client)
        self.assertNotIn(b"+OK", said)
        self.assertNotIn(b"PIPELINING", said)

    def test_j_bad_commands_still_count(self):
        client = self.connect()
        client.err("NONSENSE")
        client.err("NONSENSE")
        client.ok("STLS")
        client.start_tls(trusting(self.server))
        client.err("NONSENSE")
        self.assertTrue(client.at_end())

    def test_a_client_that_leaves_during_the_handshake(self):
        hello = self.hello()
        for length in (0, 1, 10, len(hello) - 1, len(hello)):
            client = self.connect()
            client.ok("STLS")
            client.send(hello[:length])
            client.close()
            client = self.connect()
            client.ok("STLS")
            client.send(hello[:length])
            client.reset()
        self.connect().quit()

    def test_stls_one_octet_at_a_time(self):
        client = self.connect()
        client.send_in_pieces(b"STLS\r\n")
        self.assertEqual(client.line() + b"\r\n", BEGIN)
        client.start_tls(trusting(self.server))
        client.login(self.user())
        client.quit()
