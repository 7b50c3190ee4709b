# SPDX-License-Identifier: Apache-2.0
"""POP3S and STLS as clients see them: versions, names, certificates, reloads."""

import signal
import socket
import ssl
import time
import urllib.request

from harness import settings
from harness.case import ServerCase
from harness.lmtp import Lmtp
from harness.messages import check_stored, crlf, sample
from harness.pop3 import Pop3
from harness.tls import blind, make_certificate, trusting
from harness.wire import until


class TlsCase(ServerCase):
    def secure(self, context=None, server=None, **options):
        server = server or self.server
        client = Pop3(server.address("pop3s"), tls=context or trusting(server), **options)
        self.addCleanup(client.close)
        return client

    def raw(self, server=None, listener="pop3s"):
        """A connection that has said nothing."""
        wire = socket.create_connection(
            (server or self.server).address(listener), timeout=settings.seconds(10)
        )
        self.addCleanup(wire.close)
        return wire

    def handshake(self, context, name="localhost", server=None, listener="pop3s"):
        """The TLS socket, or the exception that the handshake ended with."""
        wire = self.raw(server, listener)
        try:
            secure = context.wrap_socket(wire, server_hostname=name)
            # With TLS 1.3 the server's refusal comes after the client's own end of the handshake.
            greeting = secure.recv(4096)
            return secure if greeting.startswith(b"+OK") else ConnectionError(greeting)
        except OSError as failure:
            return failure

    def metric(self, name, server=None):
        host, port = (server or self.server).address("metrics")
        page = f"http://{host}:{port}/metrics"
        with urllib.request.urlopen(page, timeout=settings.seconds(10)) as page:
            for line in page.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[-1])
        raise AssertionError(f"no metric {name}")


class Tls(TlsCase):
    def test_serves_both_protocol_versions(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            name = version.name.replace("v1_", "v1.")
            with self.subTest(version=name):
                context = trusting(self.server, minimum_version=version, maximum_version=version)
                client = self.secure(context)
                self.assertEqual(client.socket.version(), name)
                client.login(self.user())
                client.quit()

    def test_refuses_older_versions(self):
        context = blind(maximum_version=ssl.TLSVersion.TLSv1_1)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
        self.assertIsInstance(self.handshake(context), OSError)

    def test_alpn_is_pop3_or_nothing(self):
        cases = ((["pop3"], True), (["h2", "pop3"], True), (["http/1.1"], False))
        for protocols, accepted in cases:
            with self.subTest(protocols=protocols):
                context = trusting(self.server)
                context.set_alpn_protocols(protocols)
                result = self.handshake(context)
                self.assertEqual(isinstance(result, ssl.SSLSocket), accepted, result)
                if accepted:
                    self.assertEqual(result.selected_alpn_protocol(), "pop3")

    def test_messages_come_octet_by_octet(self):
        user = self.user()
        messages = [crlf("Subject: big\n\n" + ".line of text\n" * 200_000), sample(2), crlf("a\n")]
        self.deliver(user, *messages)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client = self.secure(trusting(self.server, maximum_version=version))
            client.login(user)
            for number, message in enumerate(messages, 1):
                check_stored(client.retr(number), message)
            client.quit()

    def test_a_session_is_resumed_by_its_ticket(self):
        context = trusting(self.server, maximum_version=ssl.TLSVersion.TLSv1_2)
        first = self.secure(context)
        ticket = first.socket.session
        first.close()
        wire = self.raw()
        with context.wrap_socket(wire, server_hostname="localhost", session=ticket) as second:
            self.assertTrue(second.recv(100).startswith(b"+OK"))
            self.assertTrue(second.session_reused)

    def test_plaintext_on_the_tls_port_gets_no_reply_in_the_clear(self):
        with self.raw() as wire:
            wire.sendall(b"USER someone\r\nPASS secret\r\n")
            try:
                self.assertNotIn(b"+OK", wire.recv(4096))
            except ConnectionResetError:
                pass

    def test_aborted_handshakes_do_no_harm(self):
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(502)
        for length in (0, 1, 5, 6, 40, 300, len(hello)):
            for reset in (False, True):
                wire = self.raw()
                wire.sendall(hello[:length])
                if reset:
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                wire.close()
        self.secure().quit()

    def test_is_named_in_the_log(self):
        client = self.secure()
        user = self.user()
        client.login(user)
        client.quit()
        line = until(
            lambda: next(
                (
                    line
                    for line in self.server.log().splitlines()
                    if f"user={user}@localhost" in line and " session " in line
                ),
                None,
            ),
            "the session is logged",
        )
        self.assertIn("tls=TLSv1.3", line)
        self.assertIn("cipher=TLS_", line)
        self.assertIn("sni=localhost", line)

    def test_is_counted(self):
        before = self.metric('restante_tls_handshakes_total{kind="full"}')
        self.secure(blind()).close()
        after = self.metric('restante_tls_handshakes_total{kind="full"}')
        self.assertGreater(after, before)
        expires = self.metric("restante_tls_certificate_expiry_timestamp_seconds")
        self.assertGreater(expires, time.time())

    def test_capabilities_tell_the_truth_over_tls(self):
        plain = self.connect().lines("CAPA")
        secure = self.secure().lines("CAPA")
        self.assertIn("STLS", plain)
        self.assertNotIn("STLS", secure)
        self.assertTrue(any("-PLUS" in line for line in secure if line.startswith("SASL ")))
        self.assertFalse(any("-PLUS" in line for line in plain if line.startswith("SASL ")))
        self.secure().err("STLS")


class HandshakeClock(TlsCase):
    options = ("tls.handshake_timeout=1s",)

    def test_a_handshake_that_does_not_end_is_ended(self):
        for first in (b"", b"\x16\x03\x01"):
            begin = time.monotonic()
            with self.raw() as wire:
                wire.sendall(first)
                try:
                    self.assertEqual(wire.recv(100), b"")
                except ConnectionResetError:
                    pass
                self.assertGreater(time.monotonic() - begin, 0.5)


class NoPlaintext(ServerCase):
    options = ("listener.pop3.auth_plaintext=tls",)

    def test_no_password_is_taken_in_the_clear(self):
        client = self.connect()
        lines = client.lines("CAPA")
        self.assertNotIn("USER", lines)
        for line in lines:
            if line.startswith("SASL"):
                self.assertNotIn("PLAIN", line.split())
                self.assertNotIn("LOGIN", line.split())
        client.err("USER someone")
        client.err("AUTH PLAIN")
        client.err("AUTH LOGIN")
        client.ok("STLS")
        client.start_tls(trusting(self.server))
        self.assertIn("USER", client.lines("CAPA"))
        client.login(self.user())
        client.quit()


class Certificates(TlsCase):
    """Servers with certificates of their own."""

    def serve(self, *options):
        server = self.private_server(options=options)
        server.folder.mkdir(exist_ok=True)
        return server

    def presented(self, server, name=None, listener="pop3s"):
        """The names in the certificate that is shown to a client that asks for `name`."""
        context = blind()
        result = self.handshake(context, name, server, listener)
        if not isinstance(result, ssl.SSLSocket):
            return None
        text = result.getpeercert(binary_form=True)
        return text

    def der(self, path):
        return ssl.PEM_cert_to_DER_cert(path.read_text())

    def test_each_name_has_its_certificate_and_unknown_ones_the_first(self):
        server = self.serve()
        one = make_certificate(server.folder, "one", "one.example", "mail.one.example")
        two = make_certificate(server.folder, "two", "two.example")
        server.options += [
            f"tls.certificate={one[0]},{two[0]}",
            f"tls.key={one[1]},{two[1]}",
        ]
        server.start()
        self.assertEqual(self.presented(server, "two.example"), self.der(two[0]))
        self.assertEqual(self.presented(server, "mail.one.example"), self.der(one[0]))
        self.assertEqual(self.presented(server, "three.example"), self.der(one[0]))
        self.assertEqual(self.presented(server), self.der(one[0]))

    def test_unknown_names_are_refused_where_that_is_set(self):
        server = self.serve("tls.strict_names=true")
        one = make_certificate(server.folder, "one", "one.example")
        server.options += [f"tls.certificate={one[0]}", f"tls.key={one[1]}"]
        server.start()
        self.assertEqual(self.presented(server, "one.example"), self.der(one[0]))
        self.assertIsNone(self.presented(server, "three.example"))

    def test_a_new_certificate_is_taken_on_sighup_and_sessions_live_on(self):
        server = self.serve("pop3.login_timeout=1h")  # five hundred handshakes may take a while
        one = make_certificate(server.folder, "one", "one.example")
        server.options += [f"tls.certificate={one[0]}", f"tls.key={one[1]}"]
        server.start()
        first = self.der(one[0])
        user = server.new_user()
        clients = []
        for _ in range(100 if settings.SANITIZED else 500):
            clients.append(Pop3(server.address("pop3s"), tls=blind()))
            self.addCleanup(clients[-1].close)
        clients[0].login(user)
        plain = Pop3(server.address("pop3"))
        self.addCleanup(plain.close)

        make_certificate(server.folder, "one", "one.example", "new.example")
        second = self.der(one[0])
        self.assertNotEqual(first, second)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: self.presented(server) == second, "the new certificate is shown")
        clients[0].ok("NOOP")
        for client in clients[1:]:
            client.lines("CAPA")
        plain.ok("STLS")
        plain.start_tls(blind())
        plain.quit()

        one[0].write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
        errors = server.log().count("reload_failed")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.log().count("reload_failed") > errors, "the bad file is logged")
        self.assertEqual(server.log().count("reload_failed"), errors + 1)
        self.assertEqual(self.presented(server), second)
        clients[0].quit()

    def test_an_old_certificate_is_told_of(self):
        server = self.serve()
        old = make_certificate(server.folder, "old", "old.example", days=3)
        server.options += [f"tls.certificate={old[0]}", f"tls.key={old[1]}"]
        server.start()
        self.assertRegex(
            server.log(), r"warning certificate_expires name=old\.example .*days_left=[23]"
        )

    def test_a_key_that_does_not_fit_is_named(self):
        server = self.serve()
        one = make_certificate(server.folder, "one", "one.example")
        two = make_certificate(server.folder, "two", "two.example")
        server.options += [f"tls.certificate={one[0]}", f"tls.key={two[1]}"]
        with self.assertRaises(AssertionError):
            server.start()
        self.assertRegex(server.log(), r"(two\.key|one\.pem)")
        server.kill()
        server.process = None

    def test_a_client_certificate_names_an_account(self):
        server = self.serve(
            "tls.client_certificates=request", "listener.pop3s.auth_external=true"
        )
        ca = make_certificate(server.folder, "ca", "ca.example")
        server.options.append(f"tls.client_ca={ca[0]}")
        server.start()
        user = server.new_user()
        certificate = make_certificate(server.folder, "client", f"{user}@localhost", ca=ca)
        context = blind()
        context.load_cert_chain(*[str(path) for path in certificate])
        client = self.secure(context, server)
        self.assertTrue(any("EXTERNAL" in line for line in client.lines("CAPA")))
        client.ok("AUTH EXTERNAL =")
        client.quit()
        without = self.secure(blind(), server)
        self.assertFalse(any("EXTERNAL" in line for line in without.lines("CAPA")))
        without.err("AUTH EXTERNAL =")


class LmtpTls(ServerCase):
    options = ("listener.lmtp.tls=starttls",)

    def test_starttls_of_lmtp(self):
        user = self.user()
        with Lmtp(self.server.address("lmtp")) as client:
            self.assertIn("STARTTLS", client.capabilities)
            client.expect(220, "STARTTLS")
            client.start_tls(trusting(self.server))
            self.assertEqual(client.ask("MAIL FROM:<>").code, 503, "LHLO has to be said again")
            self.assertNotIn("STARTTLS", client.ask("LHLO client.test").texts)
            self.assertEqual(client.ask("STARTTLS").code, 503)
            client.deliver(user, sample(1))
        self.assertIn(b"with LMTPS id", self.login(user).retr(1))
