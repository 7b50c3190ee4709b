# SPDX-License-Identifier: Apache-2.0
"""The POP3 server of GNU mailutils: stands alone and forks for each connection."""

from peers.housed import InMbox
from peers.server import fill_in


class Mailutils(InMbox):
    name = "mailutils"
    about = "standing alone (a fork for each connection); mbox; accounts of the system"
    unpacked = (
        "mailutils-pop3d",
        "mailutils-common",
        "libmailutils9",
        "libdb5.3",
        "libgdbm6",
        "libgsasl18",
        "libkyotocabinet16v5",
        "libldap-2.5-0",
        "libltdl7",
        "libmu-dbm9",
        "libnsl2",
        "libntlm0",
        "libunistring2",
        "libwrap0",
    )

    def furnish(self):
        super().furnish()
        self.write_accounts()
        configuration = fill_in("mailutils.conf", {"POP3": self.pop3})
        (self.folder / "etc" / "mailutils.conf").write_text(configuration, encoding="utf-8")
        self.plan["servers"].append(["pop3d", "--daemon", "--foreground"])
