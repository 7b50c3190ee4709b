# SPDX-License-Identifier: Apache-2.0
"""Several servers in turns of a fraction of a second, over sessions that are kept: what disturbs a
machine for longer than that disturbs all of them.
"""

import contextlib
import json
import pathlib
import subprocess

from peers import ending
from peers.server import PASSWORD, USER, wait_until_idle


def run_ns(pid):
    """Processor time of all threads of a process. Exact when they wait."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # A thread that has just ended.
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
    return total


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
            before = run_ns(self.server.process.pid)
            self.process.stdin.write(f"{milliseconds}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the generator against {self.server.name} has ended")
            operations = json.loads(line)["operations"]
        return (run_ns(self.server.process.pid) - before) / 1000 / operations

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def in_turns(generators, rounds, milliseconds):
    """One list of figures for each generator, in the order of rounds, which begin with one server
    after the other. Sessions are opened before, and what a login puts off is waited for.
    """
    figures = [[] for _ in generators]
    try:
        for generator in generators:
            generator.slice(milliseconds)
            wait_until_idle(generator.server, 0.2)
        for number in range(rounds):
            for step in range(len(generators)):
                index = (number + step) % len(generators)
                figures[index].append(generators[index].slice(milliseconds))
    finally:
        for generator in generators:
            generator.end()
    return figures
