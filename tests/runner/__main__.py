# SPDX-License-Identifier: Apache-2.0
"""`tests/run` after the packages are there: chooses suites, runs them, leaves nothing behind."""

import argparse
import ctypes
import fnmatch
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from runner.jobs import run_all
from runner.suites import all_jobs

TESTS = pathlib.Path(__file__).resolve().parents[1]
PR_SET_CHILD_SUBREAPER = 36


def arguments():
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", action="append", metavar="SUITE")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000_007)
    parser.add_argument("--no-install", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def choose(jobs, patterns):
    """The jobs named."""
    suites = [job for job in jobs if job.suite]
    for pattern in patterns:
        if not any(fnmatch.fnmatch(job.name, pattern) for job in suites):
            sys.exit(f"tests/run: no suite is called {pattern}; tests/run --list names them")
    return [job for job in suites if any(fnmatch.fnmatch(job.name, one) for one in patterns)]


def with_builds(jobs, chosen):
    """The chosen suites and all that they need, in the order of `jobs`."""
    needed = {job.name for job in chosen}
    while True:
        more = set().union(*(job.needs for job in jobs if job.name in needed)) - needed
        if not more:
            return [job for job in jobs if job.name in needed]
        needed |= more


def children():
    """Processes that were left behind: as a subreaper we inherit them."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as listing:
        return [int(pid) for pid in listing.read().split()]


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as command:
            return command.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def end_leftovers():
    """Ends what suites left running; returns their command lines, for that is a fault."""
    deadline = time.monotonic() + 3
    while children() and time.monotonic() < deadline:
        reap()
        time.sleep(0.05)
    left = [command_of(pid) for pid in children()]
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    while children():
        reap()
        time.sleep(0.01)
    return [command for command in left if command]


def reap():
    for pid in children():
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def main():
    options = arguments()
    work = pathlib.Path(os.environ.get("RESTANTE_WORK", TESTS.parent / "build-tests")).resolve()
    jobs = all_jobs(work, options.jobs, options.long)
    if options.list:
        print("\n".join(job.name for job in jobs if job.suite))
        return 0
    if options.only:
        chosen = choose(jobs, options.only)
    else:
        chosen = [job for job in jobs if job.suite and (options.long or not job.extra)]
    jobs = with_builds(jobs, chosen)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    folder = pathlib.Path(tempfile.mkdtemp(prefix="restante-tests-"))
    folder.chmod(0o711)  # a server that becomes another user has to reach its own folder in it
    os.environ.update(
        TMPDIR=str(folder),
        RESTANTE_SEED=str(options.seed),
        RESTANTE_KEEP="1" if options.keep else "",
        RESTANTE_TOOLS=str(work / "tools"),
        PYTHONPATH=str(TESTS),
        PYTHONDONTWRITEBYTECODE="1",
        # Criterion and meson speak to people in their language otherwise.
        LC_ALL="C.UTF-8",
    )
    begin = time.monotonic()
    print(f"tests/run: seed {options.seed}, {options.jobs} jobs at a time, builds in {work}")
    failed = 0
    try:
        done = run_all(jobs, options.jobs, folder, TESTS)
    finally:
        left = end_leftovers()
        for command in left:
            print(f"FAILED a process was left running: {command}")
        if options.keep:
            print(f"tests/run: logs and temporary folders are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    passed = sum(job.passed for job in done)
    failed = sum(job.failed for job in done) + len(left)
    skipped = sum(job.skipped for job in done)
    for job in done:
        for line in job.failures():
            print(f"FAILED {job.name}: {line}")
    minutes, seconds = divmod(int(time.monotonic() - begin), 60)
    print(f"tests/run: {minutes} min {seconds:02} s, {skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
