# SPDX-License-Identifier: Apache-2.0
"""popa3d, started by tcpserver for each connection. Alone (`popa3d -D`) it would only have to fork,
but then it takes 50 sessions from one address in ten seconds, and that is set when it is compiled.
"""

from peers.housed import InMbox

UID = 64001
PAM = "auth required pam_unix.so\naccount required pam_permit.so\n"


class Popa3d(InMbox):
    name = "popa3d"
    about = "started by tcpserver for each connection; mbox; accounts of the system"
    unpacked = ("popa3d", "ucspi-tcp")

    def furnish(self):
        super().furnish()
        self.write_accounts(f"popa3d:x:{UID}:{UID}::/:/bin/false\n", f"popa3d:x:{UID}:\n")
        (self.folder / "etc" / "pam.d").mkdir()
        (self.folder / "etc" / "pam.d" / "popa3d").write_text(PAM, encoding="ascii")
        # Where it locks itself in until it knows the user.
        cell = self.folder / "lib" / "popa3d"
        cell.mkdir(parents=True)
        self.plan["over"]["/var/lib"] = [str(cell.parent)]
        line = f"tcpserver -H -R -l0 -c 2000 -b 500 127.0.0.1 {self.pop3} /usr/sbin/popa3d"
        self.plan["servers"].append(line.split())
