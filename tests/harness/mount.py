# SPDX-License-Identifier: Apache-2.0
"""Small file systems for a test alone, where the machine allows them."""

import errno
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

MIB = 1 << 20

# What makes each kind quietly, and the smallest that it makes.
MAKERS = {"ext4": (["mkfs.ext4", "-q"], 8 * MIB), "xfs": (["mkfs.xfs", "-q"], 300 * MIB)}


class Mount:
    """A file system of `size` octets, or a reason why there is none: tmpfs, ext4 or xfs."""

    def __init__(self, kind, size):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="restante-mount-"))
        self.place = self.folder / "mnt"
        self.place.mkdir()
        try:
            self._mount(kind, size)
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def _mount(self, kind, size):
        if kind == "tmpfs":
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(self.place)]
        else:
            command = ["mount", "-o", "loop", str(self._image(kind, size)), str(self.place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise unittest.SkipTest(f"this machine allows no mount: {done.stderr.strip()}")

    def _image(self, kind, size):
        image = self.folder / "image"
        maker, least = MAKERS[kind]
        with open(image, "wb") as file:
            file.truncate(max(size, least))
        try:
            made = subprocess.run([*maker, str(image)], capture_output=True, check=False)
        except FileNotFoundError:
            raise unittest.SkipTest(f"there is no {maker[0]}") from None
        if made.returncode != 0:
            raise unittest.SkipTest(f"{maker[0]}: {made.stderr.decode().strip()}")
        return image

    def store_folder(self):
        folder = self.place / "store"
        folder.mkdir()
        return folder

    def read_only(self, on):
        how = "ro" if on else "rw"
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.place)], check=True)

    def clean(self):
        subprocess.run(["umount", "-l", str(self.place)], check=False)
        (self.folder / "image").unlink(missing_ok=True)
        self.place.rmdir()
        self.folder.rmdir()


def write_until_full(file):
    """Writes zeros into an unbuffered file until the disk is full to the last block."""
    for size in (MIB, 4096, 512):
        try:
            while True:
                file.write(b"\0" * size)
        except OSError as failure:
            if failure.errno != errno.ENOSPC:
                raise
    os.fsync(file.fileno())
