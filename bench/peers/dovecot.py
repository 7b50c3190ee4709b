# SPDX-License-Identifier: Apache-2.0
"""Dovecot, tuned: bench/peers/dovecot.conf says how; and as it comes: dovecot-default.conf."""

import shutil

from peers.packages import Missing
from peers.server import PASSWORD, Server, fill_in, free_ports, own


class Dovecot(Server):
    name = "dovecot"
    about = "tuned, maildir, no lock on the maildrop"
    packages = ("dovecot-core", "dovecot-pop3d", "dovecot-lmtpd")
    location = "maildir:@DIR@/mail/%n"
    lock = "no"
    template = "dovecot.conf"

    def prepare(self):
        if not shutil.which("dovecot"):
            raise Missing("there is no program dovecot")
        self.pop3, self.lmtp = free_ports(2)
        own(self.folder / "mail", "mail")
        values = {
            "MAIL": self.location,
            "DIR": self.folder,
            "PASSWORD": PASSWORD,
            "POP3": self.pop3,
            "LMTP": self.lmtp,
            "LOCK": self.lock,
            "PROCESSES": 2,
        }
        (self.folder / "dovecot.conf").write_text(fill_in(self.template, values))

    def command(self):
        return ["dovecot", "-F", "-c", self.folder / "dovecot.conf"]

    def output(self):
        log = self.folder / "log"
        return super().output() + (log.read_text(errors="replace")[-4000:] if log.exists() else "")


class DovecotLocked(Dovecot):
    name = "dovecot-lock"
    about = "tuned, maildir, the maildrop locked for the session as RFC 1939 demands"
    lock = "yes"


class DovecotMdbox(Dovecot):
    name = "dovecot-mdbox"
    about = "tuned, mdbox, no lock on the maildrop"
    location = "mdbox:@DIR@/mail/%n"


class DovecotDefault(Dovecot):
    name = "dovecot-default"
    about = "not tuned: a process for each session, as it comes; maildir, no lock on the maildrop"
    template = "dovecot-default.conf"


DOVECOTS = (Dovecot, DovecotLocked, DovecotMdbox, DovecotDefault)
