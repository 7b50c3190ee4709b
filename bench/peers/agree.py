# SPDX-License-Identifier: Apache-2.0
"""The same load by restante-bench and by bench-second, in turns: `bench/agree`. Both count the
server's processor time while sessions are kept, without their beginning and end.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

from peers import ending, mail, report, slices
from peers.restante import Floor, Restante
from peers.server import PASSWORD, USER, wait_until_idle

ROOT = pathlib.Path(__file__).resolve().parents[2]


def arguments():
    cpus = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        prog="bench/agree",
        description="How far restante-bench and a second generator are apart, in microseconds of "
        "server CPU for an operation.",
    )
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR")
    parser.add_argument("--workloads", default="login,noop,retr")
    parser.add_argument("--connections", default="8,64")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.7, help="of each turn")
    parser.add_argument("--set", action="append", default=[], help="Restante's KEY=VALUE")
    parser.add_argument("--server-cpus", default=str(cpus[0]), help="for taskset")
    parser.add_argument("--load-cpus", default=str(cpus[-1]))
    parser.add_argument("--dir", type=os.path.abspath, help="where the mail is")
    parser.add_argument("--report", type=pathlib.Path, default=pathlib.Path("agree.md"))
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.counts = [int(one) for one in options.connections.split(",")]
    options.users, options.workers, options.keep = max(options.counts), 1, False
    return options


def first(options, server, workload, count):
    """Microseconds by restante-bench; repeated when nothing was done in time."""
    command = ["taskset", "-c", options.load_cpus, options.build / "restante-bench", "run"]
    command += ["--workload", workload, "--closed", "--target", f"pop3://127.0.0.1:{server.pop3}"]
    command += ["--users", USER.replace("{}", "%u"), "--user-count", options.users]
    command += ["--password", PASSWORD, "--connections", count, "--verify", "none", "--quiet"]
    command += ["--duration", options.seconds, "--warmup", 0.3, "--json", "-"]
    command += ["--server-pid", server.process.pid]
    command += ["--number", 1] if workload == "retr" else []
    operations = 0
    while operations == 0:
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            check=False,
            timeout=options.seconds * 10 + 120,
        )
        try:
            run = json.loads(done.stdout)["runs"][0]
        except (ValueError, LookupError) as error:
            raise RuntimeError(f"{done.returncode}: {done.stderr[-500:]}") from error
        operations = run["operations"]
    return run["server"]["cpu_us_per_operation"]


def measure(options, server, workload, count):
    """Figures of both, in the order of rounds. Between two turns nobody is logged in, as the
    maildrops are the same.
    """
    ours, theirs = [], []
    for _ in range(options.rounds):
        ours.append(first(options, server, workload, count))
        generator = slices.Generator(options, server, workload, count)
        try:
            generator.slice(100)  # Begins the sessions.
            theirs.append(generator.slice(round(options.seconds * 1000)))
        finally:
            generator.end()
    return ours, theirs


def line(workload, count, server, ours, theirs):
    cells = [f"{workload}, {count}", server.name]
    for one in (ours, theirs):
        cells.append(f"{statistics.median(one):.1f} ({min(one):.1f})")
    cells.append(f"{100 * report.apart(ours, theirs):+.0f} %")
    cells.append(f"{100 * (min(theirs) / min(ours) - 1):+.0f} %")
    return "| " + " | ".join(cells) + " |"


def main():
    options = arguments()
    ending.install()
    with ending.held():
        folder = tempfile.mkdtemp(prefix="restante-agree-", dir=options.dir)
    servers = [Restante(options, folder), Floor(options, folder)]
    lines = [
        "| workload, connections | server | us by restante-bench | us by the second | apart "
        "| of lowest |",
        "|---|---|---|---|---|---|",
    ]
    try:
        for server in servers:
            server.start()
        mail.load(servers[0], options.users, [1])
        first(options, servers[0], "login", options.users)  # Credentials are remembered.
        wait_until_idle(servers[0])
        for workload in options.workloads.split(","):
            for count in options.counts:
                for server in servers:
                    found = measure(options, server, workload, count)
                    lines.append(line(workload, count, server, *found))
                    print(lines[-1], flush=True)
    finally:
        ending.clear_up()
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    options.report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written to {options.report}")


if __name__ == "__main__":
    main()
