# SPDX-License-Identifier: Apache-2.0
"""A socket read by lines and blocks, for clients that want to see every byte."""

import socket
import time

from harness import settings


class Closed(AssertionError):
    """The server closed the connection where a reply was expected."""


class Wire:
    """One connection. Everything read is checked to end its lines with CRLF."""

    def __init__(self, address, timeout=10, receive_buffer=None):
        family = (
            socket.AF_UNIX
            if isinstance(address, str)
            else (socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        )
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer is not None:
            # Has to be set before connect: the window is agreed upon then.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(settings.seconds(timeout))
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_in_pieces(self, data, size=1):
        """Sends `size` octets at a time, each in a packet of its own."""
        for start in range(0, len(data), size):
            self.socket.sendall(data[start : start + size])

    def end_sending(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Drops the connection with RST, as a crashed client does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def _more(self):
        data = self.socket.recv(262144)
        if not data:
            raise Closed(f"the server closed the connection; unread: {self.buffer[:200]!r}")
        self.buffer += data

    def line(self):
        """The next line without its CRLF."""
        while b"\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), f"a line does not end with CRLF: {line[:200]!r}"
        return line[:-1]

    def block(self):
        """A multi-line block up to its terminating dot, as sent: stuffed, CRLF line ends, without
        the dot line.
        """
        if self.buffer.startswith(b".\r\n"):
            self.buffer = self.buffer[3:]
            return b""
        if len(self.buffer) < 3:
            while len(self.buffer) < 3:
                self._more()
            return self.block()
        chunks, searched = [self.buffer], self.buffer
        while True:
            end = searched.find(b"\r\n.\r\n")
            if end >= 0:
                break
            data = self.socket.recv(1048576)
            if not data:
                raise Closed("the server closed the connection inside a block")
            chunks.append(data)
            searched = searched[-4:] + data
        whole = b"".join(chunks)
        end = whole.find(b"\r\n.\r\n", max(0, len(whole) - len(searched)))
        self.buffer = whole[end + 5 :]
        return whole[: end + 2]

    def rest(self):
        """Everything up to the end of the connection; a reset counts as an end."""
        while True:
            try:
                data = self.socket.recv(1048576)
            except ConnectionResetError:
                data = b""
            if not data:
                rest, self.buffer = self.buffer, b""
                return rest
            self.buffer += data

    def at_end(self):
        """True when the server has closed and nothing is left to read."""
        return self.rest() == b""

    def quiet_for(self, duration):
        """True when the server sends nothing and keeps the connection open for `duration` seconds.
        """
        if self.buffer:
            return False
        limit = self.socket.gettimeout()
        self.socket.settimeout(duration)
        try:
            data = self.socket.recv(4096)
            self.buffer += data
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(limit)


def until(condition, what, timeout=10):
    """Polls until the condition holds; for things that no reply tells, such as another session
    having ended.
    """
    deadline = time.monotonic() + settings.seconds(timeout)
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)
