# SPDX-License-Identifier: Apache-2.0
"""Starts restanted on free ports, knows where it listens, stops it, and collects what the
sanitizers said.
"""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from harness import settings

READY = "restante: ready"
PASSWORD = "secret word"

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def die_with_parent():
    """Runs in the child: a test program that is killed takes its server along."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class ServerFailed(AssertionError):
    """The server did not start, did not stop, or a sanitizer complained."""


class Server:
    """One restanted process and its folder.

    A server is started on 127.0.0.1 with ports the kernel chooses; `address("pop3")` says where.
    The folder is a temporary one unless it is given, and then it is left alone: that is how a test
    starts a second server on the same mail.
    """

    def __init__(self, options=(), folder=None, config=None, io=None, wrapper=(), environment=None):
        self.own_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="restante-server-"))
        self.options = list(options)
        self.config = config
        self.io = io or settings.IO
        self.wrapper = list(wrapper)
        self.environment = environment or {}
        self.process = None
        self.listening = {}
        self.output = []
        self.users_made = 0
        self.users_free = []
        self._ready = threading.Event()
        self._reader = None
        self._log_path = self.folder / "server.log"
        self._sanitizer_folder = pathlib.Path(tempfile.mkdtemp(prefix="restante-sanitizer-"))

    # Life cycle.

    def command(self):
        line = self.wrapper + [str(settings.BUILD / "restanted")]
        if self.config is None:
            line += ["--demo", "--dir", str(self.folder)]
            for name in ("pop3", "pop3s", "lmtp", "metrics"):
                line += ["-o", f"listener.{name}.address=127.0.0.1:0"]
        else:
            line += ["-c", str(self.config)]
        line += ["-o", f"io_backend={self.io}"]
        if not any(option.startswith("workers=") for option in self.options):
            line += ["-o", "workers=2"]
        for option in self.options:
            line += ["-o", option]
        return line

    def sanitizer_environment(self):
        log = f"log_path={self._sanitizer_folder}/report"
        return {
            "ASAN_OPTIONS": f"{log}:detect_leaks=1:detect_stack_use_after_return=1:exitcode=99",
            "UBSAN_OPTIONS": f"{log}:print_stacktrace=1",
            "TSAN_OPTIONS": f"{log}:exitcode=98",
        }

    def start(self, wait=True):
        """Starts the process and waits until it says that it serves; returns self."""
        if not (settings.BUILD / "restanted").exists():
            raise ServerFailed(
                f"there is no restanted in {settings.BUILD}: build it, or name the folder"
                " in RESTANTE_BUILD"
            )
        self.listening = {}
        self._ready.clear()
        environment = {**os.environ, **self.sanitizer_environment(), **self.environment}
        # Unbuffered append: the log survives a kill -9 and a second start.
        log = open(self._log_path, "ab", buffering=0)
        with log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                preexec_fn=die_with_parent,
                text=True,
                errors="replace",
            )
        self._reader = threading.Thread(
            target=self._read_output, args=(self.process.stdout,), daemon=True
        )
        self._reader.start()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        deadline = time.monotonic() + settings.seconds(20)
        while not self._ready.wait(0.05):
            if self.process.poll() is not None:
                self._reader.join(5)
                if self._ready.is_set():
                    break
                raise ServerFailed(
                    f"restanted ended with {self.process.returncode} before it was ready\n"
                    + self.report()
                )
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise ServerFailed("restanted did not get ready\n" + self.report())

    def _read_output(self, stream):
        with stream:
            for line in stream:
                line = line.rstrip("\n")
                self.output.append(line)
                words = line.split()
                if len(words) == 3 and words[0] == "listening":
                    self.listening.setdefault(words[1], []).append(words[2])
                if line == READY:
                    self._ready.set()

    def stop(self):
        """Ends the process with SIGTERM, as an operator would, and demands a clean end."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.wait_end()

    def wait_end(self):
        """Waits for a process that was told to end, and demands a clean end."""
        try:
            code = self.process.wait(settings.seconds(30))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise ServerFailed("restanted did not end when told to\n" + self.report()) from None
        self._reader.join(5)
        self.process = None
        if code != 0:
            raise ServerFailed(f"restanted ended with {code}\n" + self.report())
        self.check_sanitizers()

    def kill(self):
        """Pulls the plug: SIGKILL, no chance to write anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._reader.join(5)
            self.process = None

    def clean(self):
        """Stops the server if it runs and removes its folders."""
        failed = True
        try:
            self.stop()
            failed = False
        finally:
            self.kill()
            if not (settings.KEEP and failed):
                shutil.rmtree(self._sanitizer_folder, ignore_errors=True)
                if self.own_folder:
                    shutil.rmtree(self.folder, ignore_errors=True)

    def clean_quietly(self):
        """Cleans up after a failure that is already being reported."""
        try:
            self.clean()
        except ServerFailed:
            pass

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *exception):
        self.clean()

    # What it says.

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        try:
            return self._log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def sanitizer_reports(self):
        return "".join(
            path.read_text(errors="replace")
            for path in sorted(self._sanitizer_folder.glob("report*"))
        )

    def check_sanitizers(self):
        reports = self.sanitizer_reports()
        if reports:
            raise ServerFailed("a sanitizer complained:\n" + reports[:20000])

    def report(self):
        tail = "\n".join(self.log().splitlines()[-40:])
        code = self.process.poll() if self.process is not None else None
        return (
            f"exit code: {code}\ncommand: {' '.join(self.command())}\n"
            f"output: {self.output[-20:]}\nlog:\n{tail}\n"
            f"{self.sanitizer_reports()[:20000]}"
        )

    def addresses(self, name):
        """All addresses the listener of that name has, as socket addresses."""
        if name not in self.listening:
            raise ServerFailed(f"no line 'listening {name} ADDRESS' among {self.output}")
        return [parse_address(text) for text in self.listening[name]]

    def address(self, name):
        return self.addresses(name)[0]

    # What its administrator does.

    def cli(self, *arguments, text=None, check=True, offline=False):
        """Runs `restante` against this server (or, offline, against its store) and returns the
        finished process.
        """
        place = (
            ["--store", str(self.folder)]
            if offline
            else ["--socket", str(self.folder / "admin.sock")]
        )
        done = subprocess.run(
            [str(settings.BUILD / "restante"), *place, *arguments],
            input=text,
            text=True,
            capture_output=True,
            timeout=settings.seconds(60),
            check=False,
            env={**os.environ, **self.sanitizer_environment()},
        )
        if check and done.returncode != 0:
            raise ServerFailed(
                f"restante {' '.join(arguments)} ended with {done.returncode}: "
                f"{done.stdout}{done.stderr}"
            )
        return done

    def cli_json(self, *arguments):
        return json.loads(self.cli("--json", *arguments).stdout)

    def new_user(self):
        """The name of an account nobody used before; its password is PASSWORD.

        Accounts are imported by the hundred with plain passwords: making each with a slow hash of
        its own would cost more than all the tests.
        """
        if not self.users_free:
            first = self.users_made
            self.users_made += 100
            self.users_free = [f"user{number:04}" for number in range(first, self.users_made)]
            passwd_file = self.folder / f"users{first}.passwd"
            passwd_file.write_text(
                "".join(f"{name}:{{PLAIN}}{PASSWORD}::::::\n" for name in self.users_free)
            )
            self.cli("user", "import", str(passwd_file))
            passwd_file.unlink()
        return self.users_free.pop(0)


def parse_address(text):
    """127.0.0.1:110 or [::1]:110 as a (host, port) pair, unix:/path as a string."""
    if text.startswith("unix:"):
        return text[len("unix:") :]
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


_shared = {}


def shared_server(options=()):
    """A server that all tests with the same options use together; stopped by stop_shared at the end
    of the run.
    """
    key = tuple(options)
    if key not in _shared:
        _shared[key] = Server(options=options)
        try:
            _shared[key].start()
        except ServerFailed:
            _shared.pop(key).clean_quietly()
            raise
    elif not _shared[key].alive():
        dead = _shared.pop(key)
        report = dead.report()
        dead.clean_quietly()
        raise ServerFailed("the shared server died\n" + report)
    return _shared[key]


def stop_shared():
    """Stops every shared server; returns what went wrong, as a list of texts."""
    problems = []
    while _shared:
        _, server = _shared.popitem()
        try:
            server.clean()
        except ServerFailed as failure:
            problems.append(str(failure))
    return problems
