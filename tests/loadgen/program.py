# SPDX-License-Identifier: Apache-2.0
"""Runs restante-bench and looks at what it writes."""

import html.parser
import json
import os
import pathlib
import subprocess
import tempfile

from harness import settings
from harness.server import die_with_parent

LATENCY = {"count", "min", "mean", "max", "p50", "p75", "p90", "p95", "p99", "p999", "p9999"}
RUN = {
    "load_percent": (int, float),
    "offered_rate": (int, float),
    "seconds": (int, float),
    "operations": int,
    "rate": (int, float),
    "errors_total": int,
    "errors": dict,
    "octets_in": int,
    "octets_out": int,
    "verified": int,
    "unmarked": int,
    "sessions": int,
    "handshakes_full": int,
    "handshakes_resumed": int,
    "interrupted": bool,
    "latency_us": dict,
    "curve": list,
    "by_kind": dict,
    "by_command": dict,
    "windows": list,
    "generator": dict,
    "server": dict,
    "verdict": dict,
}
WINDOW = {
    "t_s",
    "seconds",
    "operations",
    "errors",
    "rate",
    "p50_us",
    "p95_us",
    "p99_us",
    "max_us",
    "octets_in",
    "octets_out",
    "backlog",
    "sessions",
    "server_cpu_s",
    "server_rss_octets",
}


def bench(*arguments, code=0, timeout=60):
    """Runs it and demands an exit code (None: any); returns the finished process."""
    done = subprocess.run(
        [str(settings.BUILD / "restante-bench"), *map(str, arguments)],
        text=True,
        capture_output=True,
        timeout=settings.seconds(10 * timeout),
        check=False,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1:exitcode=99"},
    )
    assert code is None or done.returncode == code, (
        f"restante-bench {' '.join(map(str, arguments))} ended with {done.returncode}, not {code}:"
        f"\n{done.stdout}{done.stderr}"
    )
    return done


def run(*arguments, code=0, seconds=0.6):
    """`restante-bench run` for so long; returns the document it wrote, checked."""
    done = bench(
        "run",
        "--quiet",
        "--io",
        settings.IO,
        "--warmup",
        0.1,
        "--duration",
        seconds,
        "--drain",
        30,
        "--json",
        "-",
        *arguments,
        code=code,
    )
    result = json.loads(done.stdout)
    check(result)
    return result


def run_some(*arguments, **options):
    """Like run, until something was measured: a machine may be too busy for the first try."""
    for seconds in (0.6, 3, 15):
        result = run(*arguments, seconds=seconds, **options)
        if result["runs"][0]["operations"] > 0:
            return result
    raise AssertionError(f"nothing was measured: {result['runs'][0]}")


def check_latency(latency):
    assert set(latency) == LATENCY, latency
    order = [latency[key] for key in ("p50", "p75", "p90", "p95", "p99", "p999", "p9999", "max")]
    assert order == sorted(order), latency


def check(result):
    """Holds a document against bench/SCHEMA.md."""
    assert result["schema"] == "restante-bench/1"
    assert {"program", "command", "started", "machine", "settings", "runs", "verdict"} <= set(
        result
    )
    for one in result["runs"]:
        for key, kind in RUN.items():
            assert isinstance(one[key], kind), f"{key} is {one.get(key)!r}"
        check_latency(one["latency_us"])
        check_latency(one["generator"]["lag_us"])
        for part in (*one["by_kind"].values(), *one["by_command"].values()):
            check_latency(part["latency_us"])
        for window in one["windows"]:
            assert set(window) == WINDOW, window
        assert one["errors_total"] == sum(one["errors"].values())
        assert one["operations"] == sum(kind["operations"] for kind in one["by_kind"].values())
        assert one["verdict"]["result"] in ("none", "pass", "fail", "refused")


class Tags(html.parser.HTMLParser):
    """Demands that every tag that is opened is closed, in order."""

    EMPTY = {"meta", "line", "polyline", "br"}

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        assert not any(name in ("src", "href") for name, _ in attrs), "the page needs others"
        if tag not in self.EMPTY and tag not in ("p", "li"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.EMPTY and tag not in ("p", "li"):
            assert self.open and self.open[-1] == tag, f"</{tag}> while open: {self.open}"
            self.open.pop()


def check_page(text):
    tags = Tags()
    tags.feed(text)
    assert not tags.open, tags.open


class Floor:
    """`restante-bench floor` while it is needed."""

    def __init__(self, *options):
        command = [settings.BUILD / "restante-bench", "floor", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*map(str, command), *options],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        line = self.process.stdout.readline()
        assert line.startswith("listening pop3 "), line
        self.address = line.split()[2]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.process.terminate()
        code = self.process.wait(settings.seconds(30))
        self.process.stdout.close()
        assert code == 0, f"the floor ended with {code}"


def folder():
    """A temporary folder, as a path; the caller removes it."""
    return pathlib.Path(tempfile.mkdtemp(prefix="restante-loadgen-"))
