# SPDX-License-Identifier: Apache-2.0
"""Runs the C test programs of one suite: `python3 -m runner.programs BUILD SUITE`.

Criterion programs report each of their tests as TAP. Plain executables (concurrency tests) report
`N passed, N failed` or count as one test. Whatever a sanitizer writes is a failure, because
Criterion does not fail on a leak.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

from runner.jobs import FIGURES

# The long form of a proof takes as long as it takes.
LONG = os.environ.get("RESTANTE_LONG", "") == "1"
LONG_LIMIT_S = 7000

RESULT = re.compile(r"^(not )?ok - (.*?)(?:\s+\(([\d.]+)s\))?$")


class Totals:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def ok(self, name):
        self.passed += 1
        print(f"ok - {name}")

    def not_ok(self, name, why):
        self.failed += 1
        print(f"not ok - {name}")
        for line in why.rstrip().splitlines()[-80:]:
            print(f"    {line}")


def programs_of(build, suite):
    """(name, command, environment, folder, seconds) of every test of a suite, as meson knows them.
    """
    listing = subprocess.run(
        ["meson", "introspect", "--tests", str(build)], capture_output=True, check=True
    )
    for test in json.loads(listing.stdout):
        if any(one.split(":")[-1] == suite for one in test["suite"]):
            yield test["name"], test["cmd"], test["env"], test["workdir"], test["timeout"] or 60


def is_criterion(command):
    return b"libcriterion" in pathlib.Path(command[0]).read_bytes()


def count_tap(name, tap, totals):
    """Adds up a Criterion report; returns how many tests it has."""
    counted, pending = 0, None
    for line in tap.splitlines():
        match = RESULT.match(line)
        if match:
            if pending:
                totals.not_ok(*pending)
                pending = None
            counted += 1
            title = f"{name}: {match.group(2)}"
            if match.group(1):
                pending = (title, "")
            elif "# SKIP" in line:
                totals.skipped += 1
                print(f"skip - {title}")
            else:
                totals.ok(title)
        elif pending and line.startswith("  "):
            pending = (pending[0], pending[1] + line + "\n")
    if pending:
        totals.not_ok(*pending)
    return counted


def run_whole(command, environment, workdir, limit_s):
    """(exit code, output) of a program; no code when its time was up: then it is ended with all
    that it started, as Criterion starts a process for every test.
    """
    with subprocess.Popen(
        command,
        env=environment,
        cwd=workdir,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit_s)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, process.communicate()[0]


def run_program(name, command, environment, workdir, limit_s, totals):
    if not pathlib.Path(command[0]).exists():
        totals.not_ok(name, f"{command[0]} was not built")
        return
    if LONG:
        limit_s = LONG_LIMIT_S
    with tempfile.TemporaryDirectory(prefix="restante-program-") as folder:
        # The proofs stand in for mkdir(2), which a sanitizer calls for its report's folder before
        # anything works: they report to standard error and by their exit code.
        is_proof = "proof" in pathlib.Path(command[0]).parent.parts
        sanitizer_log = "verbosity=0" if is_proof else f"log_path={folder}/sanitizer"
        environment = {
            **os.environ,
            **environment,
            "TMPDIR": folder,
            "ASAN_OPTIONS": f"{sanitizer_log}:detect_leaks=1",
            "UBSAN_OPTIONS": f"{sanitizer_log}:print_stacktrace=1",
            "TSAN_OPTIONS": f"{sanitizer_log}:halt_on_error=0:second_deadlock_stack=1",
        }
        tap_path = pathlib.Path(folder) / "report.tap"
        criterion = is_criterion(command)
        if criterion:
            # A single test that hangs is named before the whole program's time is up.
            command = command + [f"--tap={tap_path}", "--timeout", str(limit_s // 2)]
        code, output = run_whole(command, environment, workdir, limit_s)
        if code is None:
            totals.not_ok(name, f"did not end within {limit_s} s\n{output}")
            return
        # Figures and seeds, for the report.
        print("".join(f"{line}\n" for line in output.splitlines() if line.startswith("# ")))
        failed_before = totals.failed
        counted = 0
        if criterion and tap_path.exists():
            counted = count_tap(name, tap_path.read_text(errors="replace"), totals)
        elif FIGURES.search(output):
            counted = count_plain(name, output, totals)
        if counted == 0 and code == 0:
            totals.ok(name)
        if code != 0 and totals.failed == failed_before:
            totals.not_ok(f"{name} ended with {code}", output)
        complaints = "".join(
            path.read_text(errors="replace")
            for path in sorted(pathlib.Path(folder).glob("sanitizer*"))
        )
        if complaints:
            totals.not_ok(f"{name}: a sanitizer complained", complaints[:8000])


def count_plain(name, output, totals):
    passed, failed, _ = (int(figure or 0) for figure in FIGURES.findall(output)[-1])
    for number in range(passed):
        totals.ok(f"{name}: {number + 1} of {passed + failed}")
    if failed:
        totals.not_ok(f"{name}: {failed} of {passed + failed}", output)
        totals.failed += failed - 1
    return passed + failed


def main():
    build, suite = sys.argv[1], sys.argv[2]
    totals = Totals()
    for program in programs_of(build, suite):
        run_program(*program, totals)
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped")
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
