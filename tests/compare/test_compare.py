# SPDX-License-Identifier: Apache-2.0
"""bench/compare tells what was measured, and works where Dovecot is installed (with --long)."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from harness import settings
from harness.wire import until

sys.path.append(str(settings.ROOT / "bench"))

from peers import accounting, mail, report  # noqa: E402


# Four children use a little processor time, end, and are waited for.
BURN = """
import os
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        sum(range(3000000))
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
input()
"""


class Parts(unittest.TestCase):
    def test_a_message_has_exactly_the_octets_asked_for_and_short_lines(self):
        for octets in (300, 4095, 4096, 4097, 65536):
            message = mail.message("load7", 3, octets)
            self.assertEqual(len(message), octets)
            self.assertTrue(message.endswith(b"\r\n"))
            self.assertNotIn(b"\n.", message)
            self.assertLessEqual(max(map(len, message.split(b"\r\n"))), 80)

    def test_the_group_counts_children_that_have_ended(self):
        group = accounting.Group("test")
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", BURN], stdin=subprocess.PIPE, preexec_fn=group.enter
            )
            group.started(process.pid)
            until(
                lambda: group.cpu_ns() >= 20_000_000 and group.pids() == [process.pid],
                "the children have ended and count",
                timeout=120,
            )
            process.communicate(b"\n")
        finally:
            self.assertEqual(group.end(), [])

    def test_the_report_has_ratios_to_the_server_and_to_the_floor(self):
        def run(cpu):
            return {
                "server_cpu_us": cpu,
                "rate": 1000,
                "errors": 0,
                "latency_us": {"p50": 1, "p99": 2, "p999": 3},
            }

        table = report.workload_table(
            "login", "a session", {"restante": [run(30), run(50), run(40)], "floor": [run(20)]}
        )
        self.assertIn("| restante | 40.0 | 30.0 to 50.0 | 1.00 | 2.00 |", "\n".join(table))


@unittest.skipUnless(settings.LONG, "only in the long run")
@unittest.skipUnless(shutil.which("dovecot"), "Dovecot is not installed")
@unittest.skipUnless(os.geteuid() == 0, "only root can start other servers")
class Quick(unittest.TestCase):
    def test_a_quick_comparison_measures_both_and_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            path = pathlib.Path(folder)
            done = subprocess.run(
                [
                    settings.ROOT / "bench" / "compare",
                    "--quick",
                    "--no-install",
                    "--servers=restante,floor,dovecot",
                    "--workloads=login,noop,retr,deliver",
                    f"--build={settings.BUILD}",
                    f"--dir={folder}",
                    f"--report={path / 'compare.md'}",
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=settings.seconds(600),
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            document = json.loads((path / "compare.json").read_text(encoding="utf-8"))
            self.assertEqual(list(document["servers"]), ["restante", "floor", "dovecot"])
            for name in ("login", "noop", "retr"):
                self.assertEqual(len(document["workloads"][name]["servers"]), 3, name)
            left = sorted(one.name for one in path.iterdir())
            self.assertEqual(left, ["compare.json", "compare.md"])


if __name__ == "__main__":
    unittest.main()
