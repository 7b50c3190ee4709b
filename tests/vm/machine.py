# SPDX-License-Identifier: Apache-2.0
"""A virtual machine with a disk and a network, in which restanted runs; its plug can be pulled.

The store lies on the disk, made before the first boot by a server on this machine. The server in
the guest listens on all its addresses; QEMU forwards a port of this machine's loopback to each.
"""

import secrets
import shutil
import socket
import subprocess
import threading
import time

from harness import settings
from harness.server import READY, Server, die_with_parent
from vm import guest

BEFORE = (
    "virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover "
    "net_failover virtio_net"
).split()
AFTER = ["virtio_blk"]
PORTS = {"pop3": 2110, "lmtp": 2024}
BOOT_LIMIT_S = 300  # ten seconds are usual; no test judges how fast the machine is
DISK_OCTETS = 1 << 30

# The state of the machine is saved where it sleeps, and each boot returns to that: the kernel has
# not met the disk by then.
SCRIPT = """
for module in {before}; do insmod /$module.ko; done
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
hostname guest.test
mkdir -p /mnt
echo asleep
read now seed
date -s @$now >/dev/null
echo $seed >/dev/urandom
for module in {after}; do insmod /$module.ko; done
mount -t ext4 /dev/vda /mnt || poweroff -f
echo starting
/restanted --demo --dir /mnt {options}
echo the-server-has-ended $?
"""


class Stopped(AssertionError):
    """The machine or its server did not do what it was told."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_file_system(path, octets, folder):
    """An ext4 in a file, with what is in a folder.

    Without checksums of its own: with them, 6.1 refuses to mount when the last commit block of its
    journal is torn between sectors (seen here), because it takes blocks of 4 KiB for atomic. The
    store does not, and that is what is tested.
    """
    if shutil.which("mkfs.ext4") is None:
        raise guest.Missing("mkfs.ext4 is not installed (package e2fsprogs)")
    with open(path, "wb") as image:
        image.truncate(octets)
    mkfs = "mkfs.ext4 -q -O ^metadata_csum -E lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    guest.run(*mkfs.split(), "-d", str(folder), str(path))


def make_volume(path, users):
    """A file system with a store in which there are so many accounts; returns their names."""
    server = Server()
    try:
        server.start()
        names = [server.new_user() for _ in range(users)]
        server.stop()
        make_file_system(path, DISK_OCTETS, server.folder)
    finally:
        server.clean()
    return names


class Machine:
    """Has what the clients of the crash tests ask of a server: address, and more."""

    def __init__(self, root, folder, disk, options=()):
        self.folder = folder
        self.disk = disk
        self.image = guest.Guest(root, folder)
        for module in BEFORE + AFTER:
            self.image.add_module(module)
        self.image.add_program(settings.BUILD / "restanted")
        words = ["workers=2", "log_level=warning", "listener.lmtp.allow=10.0.2.0/24"]
        words += [f"listener.{name}.address=0.0.0.0:{port}" for name, port in PORTS.items()]
        words += [f"listener.{name}.address=127.0.0.1:0" for name in ("pop3s", "metrics")]
        listed = " ".join(f"-o {word}" for word in [*words, *options])
        script = SCRIPT.format(before=" ".join(BEFORE), after=" ".join(AFTER), options=listed)
        self.image.pack(script)
        self.state = folder / "state"
        self.ports = {}
        self.lines = []
        self.process = self.reader = None
        self.changed = threading.Condition()
        self.boot_s = self.recovery_s = 0.0

    def address(self, name):
        return "127.0.0.1", self.ports[name]

    def start(self, dies_after=None):
        """Boots, until the server says that it serves, or until the disk has died after so many
        requests; returns False then.
        """
        if not self.state.exists():
            self._save_state()
        self._launch("-incoming", f"exec:cat {self.state}")
        self._until("info status", "running")
        begin = time.monotonic()
        self.disk.die_after(dies_after)
        self.process.stdin.write(f"{time.time():.0f} {secrets.token_hex()}\n".encode())
        self.process.stdin.flush()
        self.wait_for("starting")
        self.boot_s = time.monotonic() - begin
        self.wait_for(READY)
        self.recovery_s = time.monotonic() - begin - self.boot_s
        return not self.disk.dead.is_set()

    def _save_state(self):
        self._launch()
        self.wait_for("asleep")
        self._until("migrate_set_parameter max-bandwidth 10G", "")
        self._until(f'migrate "exec:cat >{self.state}"', "")
        self._until("info migrate", "Migration status: completed")
        self.kill()

    def _launch(self, *options):
        self.disk.start()
        self.ports = {name: free_port() for name in PORTS}
        forwards = [f"hostfwd=tcp:127.0.0.1:{self.ports[name]}-:{PORTS[name]}" for name in PORTS]
        drive = f"file=nbd+unix:///?socket={self.disk.socket_path},format=raw,if=virtio"
        options += ("-smp", "2", "-drive", f"{drive},cache=writeback")
        options += ("-netdev", ",".join(["user,id=net", *forwards]))
        options += ("-device", "virtio-net-pci,netdev=net,romfile=")
        options += ("-monitor", f"unix:{self.folder}/monitor,server,nowait")
        self.lines = []
        self.process = subprocess.Popen(
            self.image.command(*options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def _until(self, command, wanted):
        """Repeats a command to QEMU's monitor until the answer holds what is wanted."""
        end = time.monotonic() + settings.seconds(BOOT_LIMIT_S)
        while True:
            answer = self._monitor(command)
            if answer is not None and wanted in answer:
                return
            if self.process.poll() is not None or time.monotonic() > end:
                raise Stopped(f"{command}: {answer}\n{self.report()}")
            time.sleep(0.02)

    def _monitor(self, command):
        """What the monitor answers; None when it does not listen yet."""
        answer = b""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as monitor:
                monitor.settimeout(settings.seconds(BOOT_LIMIT_S))
                monitor.connect(f"{self.folder}/monitor")
                while not answer.endswith(b"(qemu) "):
                    answer += monitor.recv(4096) or b"(qemu) "
                monitor.sendall(command.encode() + b"\n")
                answer = b""
                while not answer.endswith(b"(qemu) "):
                    answer += monitor.recv(4096) or b"(qemu) "
        except OSError:
            return None
        return answer.decode(errors="replace")

    def _read(self, stream):
        with stream:
            for line in stream:
                with self.changed:
                    self.lines.append(line.decode(errors="replace").strip())
                    self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def said(self, text):
        return any(text in line for line in self.lines)

    def wait_for(self, line):
        """Until the console says so, or the disk is dead."""
        end = time.monotonic() + settings.seconds(BOOT_LIMIT_S)
        with self.changed:
            while not self.said(line) and not self.disk.dead.is_set():
                if self.process.poll() is not None or self.said("the-server-has-ended"):
                    raise Stopped(f"no line '{line}'\n{self.report()}")
                if not self.changed.wait(max(0, min(1, end - time.monotonic()))):
                    if time.monotonic() > end:
                        raise Stopped(f"in vain waited for '{line}'\n{self.report()}")

    def kill(self):
        """Pulls the plug; nothing is written any more."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.reader.join()
            self.disk.end()
            self.process = None

    def report(self):
        return "\n".join(self.lines[-60:])
