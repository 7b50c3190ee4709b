# SPDX-License-Identifier: Apache-2.0
"""A signal ends the comparison, but not between two steps that belong together, and not while it
is already clearing up: whatever was started is stopped and removed first.
"""

import contextlib
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_holds = 0
_received = None
_clearing_up = False


class Ended(SystemExit):
    """Raised in the main thread by a signal; the exit code is a shell's, 128 and its number."""


def _on_signal(number, _frame):
    """Only the first counts: what the second would interrupt is our ending."""
    global _received
    if _received is None:
        _received = number
        if not _holds:
            raise Ended(128 + number)


def install():
    """Handlers for all of them: also in a shell's background, where SIGINT is ignored."""
    for number in SIGNALS:
        signal.signal(number, _on_signal)


def check():
    """Ends us if a signal has come: for whoever handles errors. An exception that interrupts a
    library with a lock in its hand may come out of it as one of the library's own.
    """
    if _received is not None and not _clearing_up:
        raise Ended(128 + _received)


@contextlib.contextmanager
def held():
    """What is done inside is done whole: a signal counts afterwards."""
    global _holds
    _holds += 1
    try:
        yield
    finally:
        _holds -= 1
    if not _holds:
        check()


def clear_up():
    """From here on signals are ignored: what remains to be done takes less than a minute."""
    global _clearing_up
    _clearing_up = True
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
