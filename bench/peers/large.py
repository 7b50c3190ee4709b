# SPDX-License-Identifier: Apache-2.0
"""RETR of large messages beside canned copy, sendfile and splice: `bench/large`. A table in
Markdown, and every figure as JSON beside it.
"""

import argparse
import json
import smtplib
import statistics
import time

from peers import mail, slices
from peers.restante import Floor, Restante
from peers.server import USER

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
    parser = argparse.ArgumentParser(
        prog="bench/large",
        description="Processor time of a RETR of large messages, beside servers that send the same "
        "octets canned, by copy, sendfile and splice, all in turns.",
    )
    parser.add_argument("--octets", default="65536,262144,1048576", help="sizes of messages")
    parser.add_argument("--clients", default="1,8,64", help="sessions at once")
    parser.add_argument("--ways", default=",".join(WAYS), help="of sending canned octets")
    parser.add_argument("--slice", type=int, default=100, help="milliseconds of a turn (100)")
    slices.add_turns(parser, 15)
    slices.add_place(parser, "large.md")
    options = parser.parse_args()
    options.sizes = [int(one) for one in options.octets.split(",")]
    options.counts = [int(one) for one in options.clients.split(",")]
    options.ways = options.ways.split(",")
    slices.complete(options, options.counts)
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


def measure(options, turns, restante, folder, number, octets):
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
            figures = turns.take(generators, options.slice)
            names = [*options.ways, "restante"]
            rows.append(
                {"octets": octets, "clients": count, "us": dict(zip(names, figures, strict=True))}
            )
            print(" | ".join(cells(rows[-1], options.ways)), flush=True)
    finally:
        for server in servers[:-1]:
            server.stop()
    return rows


def ratios(row, ways):
    """The best canned way; how far above it Restante is, in the same round and by the lowest."""
    us = row["us"]
    best = min(ways, key=lambda way: statistics.median(us[way]))
    return best, *slices.ratio(us["restante"], us[best])


def cells(row, ways):
    found = [f"{row['octets'] // 1024} KB, {row['clients']}"]
    found += [slices.cell(row["us"][name]) for name in (*ways, "restante")]
    best, median, lowest = ratios(row, ways)
    return [*found, best, f"{median:.2f}", f"{lowest:.2f}"]


def render(options, rows, turns):
    head = ["size, clients", *(f"canned {way}" for way in options.ways), "restante", "best canned"]
    head += ["restante / best", "of lowest"]
    lines = [
        "Microseconds of server CPU for a RETR, medians of "
        f"{options.rounds} turns of {options.slice} ms (lowest); the ratio is the median of those "
        f"of the same round, and that of the lowest figures. {turns.about()}",
        "",
        *slices.table(head, [cells(row, options.ways) for row in rows]),
    ]
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    rows = []
    with slices.place(options, "large") as (folder, servers):
        restante = Restante(options, folder)
        servers.append(restante)
        restante.start()
        deliver(restante, options)
        time.sleep(1)  # A checkpoint of the deliveries.
        turns = slices.Turns(options)
        for number, octets in enumerate(options.sizes, 1):
            rows += measure(options, turns, restante, folder, number, octets)
        report = render(options, rows, turns)
    options.report.write_text(report, encoding="utf-8")
    options.report.with_suffix(".json").write_text(json.dumps(rows) + "\n", encoding="utf-8")
    print(f"written to {options.report}")


if __name__ == "__main__":
    main()
