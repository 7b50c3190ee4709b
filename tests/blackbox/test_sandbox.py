# SPDX-License-Identifier: Apache-2.0
"""What the kernel says about the running server."""

import os
import pathlib
import pwd
import unittest

from harness import settings
from harness.case import ServerCase
from harness.messages import check_stored, sample
from harness.pop3 import Pop3
from harness.wire import until


def status(path):
    lines = pathlib.Path(path).read_text().splitlines()
    return dict((line.split(":", 1)[0], line.split(":", 1)[1].strip()) for line in lines)


@unittest.skipIf(settings.SANITIZED, "a sanitizer looks into its own process: no sandbox")
class Sandbox(ServerCase):
    def statuses(self, server):
        tasks = pathlib.Path(f"/proc/{server.process.pid}/task")
        return [status(task / "status") for task in tasks.iterdir()]

    def line(self, server):
        return until(
            lambda: next((line for line in server.log().splitlines() if " sandbox " in line), None),
            "the sandbox is logged",
        )

    def test_every_thread_is_without_privileges_and_filtered(self):
        self.login(self.user()).quit()
        line = self.line(self.server)
        for one in self.statuses(self.server):
            with self.subTest(thread=one["Name"]):
                for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                    self.assertEqual(int(one[name], 16), 0, name)
                self.assertEqual(one["NoNewPrivs"], "1")
                if "seccomp=yes" in line:
                    self.assertEqual(one["Seccomp"], "2")
        self.assertIn("core_dumps=no", line)

    def test_it_is_in_the_metrics(self):
        import urllib.request

        host, port = self.server.address("metrics")
        page = f"http://{host}:{port}/metrics"
        with urllib.request.urlopen(page, timeout=settings.seconds(10)) as page:
            text = page.read().decode()
        self.assertIn('restante_sandbox{part="privileges"} 1', text)
        self.assertRegex(text, r"restante_process_open_fds [1-9]")
        self.assertRegex(text, r"restante_process_resident_memory_bytes [1-9]")

    def test_no_core_file_and_no_debugger(self):
        limits = pathlib.Path(f"/proc/{self.server.process.pid}/limits").read_text()
        self.assertRegex(limits, r"Max core file size +0 +0")

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_it_becomes_another_user(self):
        server = self.private_server(options=("user=nobody",))
        server.folder.chmod(0o755)
        mail = server.folder / "mail"
        server.options += [f"store.path={mail}", f"admin_socket={mail}/admin.sock"]
        server.start()
        nobody = pwd.getpwnam("nobody")
        for one in self.statuses(server):
            self.assertEqual(set(one["Uid"].split()), {str(nobody.pw_uid)})
            self.assertEqual(set(one["Gid"].split()), {str(nobody.pw_gid)})
            self.assertLessEqual(set(one["Groups"].split()), {str(nobody.pw_gid)})
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                self.assertEqual(int(one[name], 16), 0, name)
        # Files of a process that may not be dumped, or traced by its own user, are root's.
        self.assertEqual(os.stat(f"/proc/{server.process.pid}/environ").st_uid, 0)
        self.assertEqual((mail / "volume").stat().st_uid, nobody.pw_uid)
        with Pop3(server.address("pop3"), "demo1", "demo") as client:
            self.assertEqual(client.stat()[0], 3)

    def test_it_can_be_switched_off(self):
        server = self.private_server(options=("sandbox=off",))
        server.start()
        self.assertIn("off=configured", self.line(server))
        self.assertEqual(status(f"/proc/{server.process.pid}/status")["Seccomp"], "0")

    def test_everything_still_works_in_it(self):
        user = self.user()
        self.deliver(user, sample(1), sample(2, lines=50_000))
        client = self.login(user)
        check_stored(client.retr(2), sample(2, lines=50_000))
        client.ok("DELE 1")
        client.quit()
        self.server.cli("checkpoint")
        self.server.cli("user", "add", f"{user}-x", "--password-file", "-", text="p\n")
        self.server.cli("user", "del", f"{user}-x")
        self.server.cli("health")
