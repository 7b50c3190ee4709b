# SPDX-License-Identifier: Apache-2.0
"""The same mail for every server: over LMTP where it has that, else into its maildirs."""

import concurrent.futures
import os
import smtplib
import threading
import time

from peers.server import PASSWORD, USER

OCTETS = 4096
CONNECTIONS = 16


def message(user, number, octets=OCTETS):
    """A message of exactly `octets`, with CRLF, told apart by its Message-ID."""
    head = (
        f"Message-ID: <{user}.{number}@compare.test>\r\n"
        "From: Sender <sender@compare.test>\r\n"
        f"To: {user}@localhost\r\n"
        f"Subject: message {number}\r\n"
        "Date: Fri, 06 Nov 2026 12:00:00 +0000\r\n\r\n"
    )
    line = "Sixty-two octets and a line end, as mail is, again and again.\r\n"
    whole, left = divmod(octets - len(head), len(line))
    if left == 1:
        whole, left = whole - 1, left + len(line)
    body = line * whole + ("x" * (left - 2) + "\r\n" if left else "")
    return (head + body).encode("ascii")


def deliver(port, users, messages, octets, over):
    """One connection's part, unless it is over before."""
    with smtplib.LMTP("127.0.0.1", port, local_hostname="compare.test", timeout=120) as client:
        for user in users:
            for number in messages:
                if over.is_set():
                    return
                data = message(user, number, octets)
                client.sendmail("sender@compare.test", [f"{user}@localhost"], data)


def write(path, data, mode="wb"):
    """As durable as a server's own deliveries."""
    with open(path, mode) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def put_maildir(folder, user, number, uid):
    """A file, as a delivery agent leaves it."""
    for name in ("", "cur", "new", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.chown(folder / name, uid, uid)
    path = folder / "new" / f"{1700000000 + number}.M{number}P1.compare"
    write(path, message(user, number).replace(b"\r\n", b"\n"))
    os.chown(path, uid, uid)


def put_mbox(path, user, number):
    data = message(user, number).replace(b"\r\n", b"\n")
    write(path, b"From sender@compare.test Fri Nov  6 12:00:00 2026\n" + data + b"\n", "ab")


def load(server, users, messages):
    """Messages of these numbers for all users, over LMTP where the server has it, else as files.
    Returns the seconds it took.
    """
    names = [USER.format(number) for number in range(1, users + 1)]
    begin = time.monotonic()
    if server.lmtp is not None:
        deliver_all(server.lmtp, names, messages)
    else:
        for name in names:
            for number in messages:
                server.put(name, number)
    return time.monotonic() - begin


def deliver_all(port, names, messages, octets=OCTETS):
    parts = [names[part::CONNECTIONS] for part in range(CONNECTIONS)]
    over = threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(CONNECTIONS)
    try:
        pending = [
            pool.submit(deliver, port, part, messages, octets, over) for part in parts if part
        ]
        for done in pending:
            done.result()
    finally:
        # Whoever ends us does not wait for the threads: they end with their server's connections.
        over.set()
        pool.shutdown(wait=False, cancel_futures=True)


class Session:
    """A POP3 session that is only held open."""

    def __init__(self, server, user):
        self.socket = server.connect(server.pop3, 60)
        self.file = self.socket.makefile("rb")
        self.expect()
        self.ask(f"USER {user}")
        self.ask(f"PASS {PASSWORD}")

    def expect(self):
        line = self.file.readline()
        if not line.startswith(b"+OK"):
            raise RuntimeError(f"a server said {line!r}")
        return line

    def ask(self, command):
        self.socket.sendall(command.encode("ascii") + b"\r\n")
        return self.expect()

    def end(self):
        self.ask("QUIT")
        self.drop()

    def drop(self):
        self.file.close()
        self.socket.close()
