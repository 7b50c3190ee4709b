# SPDX-License-Identifier: Apache-2.0
"""Processor time of login, NOOP and RETR of several servers in turns: `bench/turns`. A table in
Markdown, and every figure as JSON beside it.
"""

import argparse
import json
import shlex
import sys
import time

from peers import ending, mail, packages, slices
from peers.dovecot import DOVECOTS
from peers.restante import Floor, Restante
from peers.server import FAILURES, USER, wait_until_idle


class FloorOf(Floor):
    """The floor with a message of this size."""

    def command(self):
        return super().command() + ["--octets", self.options.octets]


SERVERS = {kind.name: kind for kind in (Restante, FloorOf, *DOVECOTS)}
DEFAULT_SERVERS = "restante,floor,dovecot,dovecot-lock"
KEPT = ("noop", "retr")  # Sessions stay; commands can be sent ahead.


def numbers(text):
    return [int(one) for one in text.split(",")]


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench/turns",
        description="Processor time of an operation of several servers with the same mail, in "
        "short turns. Dovecot's needs root, and Dovecot installed: nothing is installed here. "
        "A server that is not there is said not to be measured, and the exit code is 1 then.",
    )
    parser.add_argument(
        "--servers", default=DEFAULT_SERVERS, help=f"of {', '.join(SERVERS)} ({DEFAULT_SERVERS})"
    )
    parser.add_argument("--workloads", default="login,noop,retr", help="(login,noop,retr)")
    parser.add_argument("--connections", type=numbers, default="1,8,64", help="at once (1,8,64)")
    parser.add_argument(
        "--ahead",
        type=numbers,
        default="1",
        help="commands sent in one piece before their replies are waited for; noop and retr (1)",
    )
    parser.add_argument("--octets", type=int, default=mail.OCTETS, help="of a message (4096)")
    parser.add_argument(
        "--messages", type=int, default=20, help="of each maildrop, fetched in turn (20)"
    )
    parser.add_argument("--slice", type=int, default=100, help="milliseconds of a turn (100)")
    slices.add_turns(parser, 15)
    slices.add_place(parser, "turns.md")
    options = parser.parse_args()
    options.servers = options.servers.split(",")
    options.workloads = options.workloads.split(",")
    unknown = set(options.servers) - set(SERVERS) | set(options.workloads) - {"login", *KEPT}
    if unknown:
        parser.error(f"no such server or workload: {', '.join(sorted(unknown))}")
    slices.complete(options, options.connections)
    return options


def say(text):
    print(text, flush=True)


def fill(server, options):
    """Its mail; and everybody logs in once, so that credentials and folders are there."""
    if server.has_mail:
        names = [USER.format(number) for number in range(1, options.users + 1)]
        mail.deliver_all(server.lmtp, names, range(1, options.messages + 1), options.octets)
    generator = slices.Generator(options, server, "login", options.users)
    try:
        generator.slice(100)
    finally:
        generator.end()
    wait_until_idle(server)


def start_all(options, folder, running, document):
    """Who cannot be started is named in the report."""
    for name in options.servers:
        server = SERVERS[name](options, folder)
        try:
            server.start()
            fill(server, options)
        except (packages.Missing, *FAILURES) as error:
            ending.check()
            document["missing"][name] = str(error).strip()
            say(f"{name}: not measured: {error}")
            server.stop()
            continue
        running.append(server)
        document["servers"][name] = {"version": server.version, "about": server.about}
        say(f"{name}: started, {server.group.method}")


def kinds(options):
    """Workload, connections, commands ahead: a row each."""
    for workload in options.workloads:
        for count in options.connections:
            for ahead in options.ahead if workload in KEPT else [1]:
                yield workload, count, ahead


def measure(options, turns, servers, workload, count, ahead):
    more = ["--ahead", ahead]
    more += ["--messages", options.messages] if workload == "retr" else []
    generators = [slices.Generator(options, one, workload, count, *more) for one in servers]
    figures = turns.take(generators, options.slice)
    us = dict(zip([one.name for one in servers], figures, strict=True))
    return {"workload": workload, "connections": count, "ahead": ahead, "us": us}


def pairs(names):
    """Which servers' ratios are told: ours to the floor, others' to ours."""
    others = [name for name in names if name not in ("restante", "floor")]
    wanted = [("restante", "floor"), *((name, "restante") for name in others)]
    return [pair for pair in wanted if set(pair) <= set(names)]


def cells(row, names):
    found = [f"{row['workload']}, {row['connections']}, {row['ahead']}"]
    found += [slices.cell(row["us"][name]) for name in names]
    for name, base in pairs(names):
        median, lowest = slices.ratio(row["us"][name], row["us"][base])
        found.append(f"{median:.2f} ({lowest:.2f})")
    return found


def render(options, document, turns):
    names = list(document["servers"])
    head = ["operation, connections, commands ahead", *names]
    head += [f"{name} / {base}" for name, base in pairs(names)]
    lines = [
        f"{document['date']}: `{document['command']}`",
        "",
        f"Microseconds of server CPU for an operation, medians of {options.rounds} turns of "
        f"{options.slice} ms (lowest); ratios are medians of those of the same round, and in "
        f"brackets of the lowest figures. {options.messages} messages of {options.octets} octets "
        f"in each maildrop, fetched in turn. {turns.about()}",
        "",
        *slices.table(head, [cells(row, names) for row in document["rows"]]),
        "",
        *(f"* {one}, {it['version']}: {it['about']}" for one, it in document["servers"].items()),
        *(f"* Not measured: {what}: {why}" for what, why in document["missing"].items()),
    ]
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    document = {
        "schema": "restante-turns/1",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": shlex.join(["bench/turns", *sys.argv[1:]]),
        "servers": {},
        "missing": {},
        "rows": [],
    }
    with slices.place(options, "turns") as (folder, servers):
        start_all(options, folder, servers, document)
        turns = slices.Turns(options)
        for what in kinds(options) if servers else ():
            try:
                document["rows"].append(measure(options, turns, servers, *what))
            except FAILURES as error:
                ending.check()
                document["missing"][", ".join(map(str, what))] = str(error).strip()
                say(f"{what}: not measured: {error}")
                continue
            say(" | ".join(cells(document["rows"][-1], list(document["servers"]))))
        document["disturbance"] = turns.disturbance()
        report = render(options, document, turns)
    options.report.write_text(report, encoding="utf-8")
    raw = options.report.with_suffix(".json")
    raw.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    say(f"\n{report}\nwritten to {options.report} and {raw}")
    return 1 if document["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
