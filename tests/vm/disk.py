# SPDX-License-Identifier: Apache-2.0
"""A disk for a virtual machine that forgets, at a power cut, what was never flushed.

It speaks NBD over a UNIX socket. Writes are answered at once and kept apart, sector by sector, with
every version since the last flush; a flush takes its time, as on a real disk, and meanwhile other
requests go on. A cut ends all answers; then of what no answered flush covers, chance decides what
the disk still holds: whole writes in any order, or single sectors in any of their versions.
"""

import pathlib
import select
import socket
import struct
import threading
import time

SECTOR = 512

# The Network Block Device protocol, as its specification (NetworkBlockDevice/nbd) has it.
OPTION_MAGIC = 0x49484156454F5054
OPTION_REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
REPLY_MAGIC = 0x67446698
FIXED_NEWSTYLE = 1
OPTION_ABORT, OPTION_INFO, OPTION_GO = 2, 6, 7
ACK, INFO, UNSUPPORTED = 1, 3, (1 << 31) + 1
INFO_EXPORT, INFO_BLOCK_SIZE = 0, 3
HAS_FLAGS, SEND_FLUSH = 1, 4
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
EINVAL = 22

# What a cut leaves of what was not flushed.
KEPT, DROPPED, WRITES, SECTORS, BLOCKS = "kept", "dropped", "writes", "sectors", "blocks"
LOSSES = (KEPT, DROPPED, WRITES, SECTORS, BLOCKS)


class Memory:
    """The octets: what is durable, in a file, and what is not yet, in memory."""

    def __init__(self, path):
        self.file = open(path, "r+b", buffering=0)
        self.size = pathlib.Path(path).stat().st_size
        self.pending = {}  # sector -> [(number of the write, octets), ...]
        self.writes = 0

    def close(self):
        self.file.close()

    def read(self, offset, length):
        self.file.seek(offset)
        octets = bytearray(self.file.read(length))
        for sector in range(offset // SECTOR, (offset + length + SECTOR - 1) // SECTOR):
            if sector in self.pending:
                place = sector * SECTOR - offset
                octets[place : place + SECTOR] = self.pending[sector][-1][1]
        return bytes(octets)

    def write(self, offset, octets):
        assert offset % SECTOR == 0 and len(octets) % SECTOR == 0
        self.writes += 1
        for place in range(0, len(octets), SECTOR):
            version = (self.writes, octets[place : place + SECTOR])
            self.pending.setdefault((offset + place) // SECTOR, []).append(version)

    def make_durable(self, last):
        """All writes up to that number."""
        for sector, versions in list(self.pending.items()):
            covered = [octets for number, octets in versions if number <= last]
            if covered:
                self._put(sector, covered[-1])
                self.pending[sector] = versions[len(covered) :]
            if not self.pending[sector]:
                del self.pending[sector]

    def lose(self, loss, chance):
        """The power is gone; returns how many sectors are not what was written last."""
        lost = 0
        numbers = {number for versions in self.pending.values() for number, _ in versions}
        chosen = {number for number in sorted(numbers) if chance.random() < 0.5}
        limits = {}  # a piece of the disk -> the last write that reached it
        for sector in sorted(self.pending):
            versions = self.pending[sector]
            if loss == KEPT:
                kept = versions
            elif loss == DROPPED:
                kept = []
            elif loss == WRITES:
                kept = [version for version in versions if version[0] in chosen]
            else:
                piece = sector if loss == SECTORS else sector // 8
                if piece not in limits:
                    limits[piece] = chance.choice([0] + [number for number, _ in versions])
                kept = [version for version in versions if version[0] <= limits[piece]]
            if kept:
                self._put(sector, kept[-1][1])
            lost += not kept or kept[-1] is not versions[-1]
        self.pending.clear()
        return lost

    def _put(self, sector, octets):
        self.file.seek(sector * SECTOR)
        self.file.write(octets)


class Disk:
    """Serves one machine at a time; the octets live on from machine to machine."""

    def __init__(self, path, chance, flush_max_s=0.02, lies=False):
        self.memory = Memory(path)
        self.chance = chance
        self.flush_max_s = flush_max_s
        self.lies = lies  # answers a flush without having done anything
        self.socket_path = pathlib.Path(f"{path}.socket")
        self.listener = None
        self.thread = None
        self.dead = threading.Event()
        self.countdown = None

    def start(self):
        """From now on one machine may connect."""
        self.dead.clear()
        self.countdown = None
        self.socket_path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.socket_path))
        self.listener.listen(1)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def die_after(self, requests):
        """After that many more writes and flushes nothing is answered any more (None: never)."""
        self.countdown = requests

    def end(self):
        """Waits until the machine, which has been killed, has let go."""
        self.dead.set()
        self.listener.close()
        self.thread.join()

    def close(self):
        self.memory.close()
        self.socket_path.unlink(missing_ok=True)

    def _serve(self):
        try:
            while not select.select([self.listener], [], [], 0.05)[0]:
                if self.dead.is_set():
                    return
            connection, _ = self.listener.accept()
            with connection:
                self._agree(connection)
                self._transmit(connection)
                while connection.recv(1 << 16):
                    pass  # Dead: the machine waits for answers until it is killed.
        except (OSError, EOFError):
            pass  # The machine was killed.

    def _agree(self, connection):
        """The handshake: one export without a name, no options."""
        connection.sendall(b"NBDMAGIC" + struct.pack(">QH", OPTION_MAGIC, FIXED_NEWSTYLE))
        take(connection, 4)
        while True:
            _, option, length = struct.unpack(">QII", take(connection, 16))
            take(connection, length)
            if option not in (OPTION_INFO, OPTION_GO):
                answer(connection, option, ACK if option == OPTION_ABORT else UNSUPPORTED)
                continue
            export = struct.pack(">HQH", INFO_EXPORT, self.memory.size, HAS_FLAGS | SEND_FLUSH)
            answer(connection, option, INFO, export)
            blocks = struct.pack(">HIII", INFO_BLOCK_SIZE, SECTOR, 4096, 1 << 20)
            answer(connection, option, INFO, blocks)
            answer(connection, option, ACK)
            if option == OPTION_GO:
                return

    def _transmit(self, connection):
        flushes = []  # (when it ends, the last write it covers, cookie), in order
        while not self.dead.is_set():
            wait_s = max(0, flushes[0][0] - time.monotonic()) if flushes else 0.1
            if select.select([connection], [], [], wait_s)[0]:
                self._request(connection, flushes)
            while flushes and flushes[0][0] <= time.monotonic() and not self.dead.is_set():
                _, last, cookie = flushes.pop(0)
                if not self.lies:
                    self.memory.make_durable(last)
                connection.sendall(struct.pack(">IIQ", REPLY_MAGIC, 0, cookie))

    def _request(self, connection, flushes):
        head = take(connection, 28)
        _, _, kind, cookie, offset, length = struct.unpack(">IHHQQI", head)
        error, data = 0, b""
        if kind == DISCONNECT:
            raise EOFError
        if kind == READ:
            data = self.memory.read(offset, length)
        elif kind == WRITE:
            self.memory.write(offset, take(connection, length))
        elif kind != FLUSH:
            error = EINVAL
        if self.countdown is not None and kind in (WRITE, FLUSH):
            self.countdown -= 1
            if self.countdown <= 0:
                self.dead.set()
                return
        if kind == FLUSH:
            end = time.monotonic() + self.chance.uniform(0, self.flush_max_s)
            if flushes:
                end = max(end, flushes[-1][0])
            flushes.append((end, self.memory.writes, cookie))
        else:
            connection.sendall(struct.pack(">IIQ", REPLY_MAGIC, error, cookie) + data)


def take(connection, length):
    """Exactly so many octets."""
    octets = connection.recv(length, socket.MSG_WAITALL) if length else b""
    if len(octets) < length:
        raise EOFError
    return octets


def answer(connection, option, kind, data=b""):
    head = struct.pack(">QIII", OPTION_REPLY_MAGIC, option, kind, len(data))
    connection.sendall(head + data)
