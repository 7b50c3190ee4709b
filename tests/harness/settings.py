# SPDX-License-Identifier: Apache-2.0
"""What the runner tells the suites, through the environment."""

import functools
import os
import pathlib
import random
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

SEED = int(os.environ.get("RESTANTE_SEED", "0")) or time.time_ns() % 1_000_000_007


def seconds(amount):
    """A time limit of `amount` seconds for a release build, stretched for slower ones."""
    return amount * SLOW * PATIENCE


def against_the_clock(test):
    """For a test that needs this machine to keep time itself: it gets three attempts.

    A busy machine may leave the test or the server without a processor at the wrong moment; a
    server that does not keep its word fails every time.
    """

    @functools.wraps(test)
    def attempts(self):
        for left in (2, 1, 0):
            try:
                return test(self)
            except (AssertionError, OSError) as problem:
                if left == 0:
                    raise
                print(f"# {test.__name__}: another attempt after {problem!r}"[:200], flush=True)

    return attempts


def randomness(name):
    """A random source for one test, and a line on the report that lets the run be repeated."""
    print(f"# {name}: RESTANTE_SEED={SEED}", flush=True)
    return random.Random(f"{SEED}/{name}")
