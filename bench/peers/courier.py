# SPDX-License-Identifier: Apache-2.0
"""Courier's POP3 server: its super-server starts a program for each connection, which asks a daemon
who this is and becomes the server proper.
"""

from peers.housed import MAIL_UID, PASSWORD_DES, InMaildir
from peers.server import USER, fill_in

LIBRARY = "/usr/lib/courier"


class Courier(InMaildir):
    name = "courier"
    about = "maildir; users in a hashed file (userdb), no look-ups of names, no limit per address"
    unpacked = (
        "courier-pop",
        "courier-base",
        "courier-authlib",
        "courier-authlib-userdb",
        "libcourier-unicode4",
        "libidn12",
        "libltdl7",
        "libgdbm6",
    )

    def furnish(self):
        config = self.folder / "etc" / "courier"
        config.mkdir(mode=0o700)
        (config / "authdaemonrc").write_text(fill_in("courier-authdaemonrc", {}))
        users = config / "userdb"
        users.touch(mode=0o600)
        users.write_text("".join(self.account(number + 1) for number in range(self.options.users)))
        (self.folder / "run" / "courier" / "authdaemon").mkdir(parents=True)
        # The program that makes the database writes beside it; other files are not to be written.
        self.plan["bind"]["/etc/courier"] = str(config)
        self.plan["before"].append(["makeuserdb"])
        self.plan["servers"].append([f"{LIBRARY}/courier-authlib/authdaemond"])
        line = "couriertcpd -address=127.0.0.1 -maxprocs=2000 -maxperip=2000"
        line += f" -nodnslookup -noidentlookup {self.pop3}"
        line += f" {LIBRARY}/courier/courierpop3login {LIBRARY}/courier/courierpop3d ."
        self.plan["servers"].append(line.split())

    def account(self, number):
        user = USER.format(number)
        home = self.folder / "mail" / user
        fields = [f"uid={MAIL_UID}", f"gid={MAIL_UID}", f"home={home}", f"mail={home}"]
        return f"{user}\t{'|'.join(fields)}|systempw={PASSWORD_DES}\n"
