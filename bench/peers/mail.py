# SPDX-License-Identifier: Apache-2.0
"""The same mail for every server: over LMTP where it has that, else into its maildirs."""

import concurrent.futures
import os
import smtplib
import socket
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


def deliver(port, users, messages):
    """One connection's part."""
    with smtplib.LMTP("127.0.0.1", port, local_hostname="compare.test", timeout=120) as client:
        for user in users:
            for number in messages:
                client.sendmail("sender@compare.test", [f"{user}@localhost"], message(user, number))


def write_maildir(server, users, messages):
    """For those without LMTP: files, as a delivery agent leaves them."""
    for user in users:
        folder = server.maildir(user)
        for name in ("cur", "new", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for number in messages:
            data = message(user, number).replace(b"\r\n", b"\n")
            path = folder / "new" / f"{1700000000 + number}.M{number}P1.compare"
            with open(path, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        server.give(folder)


def load(server, users, messages):
    """Messages of these numbers for all users; returns the seconds it took."""
    names = [USER.format(number) for number in range(1, users + 1)]
    begin = time.monotonic()
    if server.lmtp is None:
        write_maildir(server, names, messages)
    else:
        parts = [names[part::CONNECTIONS] for part in range(CONNECTIONS)]
        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            pending = [pool.submit(deliver, server.lmtp, part, messages) for part in parts if part]
            for done in pending:
                done.result()
    return time.monotonic() - begin


class Session:
    """A POP3 session that is only held open."""

    def __init__(self, port, user):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
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
        self.file.close()
        self.socket.close()
