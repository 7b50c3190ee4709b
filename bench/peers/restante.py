# SPDX-License-Identifier: Apache-2.0
"""Restante itself, and the floor: a server that only sends canned replies."""

import re
import subprocess

from peers.server import PASSWORD, USER, Server, wait_for_line


def listening(server, name):
    """The port of a listener, as a program of ours prints it."""
    match = re.search(rf"^listening {name} \S+:(\d+)$", server.output(), re.M)
    return int(match.group(1)) if match else None


class Restante(Server):
    name = "restante"
    about = "one worker, everything else as it comes; a log line for each session"

    def command(self):
        line = [self.options.build / "restanted", "--demo", "--dir", self.folder / "store"]
        line += ["-o", f"workers={self.options.workers}"]
        for name in ("pop3", "pop3s", "lmtp", "metrics"):
            line += ["-o", f"listener.{name}.address=127.0.0.1:0"]
        for setting in self.options.set:
            line += ["-o", setting]
        return line

    def wait_ready(self):
        wait_for_line(self, "restante: ready")
        self.pop3, self.lmtp = listening(self, "pop3"), listening(self, "lmtp")

    def after_start(self):
        users = "".join(
            f"{USER.format(number)}@localhost:{{PLAIN}}{PASSWORD}\n"
            for number in range(1, self.options.users + 1)
        )
        subprocess.run(
            [
                self.options.build / "restante",
                "--socket",
                self.folder / "store" / "admin.sock",
                "user",
                "import",
                "-",
            ],
            input=users,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def mail_folder(self):
        return self.folder / "store"


class Floor(Server):
    name = "floor"
    about = "canned replies on plain epoll: the least work possible"
    has_mail = False

    def command(self):
        return [self.options.build / "restante-bench", "floor", "--listen", "127.0.0.1:0"]

    def wait_ready(self):
        wait_for_line(self, "floor: ready")
        self.pop3 = listening(self, "pop3")
