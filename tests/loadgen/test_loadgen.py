# SPDX-License-Identifier: Apache-2.0
"""restante-bench against restanted, against the floor, and against a server that does wrong."""

import json
import os
import shutil
import signal
import socket
import subprocess
import unittest

from harness import settings
from harness.case import ServerCase
from harness.server import die_with_parent
from loadgen.fake import Fake
from loadgen.program import Floor, bench, check_page, folder, run, run_some

PROFILES = ("sun-light-pop", "sun-heavy-pop", "imaptest-pop3", "specmail2001-like")


def text_address(address):
    return f"{address[0]}:{address[1]}"


class AgainstRestante(ServerCase):
    """Short runs of everything against the demo's ten users."""

    def setUp(self):
        super().setUp()
        self.pop3 = "pop3://" + text_address(self.server.address("pop3"))
        self.lmtp = text_address(self.server.address("lmtp"))
        self.folder = folder()
        self.addCleanup(shutil.rmtree, self.folder)

    def load(self, workload, *more, **options):
        return run_some(
            "--workload", workload, "--target", self.pop3, "--lmtp", self.lmtp, *more, **options
        )["runs"][0]

    def populate(self, messages):
        bench("populate", "--lmtp", self.lmtp, "-c", 4, "--messages", messages)

    def assert_clean(self, one):
        self.assertEqual(one["errors"], {}, one.get("first_error"))

    def test_every_workload_runs_without_an_error(self):
        self.populate(2)
        for workload in ("login", "poll", "noop", "retr", "leave-on-server", "download-delete"):
            with self.subTest(workload=workload):
                one = self.load(workload, "--closed", "-c", 4)
                self.assert_clean(one)
                self.assertEqual(list(one["by_kind"]), [workload])
        one = self.load("deliver", "--closed", "-c", 4, "--pipeline", 3)
        self.assert_clean(one)

    def test_profiles_run_in_an_open_loop(self):
        for profile in PROFILES:
            with self.subTest(profile=profile):
                one = self.load(
                    profile,
                    "--rate",
                    60,
                    "-c",
                    8,
                    "--load",
                    100,
                    "--arrivals",
                    "poisson",
                    "--random-users",
                    code=None,
                )
                self.assert_clean(one)
                self.assertIn("deliver", one["by_kind"])

    def test_sessions_that_stay_are_counted(self):
        one = run("--workload", "idle", "--target", self.pop3, "-c", 7)["runs"][0]
        self.assertEqual(one["sessions"], 7)
        self.assert_clean(one)

    def test_pipelining_and_threads_change_nothing_but_speed(self):
        self.populate(3)
        for workload in ("leave-on-server", "download-delete", "login"):
            for back_end in ("auto", "epoll"):
                one = self.load(
                    workload, "--closed", "-c", 4, "-t", 2, "--pipeline", 8, "--io", back_end
                )
                self.assert_clean(one)

    def test_tls_is_full_or_resumed_as_asked(self):
        port = self.server.address("pop3s")[1]
        for target in (f"pop3s://127.0.0.1:{port}", self.pop3.replace("pop3:", "pop3+stls:")):
            for auth in ("plain", "login"):
                one = self.load("login", "--target", target, "--closed", "--auth", auth)
                self.assert_clean(one)
                self.assertGreater(one["handshakes_full"], 0)
                self.assertEqual(one["handshakes_resumed"], 0)
            resumed = 0
            for _ in range(10):  # A busy machine may not get beyond the first handshakes.
                one = self.load("login", "--target", target, "--closed", "-c", 3, "--tls-resume")
                self.assert_clean(one)
                self.assertLessEqual(one["handshakes_full"], 3)
                resumed += one["handshakes_resumed"]
                if resumed > 0:
                    break
            self.assertGreater(resumed, 0)

    def test_what_was_populated_is_verified_octet_by_octet(self):
        one = self.load("download-delete", "--closed", "-c", 2)  # Whatever was there.
        bench(
            "populate",
            "--lmtp",
            self.lmtp,
            "-c",
            3,
            "--messages",
            4,
            "--sizes",
            "uniform:600-90000",
        )
        with self.login("demo3", password="demo") as client:
            self.assertEqual(client.stat()[0], 4)
        one = run(
            "--workload",
            "leave-on-server",
            "--target",
            self.pop3,
            "--closed",
            "-c",
            5,
            seconds=settings.seconds(2),
        )["runs"][0]
        self.assert_clean(one)
        self.assertGreater(one["verified"], 0)
        self.assertEqual(one["unmarked"], 0)

    def test_a_corpus_comes_back_as_it_was_sent(self):
        self.load("download-delete", "--closed", "-c", 2)
        corpus = self.folder / "corpus"
        corpus.mkdir()
        (corpus / "a").write_bytes(b"Subject: a\n\n.dots\n..\n" + b"x" * 900 + b"\nno end")
        (corpus / "b").write_bytes(b"Subject: b\r\n\r\n" + b"line\r\n" * 5000)
        bench("populate", "--lmtp", self.lmtp, "--corpus", corpus, "--messages", 2)
        one = self.load("leave-on-server", "--closed", "-c", 2, "--corpus", corpus)
        self.assert_clean(one)
        self.assertGreater(one["verified"], 0)

    def test_outputs_are_written_and_can_be_compared(self):
        names = [self.folder / name for name in ("a.json", "b.json", "page.html", "text.hgrm")]
        for json_file in names[:2]:
            bench(
                "run",
                "-w",
                "login",
                "--target",
                self.pop3,
                "--closed",
                "-c",
                2,
                "-d",
                1,
                "--warmup",
                0.2,
                "--json",
                json_file,
                "--html",
                names[2],
                "--hgrm",
                names[3],
                "--server-pid",
                self.server.process.pid,
                "--metrics",
                text_address(self.server.address("metrics")),
            )
        one = json.loads(names[0].read_text())["runs"][0]
        self.assertGreater(one["server"]["cpu_s"], 0)
        self.assertGreater(one["server"]["private_octets_before"], 0)
        self.assertIn("restante_uptime_seconds", json.dumps(one["server"]["metrics_after"]))
        check_page(names[2].read_text())
        self.assertIn("Total count", names[3].read_text())
        again = bench("report", names[0]).stdout
        check_page(again)
        self.assertIn("<svg", again)
        compared = bench("compare", names[0], names[1], "--json", self.folder / "c.json")
        self.assertIn("rate", compared.stdout)
        figures = json.loads((self.folder / "c.json").read_text())["figures"]
        self.assertIn("server CPU an operation", [figure["figure"] for figure in figures])

    def test_a_signal_ends_a_run_and_the_result_is_told(self):
        process = subprocess.Popen(
            [
                str(settings.BUILD / "restante-bench"),
                "run",
                "-w",
                "noop",
                "--target",
                self.pop3,
                "--closed",
                "-d",
                "600",
                "--warmup",
                "0",
                "--json",
                str(self.folder / "x.json"),
            ],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        for line in process.stdout:  # The first window has been measured.
            if line.strip().startswith("1."):
                break
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.stdout.close()
        self.assertEqual(process.wait(settings.seconds(60)), 0)
        one = json.loads((self.folder / "x.json").read_text())["runs"][0]
        self.assertTrue(one["interrupted"])
        self.assertLess(one["seconds"], 600)

    def test_wrong_passwords_are_errors_of_their_own(self):
        done = bench(
            "run",
            "-w",
            "login",
            "--target",
            self.pop3,
            "--rate",
            5,
            "-c",
            2,
            "-d",
            1,
            "--warmup",
            0,
            "--password",
            "not-this-one",
            "-q",
            "--json",
            self.folder / "x.json",
            "--user-count",
            2,
            code=1,
        )
        self.assertIn("not one operation ended well", done.stderr)
        one = json.loads((self.folder / "x.json").read_text())["runs"][0]
        self.assertGreater(one["errors"]["auth"], 0)
        self.assertNotIn("not-this-one", (self.folder / "x.json").read_text())


class SecretsAndKeys(ServerCase):
    """SCRAM, and LMTP behind STARTTLS."""

    options = (
        "listener.pop3.auth_scram=true",
        "listener.pop3s.auth_scram=true",
        "listener.lmtp.tls=starttls",
    )

    def setUp(self):
        super().setUp()
        self.pop3 = "pop3://" + text_address(self.server.address("pop3"))
        self.pop3s = "pop3s://" + text_address(self.server.address("pop3s"))
        self.lmtp = "lmtp+starttls://" + text_address(self.server.address("lmtp"))

    def load(self, workload, *more, code=0):
        return run_some(*f"-w {workload} --closed -c 3".split(), *more, code=code)["runs"][0]

    def test_scram_logs_in_with_and_without_tls(self):
        for target in (self.pop3, self.pop3s):
            for auth in ("scram-sha-1", "scram-sha-256"):
                with self.subTest(target=target, auth=auth):
                    one = self.load("login", "--target", target, "--auth", auth)
                    self.assertEqual(one["errors"], {}, one.get("first_error"))
                    self.assertGreater(one["by_command"]["auth"]["latency_us"]["count"], 0)

    def test_scram_with_a_wrong_password_is_an_error_of_login(self):
        one = run_some_or_errors(
            *"-w login --rate 20 -c 2 --password wrong --auth scram-sha-256".split(),
            *("--target", self.pop3),
            code=None,
        )
        self.assertEqual(list(one["errors"]), ["auth"])

    def test_a_server_that_does_not_prove_itself_is_not_believed(self):
        fake = Fake()
        self.addCleanup(fake.close)
        one = run_some_or_errors(
            *"-w login --rate 20 -c 2 --auth scram-sha-256 --target".split(),
            f"pop3://{fake.pop3}",
            code=None,
        )
        self.assertEqual(list(one["errors"]), ["protocol"])

    def test_lmtp_delivers_behind_starttls(self):
        for more in ((), ("--pipeline", "3")):
            one = self.load("deliver", "--lmtp", self.lmtp, *more)
            self.assertEqual(one["errors"], {}, one.get("first_error"))
            self.assertGreaterEqual(one["handshakes_full"], 3)
        bench("populate", "--lmtp", self.lmtp, "--messages", 1)

    def test_a_server_that_says_no_to_starttls_is_an_error(self):
        fake = Fake()
        self.addCleanup(fake.close)
        one = run_some_or_errors(
            *"-w deliver --closed --timeout 0.5 --lmtp".split(),
            f"lmtp+starttls://{fake.lmtp}",
            code=None,
        )
        self.assertTrue(set(one["errors"]) & {"tls", "timeout", "closed"}, one["errors"])


class LmtpInTls(ServerCase):
    options = ("listener.lmtp.tls=implicit",)

    def test_lmtp_delivers_in_tls_from_the_start(self):
        url = "lmtps://" + text_address(self.server.address("lmtp"))
        one = run_some("-w", "deliver", "--closed", "--lmtp", url, "-c", 2)["runs"][0]
        self.assertEqual(one["errors"], {}, one.get("first_error"))
        self.assertGreaterEqual(one["handshakes_full"], 2)


class AgainstTheFloor(unittest.TestCase):
    def setUp(self):
        self.floor = Floor()
        self.addCleanup(self.floor.close)

    def load(self, workload, *more, **options):
        target = "pop3://" + self.floor.address
        return run_some("-w", workload, "--target", target, *more, **options)["runs"][0]

    def test_it_answers_everything_that_is_measured_against_it(self):
        for workload in ("login", "noop", "retr", "poll"):
            one = self.load(workload, "--closed", "-c", 3)
            self.assertEqual(one["errors"], {}, workload)

    def test_it_sends_a_large_message_in_every_way_there_is(self):
        ways = [("plain", way) for way in ("copy", "sendfile", "splice")]
        ways += [(settings.IO, way) for way in ("copy", "sendfile")]
        for layer, way in ways:
            with self.subTest(layer=layer, way=way):
                with Floor("--octets=1M", "--io", layer, "--how", way) as floor:
                    self.converse(floor)

    def converse(self, floor):
        """Commands ahead, cut anywhere; the replies are read only when the socket is full."""
        host, port = floor.address.split(":")
        body = (1 << 20) - 3
        with socket.create_connection((host, int(port)), settings.seconds(60)) as client:
            client.sendall(b"RETR 1\r\nRETR 1\r\nNO")
            client.sendall(b"OP\r\nSTAT\r\nQUIT\r\n")
            with client.makefile("rb") as replies:
                self.assertEqual(replies.readline(), b"+OK floor ready\r\n")
                for _ in range(2):
                    self.assertEqual(replies.readline(), b"+OK %d octets\r\n" % body)
                    message = replies.read(body + 3)
                    self.assertEqual(message[-5:], b"\r\n.\r\n")
                    self.assertEqual(set(message[:-5]), set(b"m\r\n"))
                rest = b"+OK\r\n+OK 1 %d\r\n+OK bye\r\n" % body
                self.assertEqual(replies.read(), rest)

    def test_the_io_layer_cannot_splice_and_says_so(self):
        done = bench("floor", "--io", "epoll", "--how", "splice", code=2)
        self.assertIn("--io plain", done.stderr)

    def test_more_than_the_generator_can_do_is_refused(self):
        options = "-w noop --rate 3000000 -c 2 --warmup 0 --drain 0.1 --fail-if p99>100s"
        target = "pop3://" + self.floor.address
        one = None
        for left in reversed(range(10)):
            try:
                one = run(*options.split(), "--target", target, code=3)["runs"][0]
                break
            except AssertionError:  # Where others keep the floor from running, it is the limit.
                if left == 0:
                    raise
        self.assertEqual(one["verdict"]["result"], "refused")
        self.assertTrue(one["generator"]["bottleneck"])
        self.assertTrue(one["generator"]["reasons"])
        self.assertGreater(one["generator"]["backlog_max"], 0)

    def test_conditions_on_errors_hold_however_busy_the_generator_was(self):
        self.load("noop", "--closed", "--fail-if", "errors>0", code=0)


class AgainstAFake(unittest.TestCase):
    """Each wrong of a server has its own name."""

    def load(self, fault, workload="leave-on-server", *more, code=None, messages=3):
        fake = Fake(fault)
        self.addCleanup(fake.close)
        bench(
            "populate",
            "--lmtp",
            fake.lmtp,
            "--users",
            "user%u",
            "--user-count",
            2,
            "--messages",
            messages,
        )
        return run_some_or_errors(
            "-w",
            workload,
            "--target",
            "pop3://" + fake.pop3,
            "--users",
            "user%u",
            "--user-count",
            2,
            *more,
            code=code,
        )

    def test_a_server_that_does_right_has_no_errors(self):
        one = self.load(None, "leave-on-server", "--closed", "-c", 2, code=0)
        self.assertEqual(one["errors"], {})
        self.assertGreater(one["verified"], 0)

    def test_each_wrong_is_noticed_and_named(self):
        for fault, error in (
            ("content", "content"),
            ("short", "size"),
            ("size", "size"),
            ("uidl", "uidl"),
            ("misplaced", "misplaced"),
            ("in_use", "in_use"),
            ("auth", "auth"),
            ("protocol", "protocol"),
            ("refused", "refused"),
            ("closed", "closed"),
        ):
            with self.subTest(fault=fault):
                one = self.load(fault, "leave-on-server", "--closed", "-c", 2)
                self.assertIn(error, one["errors"], one["errors"])

    def test_a_server_that_does_not_answer_is_given_up(self):
        one = self.load("timeout", "login", "--closed", "--timeout", 0.3)
        self.assertIn("timeout", one["errors"])

    def test_a_condition_on_content_fails_the_run(self):
        one = self.load(
            "content", "leave-on-server", "--closed", "--fail-if", "errors.content>0", code=1
        )
        self.assertEqual(one["verdict"]["result"], "fail")

    def test_a_server_that_stalls_is_charged_for_all_who_had_to_wait(self):
        """A closed loop would see one slow reply; on a schedule everybody due meanwhile is late."""
        one = self.load("stall", "noop", "--rate", 100, "--warmup", 0, "-d", 2)
        self.assertGreater(one["latency_us"]["p75"], 200000)
        self.assertGreaterEqual(one["latency_us"]["max"], 900000)


def run_some_or_errors(*arguments, code):
    """A run in which something happened, well or not."""
    for seconds in (0.6, 3, 15):
        one = run(*arguments, code=code, seconds=seconds)["runs"][0]
        if one["operations"] + one["errors_total"] > 0:
            return one
    raise AssertionError(f"nothing happened: {one}")


class CommandLine(unittest.TestCase):
    def test_wrong_use_is_told_with_code_2(self):
        for arguments in (
            (),
            ("nothing",),
            ("run",),
            ("run", "-w", "nothing"),
            ("run", "-w", "login"),
            ("run", "-w", "login", "--closed", "--rate", 5),
            ("run", "-w", "login", "--rate", "x"),
            ("run", "-w", "deliver", "--closed"),
            ("run", "-w", "noop", "--closed", "-c", 50),
            ("run", "-w", "login", "--closed", "--fail-if", "p99>5"),
            ("run", "-w", "login", "--rate", 5, "--shape", "spike"),
            ("compare", "one.json"),
            ("run", "-w", "login", "--closed", "--users", "%s"),
            ("run", "-w", "login", "--closed", "--target", "pop3://nowhere"),
        ):
            with self.subTest(arguments=arguments):
                done = bench(*arguments, code=2)
                self.assertTrue(done.stderr)

    def test_help_and_version_are_there(self):
        self.assertIn("populate", bench("--help").stdout)
        self.assertIn("restante-bench", bench("--version").stdout)
        for command in ("run", "populate", "floor", "compare", "report"):
            self.assertIn(f"restante-bench {command}", bench(command, "--help").stdout)

    def test_a_server_that_is_not_there_is_an_error_and_no_hang(self):
        done = bench(
            "run",
            "-w",
            "login",
            "--closed",
            "--target",
            "pop3://127.0.0.1:1",
            "-d",
            0.3,
            "--warmup",
            0,
            code=1,
        )
        self.assertIn("not one operation ended well", done.stderr)

    def test_what_is_no_result_is_not_compared(self):
        place = folder()
        self.addCleanup(shutil.rmtree, place)
        (place / "x.json").write_text('{"schema":"other/1"}')
        bench("compare", place / "x.json", place / "x.json", code=1)
        bench("report", os.devnull, code=1)
