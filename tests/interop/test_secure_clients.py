# SPDX-License-Identifier: Apache-2.0
"""Real clients over TLS and with each SASL mechanism they have."""

import poplib
import shutil
import ssl
import subprocess
import unittest

from harness import settings
from harness.messages import sample
from harness.server import PASSWORD, Server, ServerFailed
from harness.tls import trusting
from harness.tokens import Issuer, write_set
from interop.test_clients import Client


class SecureClient(Client):
    options = ("listener.pop3.auth_cram_md5=true", "listener.pop3s.auth_cram_md5=true")

    def setUp(self):
        super().setUp()
        self.certificate = self.server.folder / "tls-certificate.pem"
        self.pop3s_port = self.server.address("pop3s")[1]

    def scram_name(self):
        """A user whose account has SCRAM keys, with the usual mail."""
        if not hasattr(self.server, "interop_scram"):
            self.server.cli("user", "add", "keys", "--password-file", "-", text=PASSWORD + "\n")
            self.server.interop_scram = "keys"
        return "keys"

    def mechanism(self, name):
        """The mechanism that the last session of a user was logged with."""
        user = f"user={name}@localhost"
        lines = [line for line in self.server.log().splitlines() if user in line]
        lines = [line for line in lines if " session " in line]
        return lines[-1].split("mechanism=")[1].split()[0] if lines else None


class SecurePoplib(SecureClient):
    def test_poplib_over_tls_and_by_stls(self):
        self.deliver(self.name, sample(1))
        context = trusting(self.server)
        timeout = settings.seconds(10)
        client = poplib.POP3_SSL("localhost", self.pop3s_port, context=context, timeout=timeout)
        self.assertNotIn("STLS", client.capa())
        client.user(self.name)
        client.pass_(PASSWORD)
        self.assertEqual(client.stat()[0], 1)
        client.quit()
        client = poplib.POP3("localhost", self.pop3_port, timeout=timeout)
        client.stls(context=context)
        client.user(self.name)
        client.pass_(PASSWORD)
        self.assertIn(b"X-Number: 1", client.retr(1)[1])
        client.quit()


class SecureCurl(SecureClient):
    def fetch(self, url, name, *options, codes=(0,)):
        self.program("curl")
        return self.run_client(
            "curl", "-sS", "--cacert", self.certificate, "--user", f"{name}:{PASSWORD}", *options,
            url, codes=codes,
        )

    def places(self):
        yield "implicit", f"pop3s://localhost:{self.pop3s_port}/1", ()
        yield "stls", f"pop3://localhost:{self.pop3_port}/1", ("--ssl-reqd",)

    def test_curl_with_each_mechanism_on_both_ports(self):
        self.deliver(self.name, sample(1))
        for place, url, options in self.places():
            for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
                for initial in ((), ("--sasl-ir",)):
                    with self.subTest(place=place, mechanism=mechanism, initial=initial):
                        text = self.fetch(
                            url, self.name, *options, *initial,
                            "--login-options", f"AUTH={mechanism}",
                        )
                        self.assertIn("X-Number: 1", text)

    def test_curl_chooses_what_works(self):
        self.deliver(self.name, sample(1))
        for place, url, options in self.places():
            with self.subTest(place=place):
                self.assertIn("X-Number: 1", self.fetch(url, self.name, *options))

    def test_curl_does_not_trust_another_certificate(self):
        self.program("curl")
        self.run_client(
            "curl", "-sS", "--user", f"{self.name}:x", f"pop3s://localhost:{self.pop3s_port}/",
            codes=(60,),
        )


class SecureTokens(SecureClient):
    """curl with bearer tokens; its server is its own, for the issuer's keys have to be there first.
    """

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.clean)
        cls.issuer = Issuer(cls.server.folder)
        jwks = cls.server.folder / "jwks.json"
        write_set(jwks, cls.issuer)
        cls.server.options += [
            "listener.pop3s.auth_oauth=true", "listener.pop3.auth_oauth=true",
            f"oauth.jwks={jwks}", "oauth.audience=mail",
        ]
        try:
            cls.server.start()
        except ServerFailed as failure:
            if "built without" not in str(failure):
                raise
            raise unittest.SkipTest("built without cjose or libcurl") from None

    def fetch(self, mechanism, token, place, *options, codes=(0,)):
        self.program("curl")
        return self.run_client(
            "curl", "-sS", "--cacert", self.certificate, "--user", f"{self.name}@localhost:",
            "--oauth2-bearer", token, "--login-options", f"AUTH={mechanism}", *options, place,
            codes=codes,
        )

    def test_curl_with_a_token(self):
        self.deliver(self.name, sample(1))
        good = self.issuer.token(email=f"{self.name}@localhost")
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            for initial in ((), ("--sasl-ir",)):
                with self.subTest(mechanism=mechanism, initial=initial):
                    place = f"pop3s://localhost:{self.pop3s_port}/1"
                    self.assertIn("X-Number: 1", self.fetch(mechanism, good, place, *initial))
                    place = f"pop3://localhost:{self.pop3_port}/1"
                    text = self.fetch(mechanism, good, place, "--ssl-reqd", *initial)
                    self.assertIn("X-Number: 1", text)

    def test_curl_with_a_token_that_is_over(self):
        over = self.issuer.token(email=f"{self.name}@localhost", exp=1)
        place = f"pop3s://localhost:{self.pop3s_port}/1"
        self.fetch("OAUTHBEARER", over, place, codes=(67,))


class SecureMpop(SecureClient):
    def fetch(self, port, *options, name=None):
        program = self.program("mpop")
        folder = self.maildir()
        self.run_client(
            program, "--host=localhost", f"--port={port}", f"--user={name or self.name}",
            f"--passwordeval=echo '{PASSWORD}'", "--tls=on",
            f"--tls-trust-file={self.certificate}", "--tls-crl-file=",
            f"--delivery=maildir,{folder}", f"--uidls-file={self.home}/uidls{len(options)}",
            "--keep=on", *options,
        )
        return self.fetched(folder)

    def test_mpop_with_each_mechanism_on_both_ports(self):
        self.deliver(self.name, sample(1))
        for port, start in ((self.pop3s_port, "off"), (self.pop3_port, "on")):
            for mechanism in ("user", "plain", "login", "cram-md5"):
                with self.subTest(mechanism=mechanism, starttls=start):
                    shutil.rmtree(self.home / "Maildir", ignore_errors=True)
                    (self.home / "uidls2").unlink(missing_ok=True)
                    found = self.fetch(port, f"--tls-starttls={start}", f"--auth={mechanism}")
                    self.assertEqual(set(found), {1})

    def test_mpop_with_scram(self):
        name = self.scram_name()
        self.deliver(name, sample(1))
        for mechanism in ("scram-sha-1", "scram-sha-256"):
            with self.subTest(mechanism=mechanism):
                shutil.rmtree(self.home / "Maildir", ignore_errors=True)
                (self.home / "uidls2").unlink(missing_ok=True)
                found = self.fetch(
                    self.pop3s_port, "--tls-starttls=off", f"--auth={mechanism}", name=name
                )
                self.assertEqual(set(found), {1})

    def test_mpop_left_to_choose(self):
        name = self.scram_name()
        self.deliver(name, sample(1))
        found = self.fetch(self.pop3s_port, "--tls-starttls=off", "--auth=on", name=name)
        self.assertEqual(set(found), {1})


class SecureFetchmail(SecureClient):
    def test_fetchmail_over_tls_and_by_stls(self):
        program = self.program("fetchmail")
        self.deliver(self.name, sample(1))
        folder = self.maildir()
        for port, options in (
            (self.pop3s_port, "ssl sslproto 'TLS1.2+'"),
            (self.pop3_port, "sslproto 'TLS1.2+'"),
        ):
            with self.subTest(options=options):
                shutil.rmtree(folder, ignore_errors=True)
                folder = self.maildir()
                agent = self.delivery_agent(folder)
                configuration = self.home / "fetchmailrc"
                configuration.write_text(
                    f"poll localhost proto POP3 port {port} auth password\n"
                    f'  user "{self.name}" password "{PASSWORD}" keep fetchall\n'
                    f"  {options} sslcertck sslcertfile {self.certificate}\n"
                    f"  mda \"{agent}\"\n"
                )
                configuration.chmod(0o600)
                self.run_client(program, "-f", configuration, "--nodetach", "--nosyslog")
                self.assertEqual(set(self.fetched(folder)), {1})


class OpenSsl(SecureClient):
    def talk(self, *options, text="CAPA\r\nQUIT\r\n", codes=(0,)):
        return self.run_client(
            self.program("openssl"), "s_client", "-quiet", "-verify_return_error",
            "-CAfile", self.certificate, "-servername", "localhost", *options,
            text=text, codes=codes,
        )

    def test_s_client_on_both_ports_with_both_versions(self):
        for version in ("-tls1_2", "-tls1_3"):
            self.assertIn(
                "PIPELINING", self.talk("-connect", f"localhost:{self.pop3s_port}", version)
            )
            self.assertIn(
                "PIPELINING",
                self.talk("-connect", f"localhost:{self.pop3_port}", "-starttls", "pop3", version),
            )

    def test_s_client_is_refused_where_it_should_be(self):
        where = ("-connect", f"localhost:{self.pop3s_port}")
        self.talk(*where, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", codes=(1,))
        self.talk(*where, "-alpn", "imap", codes=(1,))
        self.talk(*where, "-tls1_2", "-cipher", "AES128-SHA", codes=(1,))

    def test_renegotiation_is_refused(self):
        done = subprocess.run(
            [self.program("openssl"), "s_client", "-tls1_2", "-connect",
             f"localhost:{self.pop3s_port}"],
            input="R\nQUIT\r\n", capture_output=True, text=True,
            timeout=settings.seconds(20), check=False,
        )
        self.assertRegex(done.stderr + done.stdout, "(?i)renegotiation|handshake failure|error")


class Scanners(SecureClient):
    def tool(self, path, name):
        unpacked = settings.TOOLS / path
        program = str(unpacked) if unpacked.exists() else shutil.which(name)
        if program is None:
            self.skipTest(f"{name} is not there")
        return program

    def test_sslscan_finds_nothing_old(self):
        for place in ((f"localhost:{self.pop3s_port}",),
                      ("--starttls-pop3", f"localhost:{self.pop3_port}")):
            with self.subTest(place=place):
                self.scan(*place)

    def scan(self, *place):
        text = self.run_client(self.tool("usr/bin/sslscan", "sslscan"), "--no-colour", *place)
        self.assertRegex(text, r"TLSv1\.2 +enabled")
        self.assertRegex(text, r"TLSv1\.3 +enabled")
        for old in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
            self.assertRegex(text, rf"{old.replace('.', chr(92) + '.')} +disabled")
        self.assertNotRegex(text, r"(?i)\b(RC4|3DES|DES-CBC|NULL|EXP|MD5)\b.*bits")
        self.assertIn("not vulnerable to heartbleed", text)
        for line in text.splitlines():
            if "bits" in line and ("Accepted" in line or "Preferred" in line):
                self.assertRegex(line, "GCM|CHACHA20", line)
