# SPDX-License-Identifier: Apache-2.0
"""A socket read by lines and blocks, for clients that want to see every byte."""

import socket
import time

from harness import settings


class Closed(AssertionError):
    """The server closed the connection where a reply was expected."""


class Wire:
    """One connection. Everything read is checked to end its lines with CRLF."""

    def __init__(self, address, timeout=10, receive_buffer=None, tls=None, sockets=None):
        """`sockets` is a list the socket is put on before it connects, for who wants to end it from
        another thread.
        """
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
        if sockets is not None:
            sockets.append(self.socket)
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        if tls is not None:
            self.start_tls(tls)

    def start_tls(self, context, name="localhost"):
        """Everything from here on is TLS; nothing in the clear may be unread."""
        assert not self.buffer, f"in the clear, behind the reply: {bytes(self.buffer[:200])!r}"
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

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
        data = self.socket.recv(1048576)
        if not data:
            raise Closed(f"the server closed the connection; unread: {bytes(self.buffer[:200])!r}")
        self.buffer += data

    def _take(self, length):
        """The first octets of the buffer; a bytearray gives them up without moving the others."""
        taken = bytes(self.buffer[:length])
        del self.buffer[:length]
        return taken

    def line(self):
        """The next line without its CRLF."""
        searched = 0
        while (end := self.buffer.find(b"\n", searched)) < 0:
            searched = len(self.buffer)
            self._more()
        line = self._take(end + 1)
        assert line.endswith(b"\r\n"), f"a line does not end with CRLF: {line[:200]!r}"
        return line[:-2]

    def block(self):
        """A multi-line block as sent: stuffed, with CRLF line ends, without the dot line."""
        while len(self.buffer) < 3:
            self._more()
        if self.buffer.startswith(b".\r\n"):
            self._take(3)
            return b""
        searched = 0
        while (end := self.buffer.find(b"\r\n.\r\n", searched)) < 0:
            searched = max(0, len(self.buffer) - 4)
            self._more()
        return self._take(end + 5)[:-3]

    def rest(self):
        """Everything up to the end of the connection; a reset counts as an end."""
        while True:
            try:
                data = self.socket.recv(1048576)
            except ConnectionResetError:
                data = b""
            if not data:
                return self._take(len(self.buffer))
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
