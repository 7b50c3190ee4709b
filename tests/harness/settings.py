# SPDX-License-Identifier: Apache-2.0
"""What the runner tells the suites, through the environment."""

import functools
import os
import pathlib
import random
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Where restanted and restante were built.
BUILD = pathlib.Path(os.environ.get("RESTANTE_BUILD", ROOT / "build"))

# Which I/O back end the servers under test are told to use: auto, io_uring or epoll.
IO = os.environ.get("RESTANTE_IO", "auto")

# How much slower than a release build the program under test is allowed to be.
SLOW = float(os.environ.get("RESTANTE_SLOW", "1"))

# How much slower than the one a time limit was thought of for a machine may be. A limit is there so
# that a hanging server ends a test, not to find out how busy the machine is.
PATIENCE = 5

# Keep the temporary folders of failed tests.
KEEP = os.environ.get("RESTANTE_KEEP", "") == "1"

# Run the long form of a suite.
LONG = os.environ.get("RESTANTE_LONG", "") == "1"

# Programs that were unpacked rather than installed: smtp-source, promtool.
TOOLS = pathlib.Path(os.environ.get("RESTANTE_TOOLS", ROOT / "build-tests" / "tools"))

# The programs were built with sanitizers: their memory and speed say nothing.
SANITIZED = os.environ.get("RESTANTE_SANITIZED", "") == "1"

# The processor is emulated: nothing that is about speed can be said.
EMULATED = os.environ.get("RESTANTE_EMULATED", "") == "1"

SEED = int(os.environ.get("RESTANTE_SEED", "0")) or time.time_ns() % 1_000_000_007


def seconds(amount):
    """A time limit of `amount` seconds for a release build, stretched for slower ones."""
    return amount * SLOW * PATIENCE


class Lateness:
    """How late this process got a processor at most, while this was open: a wake-up every 20 ms."""

    PERIOD_S = 0.02

    def __enter__(self):
        self.worst_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self):
        before = time.monotonic()
        while not self._over.wait(self.PERIOD_S):
            now = time.monotonic()
            self.worst_s = max(self.worst_s, now - before - self.PERIOD_S)
            before = now

    def __exit__(self, *exception):
        self._over.set()
        self._thread.join()


def against_the_clock(test):
    """For a test that needs this machine to keep time itself: it has to fail three times.

    A busy machine may leave the test or the server without a processor at the wrong moment. An
    attempt that fails while this process had to wait for one does not count, ten times at most; a
    server that does not keep its word fails every time.
    """
    counted, attempts = 3, 10
    too_late_s = 0.2

    @functools.wraps(test)
    def run(self):
        failures = 0
        for left in reversed(range(attempts)):
            with Lateness() as lateness:
                try:
                    return test(self)
                except (AssertionError, OSError) as failure:
                    problem = failure
            failures += lateness.worst_s < too_late_s
            if failures == counted or left == 0:
                raise problem
            print(f"# {test.__name__}: another attempt, {lateness.worst_s:.2f} s late, after "
                  f"{problem!r}"[:200], flush=True)

    return run


def randomness(name):
    """A random source for one test, and a line on the report that lets the run be repeated."""
    print(f"# {name}: RESTANTE_SEED={SEED}", flush=True)
    return random.Random(f"{SEED}/{name}")
