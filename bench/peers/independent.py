# SPDX-License-Identifier: Apache-2.0
"""A second POP3 load generator, which shares nothing with restante-bench: to hold figures against.
`python3 independent.py --port P --workload login ...` prints one line of JSON. A closed loop on
epoll, one thread, the standard library.
"""

import argparse
import json
import select
import socket
import sys
import time


class Client:
    """One connection: a script of commands, and how each reply ends."""

    def __init__(self, options, number):
        self.options = options
        self.number = number  # Of the user; the next of ours is `connections` further.
        self.socket = None
        self.logged_in = False

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.options.port))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.steps = iter(self.script())
        self.end = b"\r\n"

    def script(self):
        """What is said after the greeting, one step for each reply."""
        user = self.options.users.replace("%u", str(self.number))
        yield f"USER {user}\r\n".encode(), b"\r\n"
        yield f"PASS {self.options.password}\r\n".encode(), b"\r\n"
        if self.options.workload == "login":
            yield b"STAT\r\n", b"\r\n"
            yield b"QUIT\r\n", None  # Ends with the connection.
            return
        self.logged_in = True
        step = {"noop": (b"NOOP\r\n", b"\r\n"), "retr": (b"RETR 1\r\n", b"\r\n.\r\n")}
        while True:
            yield step[self.options.workload]

    def next_user(self):
        self.number += self.options.connections
        if self.number > self.options.user_count:
            self.number = (self.number - 1) % self.options.connections + 1

    def on_data(self):
        """Reads what has come. Returns how many operations that ended, and whether the session
        did.
        """
        piece = self.socket.recv(65536)
        self.data += piece
        if not piece:
            if self.end is not None or not self.data.startswith(b"+OK"):
                raise RuntimeError("the server closed the connection")
            return 1, True
        if self.end is None or not self.data.endswith(self.end):
            return 0, False
        if not self.data.startswith(b"+OK"):
            raise RuntimeError(f"the server said {self.data[:200]!r}")
        done = int(self.logged_in)
        self.data = b""
        command, self.end = next(self.steps)
        self.socket.send(command)
        return done, False


def run(options):
    poll = select.epoll()
    clients = {}

    def start(client):
        client.connect()
        clients[client.socket.fileno()] = client
        poll.register(client.socket, select.EPOLLIN)

    for number in range(1, options.connections + 1):
        start(Client(options, number))
    operations = 0
    begin = time.monotonic()
    end = begin + options.seconds
    while time.monotonic() < end:
        for fd, _ in poll.poll(1):
            client = clients[fd]
            done, over = client.on_data()
            operations += done
            if over:
                del clients[fd]
                client.socket.close()  # Takes it off the poll, too.
                client.next_user()
                start(client)
    seconds = time.monotonic() - begin
    for client in clients.values():
        client.socket.close()
    return {"operations": operations, "seconds": seconds}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workload", choices=("login", "noop", "retr"), required=True)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--users", default="load%u")
    parser.add_argument("--user-count", type=int, default=8)
    parser.add_argument("--password", required=True)
    parser.add_argument("--seconds", type=float, default=5)
    json.dump(run(parser.parse_args()), sys.stdout)


if __name__ == "__main__":
    main()
