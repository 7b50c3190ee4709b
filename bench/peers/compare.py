# SPDX-License-Identifier: Apache-2.0
"""Installs, starts, loads and measures: see bench/README.md."""

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

from peers import accounting, ending, load, mail, packages, report
from peers.courier import Courier
from peers.cyrus import Cyrus
from peers.dovecot import DOVECOTS
from peers.mailutils import Mailutils
from peers.popa3d import Popa3d
from peers.restante import Floor, Restante
from peers.server import FAILURES, USER, wait_until_idle

KINDS = (Restante, Floor, *DOVECOTS, Cyrus, Courier, Popa3d, Mailutils)
SERVERS = {kind.name: kind for kind in KINDS}
DEFAULT_SERVERS = "restante,floor,dovecot,dovecot-lock,cyrus,courier,popa3d,mailutils"
ROOT = pathlib.Path(__file__).resolve().parents[2]


def arguments():
    cpus = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(
        prog="bench/compare",
        description="Measures Restante beside other mail servers, one report for all. Needs root "
        "for installing and starting them. Nothing is left running or enabled.",
    )
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR")
    parser.add_argument("--servers", default=DEFAULT_SERVERS, help=", ".join(SERVERS))
    parser.add_argument("--workloads", default=",".join(one.name for one in load.WORKLOADS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--connections", type=int, help="of each POP3 workload, instead of 8")
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--messages", type=int, default=10, help="of each user")
    parser.add_argument("--settle", type=float, default=6, help="seconds after deliveries")
    parser.add_argument("--workers", type=int, default=1, help="of Restante")
    parser.add_argument("--set", action="append", default=[], help="Restante's KEY=VALUE")
    parser.add_argument("--server-cpus", default=str(cpus[0]), help="for taskset")
    parser.add_argument("--load-cpus", default=str(cpus[-1]))
    parser.add_argument(
        "--dir", type=os.path.abspath, help="where the mail is: its disk counts"
    )
    parser.add_argument("--quick", action="store_true", help="few of everything: does it work?")
    parser.add_argument("--purge", action="store_true", help="remove what was installed")
    parser.add_argument("--no-install", action="store_true", help="install no package")
    parser.add_argument("--keep", action="store_true", help="keep the servers' folders")
    parser.add_argument("--report", type=pathlib.Path, default=pathlib.Path("compare.md"))
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.settle = 1, 1, 1
        options.users, options.messages = 10, 4
    options.build = options.build.resolve()
    return options


def machine(folder):
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": model,
        "processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "file_system": kind,
        "load": " ".join(f"{one:.1f}" for one in os.getloadavg()),
    }


def say(text):
    print(text, flush=True)


class Comparison:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.running = []
        self.installed = []
        names = options.workloads.split(",")
        self.workloads = [one for one in load.WORKLOADS if one.name in names]
        for one in self.workloads:
            if options.connections and one.protocol == "pop3":
                one.connections = options.connections
        self.document = {
            "schema": "restante-compare/1",
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "machine": machine(folder),
            "message_octets": mail.OCTETS,
            "servers": {},
            "missing": {},
            "workloads": {},
        }
        for name in ("server_cpus", "load_cpus", "rounds", "seconds", "users", "messages"):
            self.document[name] = getattr(options, name)

    def start(self, name):
        kind = SERVERS[name]
        if not self.options.no_install:
            with ending.held():
                self.installed += packages.install(kind.packages)
        server = kind(self.options, self.folder)
        self.running.append(server)
        try:
            server.start()
        except FAILURES:
            ending.check()
            self.running.remove(server)
            server.stop()
            raise
        self.document["servers"][name] = {"version": server.version, "about": server.about}
        self.document["accounting"] = server.group.method
        say(f"{name}: started")

    def start_all(self):
        for name in self.options.servers.split(","):
            try:
                self.start(name)
            except (packages.Missing, *FAILURES) as error:
                ending.check()
                self.document["missing"][name] = str(error).strip()
                say(f"{name}: not measured: {error}")

    def with_mail(self, what, action):
        """Does something with each server that has mail; who fails is left out from here on."""
        for server in [one for one in self.running if one.has_mail]:
            try:
                action(server)
            except FAILURES as error:
                ending.check()
                self.document["missing"][f"{server.name}, {what}"] = str(error).strip()
                say(f"{server.name}: failed, {what}: {error}")
                self.running.remove(server)
                server.stop()

    def fill(self, server):
        """Mail for everybody, and what the second half of it takes on the disk once all is written:
        the first half makes folders and indexes.
        """
        half = self.options.messages // 2
        count = self.options.users * (self.options.messages - half)
        mail.load(server, self.options.users, range(1, half + 1))
        time.sleep(self.options.settle)
        before = accounting.disk_octets(server.mail_folder())
        seconds = mail.load(server, self.options.users, range(half + 1, self.options.messages + 1))
        time.sleep(self.options.settle)
        taken = accounting.disk_octets(server.mail_folder()) - before
        facts = self.document["servers"][server.name]
        if server.lmtp is not None:
            facts["load_rate"] = count / seconds
        facts["disk_per_message"] = taken / count
        say(f"{server.name}: mail loaded, {count / seconds:,.0f} messages a second")

    def hold(self, server, users):
        """Users logged in at once. Returns the private memory with half of them, with all."""
        sessions, octets = [], []
        half = users // 2
        try:
            for numbers in (range(1, half + 1), range(half + 1, users + 1)):
                sessions += [mail.Session(server, USER.format(number)) for number in numbers]
                octets.append(server.group.private_octets())
            while sessions:
                sessions.pop().end()
        finally:
            for session in sessions:
                session.drop()
        return octets

    def remember(self, server):
        """Memory of a held session, in processes that have done nothing else: what the second half
        of the sessions adds. The first round is for what a first login leaves, caches and
        processes; the second is measured.
        """
        users = self.options.users
        self.hold(server, users)
        wait_until_idle(server)  # Credentials that a first login adds are made once.
        server.restart()
        self.hold(server, users)
        wait_until_idle(server)
        half, full = self.hold(server, users)
        facts = self.document["servers"][server.name]
        facts["sessions"] = users
        facts["memory_per_session"] = (full - half) / (users - users // 2)
        say(f"{server.name}: {facts['memory_per_session']:,.0f} octets a session")

    def measure(self):
        for workload in self.workloads:
            self.document["workloads"][workload.name] = {
                "about": f"{workload.about}, {workload.connections} connections",
                "again": workload.again,
                "servers": {},
            }
        families = {}
        for workload in self.workloads:
            families.setdefault(workload.again or workload.name, []).append(workload)
        for family in families.values():
            self.measure_family(family)

    def measure_family(self, family):
        """A workload by all generators that do it, in alternation: a busy minute is everybody's."""
        pairs = [(one, server) for one in family for server in self.running if one.suits(server)]
        for workload, server in pairs:
            self.warm_up(workload, server)
        for round_number in range(1, self.options.rounds + 1):
            for workload, server in pairs:
                by_server = self.document["workloads"][workload.name]["servers"]
                self.measure_one(workload, server, by_server, round_number)

    def warm_up(self, workload, server):
        """Unmeasured: processes that are started when they are needed, caches."""
        try:
            load.run(workload, server, self.options, min(2, self.options.seconds))
        except FAILURES as error:
            ending.check()
            say(f"{workload.name} {server.name}: warming up: {error}")

    def measure_one(self, workload, server, by_server, round_number):
        try:
            found = load.run(workload, server, self.options, self.options.seconds)
        except FAILURES as error:
            ending.check()
            self.document["missing"][f"{workload.name} on {server.name}"] = str(error).strip()
            say(f"{workload.name} {server.name}: {error}")
            return
        by_server.setdefault(server.name, []).append(found)
        say(
            f"{workload.name:<12} {round_number} {server.name:<14} {found['rate']:>10,.0f}/s  "
            f"{found['server_cpu_us']:>9,.1f} us CPU each  {found['errors']} errors"
        )

    def end(self):
        ending.clear_up()
        for server in self.running:
            server.ask_to_end()
        for server in self.running:
            server.stop()
        if self.options.purge:
            packages.purge(self.installed)


def main():
    options = arguments()
    ending.install()
    accounting.sweep()
    if not (options.build / "restanted").exists():
        sys.exit(f"bench/compare: no programs in {options.build}: deploy/quickstart --build-only")
    begin = time.monotonic()
    with ending.held():
        folder = tempfile.mkdtemp(prefix="restante-compare-", dir=options.dir)
    comparison = None
    try:
        os.chmod(folder, 0o755)
        options.tools = pathlib.Path(folder) / "tools"
        comparison = Comparison(options, folder)
        comparison.start_all()
        comparison.with_mail("loading mail", comparison.fill)
        comparison.with_mail("holding sessions", comparison.remember)
        comparison.measure()
    finally:
        if comparison is not None:
            comparison.end()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    document = comparison.document
    document["minutes"] = (time.monotonic() - begin) / 60
    document["load_after"] = " ".join(f"{one:.1f}" for one in os.getloadavg())
    options.report.write_text(report.render(document), encoding="utf-8")
    raw = options.report.with_suffix(".json")
    raw.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    say(report.render(document))
    say(f"written to {options.report} and {raw}")
    asked = {name for name in options.servers.split(",")}
    return 0 if asked <= set(document["servers"]) and not document["missing"] else 1


if __name__ == "__main__":
    sys.exit(main())
