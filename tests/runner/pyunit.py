# SPDX-License-Identifier: Apache-2.0
"""Runs the Python tests of one folder: `python3 -m runner.pyunit PACKAGE [PATTERN]...`.

A test is told by its sentence. The servers that tests share are stopped at the end, and a server
that does not stop well is a failure of its own.
"""

import fnmatch
import pathlib
import sys
import time
import traceback
import unittest

from harness.server import stop_shared

TESTS = pathlib.Path(__file__).resolve().parents[1]


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0
        self.bad = []
        self.problems = []
        self.reason = None

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        self.problems = []
        self.reason = None

    def addError(self, test, err):
        self.problems.append(explain(err))
        if not isinstance(test, unittest.TestCase):
            self.fail_now(str(test))  # The set-up of a whole class or module.

    addFailure = addError

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.problems.append(f"{subtest._subDescription()}: {explain(err)}")

    def addSkip(self, test, reason):
        self.reason = reason
        if not isinstance(test, unittest.TestCase):
            self.skipped.append((test, reason))
            print(f"skip - {test}: {reason}", flush=True)

    def stopTest(self, test):
        name = sentence(test)
        elapsed = time.monotonic() - self.began
        if self.problems:
            self.fail_now(f"{name} ({elapsed:.2f} s)")
        elif self.reason is not None:
            self.skipped.append((test, self.reason))
            print(f"skip - {name}: {self.reason}", flush=True)
        else:
            self.passed += 1
            print(f"ok - {name} ({elapsed:.2f} s)", flush=True)
        super().stopTest(test)

    def fail_now(self, name):
        self.bad.append(name)
        print(f"not ok - {name}")
        for problem in self.problems[:10]:
            for line in problem.rstrip().splitlines():
                print(f"    {line[:2000]}")
        sys.stdout.flush()
        self.problems = []


def explain(err):
    kind, value, trace = err
    while trace and "__unittest" in trace.tb_frame.f_globals:
        trace = trace.tb_next
    frames = [
        f"{pathlib.Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(trace)
        if "/unittest/" not in frame.filename
    ]
    return f"{kind.__name__} at {' > '.join(frames)}: {value}"


def sentence(test):
    method = getattr(test, "_testMethodName", "")
    if not method.startswith("test_"):
        return str(test)
    return f"{type(test).__name__}: {method[len('test_'):].replace('_', ' ')}"


def cases(suite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from cases(one)
        else:
            yield one


def main():
    package, patterns = sys.argv[1], sys.argv[2:]
    sys.path.insert(0, str(TESTS))
    found = unittest.defaultTestLoader.discover(
        str(TESTS / package), pattern="test_*.py", top_level_dir=str(TESTS)
    )
    if patterns:
        chosen = [
            case
            for case in cases(found)
            if any(fnmatch.fnmatch(case.id(), f"*{pattern}*") for pattern in patterns)
        ]
        found = unittest.TestSuite(chosen)
    result = Result()
    found.run(result)
    for problem in stop_shared():
        result.problems = [problem]
        result.fail_now("a shared server ends well")
    print(f"{result.passed} passed, {len(result.bad)} failed, {len(result.skipped)} skipped")
    return 1 if result.bad else 0


if __name__ == "__main__":
    sys.exit(main())
