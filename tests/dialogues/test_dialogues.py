# SPDX-License-Identifier: Apache-2.0
"""Plays the transcripts beside this file: step by step, all in one packet, one octet at a time.

A transcript is text:

# Why this dialogue is here. protocol: pop3 or lmtp mail: Subject: one\\n\\nbody\\n a message that
is in the maildrop beforehand, any number S: +OK * the server's next line; * stands for any text C:
USER $user a line of the client; $user and $password are filled in end the server has closed, and
said nothing more again a new connection, as the same user

Within a line \\r, \\n, \\t, \\0, \\xHH and \\\\ are written so. Each transcript plays against both
I/O back ends, because the runner starts this suite once for each.
"""

import pathlib
import re

from harness.case import ServerCase
from harness.messages import crlf
from harness.server import PASSWORD
from harness.wire import Wire

FOLDER = pathlib.Path(__file__).parent


def unescape(text):
    """\\r \\n \\t \\0 \\xHH and \\\\ as octets."""
    simple = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}

    def octets(match):
        code = match.group(1)
        return bytes([int(code[1:], 16)]) if code[0] == "x" else simple[code]

    parts = re.split(r"(\\(?:x[0-9a-f]{2}|[rnt0\\]))", text)
    return b"".join(
        octets(re.match(r"\\(.*)", part)) if part.startswith("\\") else part.encode()
        for part in parts
    )


class Transcript:
    """What a file says: messages, and connections as lists of (who, line)."""

    def __init__(self, path):
        self.protocol = None
        self.mail = []
        self.connections = [[]]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("#") or not line.strip():
                continue
            if line == "again":
                self.connections.append([])
            elif line == "end":
                self.connections[-1].append(("end", ""))
            elif line.startswith(("C:", "S:", "U:", "R:")):
                self.connections[-1].append((line[0], line[3:]))
            elif line.startswith("protocol: "):
                self.protocol = line.split(": ")[1]
            elif line.startswith("mail: "):
                self.mail.append(unescape(line[len("mail: ") :]))
            else:
                raise ValueError(f"{path.name}:{number}: {line!r} is no line of a transcript")


class Dialogues(ServerCase):
    def play(self, path, send):
        transcript = Transcript(path)
        user = self.user()
        for message in transcript.mail:
            self.deliver(user, crlf(message.decode("latin-1")))
        for lines in transcript.connections:
            filled = [
                (who, line.replace("$user", user).replace("$password", PASSWORD))
                for who, line in lines
            ]
            with Wire(self.server.address(transcript.protocol)) as wire:
                send(self, wire, filled)

    def expect(self, wire, who, line):
        if who == "end":
            self.assertEqual(wire.rest(), b"")
            return
        if who == "R":
            while (got := wire.line()).startswith(line.encode() + b"-"):
                pass
            self.assertTrue(got.startswith(line.encode() + b" "), f"{got!r} is no reply {line}")
            return
        pattern = b".*".join(re.escape(unescape(part)) for part in line.split("*"))
        got = wire.line()
        while who == "U" and got != b"." and not re.fullmatch(pattern, got, re.S):
            got = wire.line()
        self.assertTrue(
            re.fullmatch(pattern, got, re.S), f"expected {line!r}, the server said {got!r}"
        )

    def step_by_step(self, wire, lines):
        """Waits for each expected line before the client goes on."""
        for who, line in lines:
            if who == "C":
                wire.send(unescape(line) + b"\r\n")
            else:
                self.expect(wire, who, line)

    def all_the_client_says(self, lines):
        return b"".join(unescape(line) + b"\r\n" for who, line in lines if who == "C")

    def in_one_packet(self, wire, lines):
        wire.send(self.all_the_client_says(lines))
        for who, line in lines:
            if who != "C":
                self.expect(wire, who, line)

    def octet_by_octet(self, wire, lines):
        try:
            wire.send_in_pieces(self.all_the_client_says(lines))
        except (BrokenPipeError, ConnectionResetError):
            pass  # The server may end the session before all is said; the replies tell.
        for who, line in lines:
            if who != "C":
                self.expect(wire, who, line)


def add_tests():
    """One test for each transcript and way of sending."""
    for path in sorted(FOLDER.glob("*.txt")):
        for way in (Dialogues.step_by_step, Dialogues.in_one_packet, Dialogues.octet_by_octet):

            def test(self, path=path, way=way):
                self.play(path, way)

            name = f"test_{path.stem}_{way.__name__}".replace("-", "_")
            test.__name__ = name
            setattr(Dialogues, name, test)


add_tests()
