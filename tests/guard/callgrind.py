# SPDX-License-Identifier: Apache-2.0
"""Runs bench-micro under callgrind and reads what it counted: instructions for one operation, by
function. All threads count; the kernel's work does not.
"""

import collections
import pathlib
import re
import subprocess
import tempfile

from harness.settings import BUILD, seconds

# Which variant of memcpy(3) and its like the C library chooses must not depend on the processor.
# Callgrind shows the program a processor of its own, but one with what the real one has.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-BMI2,-ERMS,-FSRM,"
    "-AVX_Fast_Unaligned_Load,-Prefer_ERMS",
    # Memory is given back by the count of operations, not by the clock.
    "MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1,narenas:4",
}

TRIGGER = re.compile(r"^desc: Trigger: Client Request: (.+)/(\d+)$", re.M)


def functions_of(text):
    """Instructions of each function itself, without those it calls, in one of callgrind's files."""
    counts = collections.Counter()
    function = library = None
    skip = False
    for line in text.splitlines():
        if line.startswith("ob="):
            library = line[3:].rsplit("/", 1)[-1]
        elif line.startswith("fn="):
            function = name_of(line[3:], library)
        elif line.startswith("calls="):
            skip = True  # The next line is what the callee took, all in all.
        elif line[:1].isdigit():
            if not skip:
                counts[function] += int(line.split()[1])
            skip = False
    return counts


def name_of(function, library):
    """As people know it: without marks of recursion and clones. What has none is its library's."""
    if function.startswith(("0x", "???")):
        return f"({library})"
    return re.sub(r"('\d+|\.(isra|part|constprop|cold|lto_priv)[.\d]*)+$", "", function)


def run(folder):
    """The files callgrind has written, as text."""
    program = BUILD / "bench" / "bench-micro"
    filled = pathlib.Path(folder) / "store"
    filled.mkdir()
    subprocess.run(
        [program, "--prepare", filled], env=ENVIRONMENT, check=True, timeout=seconds(600)
    )
    done = subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            "--compress-strings=no",
            "--compress-pos=no",
            f"--callgrind-out-file={folder}/counts",
            program,
            "--dir",
            filled,
        ],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds(1200),
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"under callgrind it ended with {done.returncode}: {done.stdout}")
    return [path.read_text(errors="replace") for path in pathlib.Path(folder).glob("counts.*")]


def per_operation(texts):
    """Scenario -> function -> instructions for one operation.

    Each scenario ran with n operations and with twice as many: the difference is n operations, and
    neither start nor end is in it.
    """
    runs = collections.defaultdict(dict)
    for text in texts:
        match = TRIGGER.search(text)
        if match:
            runs[match.group(1)][int(match.group(2))] = functions_of(text)
    scenarios = {}
    for name, counts in sorted(runs.items()):
        few, many = sorted(counts)
        functions = set(counts[few]) | set(counts[many])
        scenarios[name] = {
            function: (counts[many][function] - counts[few][function]) / (many - few)
            for function in functions
        }
    return scenarios


def measure():
    """Scenario -> function -> instructions for one operation, here and now."""
    with tempfile.TemporaryDirectory(prefix="restante-guard-") as folder:
        return per_operation(run(folder))
