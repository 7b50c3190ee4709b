# SPDX-License-Identifier: Apache-2.0
"""Several servers in turns of a fraction of a second, over sessions that are kept: what disturbs a
machine for longer than that disturbs all of them, and a turn that was stolen is repeated.
"""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from peers import accounting, ending
from peers.server import PASSWORD, USER, wait_until_idle

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
STOLEN_MAX = 0.2  # Of a turn; more is repeated.
ASLEEP_S = 0.003  # A server that used next to nothing for so long has ended its turn ...
ASLEEP_NS = 30_000
ASLEEP_LOOKS = 300  # ... and one that goes on and on ends it then.


def add_place(parser, report):
    """The options of all commands that measure in turns: where."""
    cpus = sorted(os.sched_getaffinity(0))
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR")
    parser.add_argument("--set", action="append", default=[], help="Restante's KEY=VALUE")
    parser.add_argument("--server-cpus", default=str(cpus[0]), help="for taskset")
    parser.add_argument("--load-cpus", default=str(cpus[-1]))
    parser.add_argument("--dir", type=os.path.abspath, help="where the mail is")
    parser.add_argument("--report", type=pathlib.Path, default=pathlib.Path(report))


def add_turns(parser, rounds):
    """How many, and which are not counted."""
    parser.add_argument(
        "--rounds", type=int, default=rounds, help=f"in which each has its turn ({rounds})"
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        help=f"of a turn of which more than {100 * STOLEN_MAX:.0f} %% was stolen, at most (3)",
    )


def complete(options, connections):
    """What servers and generators want to know besides. Ends where nothing is built."""
    options.build = options.build.resolve()
    options.users, options.workers, options.keep = max(connections), 1, False
    if not (options.build / "bench" / "bench-second").exists():
        sys.exit(f"no programs in {options.build}: deploy/quickstart --build-only")


@contextlib.contextmanager
def place(options, name):
    """A folder for servers, and a list for those that are to be stopped in the end."""
    ending.install()
    accounting.sweep()
    with ending.held():
        folder = tempfile.mkdtemp(prefix=f"restante-{name}-", dir=options.dir)
    servers = []
    try:
        os.chmod(folder, 0o755)
        yield folder, servers
    finally:
        ending.clear_up()
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def slept_ns(server):
    """Processor time of all processes of a server once they sleep: what a client no longer waits
    for is part of the turn, and only the time of who sleeps is exact.
    """
    now = server.group.cpu_ns()
    for _ in range(ASLEEP_LOOKS):
        time.sleep(ASLEEP_S)
        before, now = now, server.group.cpu_ns()
        if now - before < ASLEEP_NS:
            break
    return now


class Generator:
    """bench-second over one server, idle between slices."""

    def __init__(self, options, server, workload, connections, *more):
        command = ["taskset", "-c", options.load_cpus, options.build / "bench" / "bench-second"]
        command += ["--slices", "--port", server.pop3, "--workload", workload]
        command += ["--connections", connections, "--user-count", options.users]
        command += ["--users", USER.replace("{}", "%u"), "--password", PASSWORD, *more]
        self.server = server
        with ending.held():
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def slice(self, milliseconds):
        """Microseconds of the server's processor time for an operation. A slice that was over
        before the first one ended is repeated.
        """
        operations = 0
        while operations == 0:
            before = self.server.group.cpu_ns()
            self.process.stdin.write(f"{milliseconds}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the generator against {self.server.name} has ended")
            operations = json.loads(line)["operations"]
        return (slept_ns(self.server) - before) / 1000 / operations

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        slept_ns(self.server)  # The maildrops are free for the next one.


def processors(*lists):
    """Their names in /proc/stat; lists are as taskset takes them: 0,2-3."""
    names = set()
    for part in ",".join(lists).split(","):
        first, _, last = part.partition("-")
        names.update(f"cpu{number}" for number in range(int(first), int(last or first) + 1))
    return names


class Stolen:
    """What the hypervisor has taken from some processors since this was made, by /proc/stat."""

    def __init__(self, names):
        self.names = names
        self.began = time.monotonic()
        self.first = self.ticks()

    def ticks(self):
        lines = pathlib.Path("/proc/stat").read_text(encoding="ascii").splitlines()
        return [int(line.split()[8]) for line in lines if line.split(" ")[0] in self.names]

    def share(self):
        """Of the time, on the processor that lost most."""
        lost = [now - first for first, now in zip(self.first, self.ticks(), strict=True)]
        return max(lost, default=0) / TICKS / (time.monotonic() - self.began)


class Turns:
    """Turns of servers, and what disturbed them."""

    def __init__(self, options):
        self.options = options
        self.processors = processors(options.server_cpus, options.load_cpus)
        self.all = Stolen(self.processors)
        self.load = os.getloadavg()[0]
        self.counted = self.repeated = self.stolen = 0

    def turn(self, measure):
        """The figure of a turn; a stolen one is repeated, but only so often: then it counts."""
        self.counted += 1
        for _ in range(self.options.repeats + 1):
            turn = Stolen(self.processors)
            figure = measure()
            if turn.share() <= STOLEN_MAX:
                return figure
            self.repeated += 1
        self.repeated -= 1
        self.stolen += 1
        return figure

    def take(self, generators, milliseconds):
        """One list of figures for each generator, in the order of rounds, which begin with one
        server after the other. Sessions are opened before, and what a login puts off is waited for.
        """
        turns = [functools.partial(one.slice, milliseconds) for one in generators]
        figures = [[] for _ in generators]
        try:
            for generator in generators:
                generator.slice(milliseconds)
                wait_until_idle(generator.server, 0.2)
            for number in range(self.options.rounds):
                for step in range(len(generators)):
                    index = (number + step) % len(generators)
                    figures[index].append(self.turn(turns[index]))
        finally:
            for generator in generators:
                generator.end()
        return figures

    def disturbance(self):
        return {
            "load_before": self.load,
            "load_after": os.getloadavg()[0],
            "stolen": self.all.share(),
            "turns": self.counted,
            "repeated": self.repeated,
            "stolen_though_counted": self.stolen,
        }

    def about(self):
        """How disturbed it was, for a report."""
        found = self.disturbance()
        return (
            f"Load average {found['load_before']:.1f} before, {found['load_after']:.1f} after; the "
            f"hypervisor took {100 * found['stolen']:.0f} % of the time of the processor that lost "
            f"most. A turn of which it took more than {100 * STOLEN_MAX:.0f} % was repeated, "
            f"{self.options.repeats} times at most: {found['repeated']} repetitions, "
            f"{found['turns']} turns that count, {found['stolen_though_counted']} of them stolen "
            "all the same."
        )


def cell(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f})"


def ratio(values, base):
    """Of two servers: the median of the ratios of the same round, and that of the lowest."""
    pairs = [one / other for one, other in zip(values, base, strict=True)]
    return statistics.median(pairs), min(values) / min(base)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cells) + " |" for cells in rows]
