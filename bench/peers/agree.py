# SPDX-License-Identifier: Apache-2.0
"""The same load by restante-bench and by bench-second, in turns: `bench/agree`. Both count the
server's processor time while sessions are kept, without their beginning and end.
"""

import argparse
import json
import subprocess

from peers import mail, report, slices
from peers.restante import Floor, Restante
from peers.server import PASSWORD, USER, wait_until_idle


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench/agree",
        description="How far restante-bench and a second generator are apart, in microseconds of "
        "server CPU for an operation.",
    )
    parser.add_argument("--workloads", default="login,noop,retr")
    parser.add_argument("--connections", default="8,64")
    parser.add_argument("--seconds", type=float, default=0.7, help="of each turn (0.7)")
    slices.add_turns(parser, 11)
    slices.add_place(parser, "agree.md")
    options = parser.parse_args()
    options.counts = [int(one) for one in options.connections.split(",")]
    slices.complete(options, options.counts)
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


def second(options, server, workload, count):
    """Microseconds by bench-second. It is ended after its turn, since the maildrops are the same
    and nobody else may be logged in.
    """
    generator = slices.Generator(options, server, workload, count)
    try:
        generator.slice(100)  # Begins the sessions.
        return generator.slice(round(options.seconds * 1000))
    finally:
        generator.end()


def measure(options, turns, *what):
    """Figures of both, in the order of rounds."""
    ours, theirs = [], []
    for _ in range(options.rounds):
        ours.append(turns.turn(lambda: first(options, *what)))
        theirs.append(turns.turn(lambda: second(options, *what)))
    return ours, theirs


def cells(workload, count, server, ours, theirs):
    return [
        f"{workload}, {count}",
        server.name,
        slices.cell(ours),
        slices.cell(theirs),
        f"{100 * report.apart(ours, theirs):+.0f} %",
        f"{100 * (min(theirs) / min(ours) - 1):+.0f} %",
    ]


def main():
    options = arguments()
    head = ["workload, connections", "server", "us by restante-bench", "us by the second", "apart"]
    rows = []
    with slices.place(options, "agree") as (folder, servers):
        servers += [Restante(options, folder), Floor(options, folder)]
        for server in servers:
            server.start()
        mail.load(servers[0], options.users, [1])
        first(options, servers[0], "login", options.users)  # Credentials are remembered.
        wait_until_idle(servers[0])
        turns = slices.Turns(options)
        for workload in options.workloads.split(","):
            for count in options.counts:
                for server in servers:
                    found = measure(options, turns, server, workload, count)
                    rows.append(cells(workload, count, server, *found))
                    print(" | ".join(rows[-1]), flush=True)
        lines = [turns.about(), "", *slices.table([*head, "of lowest"], rows)]
    options.report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written to {options.report}")


if __name__ == "__main__":
    main()
