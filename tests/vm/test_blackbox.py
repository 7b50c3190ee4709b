# SPDX-License-Identifier: Apache-2.0
"""The black-box tests on a 6.1 kernel, once with each I/O back end.

The tests themselves run in the machine, with the Python they are started with here: so they may
signal the server, look at its files and talk to it over loopback, as everywhere else.
"""

import os
import pathlib
import re
import shutil
import sys
import sysconfig
import tempfile
import unittest

from harness import settings
from vm import guest, machine

LIMIT_S = 3000
SLOWER = 30  # than this machine; only limits on hangs are stretched by it
DISK_OCTETS = 3 << 30
PACKAGES = ["blackbox", "dialogues"]
UNNEEDED = ("test", "site-packages", "idlelib", "lib2to3", "ensurepip", "tkinter", "config-*")
ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"

SCRIPT = """
for module in {modules}; do insmod /$module.ko; done
hostname guest.test
mkdir -p /mnt
mount -t ext4 /dev/vda /mnt || poweroff -f
for folder in proc sys dev dev/shm; do mount -o bind /$folder /mnt/$folder; done
/bin/busybox --install -s /mnt/bin
ip link set lo up
for package in {packages}; do
    chroot /mnt /bin/env -i {environment} /bin/sh -c \
        "cd {tests} && exec {python} -B -u -m runner.pyunit $package"
done
"""


def add_file(tree, path):
    """At the same place in the tree, with the libraries it takes."""
    for one in [path, *guest.libraries_of(path)]:
        place = tree / str(one).lstrip("/")
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(one), place)


def make_root(tree, busybox):
    """All that the tests take: Python, their own files, the programs, a shell."""
    for name in ("bin", "dev", "etc", "proc", "sys", "root"):
        (tree / name).mkdir(parents=True)
    (tree / "tmp").mkdir(mode=0o777)
    shutil.copy(busybox, tree / "bin")
    (tree / "etc/passwd").write_text(ACCOUNTS)
    (tree / "etc/group").write_text(GROUPS)
    (tree / "etc/hosts").write_text("127.0.0.1 localhost guest.test\n::1 localhost\n")
    stdlib = pathlib.Path(sysconfig.get_paths()["stdlib"])
    unneeded = shutil.ignore_patterns(*UNNEEDED, "__pycache__")
    shutil.copytree(stdlib, tree / str(stdlib).lstrip("/"), ignore=unneeded)
    extensions = stdlib / "lib-dynload"
    for program in [python(), *extensions.glob("*.so")]:
        add_file(tree, program)
    for program in ("restanted", "restante"):
        add_file(tree, settings.BUILD / program)
    for program in map(shutil.which, ("curl", "openssl")):
        if program is not None:
            add_file(tree, pathlib.Path(program))
    for name in ("tests", "deploy"):
        place = tree / str(settings.ROOT / name).lstrip("/")
        shutil.copytree(settings.ROOT / name, place, ignore=unneeded)


def python():
    return pathlib.Path(os.path.realpath(sys.executable))


def environment(io):
    values = {
        "PATH": "/bin:/usr/bin",
        "HOME": "/root",
        "PYTHONHOME": sys.base_prefix,
        "LC_ALL": "C.UTF-8",
        "RESTANTE_BUILD": settings.BUILD,
        "RESTANTE_IO": io,
        "RESTANTE_SEED": settings.SEED,
        "RESTANTE_SLOW": settings.SLOW * SLOWER,
        "RESTANTE_EMULATED": 1,
    }
    return " ".join(f"{name}={value}" for name, value in values.items())


@unittest.skipUnless(settings.LONG, "long: emulation takes minutes")
class OldestKernel(unittest.TestCase):
    def run_with(self, io):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="restante-oldest-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        try:
            root = guest.fetch(settings.TOOLS.parent / "vm")
            image = guest.Guest(root, folder)
        except guest.Missing as missing:
            self.skipTest(str(missing))
        modules = [*machine.BEFORE, *machine.AFTER]
        for module in modules:
            image.add_module(module)
        make_root(folder / "root", root / "bin/busybox")
        machine.make_file_system(folder / "disk", DISK_OCTETS, folder / "root")
        script = SCRIPT.format(
            modules=" ".join(modules),
            packages=" ".join(PACKAGES),
            environment=environment(io),
            tests=settings.ROOT / "tests",
            python=python(),
        )
        drive = f"file={folder}/disk,format=raw,if=virtio,cache=unsafe"
        output = image.run(script, settings.seconds(LIMIT_S), "-smp", "2", "-drive", drive)
        figures = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", output, re.M)
        for package, counts in zip(PACKAGES, figures):
            text = "%s passed, %s failed, %s skipped" % counts
            print(f"# {package} on a 6.1 kernel with {io}: {text}")
        bad = re.findall(r"^not ok .*(?:\n    .*)*", output, re.M)
        self.assertEqual(bad, [], "\n".join(bad))
        self.assertEqual(len(figures), len(PACKAGES), output[-5000:])
        for passed, failed, _ in figures:
            self.assertGreater(int(passed), 20)
            self.assertEqual(int(failed), 0)
        if settings.KEEP:
            print(output)

    def test_the_black_box_tests_pass_with_io_uring(self):
        self.run_with("io_uring")

    def test_the_black_box_tests_pass_with_epoll(self):
        self.run_with("epoll")


if __name__ == "__main__":
    unittest.main()
