# SPDX-License-Identifier: Apache-2.0
"""A server under test: how it is started, stopped and asked what it has cost."""

import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from peers import accounting, ending, packages

USER = "load{}"
PASSWORD = "word"
START_S = 60
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
# What goes wrong with one server: the others are measured all the same.
FAILURES = (
    RuntimeError,
    OSError,  # Those of smtplib and sockets, too.
    subprocess.SubprocessError,
)


def free_ports(count):
    """Ports nobody listens on. Somebody may take one before the server does: it will say so."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """Base of all: a process that stays in the foreground, in a folder and a group of its own."""

    name = ""
    about = ""  # One line for the report.
    packages = ()
    has_mail = True
    enter_network = None  # For a child that is to reach it, before it becomes a generator.

    def __init__(self, options, folder):
        self.options = options
        self.folder = pathlib.Path(folder) / self.name
        self.group = None
        self.process = None
        self.version = "this tree"
        self.deliver_rate = 100  # A second; until restante-bench has found another.
        self.kept_sessions_us = {}  # What sessions that stay cost: by their number.
        self.pop3 = self.lmtp = None  # Ports on 127.0.0.1; lmtp None: no LMTP.
        self.log_path = self.folder / "output.log"

    # For those that inherit.

    def command(self):
        raise NotImplementedError

    def prepare(self):
        """Writes configuration into the folder, chooses ports."""

    def after_start(self):
        """Users, once it runs."""

    def mail_folder(self):
        return self.folder / "mail"

    def put(self, user, number):
        """Mail as a file, where there is no LMTP."""
        raise NotImplementedError

    def connect(self, port, timeout_s):
        return socket.create_connection(("127.0.0.1", port), timeout_s)

    # For the comparison.

    def start(self):
        if self.packages:
            self.version = packages.version(self.packages[0])
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        self.prepare()
        self.launch()
        self.after_start()

    def launch(self):
        with ending.held(), open(self.log_path, "wb") as log:
            self.group = accounting.Group(self.name)
            self.process = subprocess.Popen(
                ["taskset", "-c", self.options.server_cpus, *map(str, self.command())],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=self.become_server,
                start_new_session=True,
            )
            self.group.started(self.process.pid)
        self.wait_ready()

    def become_server(self):
        """In the child: it counts for its group, and ends when we are killed."""
        self.group.enter()
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def restart(self):
        """The same mail in fresh processes."""
        self.end_processes()
        self.launch()

    def wait_ready(self):
        for port in filter(None, (self.pop3, self.lmtp)):
            wait_for_port(self, port)

    def output(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def check_alive(self):
        if self.process.poll() is not None:
            code = self.process.returncode
            raise RuntimeError(f"{self.name} ended with {code}:\n{self.output()}")

    def ask_to_end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end_processes(self):
        if self.group is None:
            return
        self.ask_to_end()
        if self.process is not None:
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        deadline = time.monotonic() + 10
        while self.process is not None and self.group.pids() and time.monotonic() < deadline:
            time.sleep(0.05)
        left = self.group.end()
        if left:
            print(f"{self.name}: {len(left)} processes had to be killed", flush=True)

    def stop(self):
        self.end_processes()
        if not self.options.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def wait_for_line(server, line):
    deadline = time.monotonic() + START_S
    while line not in server.output():
        server.check_alive()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.name} is not ready:\n{server.output()}")
        time.sleep(0.02)


def wait_for_port(server, port):
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        server.check_alive()
        try:
            with server.connect(port, 5) as probe:
                if probe.recv(1):
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{server.name} does not answer on port {port}:\n{server.output()}")


def wait_until_idle(server, quiet_s=1.0, limit_s=180):
    """Until it has used next to no processor time for a second: hashes are made, caches written."""
    deadline = time.monotonic() + limit_s
    before = server.group.cpu_ns()
    while time.monotonic() < deadline:
        time.sleep(quiet_s)
        now = server.group.cpu_ns()
        if now - before < quiet_s * 20_000_000:
            return
        before = now


def fill_in(template, values):
    text = (pathlib.Path(__file__).parent / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def own(path, user, group="mail"):
    """Makes a folder that belongs to a user of the system."""
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(path, user, group)
