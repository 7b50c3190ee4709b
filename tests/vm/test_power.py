# SPDX-License-Identifier: Apache-2.0
"""The plug is pulled: a server in a virtual machine with a 6.1 kernel, clients on this machine, and
a disk that forgets what was not flushed, or keeps an arbitrary part of it.

After each cut the machine boots from what the disk holds, and the oracle, which has never been in
the machine, is asked whether a promise was broken. Some of the boots are cut as well.
"""

import contextlib
import pathlib
import random
import shutil
import tempfile
import time
import unittest

from crash.clients import Clients
from harness import settings
from harness.wire import until
from vm import disk, guest, machine

CUTS = 200 if settings.LONG else 5
CUTS_MIN, ENOUGH_S = 2, 45  # The short form makes fewer cuts on a slow machine.
LIAR_CUTS_MAX = 25
USERS = 4
OPTIONS = [
    # Everything that runs by itself, all the time: a cut finds it under way.
    "store.checkpoint_interval=100ms",
    "store.segment_size=1M",
    "store.compact_interval=100ms",
    "store.compact_live=90",
]
SIZES = [1, 5] + [50] * 6 + [500] * 6 + [5_000, 18_000]


class Cutter:
    """A machine, its clients, and the figures."""

    def __init__(self, folder, chance, lies=False):
        root = guest.fetch(settings.TOOLS.parent / "vm")
        users = machine.make_volume(folder / "disk", USERS)
        self.chance = chance
        self.disk = disk.Disk(folder / "disk", random.Random(chance.random()), lies=lies)
        self.machine = machine.Machine(root, folder, self.disk, OPTIONS)
        self.clients = Clients(chance, users, SIZES, timeout=120)
        self.cuts = self.while_starting = self.sectors = 0
        self.losses = dict.fromkeys(disk.LOSSES, 0)
        self.recoveries = []
        self.last = "nothing"

    def close(self):
        self.machine.kill()
        self.disk.close()

    def cut(self):
        """The power goes; what was not flushed becomes what chance makes of it."""
        self.machine.kill()
        loss = self.chance.choice(disk.LOSSES)
        lost = self.disk.memory.lose(loss, self.chance)
        self.last = f"{loss}, {lost} sectors lost"
        self.sectors += lost
        self.losses[loss] += 1
        self.cuts += 1

    def work_and_cut(self):
        """Waits until something was acknowledged, and then for a moment, or for the disk to have
        been asked so often: its requests are where what is lost matters.
        """
        with self.clients.guard:
            pause = self.chance.uniform(0, 2) * settings.SLOW
            requests = self.chance.choice([None, self.chance.randint(1, 200)])
        before = self.clients.figures()

        def end():
            with contextlib.suppress(AssertionError):
                until(lambda: self.clients.figures() != before, "an acknowledgement", timeout=120)
            self.disk.die_after(requests)
            self.disk.dead.wait(pause if requests is None else settings.seconds(30))
            self.cut()

        self.clients.load_until(self.machine, end)

    def come_back(self):
        """Boots, not always undisturbed, and compares."""
        while self.cuts and self.chance.random() < 0.2:
            self.machine.start(dies_after=self.chance.randint(1, 60))
            self.cut()
            self.while_starting += 1
        self.machine.start()
        self.recoveries.append(self.machine.recovery_s)
        self.clients.check(self.machine)

    def figures(self):
        delivered, deleted = self.clients.figures()
        kinds = ", ".join(f"{number} {loss}" for loss, number in self.losses.items())
        return (
            f"seed {settings.SEED}, {self.cuts} cuts ({kinds}; {self.while_starting} while "
            f"starting), {self.sectors} sectors lost, {delivered} deliveries and {deleted} "
            f"deletions acknowledged, slowest recovery {max(self.recoveries, default=0):.1f} s"
        )


class PowerCut(unittest.TestCase):
    def cutter(self, name, **options):
        chance = settings.randomness(name)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="restante-power-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        try:
            cutter = Cutter(folder, chance, **options)
        except guest.Missing as missing:
            self.skipTest(str(missing))
        self.addCleanup(cutter.close)
        return cutter

    def test_nothing_acknowledged_is_lost_changed_or_back(self):
        begin = time.monotonic()
        cutter = self.cutter("power")
        try:
            while cutter.cuts < CUTS:
                cutter.come_back()
                cutter.work_and_cut()
                late = time.monotonic() - begin > ENOUGH_S
                if late and not settings.LONG and cutter.cuts >= CUTS_MIN:
                    break
                if len(cutter.recoveries) % 20 == 0:
                    print(f"# so far: {cutter.figures()}", flush=True)
            cutter.come_back()
        except AssertionError as problem:
            report = cutter.machine.report()
            self.fail(f"{cutter.figures()}; the last: {cutter.last}: {problem}\n{report}")
        print(f"# power cut: {cutter.figures()}", flush=True)
        self.assertGreater(cutter.clients.figures()[0], 0)

    @unittest.skipUnless(settings.LONG, "long: this very test must be able to fail")
    def test_a_disk_that_lies_about_flushes_is_noticed(self):
        cutter = self.cutter("power-liar", lies=True)
        try:
            while cutter.cuts < LIAR_CUTS_MAX:
                cutter.come_back()
                cutter.work_and_cut()
        except AssertionError as problem:
            print(f"# power cut, a lying disk: noticed after {cutter.cuts} cuts: {problem}"[:200])
            return
        self.fail(f"{cutter.figures()}: nothing was noticed")


if __name__ == "__main__":
    unittest.main()
