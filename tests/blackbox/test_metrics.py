# SPDX-License-Identifier: Apache-2.0
"""The metrics endpoint: what it says is well formed, and true."""

import http.client
import re
import shutil
import subprocess

from harness import settings
from harness.case import ServerCase
from harness.messages import sample
from harness.server import PASSWORD

SAMPLE = re.compile(
    r'^([a-z_:][a-z0-9_:]*)(\{(?:[a-z_][a-z0-9_]*="(?:[^"\\\n]|\\.)*",?)*\})? '
    r"([-+]?(?:\d[\d.eE+-]*|Inf)|NaN)$"
)


def promtool():
    unpacked = settings.TOOLS / "usr/bin/promtool"
    return str(unpacked) if unpacked.exists() else shutil.which("promtool")


class Metrics(ServerCase):
    def get(self, path):
        host, port = self.server.address("metrics")
        connection = http.client.HTTPConnection(host, port, timeout=settings.seconds(10))
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode("utf-8")
        connection.close()
        return response, body

    def samples(self):
        _, body = self.get("/metrics")
        found = {}
        for line in body.splitlines():
            if not line.startswith("#"):
                match = SAMPLE.match(line)
                self.assertTrue(match, line)
                found[match.group(1) + (match.group(2) or "")] = float(match.group(3))
        return found

    def total(self, *words):
        """The sum of all samples whose name and labels hold all the words."""
        return sum(
            value for name, value in self.samples().items() if all(word in name for word in words)
        )

    def test_metrics_are_served_as_prometheus_text(self):
        response, body = self.get("/metrics")
        self.assertEqual(response.status, 200)
        self.assertTrue(response.getheader("Content-Type").startswith("text/plain"))
        self.assertTrue(body.endswith("\n"))
        self.assertGreater(len(self.samples()), 20)

    def test_every_metric_is_ours_and_explained(self):
        _, body = self.get("/metrics")
        helped = set(re.findall(r"(?m)^# HELP (\S+) \S", body))
        typed = dict(re.findall(r"(?m)^# TYPE (\S+) (\w+)$", body))
        self.assertEqual(helped, set(typed))
        for name, kind in typed.items():
            self.assertTrue(name.startswith("restante_"), name)
            self.assertEqual(kind == "counter", name.endswith("_total"), name)
        for name in self.samples():
            base = re.sub(r"\{.*", "", name)
            family = re.sub(r"_(bucket|sum|count)$", "", base)
            self.assertTrue(base in typed or typed.get(family) == "histogram", name)

    def test_histograms_are_cumulative_and_complete(self):
        _, body = self.get("/metrics")
        found = self.samples()
        histograms = re.findall(r"(?m)^# TYPE (\S+) histogram$", body)
        self.assertTrue(histograms)
        for name in histograms:
            buckets = [(found[key], key) for key in found if key.startswith(name + "_bucket{")]
            self.assertTrue(any('le="+Inf"' in key for _, key in buckets), name)
            self.assertEqual(
                max(value for value, _ in buckets),
                max(value for key, value in found.items() if key.startswith(name + "_count")),
            )

    def test_promtool_finds_nothing_to_complain_about(self):
        program = promtool()
        if program is None:
            self.skipTest("promtool is not there")
        _, body = self.get("/metrics")
        done = subprocess.run(
            [program, "check", "metrics"], input=body, text=True, capture_output=True, check=False
        )
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_of_the_index_it_is_told_what_is_free(self):
        found = self.samples()
        used = found["restante_index_map_used_bytes"]
        self.assertGreater(found["restante_index_map_bytes"], used)
        self.assertGreater(used, found["restante_index_map_free_bytes"])
        self.assertGreaterEqual(found["restante_index_map_free_bytes"], 0)

    def test_no_label_names_a_user_or_an_address(self):
        user = self.user()
        self.deliver(user, sample(1))
        self.login(user).quit()
        _, body = self.get("/metrics")
        self.assertNotIn(user, body)
        self.assertNotIn("127.0.0.1", body)

    def test_commands_are_counted(self):
        client = self.login(self.user())
        before = self.total("commands_total", 'NOOP"') + self.total("commands_total", 'noop"')
        for _ in range(7):
            client.ok("NOOP")
        after = self.total("commands_total", 'NOOP"') + self.total("commands_total", 'noop"')
        self.assertEqual(after - before, 7)

    def test_commands_nobody_knows_are_counted_together(self):
        before = self.total("commands_total", 'pop3",verb="unknown"')
        client = self.login(self.user())
        for verb in ("BLURB", "XYZZY", "GET"):
            client.err(verb)
        self.assertEqual(self.total("commands_total", 'pop3",verb="unknown"') - before, 3)
        _, body = self.get("/metrics")
        self.assertNotIn("BLURB", body)

    def test_logins_are_counted_by_result(self):
        before = self.total("logins_total")
        user = self.user()
        self.login(user).quit()
        client = self.connect()
        client.ok(f"USER {user}")
        client.err("PASS wrong")
        self.assertEqual(self.total("logins_total") - before, 2)

    def test_deliveries_are_counted(self):
        before = self.total("deliver", "_total")
        self.deliver(self.user(), sample(1), sample(2))
        self.assertGreaterEqual(self.total("deliver", "_total") - before, 2)

    def test_sessions_are_counted_while_they_last(self):
        client = self.login(self.user())
        self.assertGreaterEqual(self.total("sessions", "pop3"), 1)
        client.quit()

    def test_the_io_back_end_in_use_is_named(self):
        wanted = settings.IO if settings.IO != "auto" else "io_uring"
        named = [
            name for name, value in self.samples().items() if f'"{wanted}"' in name and value >= 1
        ]
        self.assertTrue(named)

    def test_livez_and_readyz_answer(self):
        for path in ("/livez", "/readyz"):
            response, _ = self.get(path)
            self.assertEqual(response.status, 200, path)

    def test_other_paths_are_404(self):
        self.assertEqual(self.get("/nothing")[0].status, 404)

    def test_what_issue_two_lists_is_there(self):
        names = " ".join(self.samples())
        for word in (
            "sessions",
            "logins_total",
            "commands_total",
            "deliver",
            "commit",
            "sync",
            "checkpoint",
            "delta",
            "map",
            "io",
        ):
            self.assertIn(word, names)

    def test_a_wrong_password_is_no_success(self):
        before = {key: value for key, value in self.samples().items() if "logins_total" in key}
        client = self.connect()
        client.ok(f"USER {self.user()}")
        client.err(f"PASS not {PASSWORD}")
        after = {key: value for key, value in self.samples().items() if "logins_total" in key}
        changed = [key for key in after if after[key] != before.get(key, 0)]
        self.assertEqual(len(changed), 1, changed)
        self.assertNotIn('"ok"', changed[0])
