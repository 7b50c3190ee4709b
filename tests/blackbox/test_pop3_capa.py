# SPDX-License-Identifier: Apache-2.0
"""CAPA: RFC 2449."""

from harness.case import ServerCase

ALWAYS = {"TOP", "USER", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE"}


def tags(lines):
    return {line.split()[0].upper() for line in lines}


class Pop3Capa(ServerCase):
    def test_lists_what_the_server_can_do(self):
        self.assertLessEqual(ALWAYS, tags(self.connect().lines("CAPA")))

    def test_announces_the_same_tags_before_and_after_login(self):
        client = self.connect()
        before = tags(client.lines("CAPA"))
        client.login(self.user())
        after = tags(client.lines("CAPA"))
        self.assertEqual(before - {"IMPLEMENTATION"}, after - {"IMPLEMENTATION"})

    def test_names_the_implementation_after_login(self):
        self.assertIn("IMPLEMENTATION", tags(self.login(self.user()).lines("CAPA")))

    def test_hides_the_version_before_login(self):
        for line in self.connect().lines("CAPA"):
            if line.upper().startswith("IMPLEMENTATION"):
                self.assertNotRegex(line, r"\d")

    def test_capability_lines_are_well_formed(self):
        for line in self.login(self.user()).lines("CAPA"):
            self.assertLessEqual(len(line), 510)
            self.assertRegex(line, r"^[!-~]+( [!-~]+)*$")

    def test_no_tag_is_announced_twice(self):
        lines = self.connect().lines("CAPA")
        self.assertEqual(len(tags(lines)), len(lines))

    def test_nothing_is_announced_that_is_refused(self):
        announced = tags(self.connect().lines("CAPA"))
        if "STLS" not in announced:
            self.connect().err("STLS")
        if "SASL" not in announced:
            self.connect().err("AUTH PLAIN")

    def test_takes_no_argument(self):
        self.connect().err("CAPA please")
