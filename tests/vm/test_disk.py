# SPDX-License-Identifier: Apache-2.0
"""The forgetful disk itself: what it must keep, what it may lose."""

import pathlib
import random
import socket
import struct
import tempfile
import unittest

from vm import disk


def octets(letter, sectors=1):
    return letter * (disk.SECTOR * sectors)


class ForgetfulDisk(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="restante-disk-")
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "disk"
        self.path.write_bytes(octets(b".", 32))
        self.memory = disk.Memory(self.path)
        self.addCleanup(self.memory.close)

    def cut(self, loss, seed=1):
        self.memory.lose(loss, random.Random(seed))
        return self.path.read_bytes()

    def test_what_was_written_is_read_before_it_is_durable(self):
        self.memory.write(1024, octets(b"a", 2))
        self.assertEqual(
            self.memory.read(512, 2048), octets(b".") + octets(b"a", 2) + octets(b".")
        )
        self.assertEqual(self.path.read_bytes(), octets(b".", 32))

    def test_what_was_flushed_survives_every_loss(self):
        for loss in disk.LOSSES:
            with self.subTest(loss=loss):
                self.memory.write(0, octets(b"a", 16))
                self.memory.make_durable(self.memory.writes)
                self.assertEqual(self.cut(loss)[: 16 * disk.SECTOR], octets(b"a", 16))

    def test_a_flush_covers_only_what_was_written_before_it(self):
        self.memory.write(0, octets(b"a"))
        covered = self.memory.writes
        self.memory.write(0, octets(b"b"))
        self.memory.write(512, octets(b"b"))
        self.memory.make_durable(covered)
        self.assertEqual(self.memory.read(0, 1024), octets(b"b", 2))
        self.assertEqual(self.cut(disk.DROPPED)[:1024], octets(b"a") + octets(b"."))

    def test_all_may_be_kept(self):
        self.memory.write(0, octets(b"a"))
        self.memory.write(0, octets(b"b"))
        self.assertEqual(self.cut(disk.KEPT)[:512], octets(b"b"))

    def test_whole_writes_are_lost_in_any_order(self):
        seen = set()
        for seed in range(40):
            self.memory.write(0, octets(b".", 4))
            self.memory.make_durable(self.memory.writes)
            self.memory.write(0, octets(b"a", 2))
            self.memory.write(1024, octets(b"b", 2))
            found = self.cut(disk.WRITES, seed)[:2048]
            seen.add(found[::512])
        self.assertEqual(seen, {b"....", b"aa..", b"..bb", b"aabb"})

    def test_sectors_are_lost_in_any_version(self):
        seen = set()
        for seed in range(200):
            self.memory.write(0, octets(b".", 2))
            self.memory.make_durable(self.memory.writes)
            self.memory.write(0, octets(b"a", 2))
            self.memory.write(0, octets(b"b", 2))
            seen.add(self.cut(disk.SECTORS, seed)[:1024:512])
        self.assertEqual(seen, {bytes([x, y]) for x in b".ab" for y in b".ab"})

    def test_blocks_stay_whole(self):
        for seed in range(40):
            self.memory.write(0, octets(b"a", 16))
            self.memory.write(0, octets(b"b", 16))
            found = self.cut(disk.BLOCKS, seed)
            self.assertEqual(len(set(found[:4096])), 1)


class Protocol(unittest.TestCase):
    """As QEMU speaks it, but for the flush that is never answered."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="restante-disk-")
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "disk"
        path.write_bytes(octets(b".", 8))
        self.disk = disk.Disk(path, random.Random(1), flush_max_s=0.001)
        self.disk.start()
        self.client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.client.connect(str(self.disk.socket_path))
        self.client.recv(18, socket.MSG_WAITALL)
        go = struct.pack(">IHH", 0, 0, 0)[2:]
        self.client.sendall(struct.pack(">I", 1))
        self.client.sendall(struct.pack(">QII", disk.OPTION_MAGIC, disk.OPTION_GO, len(go)) + go)
        self.client.recv(20 + 12 + 20 + 14 + 20, socket.MSG_WAITALL)

    def tearDown(self):
        self.client.close()
        self.disk.end()
        self.disk.close()

    def ask(self, kind, offset=0, length=0, data=b""):
        head = struct.pack(">IHHQQI", disk.REQUEST_MAGIC, 0, kind, 7, offset, length)
        self.client.sendall(head + data)

    def answer(self, length=0):
        magic, error, cookie = struct.unpack(">IIQ", disk.take(self.client, 16))
        self.assertEqual((magic, cookie), (disk.REPLY_MAGIC, 7))
        return error, disk.take(self.client, length)

    def test_writes_flushes_and_reads(self):
        self.ask(disk.WRITE, 512, 512, octets(b"a"))
        self.assertEqual(self.answer(), (0, b""))
        self.ask(disk.FLUSH)
        self.assertEqual(self.answer(), (0, b""))
        self.assertEqual(self.disk.memory.pending, {})
        self.ask(disk.READ, 0, 1024)
        self.assertEqual(self.answer(1024), (0, octets(b".") + octets(b"a")))
        self.ask(9)
        self.assertEqual(self.answer(), (disk.EINVAL, b""))

    def test_a_dead_disk_answers_nothing_and_keeps_no_promise_it_has_not_made(self):
        self.disk.die_after(2)
        self.ask(disk.WRITE, 0, 512, octets(b"a"))
        self.assertEqual(self.answer(), (0, b""))
        self.ask(disk.FLUSH)
        self.assertTrue(self.disk.dead.wait(60))
        self.ask(disk.READ, 0, 512)
        self.client.shutdown(socket.SHUT_WR)
        self.assertEqual(self.client.recv(1), b"")
        self.assertEqual(len(self.disk.memory.pending), 1)


if __name__ == "__main__":
    unittest.main()
