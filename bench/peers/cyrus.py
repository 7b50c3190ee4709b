# SPDX-License-Identifier: Apache-2.0
"""Cyrus: a process for each connection, kept and reused. See cyrus-imapd.conf."""

import shutil
import subprocess

from peers.packages import Missing, unpack
from peers.server import PASSWORD, USER, Server, fill_in, free_ports, own


class Cyrus(Server):
    name = "cyrus"
    about = "processes kept and reused, no duplicate check, credentials in sasldb"
    # It wants a mail transport agent; this one is no service.
    packages = ("cyrus-imapd", "sasl2-bin", "msmtp-mta")

    def prepare(self):
        if not shutil.which("cyrmaster"):
            raise Missing("there is no program cyrmaster")
        self.pop3, self.lmtp = free_ports(2)
        # Debian's packages of POP3 servers exclude one another, for the sake of one port.
        unpack(["cyrus-pop3d"], self.options.tools / "cyrus")
        program = self.options.tools / "cyrus/usr/lib/cyrus/bin/pop3d"
        values = {"DIR": self.folder, "POP3": self.pop3, "LMTP": self.lmtp, "PROGRAM": program}
        for template, name in (
            ("cyrus-imapd.conf", "imapd.conf"),
            ("cyrus-services.conf", "cyrus.conf"),
        ):
            (self.folder / name).write_text(fill_in(template, values), encoding="utf-8")
        for number in range(1, self.options.users + 1):
            self.add_user(USER.format(number))
        for name in ("var", "var/db", "var/log", "var/user", "mail", "run", "run/socket"):
            own(self.folder / name, "cyrus")
        for path in (self.folder, self.folder / "sasldb2"):
            shutil.chown(path, "cyrus", "mail")

    def add_user(self, user):
        subprocess.run(
            ["saslpasswd2", "-p", "-c", "-u", "localhost", "-f", self.folder / "sasldb2", user],
            input=PASSWORD,
            text=True,
            check=True,
        )

    def command(self):
        line = ["cyrmaster", "-C", self.folder / "imapd.conf", "-M", self.folder / "cyrus.conf"]
        return line + ["-p", self.folder / "master.pid"]
