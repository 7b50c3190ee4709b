# SPDX-License-Identifier: Apache-2.0
"""RETR of large messages beside canned copy, sendfile and splice: `bench/large`. A table in
Markdown, and every figure as JSON beside it.
"""

import argparse
import json
import os
import pathlib
import shutil
import smtplib
import statistics
import sys
import tempfile
import time

from peers import ending, mail, slices
from peers.restante import Floor, Restante
from peers.server import USER

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAYS = ("copy", "sendfile", "splice")


class Canned(Floor):
    """The floor with a large message."""

    def __init__(self, options, folder, way, octets):
        self.name = f"canned-{way}-{octets}"
        super().__init__(options, folder)
        self.way = way
        self.octets = octets

    def command(self):
        return super().command() + ["--how", self.way, "--octets", self.octets]


def arguments():
    cpus = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        prog="bench/large",
        description="Processor time of a RETR of large messages, beside servers that send the same "
        "octets canned, by copy, sendfile and splice, all in turns.",
    )
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR")
    parser.add_argument("--octets", default="65536,262144,1048576", help="sizes of messages")
    parser.add_argument("--clients", default="1,8,64", help="sessions at once")
    parser.add_argument("--ways", default=",".join(WAYS), help="of sending canned octets")
    parser.add_argument("--rounds", type=int, default=15, help="in which each has its turn")
    parser.add_argument("--slice", type=int, default=100, help="milliseconds of a turn")
    parser.add_argument("--set", action="append", default=[], help="Restante's KEY=VALUE")
    parser.add_argument("--server-cpus", default=str(cpus[0]), help="for taskset")
    parser.add_argument("--load-cpus", default=str(cpus[-1]))
    parser.add_argument("--dir", type=os.path.abspath, help="where the mail is")
    parser.add_argument("--report", type=pathlib.Path, default=pathlib.Path("large.md"))
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.sizes = [int(one) for one in options.octets.split(",")]
    options.counts = [int(one) for one in options.clients.split(",")]
    options.ways = options.ways.split(",")
    options.users = max(options.counts)
    options.workers, options.keep = 1, False
    return options


def deliver(server, options):
    """Each size once, to everybody: stored once, as the canned servers have one message, too."""
    users = [f"{USER.format(number)}@localhost" for number in range(1, options.users + 1)]
    with smtplib.LMTP("127.0.0.1", server.lmtp, local_hostname="large.test") as client:
        client.ehlo()
        for number, octets in enumerate(options.sizes, 1):
            replies = [client.mail("")] + [client.rcpt(user) for user in users]
            client.putcmd("data")
            replies.append(client.getreply())
            client.send(mail.message("everybody", number, octets) + b".\r\n")
            replies += [client.getreply() for _ in users]  # The library expects a single one.
            wrong = [reply for reply in replies if reply[0] not in (250, 354)]
            if wrong:
                raise RuntimeError(f"not delivered: {wrong[0]}")


def measure(options, restante, folder, number, octets):
    """The rows of one size."""
    servers = [Canned(options, folder, way, octets) for way in options.ways] + [restante]
    rows = []
    try:
        for server in servers[:-1]:
            server.start()
        for count in options.counts:
            generators = [
                slices.Generator(
                    options, one, "retr", count, "--message", number if one is restante else 1
                )
                for one in servers
            ]
            figures = slices.in_turns(generators, options.rounds, options.slice)
            names = [*options.ways, "restante"]
            rows.append(
                {"octets": octets, "clients": count, "us": dict(zip(names, figures, strict=True))}
            )
            print(line(rows[-1], options.ways), flush=True)
    finally:
        for server in servers[:-1]:
            server.stop()
    return rows


def ratios(row, ways):
    """The best canned way; how far above it Restante is, in the same round and by the lowest."""
    us = row["us"]
    best = min(ways, key=lambda way: statistics.median(us[way]))
    pairs = [own / canned for own, canned in zip(us["restante"], us[best], strict=True)]
    return best, statistics.median(pairs), min(us["restante"]) / min(us[best])


def line(row, ways):
    cells = [f"{row['octets'] // 1024} KB, {row['clients']}"]
    for name in (*ways, "restante"):
        values = row["us"][name]
        cells.append(f"{statistics.median(values):.1f} ({min(values):.1f})")
    best, median, lowest = ratios(row, ways)
    return "| " + " | ".join([*cells, best, f"{median:.2f}", f"{lowest:.2f}"]) + " |"


def render(options, rows, load):
    head = ["size, clients", *(f"canned {way}" for way in options.ways), "restante", "best canned"]
    head += ["restante / best", "of lowest"]
    lines = [
        "Microseconds of server CPU for a RETR, medians of "
        f"{options.rounds} turns of {options.slice} ms (lowest); the ratio is the median of those "
        "of the same round, and that of the lowest figures. Load average "
        f"{load[0]:.1f} before, {os.getloadavg()[0]:.1f} after.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    return "\n".join(lines + [line(row, options.ways) for row in rows]) + "\n"


def main():
    options = arguments()
    ending.install()
    if not (options.build / "bench" / "bench-second").exists():
        sys.exit(f"bench/large: no programs in {options.build}: deploy/quickstart --build-only")
    load = os.getloadavg()
    with ending.held():
        folder = tempfile.mkdtemp(prefix="restante-large-", dir=options.dir)
    restante = Restante(options, folder)
    rows = []
    try:
        restante.start()
        deliver(restante, options)
        time.sleep(1)  # A checkpoint of the deliveries.
        for number, octets in enumerate(options.sizes, 1):
            rows += measure(options, restante, folder, number, octets)
    finally:
        ending.clear_up()
        restante.stop()
        shutil.rmtree(folder, ignore_errors=True)
    options.report.write_text(render(options, rows, load), encoding="utf-8")
    options.report.with_suffix(".json").write_text(json.dumps(rows) + "\n", encoding="utf-8")
    print(f"written to {options.report}")


if __name__ == "__main__":
    main()
