# SPDX-License-Identifier: Apache-2.0
"""A store of many maildrops, built by `restante-bench populate --store`, killed and started again.

The short form has 20,000 maildrops, the long one a million, which wants 16 GB of disk. What is
promised of times holds for a machine that does nothing else; here the limits are generous, and the
figures are printed to be read.
"""

import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from harness import settings
from harness.lmtp import Lmtp
from harness.pop3 import Pop3
from harness.server import Server

MAILDROPS = 1_000_000 if settings.LONG else 20_000
LARGE = 100_000 if settings.LONG else 20_000
OCTETS = 4096 if settings.LONG else 300
MESSAGES = 3
LOGINS = 20_000 if settings.LONG else 300
DELIVERIES = 200_000 if settings.LONG else 600
CLIENTS = 16 if settings.LONG else 4
PASSWORD = "demo"
CONTENT = b"Subject: one more\r\n\r\n" + b"x" * 70 + b"\r\n"


def name(number):
    return f"load{number}@localhost"


def share(times, part):
    return sorted(times)[min(len(times) - 1, int(len(times) * part))] * 1000


class Scale(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="restante-scale-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        begin = time.monotonic()
        answer = subprocess.run(
            [
                str(settings.BUILD / "restante-bench"),
                "populate",
                f"--store={cls.folder}",
                f"--maildrops={MAILDROPS}",
                f"--messages={MESSAGES}",
                f"--large={LARGE}",
                f"--octets={OCTETS}",
                "--quiet",
            ],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=settings.seconds(3600 if settings.LONG else 120),
        ).stdout
        cls.index = int(answer.split()[-2])
        cls.built = time.monotonic() - begin
        cls.server = Server(folder=cls.folder)
        cls.addClassCleanup(cls.server.clean)
        cls.server.start()

    def login(self, number):
        begin = time.monotonic()
        client = Pop3(self.server.address("pop3"), name(number), PASSWORD)
        return client, time.monotonic() - begin

    def tell(self, text):
        print(f"# scale: {MAILDROPS} maildrops: {text}", flush=True)

    def test_it_holds_what_was_put_into_it(self):
        messages = MAILDROPS * MESSAGES + LARGE
        self.tell(
            f"built in {self.built:.1f} s, {messages / self.built:.0f} messages/s, "
            f"index {self.index / MAILDROPS:.0f} octets a maildrop of {MESSAGES}"
        )
        # A message's row has some 110 octets, a maildrop's 60; pages are half full at worst.
        self.assertLess(self.index, 400 * messages + 400 * MAILDROPS)
        chance = settings.randomness("scale logins")
        times, seen = [], set()
        for _ in range(LOGINS):
            number = chance.randint(2, MAILDROPS)
            client, elapsed = self.login(number)
            times.append(elapsed)
            uidls = client.uidls()
            self.assertGreaterEqual(len(uidls), MESSAGES)
            seen.update((number, uidl) for uidl in uidls.values())
            client.quit()
        self.assertEqual(len({uidl for _, uidl in seen}), len(seen))
        p50, p99 = share(times, 0.5), share(times, 0.99)
        self.tell(f"login to a random one p50 {p50:.2f} p99 {p99:.2f} ms")
        self.assertLess(p50, 1000 * settings.seconds(1))

    def test_a_large_maildrop_opens_and_lists(self):
        client, opened = self.login(1)
        begin = time.monotonic()
        lines = client.lines("LIST")
        listed = time.monotonic() - begin
        self.assertEqual(len(lines), LARGE + MESSAGES)
        self.assertEqual(len(set(client.uidls().values())), LARGE + MESSAGES)
        client.quit()
        self.tell(f"one of {LARGE} messages opened in {opened * 1000:.1f} ms, LIST {listed:.3f} s")
        self.assertLess(opened, settings.seconds(2))

    def deliver(self, chance, count, numbers, problems):
        try:
            with Lmtp(self.server.address("lmtp")) as peer:
                for _ in range(count):
                    number = chance.randint(2, MAILDROPS)
                    peer.deliver([name(number)], CONTENT)
                    numbers.append(number)
        except Exception as problem:  # told by the test's own thread
            problems.append(problem)

    def test_deliveries_to_random_ones_survive_a_kill(self):
        numbers, problems, threads = [], [], []
        for i in range(CLIENTS):
            chance = settings.randomness(f"scale deliveries {i}")
            arguments = (chance, DELIVERIES // CLIENTS, numbers, problems)
            threads.append(threading.Thread(target=self.deliver, args=arguments))
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        rate = len(numbers) / (time.monotonic() - begin)
        self.server.kill()
        begin = time.monotonic()
        self.server.start()
        started = time.monotonic() - begin
        self.tell(f"{rate:.0f} deliveries/s to random ones, start after kill -9 {started:.2f} s")
        self.assertLess(started, settings.seconds(4))
        for number in numbers[:: max(1, len(numbers) // 200)]:
            client, _ = self.login(number)
            self.assertGreaterEqual(client.stat()[0], MESSAGES + numbers.count(number))
            client.quit()
