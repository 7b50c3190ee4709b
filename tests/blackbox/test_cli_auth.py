# SPDX-License-Identifier: Apache-2.0
"""The administrator and who may come in: terms, masters, aliases, logins explained, what is
remembered of them, and the defence.
"""

import json

from harness import options
from harness.case import ServerCase
from harness.pop3 import Pop3
from harness.messages import sample
from harness.server import PASSWORD
from harness.tls import trusting


class CliAuthCase(ServerCase):
    def try_login(self, name, password=PASSWORD, tls=False):
        """The reply to PASS."""
        if tls:
            client = Pop3(self.server.address("pop3s"), tls=trusting(self.server))
        else:
            client = Pop3(self.server.address("pop3"))
        with client:
            client.ok(f"USER {name}")
            return client.ask(f"PASS {password}")

    def refused(self, *arguments, text=None):
        done = self.server.cli(*arguments, text=text, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertNotEqual(done.stderr, "")
        return done.stderr


class Terms(CliAuthCase):
    def test_a_disabled_user_is_told_why_but_only_with_the_right_password(self):
        name = self.user()
        self.server.cli("user", "disable", name, "the bill is not paid")
        self.assertEqual(
            self.try_login(name),
            b"-ERR [SYS/PERM] account is not admitted: the bill is not paid",
        )
        self.assertTrue(self.try_login(name, "wrong").startswith(b"-ERR [AUTH]"))
        self.assertIn("the bill is not paid", self.server.cli("user", "show", name).stdout)
        self.server.cli("user", "enable", name)
        self.assertTrue(self.try_login(name).startswith(b"+OK"))
        self.server.cli("user", "disable", name)
        self.assertTrue(self.try_login(name).startswith(b"-ERR [SYS/PERM] "))

    def test_a_disabled_user_still_gets_mail(self):
        name = self.user()
        self.server.cli("user", "disable", name, "away")
        self.deliver(name, sample(1))
        self.server.cli("user", "enable", name)
        self.assertEqual(self.login(name).stat()[0], 1)

    def test_a_user_may_be_admitted_with_tls_only(self):
        name = self.user()
        self.server.cli("user", "require-tls", name, "yes")
        self.assertRegex(self.try_login(name), rb"^-ERR \[SYS/PERM\] .*TLS")
        self.assertTrue(self.try_login(name, tls=True).startswith(b"+OK"))
        self.server.cli("user", "require-tls", name, "no")
        self.assertTrue(self.try_login(name).startswith(b"+OK"))

    def test_a_user_may_be_admitted_from_some_networks_only(self):
        name = self.user()
        self.server.cli("user", "allow", name, "192.0.2.0/24,2001:db8::/32")
        self.assertTrue(self.try_login(name).startswith(b"-ERR [SYS/PERM] "))
        self.server.cli("user", "allow", name, "192.0.2.0/24,127.0.0.0/8")
        self.assertTrue(self.try_login(name).startswith(b"+OK"))
        self.server.cli("user", "allow", name, "192.0.2.0/24")
        self.server.cli("user", "allow", name, "any")
        self.assertTrue(self.try_login(name).startswith(b"+OK"))
        self.assertIn("networks", self.refused("user", "allow", name, "not-a-network"))

    def test_terms_hold_for_who_is_remembered_too(self):
        name = self.user()
        self.assertTrue(self.try_login(name).startswith(b"+OK"))
        self.server.cli("user", "disable", name)
        self.assertTrue(self.try_login(name).startswith(b"-ERR [SYS/PERM] "))


class Names(CliAuthCase):
    def test_an_alias_stands_for_several_and_a_catch_all_for_the_rest(self):
        first, second, rest = self.user(), self.user(), self.user()
        self.server.cli("alias", "set", f"both-{first}", first, second)
        self.server.cli("alias", "set", "@catch.example", rest)
        listed = self.server.cli("alias", "list").stdout
        self.assertIn(f"both-{first}@localhost: {first}@localhost,{second}@localhost", listed)
        with self.lmtp() as client:
            client.deliver(f"both-{first}", sample(1))
            client.deliver("whoever@catch.example", sample(2))
            for name, count in ((first, 1), (second, 1), (rest, 1)):
                self.assertEqual(self.login(name).stat()[0], count)
            self.server.cli("alias", "del", f"both-{first}")
            self.server.cli("alias", "del", "@catch.example")
            client.expect(250, "MAIL FROM:<>")
            client.expect(550, f"RCPT TO:<both-{first}>")
            client.expect(550, "RCPT TO:<whoever@catch.example>")
        self.refused("alias", "del", f"both-{first}")

    def test_an_alias_that_leads_back_to_itself_is_refused(self):
        name = self.user()
        self.assertIn("back to itself", self.refused("alias", "set", name, name))
        self.server.cli("alias", "set", f"b-{name}", f"c-{name}", name)
        self.server.cli("alias", "set", f"c-{name}", f"d-{name}")
        said = self.refused("alias", "set", f"d-{name}", f"b-{name}")
        self.assertIn(f"by way of c-{name}@localhost", said)
        self.assertNotIn(f"d-{name}@localhost:", self.server.cli("alias", "list").stdout)

    def test_nobody_logs_in_as_an_alias(self):
        name = self.user()
        self.server.cli("alias", "set", f"also-{name}", name)
        self.assertTrue(self.try_login(f"also-{name}").startswith(b"-ERR [AUTH]"))
        done = self.server.cli("auth", "test", f"also-{name}", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("is an alias of 1", done.stdout)

    def test_a_master_is_added_listed_changed_and_removed(self):
        name = self.user()
        chief = f"chief-of-{name}"
        self.server.cli("master", "add", chief, "--password-file", "-", text="one\n")
        self.assertIn(chief, self.server.cli("master", "list").stdout)
        self.assertTrue(self.try_login(f"{name}*{chief}", "one").startswith(b"+OK"))
        self.server.cli("master", "passwd", chief, "--password-file", "-", text="two\n")
        self.assertTrue(self.try_login(f"{name}*{chief}", "one").startswith(b"-ERR [AUTH]"))
        self.assertTrue(self.try_login(f"{name}*{chief}", "two").startswith(b"+OK"))
        self.server.cli("master", "del", chief)
        self.assertTrue(self.try_login(f"{name}*{chief}", "two").startswith(b"-ERR [AUTH]"))
        self.refused("master", "del", chief)


class Explained(CliAuthCase):
    def explain(self, name, *arguments, text=None, code=0):
        done = self.server.cli("--json", "auth", "test", name, *arguments, text=text, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        answer = json.loads(done.stdout)
        return answer["verdict"], [(step["what"], step["good"]) for step in answer["steps"]]

    def test_a_login_is_explained_step_by_step(self):
        name = self.user()
        verdict, steps = self.explain(name)
        self.assertEqual(verdict, "open")
        self.assertEqual(
            [what for what, _ in steps][:3], ["name", "database", "credentials"], steps
        )
        self.assertTrue(all(good for _, good in steps), steps)
        verdict, steps = self.explain(name, "--password-file", "-", text=PASSWORD + "\n")
        self.assertEqual(verdict, "ok")
        self.assertIn(("password", True), steps)
        verdict, steps = self.explain(name, "--password-file", "-", text="wrong\n", code=1)
        self.assertEqual((verdict, steps[-1]), ("failed", ("verdict", False)))
        self.assertIn(("password", False), steps)

    def test_it_knows_terms_and_the_place_one_comes_from(self):
        name = self.user()
        password = ("--password-file", "-")
        self.server.cli("user", "require-tls", name, "yes")
        self.server.cli("user", "allow", name, "192.0.2.0/24")
        place = ("--from", "192.0.2.7", "--tls")
        verdict, _ = self.explain(name, *password, *place, text=PASSWORD + "\n")
        self.assertEqual(verdict, "ok")
        for other in (("--from", "192.0.2.7"), ("--from", "198.51.100.1", "--tls")):
            verdict, steps = self.explain(name, *password, *other, text=PASSWORD + "\n", code=1)
            self.assertEqual(verdict, "disabled")
            self.assertIn(("terms", False), steps)
        self.assertIn("address", self.refused("auth", "test", name, "--from", "nowhere"))

    def test_nobody_and_no_name_at_all(self):
        self.assertEqual(self.explain("nobody-of-this-name", code=1)[0], "failed")
        self.assertEqual(self.explain("not a name", code=1)[1][0], ("name", False))

    def test_it_shows_no_secret(self):
        name = self.user()
        text = self.server.cli(
            "auth", "test", name, "--password-file", "-", text=PASSWORD + "\n"
        ).stdout
        self.assertNotIn(PASSWORD, text)

    def test_a_credential_is_made_for_a_passwd_file(self):
        name = f"made-{self.user()}"
        for scheme in ((), ("SCRAM-SHA-256",), ("SSHA512",)):
            with self.subTest(scheme=scheme):
                done = self.server.cli("pw", *scheme, "--password-file", "-", text="from pw\n")
                credential = done.stdout.strip()
                self.assertTrue(credential.startswith("{"), credential)
                self.assertNotIn("from pw", credential)
                user = name + "".join(scheme).lower()
                path = self.server.folder / f"{user}.passwd"
                path.write_text(f"{user}:{credential}::::::\n")
                self.server.cli("user", "import", str(path))
                self.assertTrue(self.try_login(user, "from pw").startswith(b"+OK"))
        self.refused("pw", "NO-SUCH-SCHEME", "--password-file", "-", text="x\n")


class Remembered(CliAuthCase):
    def stats(self):
        return self.server.cli_json("auth", "cache", "stats")

    def test_what_is_remembered_is_counted_and_forgotten(self):
        name = self.user()
        before = self.stats()
        self.login(name).quit()
        self.login(name).quit()
        after = self.stats()
        self.assertGreater(after["hits"], before["hits"])
        self.assertGreater(after["entries"], 0)
        self.server.cli("auth", "cache", "flush", name)
        self.login(name).quit()
        self.assertGreater(self.stats()["misses"], after["misses"])
        self.server.cli("auth", "cache", "flush")
        self.login(name).quit()


class Defended(CliAuthCase):
    # Not exempt: each failed login is answered seconds later.
    options = (options.SHORT, "auth.exempt_loopback=false")

    def test_penalties_are_listed_and_cleared(self):
        name = self.user()
        self.assertTrue(self.try_login(name, "wrong").startswith(b"-ERR [AUTH]"))
        listed = self.server.cli_json("penalty", "list")
        found = {one["kind"]: one for one in listed["penalties"]}
        self.assertIn("127.0.0", found["address"]["who"])
        self.assertGreater(found["address"]["failures"], 0)
        self.assertGreater(found["address"]["delay_ms"], 0)
        self.assertIn("127.0.0", self.server.cli("penalty", "list").stdout)
        self.assertGreater(self.server.cli_json("penalty", "clear")["cleared"], 0)
        self.assertEqual(self.server.cli_json("penalty", "list")["penalties"], [])
        self.assertTrue(self.try_login(name).startswith(b"+OK"))
