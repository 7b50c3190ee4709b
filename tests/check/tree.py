# SPDX-License-Identifier: Apache-2.0
"""The files of a tree, read once: the real one from git, or a made-up one for the self-tests of the
rules.
"""

import functools
import pathlib
import re
import subprocess

FOLDERS = ("io", "storage", "auth", "server", "bench", "tests", "deploy")
LAYERS = ("io", "storage", "auth", "server")


class Tree:
    def __init__(self, files, root=None):
        self.files = files  # path -> text
        self.root = root

    @classmethod
    def of_repository(cls, root):
        """What is committed or would be: tracked files and untracked ones that are not ignored."""
        root = pathlib.Path(root)
        try:
            listing = (
                subprocess.run(
                    [
                        "git",
                        "-c",
                        f"safe.directory={root}",
                        "-C",
                        str(root),
                        "ls-files",
                        "-z",
                        "--cached",
                        "--others",
                        "--exclude-standard",
                    ],
                    capture_output=True,
                    check=True,
                )
                .stdout.decode()
                .split("\0")
            )
        except (OSError, subprocess.CalledProcessError):
            # A tarball without git: everything but the build folders.
            listing = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
            listing = [
                name
                for name in listing
                if not re.match(r"(\.git|build[^/]*)/", name) and "__pycache__" not in name
            ]
        files = {}
        for name in listing:
            path = root / name
            if name and path.is_file():
                files[name] = path.read_text(encoding="utf-8", errors="replace")
        return cls(files, root)

    def sources(self, folders=FOLDERS):
        """Paths of C files in the folders given, sorted."""
        return sorted(
            name
            for name in self.files
            if name.endswith((".c", ".h")) and name.split("/", 1)[0] in folders
        )

    def includes(self, name):
        """(line number, what is included, True when in quotes) of one C file."""
        for number, line in enumerate(self.files[name].splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if match:
                yield number, match.group(2), match.group(1) == '"'


@functools.lru_cache(maxsize=None)
def without_comments(text):
    """C text with comments, strings and character constants blanked out; lines keep their numbers.
    """

    def blank(match):
        piece = match.group(0)
        if piece.startswith(("/*", "//")):
            return re.sub(r"[^\n]", " ", piece)
        return piece[0] + " " * (len(piece) - 2) + piece[-1]

    return re.sub(
        r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S
    )
