# SPDX-License-Identifier: Apache-2.0
"""Processes run side by side, each with a time limit and a log, in the order they are listed."""

import os
import re
import signal
import subprocess
import sys
import time

# What every suite prints last.
FIGURES = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)


class Job:
    """One process: a build, which has no figures, or a suite, which has."""

    def __init__(
        self,
        name,
        command,
        needs=(),
        slots=1,
        limit_s=300,
        environment=None,
        suite=True,
        extra=False,
    ):
        self.name = name
        self.command = command
        self.needs = set(needs)
        self.slots = slots
        self.limit_s = limit_s
        self.environment = environment or {}
        self.suite = suite
        self.extra = extra  # only in the long form, or when named
        self.process = None
        self.log_path = None
        self.problem = None
        self.bad_tests = []
        self.passed = self.failed = self.skipped = 0
        self.duration_s = 0.0

    def start(self, folder, tests_folder):
        self.log_path = folder / (self.name.replace("/", "_") + ".log")
        self.began = time.monotonic()
        with open(self.log_path, "wb") as log:
            # A session of its own, so that a hanging suite can be ended with all it started.
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=tests_folder,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def finished(self):
        """True when it has ended, by itself or because its time was up."""
        code = self.process.poll()
        self.duration_s = time.monotonic() - self.began
        if code is None and self.duration_s < self.limit_s:
            return False
        if code is None:
            self.end()
            self.problem = f"did not end within {self.limit_s} s"
        self.judge(code)
        return True

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path else ""

    def judge(self, code):
        figures = FIGURES.findall(self.log())
        if self.suite and figures:
            passed, failed, skipped = figures[-1]
            self.passed, self.failed, self.skipped = int(passed), int(failed), int(skipped or 0)
        self.bad_tests = [line for line in self.log().splitlines() if line.startswith("not ok")]
        if self.problem is None and self.suite and not figures:
            self.problem = f"ended with {code} and no figures"
        if self.problem is None and code != 0 and self.failed == 0:
            self.problem = f"ended with {code}"
        if self.problem is None and self.suite and self.passed + self.failed + self.skipped == 0:
            self.problem = "ran no test"
        if self.problem is not None:
            self.failed += 1

    def failures(self):
        """What went wrong, a line each, for the end of a run."""
        problems = [self.problem] if self.problem is not None else []
        return (problems + self.bad_tests)[:20] if self.failed else []

    def report(self):
        """One line about the job, and what went wrong."""
        word = "ok    " if self.failed == 0 else "FAILED"
        figures = f"{self.passed} passed, {self.failed} failed" if self.suite else ""
        if self.skipped:
            figures += f", {self.skipped} skipped"
        lines = [f"{word} {self.name:<26} {self.duration_s:6.1f} s  {figures}".rstrip()]
        notes = [line for line in self.log().splitlines() if line.startswith(("# ", "skip - "))]
        lines += [f"         {note}" for note in notes[:40]]
        if self.failed:
            if self.problem:
                lines.append(f"         {self.name} {self.problem}")
            lines += [f"    | {line}" for line in excerpt(self.log())]
        return "\n".join(lines)


def excerpt(log, lines_max=250):
    """The failures in a log, or its end."""
    lines = log.splitlines()
    chosen, inside = [], False
    for line in lines:
        if line.startswith("not ok"):
            inside = True
        elif line.startswith(("ok ", "skip ")) or FIGURES.match(line):
            inside = False
        if inside:
            chosen.append(line)
    if not chosen:
        chosen = lines[-60:]
    if len(chosen) > lines_max:
        chosen = chosen[:lines_max] + [f"... {len(chosen) - lines_max} lines more"]
    return chosen


def run_all(jobs, slots, log_folder, tests_folder):
    """Runs the jobs in order, as many at a time as fit. What a failed job was needed for fails."""
    waiting, running, done = list(jobs), [], {}
    try:
        while waiting or running:
            for job in [job for job in running if job.finished()]:
                running.remove(job)
                done[job.name] = job
                print(job.report(), flush=True)
            for job in list(waiting):
                broken = [need for need in job.needs if need in done and done[need].failed]
                if broken:
                    waiting.remove(job)
                    job.problem, job.failed = f"needs {broken[0]}, which failed", 1
                    done[job.name] = job
                    print(job.report(), flush=True)
                    continue
                if not job.needs <= done.keys():
                    continue
                free = slots - sum(other.slots for other in running)
                if min(job.slots, slots) > free:
                    break  # The order is kept: later, smaller jobs do not overtake for ever.
                waiting.remove(job)
                job.start(log_folder, tests_folder)
                running.append(job)
            time.sleep(0.05)
    finally:
        for job in running:
            job.end()
    sys.stdout.flush()
    return list(done.values())
