# SPDX-License-Identifier: Apache-2.0
"""Real mail: delivered by LMTP, fetched by POP3, compared octet by octet.

The archives are not part of this repository. They are looked for in RESTANTE_CORPUS, or in
../shared/corpus beside the clone; without them, mail made up from the odd corners of the format is
used alone.
"""

import os
import pathlib
import tarfile

from harness import settings
from harness.case import ServerCase
from harness.lmtp import Lmtp
from harness.messages import check_stored, end_lines, stuff, unstuff

FOLDER = pathlib.Path(os.environ.get("RESTANTE_CORPUS", settings.ROOT.parent / "shared" / "corpus"))
SOME = 400


def archived(path):
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            if member.isfile():
                yield member.name, archive.extractfile(member).read()


def odd_mail():
    """What real mail has at its edges."""
    header = b"From: a@b.c\r\nSubject: odd\r\n\r\n"
    yield "no header", b"just text\r\n"
    yield "no body", b"Subject: x\r\n\r\n"
    yield "no separator", b"Subject: x\r\n"
    yield "mbox from line", b"From a@b.c Mon Jan  1 00:00:00 2001\r\n" + header + b"From here\r\n"
    yield "unix line ends", header.replace(b"\r\n", b"\n") + b".\n..\ntext\n"
    yield "no last line end", header + b"text"
    yield "last line a dot", header + b"."
    yield "folded first line", b" folded\r\n" + header
    yield "old mac line ends", header + b"one\rtwo\rthree\r"
    yield "mixed line ends", header + b"a\r\nb\nc\rd\r\r\ne\n\r\n"
    yield "only dots", b".\r\n..\r\n...\r\n.\r\n"
    yield "nul", header + b"\0\0.\0\r\n\0"
    yield "long line", header + b"x" * 100_000 + b"\n"
    yield "long header", b"X: " + b"y" * 50_000 + b"\r\n" + header
    yield "empty", b""
    yield "one line end", b"\n"
    yield "many empty lines", b"\r\n" * 1000
    yield "utf-8", "Subject: \u00fc\r\n\r\n\u20ac\r\n".encode()
    yield "latin-1", b"Subject: \xfc\r\n\r\n\xe4\r\n"


class Corpus(ServerCase):
    def round_trip(self, mail):
        """Delivers all, fetches all, and compares; half by DATA, half by BDAT."""
        user = self.user()
        mail = list(mail)
        with Lmtp(self.server.address("lmtp")) as lmtp:
            for index, (name, octets) in enumerate(mail):
                if index % 2:
                    reply = lmtp.bdat([user], [octets])[0]
                else:
                    reply = lmtp.data([user], stuff(end_lines(octets)) + b".\r\n")[0]
                self.assertEqual(reply.code, 250, (name, reply))
        client = self.login(user)
        client.socket.settimeout(settings.seconds(60))
        listing = client.listing()
        self.assertEqual(len(listing), len(mail))
        self.assertEqual(client.stat(), (len(mail), sum(listing.values())))
        total = 0
        for number, (name, octets) in enumerate(mail, 1):
            client.ok(f"RETR {number}")
            message = unstuff(client.block())
            self.assertEqual(len(message), listing[number], name)
            check_stored(message, end_lines(octets))
            total += len(message)
        for number in range(1, len(mail) + 1, 7):
            header = client.top(number, 0)
            self.assertTrue(header.endswith(b"\r\n"))
        client.send(b"".join(b"DELE %d\r\n" % number for number in listing))
        for _ in listing:
            self.assertTrue(client.line().startswith(b"+OK"))
        client.quit()
        self.assertEqual(self.login(user).stat(), (0, 0))
        return len(mail), total

    def test_odd_mail_comes_back_octet_by_octet(self):
        self.round_trip(odd_mail())

    def test_real_mail_comes_back_octet_by_octet(self):
        archives = sorted(FOLDER.glob("*.tar.xz"))
        if not archives:
            self.skipTest(f"no corpus in {FOLDER}")
        for path in archives:
            with self.subTest(archive=path.name):
                mail = list(archived(path))
                chosen = mail if settings.LONG else mail[:: max(1, len(mail) // SOME)]
                count, octets = self.round_trip(chosen)
                print(f"# {path.name}: {count} of {len(mail)} messages, {octets} octets")
