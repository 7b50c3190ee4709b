# SPDX-License-Identifier: Apache-2.0
"""Who may include what."""

import collections
import pathlib

from check.tree import LAYERS, Tree

# Each foreign header has one owner: a file stem (its .c and its private .h). Headers named here and
# found elsewhere are faults; so are headers named nowhere and not in the C library.
OWNERS = {
    "liburing.h": ("io/uring", "io/loop"),
    "openssl/": (
        "auth/digest",
        # TLS is one module in several files, which share a private header.
        "io/tls_private",
        "io/tls_certificate",
        "io/tls_client",
        "io/tls_context",
        "io/tls_server",
        "io/tls_stream",
        "io/tls_ticket",
        # Tests bring a client.
        "tests/unit/",
        "tests/vm/",
    ),
    "lmdb.h": ("storage/kv",),
    "xxhash.h": ("storage/checksum",),
    "xxh_x86dispatch.h": ("storage/checksum",),
    "sodium.h": ("auth/secret",),
    "crypt.h": ("auth/password",),
    "cjose/": ("auth/jwt", "tests/unit/jwt_maker"),
    "curl/": ("auth/fetch",),
    "gsasl.h": ("auth/sasl_gsasl",),
    "confuse.h": ("server/config",),
    "jansson.h": ("io/doc",),
    "microhttpd.h": ("server/metrics",),
    "seccomp.h": ("server/syscall_filter",),
    "argp.h": (
        "server/restante",
        "server/main",
        "bench/run_options",
        "bench/populate_main",
        "bench/peers/independent",
    ),
    "criterion/": ("tests/unit/",),
    "valgrind/": ("bench/instructions",),
}

# The C library, POSIX and the kernel belong to everybody.
SYSTEM = {
    "arpa/inet.h",
    "assert.h",
    "cpuid.h",
    "ctype.h",
    "dirent.h",
    "dlfcn.h",
    "endian.h",
    "err.h",
    "errno.h",
    "fcntl.h",
    "fnmatch.h",
    "ftw.h",
    "getopt.h",
    "glob.h",
    "grp.h",
    "inttypes.h",
    "limits.h",
    "linux/",
    "locale.h",
    "malloc.h",
    "math.h",
    "net/if.h",
    "netdb.h",
    "netinet/in.h",
    "netinet/tcp.h",
    "poll.h",
    "pthread.h",
    "pwd.h",
    "regex.h",
    "sched.h",
    "semaphore.h",
    "signal.h",
    "stdalign.h",
    "stdarg.h",
    "stdatomic.h",
    "stdbool.h",
    "stddef.h",
    "stdint.h",
    "stdio.h",
    "stdlib.h",
    "stdnoreturn.h",
    "string.h",
    "strings.h",
    "sys/",
    "syslog.h",
    "termios.h",
    "threads.h",
    "time.h",
    "unistd.h",
    "utime.h",
    "wchar.h",
    "sanitizer/",
}


def folder_of(name):
    return name.split("/", 1)[0]


class IncludesGoLeft:
    """io <- storage <- auth <- server; bench and tests include anything, nothing includes them."""

    name = "a file includes its own folder and folders to the left, written from the root"
    bad = [
        Tree({"io/a.c": '#include "server/b.h"\n', "server/b.h": ""}),
        Tree({"storage/a.c": '#include "a.h"\n', "storage/a.h": ""}),
        Tree({"server/a.c": '#include "tests/b.h"\n', "tests/b.h": ""}),
        Tree({"io/a.c": '#include "../io/a.h"\n', "io/a.h": ""}),
        Tree({"io/a.c": "#include <io/a.h>\n", "io/a.h": ""}),
    ]

    def check(self, tree):
        for name in tree.sources():
            own = folder_of(name)
            for number, header, quoted in tree.includes(name):
                if quoted and header not in tree.files and header != "version.h":
                    yield f'{name}:{number}: "{header}" is no file, written from the root'
                elif not quoted and header in tree.files:
                    yield f"{name}:{number}: <{header}> is a file of this tree: write it in quotes"
                elif quoted and own in LAYERS:
                    other = folder_of(header)
                    if other not in LAYERS or LAYERS.index(other) > LAYERS.index(own):
                        yield f'{name}:{number}: {own}/ must not include "{header}"'


class OneOwnerPerLibrary:
    """A library can be replaced by changing one file."""

    name = "each foreign library is included by its one owner"
    bad = [
        Tree({"server/a.c": "#include <lmdb.h>\n"}),
        Tree({"io/a.c": "#include <unheard-of.h>\n"}),
    ]

    def check(self, tree):
        for name in tree.sources():
            stem = name.rsplit(".", 1)[0]
            for number, header, quoted in tree.includes(name):
                if quoted or any(
                    header == known or known.endswith("/") and header.startswith(known)
                    for known in SYSTEM
                ):
                    continue
                owner = next(
                    (
                        OWNERS[known]
                        for known in OWNERS
                        if header == known or known.endswith("/") and header.startswith(known)
                    ),
                    None,
                )
                if owner is None:
                    yield f"{name}:{number}: <{header}> has no owner in tests/check/layers.py"
                elif not any(
                    stem == one or one.endswith("/") and stem.startswith(one) for one in owner
                ):
                    yield f"{name}:{number}: <{header}> belongs to {' or '.join(owner)} alone"


class NoHeaderForEverybody:
    """A header that everyone includes makes every change everybody's change."""

    name = "no header but io/status.h is included by 40 % of the files"
    bad = [
        Tree(
            {f"io/a{number}.c": '#include "io/all.h"\n' for number in range(20)} | {"io/all.h": ""}
        )
    ]

    def check(self, tree):
        sources = tree.sources(LAYERS)
        counts = collections.Counter(
            header for name in sources for _, header, quoted in tree.includes(name) if quoted
        )
        for header, count in sorted(counts.items()):
            if header != "io/status.h" and len(sources) >= 10 and count >= 0.4 * len(sources):
                yield f"{header}: included by {count} of {len(sources)} files"


class StemsAreUnique:
    """One file is one module with one prefix: no stem stands for two things."""

    name = "file stems are unique over the tree"
    bad = [Tree({"io/a.c": "", "server/a.c": ""}), Tree({"io/a.h": "", "server/a.c": ""})]

    def check(self, tree):
        places = collections.defaultdict(set)
        for name in tree.sources():
            path = pathlib.PurePath(name)
            places[path.stem].add(str(path.parent))
        for stem, folders in sorted(places.items()):
            if len(folders) > 1:
                yield f"{stem}: in {', '.join(sorted(folders))}"


class TopLevelIsFixed:
    """The visible top level is the plan of the house."""

    PLANNED = {
        "server",
        "storage",
        "io",
        "auth",
        "bench",
        "tests",
        "deploy",
        "meson.build",
        "README.md",
        "LICENSE",
    }
    name = "the visible top level is exactly the planned set"
    bad = [
        Tree(
            {
                **{
                    f"{entry}/x" if "." not in entry and entry != "LICENSE" else entry: ""
                    for entry in PLANNED
                },
                "docs/x": "",
            }
        ),
        Tree({"meson.build": ""}),
    ]

    def check(self, tree):
        there = {name.split("/", 1)[0] for name in tree.files}
        visible = {entry for entry in there if not entry.startswith(".")}
        for entry in sorted(visible - self.PLANNED):
            yield f"{entry}: not in the plan"
        for entry in sorted(self.PLANNED - visible):
            yield f"{entry}: missing"


class EveryFolderHasReadme:
    """A newcomer reads it first."""

    name = "every folder has a README.md"
    bad = [Tree({"io/a.c": ""})]

    def check(self, tree):
        for folder in sorted({folder_of(name) for name in tree.files if "/" in name}):
            if not folder.startswith(".") and f"{folder}/README.md" not in tree.files:
                yield f"{folder}/README.md: missing"


class LimitsHaveTheirHeader:
    """Never limits.h, which would shadow the system's."""

    name = "limits headers are named <folder>_limits.h"
    bad = [Tree({"io/limits.h": ""}), Tree({"io/server_limits.h": ""})]

    def check(self, tree):
        for name in tree.sources(LAYERS):
            path = pathlib.PurePath(name)
            if path.stem.endswith("limits") and path.name != f"{path.parent.name}_limits.h":
                yield f"{name}: should be {path.parent.name}/{path.parent.name}_limits.h"


RULES = [
    IncludesGoLeft,
    OneOwnerPerLibrary,
    NoHeaderForEverybody,
    StemsAreUnique,
    TopLevelIsFixed,
    EveryFolderHasReadme,
    LimitsHaveTheirHeader,
]
