# SPDX-License-Identifier: Apache-2.0
"""A virtual machine that boots Debian's kernel with an initial file system made here, runs one
shell script and switches itself off.

Emulated, not accelerated: ten to thirty times slower than the machine, so nothing is ever timed.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from harness.server import die_with_parent

QEMU = "qemu-system-x86_64"
KERNEL = "linux-image-cloud-amd64"
APPLETS = "sh mount insmod ip poweroff cat mkdir echo sleep hostname date chroot".split()

PREPARE = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs tmp /dev/shm
mount -t tmpfs tmp /tmp
ip link set lo mtu 1500 up
cd /tmp
"""


class Missing(Exception):
    """Something that the machine does not have: the test is skipped."""


def run(*words, **rest):
    return subprocess.run(
        words, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **rest
    ).stdout


def packages():
    """The kernel's own package, whose name has its version, and busybox."""
    text = run("apt-cache", "depends", "--important", KERNEL)
    found = re.search(r"Depends: (linux-image-\S+)", text)
    if found is None:
        raise Missing(f"apt knows no {KERNEL}")
    return [found[1], "busybox-static"]


def fetch(folder):
    """Downloads the kernel and busybox and unpacks them into `folder`, where they are kept."""
    if shutil.which(QEMU) is None:
        raise Missing(f"{QEMU} is not installed (package qemu-system-x86)")
    for tool in ("apt-get", "dpkg-deb", "cpio"):
        if shutil.which(tool) is None:
            raise Missing(f"{tool} is not installed")
    root = folder / "root"
    if (root / "complete").exists():
        return root
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        new = pathlib.Path(name) / "root"
        new.mkdir()
        try:
            download = "apt-get download -qq -o APT::Sandbox::User=root".split()
            run(*download, *packages(), cwd=name)
            for package in pathlib.Path(name).glob("*.deb"):
                run("dpkg-deb", "-x", str(package), str(new))
        except subprocess.CalledProcessError as error:
            raise Missing(f"no kernel could be downloaded: {error.stderr.strip()}") from None
        (new / "complete").touch()
        shutil.rmtree(root, ignore_errors=True)
        new.rename(root)
    return root


def libraries_of(program):
    return set(re.findall(r"(/\S+) \(0x", run("ldd", str(program))))


class Guest:
    """What is in the machine: programs with their libraries, modules, a script."""

    def __init__(self, root, folder):
        self.root = root
        self.folder = folder
        self.tree = folder / "tree"
        for name in ("bin", "proc", "sys", "dev", "tmp"):
            (self.tree / name).mkdir(parents=True)
        shutil.copy(root / "bin/busybox", self.tree / "bin/busybox")
        for applet in APPLETS:
            (self.tree / "bin" / applet).symlink_to("busybox")

    def add_program(self, path):
        """It becomes /NAME."""
        shutil.copy(path, self.tree / path.name)
        for library in libraries_of(path):
            place = self.tree / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(library), place)

    def add_module(self, name):
        """It becomes /NAME.ko."""
        found = list((self.root / "lib/modules").rglob(f"{name}.ko"))
        if not found:
            raise Missing(f"the kernel package has no module {name}")
        shutil.copy(found[0], self.tree / f"{name}.ko")

    def pack(self, script):
        """Makes the initial file system, with `script` as what the machine does."""
        init = self.tree / "init"
        init.write_text(PREPARE + script + "\necho the-script-has-ended\npoweroff -f\n")
        init.chmod(0o755)
        names = run("find", ".", cwd=self.tree)
        with open(self.folder / "initrd", "wb") as archive:
            subprocess.run(
                ["cpio", "-o", "-H", "newc", "--quiet"],
                cwd=self.tree,
                input=names.encode(),
                stdout=archive,
                check=True,
            )

    def command(self, *options):
        """QEMU's command line for what was packed; the network card is an option's affair."""
        kernel = next((self.root / "boot").glob("vmlinuz-*"))
        command = f"{QEMU} -accel tcg -m 1024 -nographic -no-reboot".split()
        command += ["-kernel", str(kernel), "-initrd", str(self.folder / "initrd")]
        command += ["-append", "console=ttyS0 quiet panic=-1", *options]
        return command

    def run(self, script, limit_s, *options):
        """Boots, runs `script`, and returns what was written to the console."""
        self.pack(script)
        console = self.folder / "console"
        with open(console, "wb") as output:
            machine = subprocess.Popen(
                self.command("-nic", "none", *options),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
            try:
                machine.wait(limit_s)
            except subprocess.TimeoutExpired:
                output.write(b"\nthe time was up\n")
            finally:
                machine.kill()
                machine.wait()
        return console.read_text(errors="replace").replace("\r", "")
