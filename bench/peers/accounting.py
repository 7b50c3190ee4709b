# SPDX-License-Identifier: Apache-2.0
"""What a server costs, however many processes it is: processor time and private memory."""

import contextlib
import os
import pathlib
import signal
import time

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PREFIX = "restante-compare-"


def cgroup_root():
    """Where a cgroup of our own can be made: below the one we are in. None: nowhere."""
    try:
        own = next(
            line[3:].strip()
            for line in pathlib.Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
            if line.startswith("0::")
        )
        for line in pathlib.Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            _, mount, kind, _ = line.split(" ", 3)
            path = pathlib.Path(mount + own)
            if kind == "cgroup2" and os.access(path, os.W_OK):
                return path
    except (OSError, StopIteration):
        pass
    return None


def sweep():
    """Removes the groups of comparisons that were killed before they could do it themselves."""
    root = cgroup_root()
    for path in root.glob(f"{PREFIX}*-*") if root else ():
        if not os.path.exists(f"/proc/{path.name[len(PREFIX):].split('-')[0]}"):
            with contextlib.suppress(OSError):
                path.rmdir()


class Group:
    """The processes of one server, those that have ended too.

    With a cgroup (version 2) the kernel adds up for us, to the microsecond once all of them sleep.
    Without one the tree of processes is walked: a child that has ended counts when its parent has
    waited for it, in ticks of 10 ms.
    """

    def __init__(self, name):
        root = cgroup_root()
        self.path = root / f"{PREFIX}{os.getpid()}-{name}" if root else None
        self.first = None
        if self.path:
            try:
                self.path.mkdir()
            except OSError:
                self.path = None

    @property
    def method(self):
        return "cgroup" if self.path else "process tree"

    def enter(self):
        """In the child, before it becomes the server."""
        if self.path:
            (self.path / "cgroup.procs").write_text("0", encoding="ascii")

    def started(self, pid):
        self.first = pid

    def pids(self):
        if self.path:
            return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                fields = stat_fields(int(entry))
                if fields:
                    parents[int(entry)] = int(fields[1])
        found = [self.first] if self.first in parents else []
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu_ns(self):
        if self.path:
            stat = (self.path / "cpu.stat").read_text(encoding="ascii").split()
            return int(stat[stat.index("usage_usec") + 1]) * 1000
        return sum(process_ns(pid) for pid in self.pids())

    def private_octets(self):
        return sum(private_octets(pid) for pid in self.pids())

    def end(self):
        """Kills what is left, which after an orderly stop is nothing, and says what it was."""
        left = self.pids() if self.path or self.first else []
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while self.path and time.monotonic() < deadline:
            try:
                self.path.rmdir()
                self.path = None
            except OSError:
                time.sleep(0.05)
        return left


def stat_fields(pid):
    """Fields of /proc/PID/stat from the state on; None when it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rsplit(")", 1)[1].split()


def process_ns(pid):
    """Processor time of all threads of a process, those that have ended too, and, in ticks, of its
    children that were waited for.
    """
    fields = stat_fields(pid)
    if not fields:
        return 0
    ticks = sum(int(field) for field in fields[13:15])
    try:
        # The clock of somebody else's process, as clock_getcpuclockid(3) makes it.
        own = time.clock_gettime_ns(~pid << 3 | 2)
    except OSError:  # It has ended, and its parent has not noticed yet.
        own = sum(int(field) for field in fields[11:13]) * TICK_NS
    return own + ticks * TICK_NS


def private_octets(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(
        int(line.split()[1]) * 1024
        for line in lines
        if line.startswith(("Private_Clean:", "Private_Dirty:"))
    )


def disk_octets(folder):
    """What a folder takes, in blocks of the file system, folders and index files included."""
    total = 0
    for path, folders, files in os.walk(folder):
        for name in folders + files:
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
            except OSError:
                pass  # A temporary file that is gone.
    return total
