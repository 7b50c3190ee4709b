# SPDX-License-Identifier: Apache-2.0
"""What instruction counts depend on besides the source: where one of these differs, figures of
another machine say nothing.
"""

import json
import os
import platform
import re
import subprocess
import tempfile

from harness.settings import BUILD

LIBRARIES = ("jemalloc", "libcrypto", "liburing", "libsodium", "libxxhash", "lmdb")
OPTIONS = ("buildtype", "optimization", "debug", "b_ndebug", "b_lto", "b_pgo", "b_sanitize")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def introspect(what):
    """What meson has written down about the build."""
    path = BUILD / "meson-info" / f"intro-{what}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def compiler():
    """The one that made the program, as it has noted in there."""
    program = (BUILD / "bench" / "bench-micro").read_bytes()
    made_by = re.findall(rb"(GCC): \([^)]*\) ([\d.]+)\0|(clang) version ([\d.]+)", program)
    return " ".join(sorted({b" ".join(filter(None, one)).decode() for one in made_by}))


def processor_has(flag):
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        return any(flag in line.split() for line in cpuinfo if line.startswith("flags"))


def warm_reads():
    """How the file system of the temporary folder answers a read that must not wait."""
    with tempfile.TemporaryFile() as file:
        file.write(b"warm")
        file.flush()
        try:
            return "at once" if os.preadv(file.fileno(), [bytearray(4)], 0, os.RWF_NOWAIT) else "?"
        except OSError as error:
            return f"refused ({error.strerror})"


def libraries():
    """Their versions, without the last number: fixes change little."""
    for name in LIBRARIES:
        version = output("pkg-config", "--modversion", name)
        yield name, ".".join(re.split(r"[._-]", version)[:2])


def describe():
    """Names and values, all of them text."""
    options = {one["name"]: one["value"] for one in introspect("buildoptions")}
    return {
        "machine": platform.machine(),
        "processor": "AVX2" if processor_has("avx2") else "no AVX2",
        "compiler": compiler(),
        "warm reads": warm_reads(),
        "options": " ".join(f"{name}={options.get(name)}" for name in OPTIONS),
        "C library": " ".join(platform.libc_ver()),
        "valgrind": output("valgrind", "--version"),
        "libraries": " ".join(f"{name} {version}" for name, version in libraries()),
    }


def differences(recorded, here):
    """What differs, in words; empty when figures can be compared."""
    return [
        f"{name} is {here.get(name)}, recorded with {value}"
        for name, value in recorded.items()
        if here.get(name) != value
    ]
