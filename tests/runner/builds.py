# SPDX-License-Identifier: Apache-2.0
"""Configures one kind of build and compiles it: `python3 -m runner.builds KIND FOLDER`.

Every kind has a folder of its own, kept from run to run, so that a second run compiles only what
changed.
"""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ["restanted", "restante"]
PLAIN = ["--buildtype=release", "-Db_ndebug=false", "-Dwerror=true"]

# kind -> (options of meson setup, targets, environment).
KINDS = {
    # What a user gets, assertions included.
    "plain": (
        PLAIN,
        PROGRAMS + ["restante-bench", "bench/bench-second", "test-programs"],
        {},
    ),
    # The unit tests of that build, in its folder.
    "plain-unit": (PLAIN, ["unit-programs"], {}),
    "asan": (
        ["-Ddebug=true", "-Doptimization=1", "-Db_sanitize=address,undefined", "-Db_ndebug=false"],
        PROGRAMS + ["unit-programs", "test-programs"],
        {},
    ),
    "tsan": (
        ["-Ddebug=true", "-Doptimization=1", "-Db_sanitize=thread", "-Db_ndebug=false"],
        ["test-programs"],
        {},
    ),
    "fuzz": (
        [
            "-Ddebug=true",
            "-Doptimization=1",
            "-Db_sanitize=address,undefined",
            "-Db_ndebug=false",
            "-Db_lundef=false",
            "-Dc_args=-fsanitize=fuzzer-no-link",
        ],
        ["fuzz-programs"],
        {"CC": "clang"},
    ),
}


def run(command, environment):
    print("$", " ".join(str(word) for word in command), flush=True)
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode


def main():
    kind, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    options, targets, environment = KINDS[kind]
    setup = ["meson", "setup", *options, str(folder), str(ROOT)]
    if (folder / "build.ninja").exists():
        # Packages may have come since: what was not found then is looked for again.
        setup.insert(2, "--reconfigure")
    code = run(setup, environment)
    if code != 0 and "--reconfigure" in setup:
        setup[2] = "--wipe"
        code = run(setup, environment)
    if code == 0:
        code = run(["ninja", "-C", str(folder), *targets], environment)
    return code


if __name__ == "__main__":
    sys.exit(main())
