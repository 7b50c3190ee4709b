# SPDX-License-Identifier: Apache-2.0
"""The log line of a failed login, and the fail2ban filter in deploy/ that reads it."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from harness import settings
from harness.case import ServerCase
from harness.wire import until

FILTER = settings.ROOT / "deploy/fail2ban/filter.d/restante.conf"

FAILED = (
    "2026-01-02T03:04:05.678Z info login_failed user=demo@localhost peer=192.0.2.7 reason=failed "
    "id=0000000000000001 mechanism=user"
)
COUNTED = {
    FAILED: "192.0.2.7",
    FAILED.replace("192.0.2.7", "2001:db8::7"): "2001:db8::7",
    FAILED.replace("demo@localhost", '"de mo"'): "192.0.2.7",
    FAILED.replace("user=demo@localhost", "user="): "192.0.2.7",
    FAILED.replace("demo@localhost", '"x peer=198.51.100.1 reason=failed id=1"'): "192.0.2.7",
    FAILED.replace("demo@localhost", r"a\x22b"): "192.0.2.7",
    FAILED + " master=admin@localhost": "192.0.2.7",
}
NOT_COUNTED = [
    FAILED.replace("reason=failed", "reason=disabled"),
    FAILED.replace("reason=failed", "reason=in_use"),
    FAILED.replace("reason=failed", "reason=unavailable"),
    FAILED.replace("login_failed", "session"),
    FAILED.replace("info login_failed", 'info session text="info login_failed') + '"',
    FAILED.replace("peer=192.0.2.7", "peer=unix"),
]


class Fail2Ban(ServerCase):
    def fail2ban_regex(self, lines):
        """The addresses that the filter finds in the lines, in their order."""
        program, environment = shutil.which("fail2ban-regex"), dict(os.environ)
        unpacked = settings.TOOLS / "usr/bin/fail2ban-regex"
        if unpacked.exists():
            program = str(unpacked)
            environment["PYTHONPATH"] = str(settings.TOOLS / "usr/lib/python3/dist-packages")
        if program is None:
            self.skipTest("fail2ban is not installed")
        with tempfile.TemporaryDirectory(prefix="restante-fail2ban-") as folder:
            log = pathlib.Path(folder) / "log"
            log.write_text("".join(line + "\n" for line in lines))
            done = subprocess.run(
                [sys.executable, program, "--usedns", "no", "--out", "ip", log, FILTER],
                capture_output=True,
                text=True,
                env=environment,
                cwd=folder,
                timeout=settings.seconds(60),
                check=False,
            )
        if "No module named" in done.stderr:
            self.skipTest("fail2ban is for another Python")
        self.assertIn(done.returncode, (0, 1), done.stdout + done.stderr)
        return done.stdout.split()

    def failed_lines(self, user):
        pattern = re.compile(rf"^.* login_failed user={re.escape(user)} .*$", re.M)
        return until(lambda: pattern.findall(self.server.log()), "the failure is in the log")

    def test_the_filter_counts_wrong_passwords_by_their_address(self):
        self.assertEqual(self.fail2ban_regex(COUNTED), list(COUNTED.values()))

    def test_it_counts_them_from_the_journal(self):
        line = f"host restanted[4711]: {FAILED}"
        dated = f"Jan 02 03:04:05 {line}"
        self.assertEqual(self.fail2ban_regex([dated]), ["192.0.2.7"])

    def test_it_counts_nothing_else(self):
        self.assertEqual(self.fail2ban_regex(NOT_COUNTED), [])

    def test_the_servers_own_line_is_one_that_counts(self):
        user = self.user()
        client = self.connect()
        client.ok(f"USER {user}")
        client.err("PASS wrong")
        lines = self.failed_lines(f"{user}@localhost")
        self.assertEqual(len(lines), 1)
        self.assertRegex(
            lines[0],
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info login_failed user=\S+ "
            r"peer=127\.0\.0\.1 reason=failed id=\S+",
        )
        self.assertNotIn("wrong", lines[0])
        self.assertEqual(self.fail2ban_regex(lines), ["127.0.0.1"])

    def test_a_name_cannot_be_made_to_look_like_another_line(self):
        client = self.connect()
        client.ok('USER "peer=198.51.100.1"reason=failed')
        client.err("PASS wrong")
        lines = until(
            lambda: [line for line in self.server.log().splitlines() if "198.51.100.1" in line],
            "the failure is in the log",
        )
        self.assertEqual(self.fail2ban_regex(lines), ["127.0.0.1"])
