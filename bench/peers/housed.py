# SPDX-License-Identifier: Apache-2.0
"""Servers for which the machine's own folders, accounts and port 110 are the only ones: each lives
in a house (house.py), where everybody's password is stored by the cheapest scheme crypt(3) has.
"""

import contextlib
import json
import os
import pathlib
import socket
import sys

from peers import house, mail, packages
from peers.server import PASSWORD, USER, Server, own, wait_for_line

BENCH = pathlib.Path(__file__).resolve().parents[1]
PORT = 110
MAIL_UID = 8  # Debian's user and group "mail"; all maildrops are its.
PASSWORDS_DES = {"word": "abxy8.ROiFClE"}  # Of a time when a hash had to be quick.
PASSWORD_DES = PASSWORDS_DES[PASSWORD]
SYSTEM_USERS = "root:x:0:0::/:/bin/sh\nmail:x:8:8::/var/mail:/bin/false\n"
SYSTEM_GROUPS = "root:x:0:\nmail:x:8:\n"


class Housed(Server):
    """Base of them. `unpacked` are their packages, the server's own first."""

    unpacked = ()

    def prepare(self):
        if os.geteuid() != 0:
            raise packages.Missing("only root can make a house for it")
        self.tools = self.options.tools / self.name
        self.version = packages.unpack(self.unpacked, self.tools)
        self.pop3 = PORT
        for name in ("etc", "run", "mail"):
            own(self.folder / name, "root", "root")
        self.plan = {
            "over": {"/usr": [str(self.tools / "usr")], "/etc": [str(self.folder / "etc")]},
            "bind": {"/run": str(self.folder / "run")},
            "before": [],
            "servers": [],
        }
        self.furnish()
        (self.folder / "plan.json").write_text(json.dumps(self.plan), encoding="utf-8")

    def furnish(self):
        """Writes configuration, completes the plan."""
        raise NotImplementedError

    def command(self):
        path = f"PYTHONPATH={BENCH}"
        return ["env", path, sys.executable, "-B", "-m", "peers.house", self.folder / "plan.json"]

    def wait_ready(self):
        wait_for_line(self, "house: open")
        super().wait_ready()

    @contextlib.contextmanager
    def network(self):
        """This thread is in the house's network."""
        with open("/proc/self/ns/net", "rb") as ours:
            self.enter_network()
            try:
                yield
            finally:
                house.LIBC.setns(ours.fileno(), house.CLONE_NEWNET)

    def enter_network(self):
        """For good: in a child that is about to become a generator."""
        with open(f"/proc/{self.process.pid}/ns/net", "rb") as theirs:
            if house.LIBC.setns(theirs.fileno(), house.CLONE_NEWNET) != 0:
                raise OSError("the network of the house cannot be entered")

    def connect(self, port, timeout_s):
        with self.network():
            return socket.create_connection(("127.0.0.1", port), timeout_s)

    def write_accounts(self, more_users="", more_groups=""):
        """Accounts of the system, and no others, for whoever asks in the house."""
        users = [USER.format(number) for number in range(1, self.options.users + 1)]
        etc = self.folder / "etc"
        lines = "".join(f"{one}:x:{MAIL_UID}:{MAIL_UID}::/var/mail:/bin/false\n" for one in users)
        (etc / "passwd").write_text(SYSTEM_USERS + more_users + lines, encoding="ascii")
        (etc / "group").write_text(SYSTEM_GROUPS + more_groups, encoding="ascii")
        (etc / "nsswitch.conf").write_text("passwd: files\nshadow: files\ngroup: files\n")
        hashes = "".join(f"{one}:{PASSWORD_DES}:20000:0:99999:7:::\n" for one in users)
        (etc / "shadow").write_text(hashes, encoding="ascii")


class InMbox(Housed):
    """Its mail is a file in mbox format for each user in /var/mail."""

    def furnish(self):
        self.plan["bind"]["/var/mail"] = str(self.folder / "mail")

    def put(self, user, number):
        path = self.folder / "mail" / user
        mail.put_mbox(path, user, number)
        os.chown(path, MAIL_UID, MAIL_UID)
        path.chmod(0o660)


class InMaildir(Housed):
    """Its mail is a maildir for each user below the folder `mail`."""

    def put(self, user, number):
        mail.put_maildir(self.folder / "mail" / user, user, number, MAIL_UID)
