# SPDX-License-Identifier: Apache-2.0
"""The workloads, and the programs that make them: restante-bench, and generators of others."""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import time

from peers import ending
from peers.mail import OCTETS
from peers.server import PASSWORD, USER

ROOT = pathlib.Path(__file__).resolve().parents[2]

POP3_SETTLE_S = 0.5


class Workload:
    def __init__(
        self,
        name,
        about,
        connections,
        protocol="pop3",
        *,
        options=(),
        generator="bench",
        stays=False,
        again=None,
    ):
        self.name = name
        self.about = about
        self.connections = connections
        self.protocol = protocol
        self.options = options
        self.generator = generator
        self.stays = stays  # A session does many operations.
        self.again = again  # The workload that this is again, by somebody else's generator.

    def suits(self, server):
        own = server.name in ("restante", "floor")
        return getattr(server, self.protocol) is not None and (own or self.generator != "second")


WORKLOADS = [
    Workload("login", "login session: connect, USER, PASS, STAT, QUIT, close", 8),
    Workload("noop", "NOOP", 8, stays=True),
    Workload("retr", "RETR of 4 KB, session kept", 8, options=("--number", "1"), stays=True),
    Workload("deliver", "durable LMTP delivery of 4 KB", 64, "lmtp"),
    Workload(
        "smtp-source",
        "as by smtp-source (Postfix)",
        64,
        "lmtp",
        generator="smtp-source",
        again="deliver",
    ),
    Workload("login-2", "login again, second generator", 8, generator="second", again="login"),
    Workload(
        "noop-2", "NOOP again, second generator", 8, generator="second", stays=True, again="noop"
    ),
    Workload(
        "retr-2", "RETR again, second generator", 8, generator="second", stays=True, again="retr"
    ),
]


class GeneratorFailed(RuntimeError):
    pass


def run_bench(workload, server, options, seconds):
    """A closed loop, and no warming up: the server's processor time is of all it does. What was
    under way at the end is waited for but not counted as done: one operation on each connection.
    """
    command = [options.build / "restante-bench", "run", "--workload", workload.name]
    command += ["--closed", "--target", f"pop3://127.0.0.1:{server.pop3}"]
    if server.lmtp:
        command += ["--lmtp", f"127.0.0.1:{server.lmtp}"]
    command += ["--users", USER.replace("{}", "%u"), "--user-count", options.users]
    command += ["--password", PASSWORD, "--connections", workload.connections, "--threads", 1]
    command += ["--duration", seconds, "--warmup", 0, "--verify", "none"]
    command += ["--sizes", OCTETS, "--json", "-", *workload.options]
    done = subprocess.run(
        ["taskset", "-c", options.load_cpus, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds * 3 + 120,
        preexec_fn=server.enter_network,
    )
    try:
        found = json.loads(done.stdout)["runs"][0]
    except (ValueError, LookupError) as error:
        raise GeneratorFailed(f"{done.returncode}: {done.stdout}{done.stderr}") from error
    return {
        "operations": found["operations"],
        "under_way": workload.connections,
        "seconds": found["seconds"],
        "rate": found["rate"],
        "errors": found["errors_total"],
        "latency_us": {name: found["latency_us"][name] for name in ("p50", "p99", "p999")},
        "generator_cpu_us": found["generator"]["cpu_us_per_operation"],
    }


def run_second(workload, server, options, seconds):
    """An epoll client of a page of C that shares nothing with restante-bench. It waits for what is
    under way and counts it.
    """
    command = ["taskset", "-c", options.load_cpus, options.build / "bench" / "bench-second"]
    command += ["--port", server.pop3, "--workload", workload.again]
    command += ["--connections", workload.connections, "--seconds", seconds]
    command += ["--users", USER.replace("{}", "%u"), "--user-count", options.users]
    command += ["--password", PASSWORD]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds * 3 + 120,
    )
    if done.returncode != 0:
        raise GeneratorFailed(done.stderr[-500:])
    found = json.loads(done.stdout)
    if found["operations"] == 0:
        raise GeneratorFailed("nothing was done in time")
    return {
        "operations": found["operations"],
        "under_way": 0,
        "seconds": found["seconds"],
        "rate": found["operations"] / found["seconds"],
        "errors": 0,
        "latency_us": {},
        "generator_cpu_us": found["generator_cpu_s"] * 1e6 / found["operations"],
    }


def smtp_source_program(options):
    """Postfix's load generator, unpacked and not installed; with the folder of its libraries."""
    for tools in (options.tools, ROOT / "build-tests" / "tools"):
        if (tools / "usr/sbin/smtp-source").exists():
            return tools / "usr/sbin/smtp-source", tools / "usr/lib/postfix"
    if shutil.which("smtp-source", path=os.environ["PATH"] + ":/usr/sbin"):
        return "smtp-source", None
    script = (
        f'. "{ROOT}/deploy/install-packages"; '
        f'unpack_programs "{ROOT}/deploy/packages.unpack" "{options.tools}"'
    )
    subprocess.run(["sh", "-c", script], check=False)
    if (options.tools / "usr/sbin/smtp-source").exists():
        return options.tools / "usr/sbin/smtp-source", options.tools / "usr/lib/postfix"
    return None, None


def start_generator(command, environment):
    return subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def run_smtp_source(workload, server, options, seconds):
    """Several processes, a recipient each, as many messages as the rate that restante-bench found
    would take `seconds` for.
    """
    program, libraries = smtp_source_program(options)
    if program is None:
        raise GeneratorFailed("smtp-source is not there")
    processes = min(8, options.users)
    sessions = workload.connections // processes
    each = max(sessions * 2, int(server.deliver_rate * seconds / processes))
    environment = {**os.environ, "LC_ALL": "C"}
    if libraries:
        environment["LD_LIBRARY_PATH"] = str(libraries)
    begin = time.monotonic()
    running, texts = [], []
    try:
        for number in range(1, processes + 1):
            command = ["taskset", "-c", options.load_cpus, program, "-L", "-d", "-s", sessions]
            command += ["-m", each, "-l", OCTETS, "-f", "a@compare.test"]
            command += ["-t", f"{USER.format(number)}@localhost", f"inet:127.0.0.1:{server.lmtp}"]
            with ending.held():
                running.append(start_generator(command, environment))
        for one in running:
            texts.append(one.communicate(timeout=seconds * 10 + 120)[0])
    finally:
        for one in running:
            one.kill()  # Does nothing to one that has ended, which is all of them if all went well.
            one.wait()
    elapsed = time.monotonic() - begin
    if any(one.returncode for one in running):
        raise GeneratorFailed(" ".join(texts)[:500])
    errors = len(re.findall(r"^\d{3} ", " ".join(texts), re.M))
    return {
        "operations": each * processes,
        "under_way": 0,
        "seconds": elapsed,
        "rate": each * processes / elapsed,
        "errors": errors,
        "latency_us": {},
        "generator_cpu_us": None,
    }


GENERATORS = {"bench": run_bench, "second": run_second, "smtp-source": run_smtp_source}


def kept_sessions_us(workload, server, options):
    """Processor time for beginning and ending the sessions that a workload keeps: not part of an
    operation, and where a session is a process and operations are few, most of what is measured.
    """
    idle = Workload("idle", "", workload.connections)
    times = []
    for _ in range(3):
        before = server.group.cpu_ns()
        run_bench(idle, server, options, 1)
        time.sleep(POP3_SETTLE_S)
        times.append((server.group.cpu_ns() - before) / 1000)
    return statistics.median(times)


def run(workload, server, options, seconds):
    """One measurement: what the generator saw, and the processor time it took the server."""
    beside_us = 0
    if workload.stays:
        if workload.connections not in server.kept_sessions_us:
            cost_us = kept_sessions_us(workload, server, options)
            server.kept_sessions_us[workload.connections] = cost_us
        beside_us = server.kept_sessions_us[workload.connections]
    before = server.group.cpu_ns()
    found = GENERATORS[workload.generator](workload, server, options, seconds)
    # What a server puts off (a checkpoint, a child's end) is counted with what caused it.
    time.sleep(options.settle if workload.protocol == "lmtp" else POP3_SETTLE_S)
    server.check_alive()
    cpu_us = max(0, (server.group.cpu_ns() - before) / 1000 - beside_us)
    found["server_cpu_us"] = cpu_us / (found["operations"] + found["under_way"])
    found["sessions_cpu_us"] = beside_us
    if workload.name == "deliver":
        server.deliver_rate = found["rate"]
    return found
