# SPDX-License-Identifier: Apache-2.0
"""bench/compare tells what was measured, and works where Dovecot is installed (with --long)."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
import unittest
import unittest.mock
import xml.etree.ElementTree

from harness import settings
from harness.wire import until
from loadgen.program import Floor

sys.path.append(str(settings.ROOT / "bench"))

from peers import accounting, chart, large, mail, report, slices  # noqa: E402


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


def run_short(test, name, path, options, code=0, env=None):
    """bench/NAME with its report in `path`; it leaves nothing behind."""
    here = path / "here"
    here.mkdir()
    command = [settings.ROOT / "bench" / name, *options, f"--build={settings.BUILD}"]
    done = subprocess.run(
        [*command, f"--dir={here}", f"--report={path / name}.md"],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        timeout=settings.seconds(300),
    )
    test.assertEqual(done.returncode, code, done.stdout + done.stderr)
    test.assertEqual(os.listdir(here), [])


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


class Agreement(unittest.TestCase):
    def test_the_report_says_how_far_two_generators_are_apart(self):
        def workload(cpu, again=None):
            runs = [{"server_cpu_us": one} for one in cpu]
            return {"again": again, "servers": {"restante": runs}}

        workloads = {"login": workload([90, 110, 100]), "login-2": workload([95], "login")}
        rows = report.agreement_table(workloads)
        row = "| login | login-2 | restante | 100 (90.0) | 95.0 (95.0) | -5 % |"
        self.assertEqual(rows[6], row)
        self.assertEqual(report.agreement_table({"login": workload([1])}), [])

    def test_neighbouring_runs_are_compared_where_there_are_as_many(self):
        self.assertAlmostEqual(report.apart([100, 200, 400], [110, 210, 880]), 0.1)
        self.assertAlmostEqual(report.apart([0, 200, 400], [110, 210, 880]), 0.05)
        self.assertEqual(report.apart([0], [0]), 0)

    def test_both_generators_are_run_in_turns_and_nothing_is_left_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            options = ["--workloads=noop", "--connections=2", "--rounds=1", "--seconds=0.2"]
            run_short(self, "agree", path, options)
            table = (path / "agree.md").read_text(encoding="utf-8")
            self.assertIn("| noop, 2 | restante |", table)
            self.assertIn("| noop, 2 | floor |", table)

    def second(self, port, *more, text=None):
        command = [settings.BUILD / "bench" / "bench-second", "--port", port, "--connections=3"]
        return subprocess.run(
            [*map(str, command), "--password=x", *more],
            capture_output=True,
            text=True,
            check=False,
            input=text,
            timeout=settings.seconds(120),
        )

    def test_the_second_generator_counts_what_it_did(self):
        with Floor() as floor:
            for name in ("login", "noop", "retr"):
                more = ("--workload", name, "--seconds=0.3")
                done = self.second(floor.address.split(":")[1], *more)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertGreater(json.loads(done.stdout)["operations"], 0, name)

    def test_the_second_generator_keeps_its_sessions_from_slice_to_slice(self):
        with Floor("--octets=64K") as floor:
            done = self.second(
                floor.address.split(":")[1], "--workload=retr", "--slices", text="50\n1\n50\n"
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            counts = [json.loads(line)["operations"] for line in done.stdout.splitlines()]
            self.assertEqual(len(counts), 3)
            self.assertGreater(counts[2], 0)

    def test_the_second_generator_sends_commands_ahead(self):
        with Floor() as floor:
            for name in ("noop", "retr"):
                more = ("--workload", name, "--ahead=5", "--messages=3", "--seconds=0.2")
                done = self.second(floor.address.split(":")[1], *more)
                self.assertEqual(done.returncode, 0, done.stderr)
                operations = json.loads(done.stdout)["operations"]
                self.assertGreater(operations, 0)
                self.assertEqual(operations % 5, 0)
            done = self.second(floor.address.split(":")[1], "--workload=login", "--ahead=2")
            self.assertIn("--ahead is for noop and retr", done.stderr)

    def test_messages_are_fetched_in_turn_and_replies_come_in_any_pieces(self):
        reply = b"+OK\r\nA line.\r\n..\r\n.\r\n"
        asked = []

        def serve(client):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines = client.makefile("rb")
            client.sendall(b"+OK\r\n")
            for _ in ("USER", "PASS"):
                lines.readline()
                client.sendall(b"+OK\r\n")
            while batch := b"".join(lines.readline() for _ in range(3)):
                asked.append(batch)
                for octet in reply * 3 if len(asked) == 1 else ():
                    client.sendall(bytes([octet]))
                client.sendall(reply * 3 if len(asked) > 1 else b"")

        with socket.create_server(("127.0.0.1", 0)) as server:

            def accept():
                with server.accept()[0] as client:
                    serve(client)

            thread = threading.Thread(target=accept)
            thread.start()
            more = ("--connections=1", "--workload=retr", "--ahead=3", "--message=2")
            done = self.second(
                server.getsockname()[1], *more, "--messages=2", "--slices", text="1\n50\n"
            )
            thread.join()
        self.assertEqual(done.returncode, 0, done.stderr)
        counts = [json.loads(line)["operations"] for line in done.stdout.splitlines()]
        self.assertEqual(sum(counts), 3 * len(asked))
        self.assertEqual(
            asked[:2], [b"RETR 2\r\nRETR 3\r\nRETR 2\r\n", b"RETR 3\r\nRETR 2\r\nRETR 3\r\n"]
        )

    def test_the_second_generator_does_not_count_what_a_server_refuses(self):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def refuse():
                for _ in range(3):
                    with server.accept()[0] as client:
                        client.sendall(b"-ERR not now\r\n")

            thread = threading.Thread(target=refuse)
            thread.start()
            done = self.second(server.getsockname()[1], "--workload=login", "--seconds=1")
            thread.join()
            self.assertEqual(done.returncode, 1)
            self.assertIn("-ERR not now", done.stderr)


class Large(unittest.TestCase):
    def test_the_best_way_is_the_lowest_and_the_ratio_is_of_the_same_round(self):
        us = {"copy": [30, 40, 50], "sendfile": [20, 30, 40], "restante": [24, 33, 80]}
        best, median, lowest = large.ratios({"us": us}, ["copy", "sendfile"])
        self.assertEqual((best, median, lowest), ("sendfile", 1.2, 1.2))

    def test_large_messages_are_measured_in_turns_and_nothing_is_left_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            options = ["--octets=20000,70000", "--clients=2", "--rounds=2", "--slice=20"]
            run_short(self, "large", path, options)
            rows = json.loads((path / "large.json").read_text(encoding="utf-8"))
            self.assertEqual([row["octets"] for row in rows], [20000, 70000])
            for row in rows:
                self.assertEqual(list(row["us"]), ["copy", "sendfile", "splice", "restante"])
                self.assertTrue(all(one > 0 for us in row["us"].values() for one in us), row)
            table = (path / "large.md").read_text(encoding="utf-8")
            self.assertIn("| 68 KB, 2 |", table)


class InTurns(unittest.TestCase):
    def test_a_stolen_turn_is_repeated_but_only_so_often(self):
        turns = slices.Turns(types.SimpleNamespace(server_cpus="0", load_cpus="0", repeats=2))
        figures = iter(range(1, 10))
        shares = [0.3, 0.1, 0.9, 0.8, 0.7]
        with unittest.mock.patch.object(slices.Stolen, "share", side_effect=shares):
            taken = [turns.turn(lambda: next(figures)) for _ in range(2)]
        self.assertEqual(taken, [2, 5])
        self.assertEqual((turns.counted, turns.repeated, turns.stolen), (2, 3, 1))

    def test_processors_are_named_as_taskset_takes_them(self):
        self.assertEqual(slices.processors("0,2-3", "1"), {"cpu0", "cpu1", "cpu2", "cpu3"})

    def test_servers_are_measured_in_turns_and_nothing_is_left_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            options = ["--servers=restante,floor", "--workloads=login,retr", "--connections=2"]
            options += ["--ahead=1,3", "--octets=9000", "--messages=2", "--rounds=1", "--slice=20"]
            run_short(self, "turns", path, options)
            document = json.loads((path / "turns.json").read_text(encoding="utf-8"))
            found = [(row["workload"], row["ahead"]) for row in document["rows"]]
            self.assertEqual(found, [("login", 1), ("retr", 1), ("retr", 3)])
            for row in document["rows"]:
                self.assertTrue(all(us[0] > 0 for us in row["us"].values()), row)
            self.assertEqual(document["disturbance"]["turns"], 6)
            table = (path / "turns.md").read_text(encoding="utf-8")
            self.assertIn("| restante | floor | restante / floor |", table)
            self.assertIn("| retr, 2, 3 |", table)

    def test_who_is_not_there_is_named_and_the_others_are_measured(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            programs = path / "programs"
            programs.mkdir()
            for name in ("sh", "dirname", "python3", "taskset", "dpkg-query"):
                if shutil.which(name):
                    (programs / name).symlink_to(shutil.which(name))
            options = ["--servers=floor,dovecot", "--workloads=noop", "--connections=1"]
            options += ["--rounds=1", "--slice=20"]
            run_short(self, "turns", path, options, 1, {**os.environ, "PATH": str(programs)})
            text = (path / "turns.md").read_text(encoding="utf-8")
            self.assertIn("| noop, 1, 1 |", text)
            self.assertIn("Not measured: dovecot: ", text)


class Plot(unittest.TestCase):
    def test_a_chart_is_xml_and_has_every_point_inside(self):
        points = [(1000, 3.0), (100000, 40), (1000000, 700)]
        one = chart.Chart("By <things>", "things", "us", {"a & b": points, "none": []})
        root = xml.etree.ElementTree.fromstring(chart.page([one, one]))
        circles = [one for one in root.iter() if one.tag.endswith("circle")]
        self.assertEqual(len(circles), 6)
        for circle in circles:
            self.assertTrue(0 < float(circle.get("cx")) < chart.WIDTH)
            self.assertTrue(0 < float(circle.get("cy")) < chart.HEIGHT - chart.BOTTOM + 1)
        self.assertIn("By <things>", "".join(root.itertext()))

    def test_ticks_go_around_all_values(self):
        self.assertEqual(chart.ticks(3, 700), [2, 5, 10, 20, 50, 100, 200, 500, 1000])
        self.assertEqual(chart.ticks(7, 7), [5, 10])


@unittest.skipUnless(settings.LONG, "only in the long run")
class Grows(unittest.TestCase):
    def test_growth_writes_a_table_and_a_plot_and_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            (path / "here").mkdir()
            command = [settings.ROOT / "bench" / "growth", "--maildrops=40,1100", "--rounds=1"]
            command += ["--sessions=2,20", "--seconds=0.5", f"--build={settings.BUILD}"]
            command += [f"--dir={path / 'here'}", f"--report={path / 'growth.md'}"]
            subprocess.run(command, check=True, timeout=settings.seconds(600))
            text = (path / "growth.md").read_text(encoding="utf-8")
            self.assertEqual(text.count("| delivery:"), 2)
            self.assertNotIn("| - |", text)
            xml.etree.ElementTree.parse(path / "growth.svg")
            self.assertEqual(list((path / "here").iterdir()), [])


def processes_in(folder):
    """Those whose command or folder is below it, and which have not ended."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            if folder in words or os.readlink(entry / "cwd").startswith(folder):
                found.append(words.replace("\0", " "))
        except OSError:
            pass  # It has ended, or its parent has not noticed yet.
    return found


def groups():
    root = accounting.cgroup_root()
    return {str(one) for one in root.glob(f"{accounting.PREFIX}*")} if root else set()


class Interrupted(unittest.TestCase):
    """Signals in the middle, to the whole comparison as from a terminal or to its process alone."""

    def interrupt(self, at, number, group=False, again=False):
        """Waits until `at` is in the output, sends the signal, or sends it until it has ended, and
        looks what is left.
        """
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            log = pathlib.Path(folder) / "output"
            mail_folder = pathlib.Path(folder) / "here"
            mail_folder.mkdir()
            command = [settings.ROOT / "bench" / "compare", "--no-install", "--rounds=1"]
            command += ["--servers=restante,floor", "--users=40", "--messages=2", "--settle=0.1"]
            command += ["--workloads=login", "--seconds=600", f"--build={settings.BUILD}"]
            command += [f"--dir={mail_folder}", f"--report={folder}/compare.md"]
            with open(log, "wb") as output:
                process = subprocess.Popen(
                    [str(word) for word in command],
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            try:
                until(
                    lambda: process.poll() is not None or at in log.read_text(),
                    f"{at} in the output",
                    timeout=300,
                )
                self.assertIsNone(process.poll(), log.read_text())
                until(lambda: processes_in(str(mail_folder)), "a server runs")
                own = {one for one in groups() if f"{accounting.PREFIX}{process.pid}-" in one}
                (os.killpg if group else os.kill)(process.pid, number)
                while again and process.poll() is None:
                    os.kill(process.pid, number)
                code = process.wait(settings.seconds(120))
            finally:
                process.kill()
                process.wait()
            self.assertEqual(code, 128 + number, log.read_text())
            self.assertEqual(processes_in(folder), [])
            self.assertEqual(own & groups(), set())
            self.assertEqual(list(mail_folder.iterdir()), [])
            self.assertFalse((pathlib.Path(folder) / "compare.md").exists())

    def test_ended_while_servers_start(self):
        self.interrupt("restante: started", signal.SIGTERM)

    def test_ended_while_it_measures_by_a_terminal(self):
        self.interrupt("octets a session", signal.SIGINT, group=True)

    def test_told_again_and_again(self):
        self.interrupt("floor: started", signal.SIGTERM, again=True)

    def test_what_belongs_together_is_not_torn_apart(self):
        program = (
            "import os, signal\n"
            "from peers import ending\n"
            "ending.install()\n"
            "try:\n"
            "    with ending.held():\n"
            "        os.kill(os.getpid(), signal.SIGTERM)\n"
            "        print('whole')\n"
            "    print('too far')\n"
            "finally:\n"
            "    ending.clear_up()\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n"
            "    print('cleared up')\n"
        )
        done = subprocess.run(
            [sys.executable, "-B", "-c", program],
            env={**os.environ, "PYTHONPATH": str(settings.ROOT / "bench")},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.stdout.split("\n"), ["whole", "cleared up", ""])
        self.assertEqual(done.returncode, 128 + signal.SIGTERM)


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
