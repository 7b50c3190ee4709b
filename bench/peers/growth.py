# SPDX-License-Identifier: Apache-2.0
"""Processor time of one operation with more and more maildrops, and with more and more sessions:
`bench/growth`. A table in Markdown, and a plot beside it.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request

from peers import chart, ending
from peers.restante import Restante, listening

ROOT = pathlib.Path(__file__).resolve().parents[2]
PASSWORD = "demo"
WARM_USERS = 1000
DESCRIPTORS = 20000
SETTLE_S = 1.5  # So that a checkpoint of what one measurement left is not in the next.


class Operation:
    """`options` of restante-bench; {users} is how many there are, {warm} how many of them are
    warm.
    """

    def __init__(self, name, about, options):
        self.name = name
        self.about = about
        self.options = options


BY_MAILDROPS = (
    Operation(
        "login",
        f"session of one of {WARM_USERS} users who were here a moment ago",
        "-w login --closed -c 8 --user-count {warm}",
    ),
    Operation(
        "login of anybody",
        "session of any user: mostly the first since the start",
        "-w login --closed -c 8 --random-users --user-count {users}",
    ),
    Operation(
        "RETR",
        "of 4 KB, each in turn of three, 40 sessions of any users",
        "-w retr --closed -c 40 --random-users --user-count {users}",
    ),
    Operation(
        "delivery",
        "durable LMTP delivery of 4 KB to anybody, 64 connections",
        "-w deliver --closed -c 64 --sizes 4096 --random-users --user-count {users}",
    ),
)
BY_SESSIONS = (
    Operation("login", "session, closed loop, beside so many idle ones", BY_MAILDROPS[0].options),
    Operation(
        "RETR",
        "of 4 KB, 2,000 a second, the sessions in turn",
        "-w retr --rate 2000 -c {sessions} --user-count {users}",
    ),
    Operation(
        "delivery",
        "64 connections, closed loop, beside so many idle sessions",
        BY_MAILDROPS[3].options,
    ),
)


class Grown(Restante):
    """Restante on a store that `populate` has made."""

    def __init__(self, options, folder, maildrops):
        super().__init__(options, folder)
        self.name = f"restante-{maildrops}"
        self.maildrops = maildrops
        self.folder = pathlib.Path(folder) / self.name
        self.log_path = self.folder / "output.log"

    def prepare(self):
        store = self.folder / "store"
        made = self.options.stores / str(self.maildrops) if self.options.stores else None
        if made and made.is_dir():
            store.symlink_to(made.resolve())
            return
        print(f"making a store of {self.maildrops:,} maildrops", flush=True)
        subprocess.run(
            [self.options.build / "restante-bench", "populate", f"--store={store}", "--quiet"]
            + [f"--maildrops={self.maildrops}", "--messages=3", f"--password={PASSWORD}"],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def after_start(self):
        """The accounts are in the store."""


def bench(options, server, arguments, seconds, warmup):
    command = ["taskset", "-c", options.load_cpus, options.build / "restante-bench", "run"]
    command += ["--target", f"pop3://127.0.0.1:{server.pop3}"]
    command += ["--lmtp", f"127.0.0.1:{server.lmtp}", "--users", "load%u@localhost"]
    command += ["--password", PASSWORD, "--duration", seconds, "--warmup", warmup]
    command += ["--verify", "none", "--server-pid", server.process.pid, "--quiet", "--json", "-"]
    return [str(word) for word in command] + arguments.split()


def measure(options, server, arguments, seconds, warmup=1):
    """Microseconds of the server's processor time for an operation."""
    done = subprocess.run(
        bench(options, server, arguments, seconds, warmup),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds * 10 + 300,
    )
    try:
        run = json.loads(done.stdout)["runs"][0]
    except (ValueError, LookupError) as error:
        raise RuntimeError(f"{done.returncode}: {done.stderr[-500:]}") from error
    if run["errors_total"] > run["operations"] / 100:
        raise RuntimeError(f"{arguments}: {run['errors']}, {run.get('first_error')}")
    time.sleep(SETTLE_S)
    return run["server"]["cpu_us_per_operation"], run["rate"]


@contextlib.contextmanager
def idle_sessions(options, server, count):
    """So many, of the last users, while it is open."""
    first = server.maildrops - count + 1
    arguments = f"-w idle -c {count} --first-user {first} --user-count {count} --timeout 120"
    with ending.held():
        process = subprocess.Popen(
            bench(options, server, arguments, 3600, 0),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        deadline = time.monotonic() + 120
        while sessions_of(server) < count and time.monotonic() < deadline:
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def sessions_of(server):
    """How many the server says there are."""
    url = f"http://127.0.0.1:{listening(server, 'metrics')}/metrics"
    with urllib.request.urlopen(url, timeout=60) as answer:
        text = answer.read().decode()
    found = re.search(r'^restante_sessions\{protocol="pop3"\} (\d+)', text, re.M)
    return int(found.group(1))


class Growth:
    def __init__(self, options, folder):
        self.options = options
        self.servers = {}
        for count in options.maildrops:
            self.servers[count] = Grown(options, folder, count)
        # name of the operation -> number of maildrops or sessions -> [us of each round]
        self.by_maildrops, self.by_sessions = {}, {}

    def start(self):
        for server in self.servers.values():
            server.start()
            print(f"{server.name}: started", flush=True)

    def note(self, table, operation, count, found):
        cpu, rate = found
        table.setdefault(operation.name, {}).setdefault(count, []).append(cpu)
        print(f"{operation.name:<18}{count:>10,} {cpu:>9.1f} us {rate:>9,.0f}/s", flush=True)

    def measure_maildrops(self):
        for operation in BY_MAILDROPS:
            for _ in range(self.options.rounds):
                for count, server in self.servers.items():
                    arguments = operation.options.format(
                        users=count, warm=min(count, WARM_USERS)
                    )
                    found = measure(self.options, server, arguments, self.options.seconds)
                    self.note(self.by_maildrops, operation, count, found)

    def measure_sessions(self):
        largest = max(self.options.sessions)
        server = min(
            (one for one in self.servers.values() if one.maildrops >= largest + WARM_USERS),
            key=lambda one: one.maildrops,
            default=None,
        )
        if server is None:
            print(f"no store has enough maildrops for {largest:,} sessions", flush=True)
            return
        for _ in range(self.options.rounds):
            for count in self.options.sessions:
                self.measure_beside(server, count)

    def measure_beside(self, server, count):
        login, retr, delivery = BY_SESSIONS
        with idle_sessions(self.options, server, count):
            for operation in (login, delivery):
                arguments = operation.options.format(users=WARM_USERS, warm=WARM_USERS)
                found = measure(self.options, server, arguments, self.options.seconds)
                self.note(self.by_sessions, operation, count, found)
        arguments = retr.options.format(sessions=count, users=count)
        # They log in first: that is not to be measured.
        found = measure(self.options, server, arguments, self.options.seconds, 3 + count // 1000)
        self.note(self.by_sessions, retr, count, found)

    def end(self):
        ending.clear_up()
        for server in self.servers.values():
            server.ask_to_end()
        for server in self.servers.values():
            server.stop()


def medians(table):
    return {
        name: [(count, statistics.median(runs)) for count, runs in by_count.items()]
        for name, by_count in table.items()
    }


def cell(runs):
    return f"{statistics.median(runs):.1f} ({min(runs):.1f} to {max(runs):.1f})"


def markdown(title, what, table, operations):
    counts = sorted({count for by_count in table.values() for count in by_count})
    abouts = {operation.name: operation.about for operation in operations}
    head = " | ".join(f"{one:,}" for one in counts)
    lines = [f"### {title}", "", f"| us of server CPU | {head} |"]
    lines.append("|---" * (len(counts) + 1) + "|")
    for name, by_count in table.items():
        cells = []
        for count in counts:
            runs = by_count.get(count, [])
            cells.append(cell(runs) if runs else "-")
        lines.append(f"| {name}: {abouts[name]} | {' | '.join(cells)} |")
    return lines + ["", f"Columns: {what}. Median of the rounds, lowest and highest.", ""]


def render(growth):
    lines = ["# What an operation costs as things grow", ""]
    lines += markdown("By maildrops", "maildrops", growth.by_maildrops, BY_MAILDROPS)
    lines += markdown("By sessions", "sessions open", growth.by_sessions, BY_SESSIONS)
    return "\n".join(lines)


def plot(growth):
    charts = []
    for title, table in (("maildrops", growth.by_maildrops), ("sessions", growth.by_sessions)):
        if table:
            series = medians(table)
            charts.append(chart.Chart(f"By {title}", title, "us of server CPU", series))
    return chart.page(charts)


def numbers(text):
    return [int(one) for one in text.split(",")]


def arguments():
    cpus = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="bench/growth", description=__doc__.split(": `")[0] + ".")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR")
    parser.add_argument("--maildrops", type=numbers, default=[1000, 100000, 1000000])
    parser.add_argument("--sessions", type=numbers, default=[10, 1000, 10000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--server-cpus", default=str(cpus[0]), help="for taskset")
    parser.add_argument("--load-cpus", default=str(cpus[-1]))
    parser.add_argument("--dir", type=os.path.abspath, help="where the stores are made")
    parser.add_argument(
        "--stores", type=pathlib.Path, help="a folder with stores called by their maildrops"
    )
    parser.add_argument("--report", type=pathlib.Path, default=pathlib.Path("growth.md"))
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.workers, options.set, options.keep, options.users = 1, [], False, 0
    return options


def main():
    options = arguments()
    ending.install()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
    with ending.held():
        folder = tempfile.mkdtemp(prefix="restante-growth-", dir=options.dir)
    growth = Growth(options, folder)
    load = [f"{one:.1f}" for one in os.getloadavg()]
    try:
        growth.start()
        growth.measure_maildrops()
        growth.measure_sessions()
    finally:
        growth.end()
        shutil.rmtree(folder, ignore_errors=True)
    load += [f"{one:.1f}" for one in os.getloadavg()]
    text = render(growth)
    text += f"\nLoad average {' '.join(load[:3])} before, {' '.join(load[3:])} after.\n"
    options.report.write_text(text, encoding="utf-8")
    options.report.with_suffix(".svg").write_text(plot(growth), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
