# SPDX-License-Identifier: Apache-2.0
"""Runs each fuzzer for a while over its seed corpus: `python3 -m fuzz.drive BUILD`.

The corpus in the tree is only read. A crash prints the input, so that it can become a seed and a
test.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
SECONDS = 900 if os.environ.get("RESTANTE_LONG") == "1" else 10
INPUT_OCTETS_MAX = 4096


def start(program, found, seed):
    corpus = FOLDER / "corpus" / program.name
    environment = {
        **os.environ,
        "ASAN_OPTIONS": "detect_leaks=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    return subprocess.Popen(
        [
            str(program),
            f"-max_total_time={SECONDS}",
            f"-max_len={INPUT_OCTETS_MAX}",
            f"-seed={seed}",
            f"-artifact_prefix={found}/",
            "-print_final_stats=1",
            "-timeout=10",
            str(found),
            str(corpus),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    )


def report(program, process, found):
    """Prints how it went; True when nothing was found."""
    output, _ = process.communicate(timeout=SECONDS + 120)
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    covered = re.findall(r"cov: (\d+)", output)
    if process.returncode == 0 and runs:
        print(f"# {program.name}: {runs.group(1)} inputs, {covered[-1] if covered else 0} edges")
        print(f"ok - {program.name} finds nothing in {SECONDS} s")
        return True
    print(f"not ok - {program.name} ended with {process.returncode}")
    for line in output.splitlines()[-60:]:
        print(f"    {line}")
    for path in sorted(found.glob("crash-*")) + sorted(found.glob("timeout-*")):
        print(f"    input {path.name}: {path.read_bytes()!r}")
    return False


def main():
    build = pathlib.Path(sys.argv[1]) / "tests" / "fuzz"
    programs = sorted(path for path in build.glob("fuzz_*") if path.is_file())
    seed = int(os.environ.get("RESTANTE_SEED", "1")) % 2**32 or 1
    print(f"# seed {seed}")
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="restante-fuzz-") as folder:
        for program in programs:
            found = pathlib.Path(folder) / program.name
            found.mkdir()
            if report(program, start(program, found, seed), found):
                passed += 1
            else:
                failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
