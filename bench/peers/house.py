# SPDX-License-Identifier: Apache-2.0
"""A place of its own for a server that knows its files, its users and its port only where the
system has them: `python3 -m peers.house PLAN.json`, as root.

The server gets namespaces of its own for mounts, network and processes. What was unpacked and
written for it lies over the system's folders there, its loopback is another one, and when the first
process of the house ends the kernel ends all others. Nobody else sees any of it.
"""

import array
import ctypes
import fcntl
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
LIBC = ctypes.CDLL(None, use_errno=True)


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        request = array.array("b", struct.pack("16sh14x", b"lo", 0))
        fcntl.ioctl(one, SIOCGIFFLAGS, request)
        flags = struct.unpack_from("h", request, 16)[0]
        struct.pack_into("h", request, 16, flags | IFF_UP)
        fcntl.ioctl(one, SIOCSIFFLAGS, request)


def call(*command):
    subprocess.run(list(map(str, command)), check=True)


def furnish(plan):
    """Mounts: `over` lays folders, the first on top, over one of the system's; `bind` puts one in
    another's place.
    """
    call("mount", "--make-rprivate", "/")
    for place, folders in plan["over"].items():
        layers = ":".join([*folders, place])
        call("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={layers}", place)
    for place, folder in plan["bind"].items():
        call("mount", "--bind", folder, place)


def live(plan):
    """The first process of the house: ends when a server it started has ended."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    furnish(plan)
    loopback_up()
    for command in plan["before"]:
        call(*command)
    servers = [subprocess.Popen(command).pid for command in plan["servers"]]
    print("house: open", flush=True)
    while True:
        # Whoever loses its parent here becomes our child.
        if os.wait()[0] in servers:
            sys.exit("house: a server has ended")


def main():
    plan = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    if LIBC.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) != 0:
        sys.exit(f"house: no namespaces of its own: {os.strerror(ctypes.get_errno())}")
    first = os.fork()
    if first == 0:
        live(plan)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
    return 0 if os.waitpid(first, 0)[1] == signal.SIGKILL else 1


if __name__ == "__main__":
    sys.exit(main())
