# SPDX-License-Identifier: Apache-2.0
"""The first command a stranger types."""

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import unittest

from harness import settings

DEPLOY = settings.ROOT / "deploy"


class Quickstart(unittest.TestCase):
    def quickstart(self, *arguments, **options):
        return subprocess.Popen(
            [DEPLOY / "quickstart", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RESTANTE_BUILD": str(settings.BUILD)},
            **options,
        )

    def test_explains_itself(self):
        process = self.quickstart("--help")
        output, _ = process.communicate(timeout=settings.seconds(10))
        self.assertEqual(process.returncode, 0)
        self.assertIn("--build-only", output)

    @unittest.skipIf(settings.SANITIZED or settings.IO == "epoll", "one run is enough")
    def test_builds_and_runs_the_demo_until_it_is_told_to_end(self):
        with tempfile.TemporaryDirectory(prefix="restante-quickstart-") as folder:
            options = ["--dir", f"{folder}/demo"]
            for name in ("pop3", "pop3s", "lmtp", "metrics"):
                options += ["-o", f"listener.{name}.address=127.0.0.1:0"]
            process = self.quickstart(*options)
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if line == "restante: ready\n":
                    break
            # The shell has become the server: a signal to it is one to the server.
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=settings.seconds(60))
            self.assertEqual(process.returncode, 0, errors)
            self.assertEqual(lines[-1:], ["restante: ready"], errors)
            self.assertTrue(any(line.strip().startswith("curl ") for line in lines))

    @unittest.skipIf(settings.SANITIZED or settings.IO == "epoll", "one run is enough")
    def test_the_demo_does_without_what_others_listen_on_but_for_pop3(self):
        with tempfile.TemporaryDirectory(prefix="restante-quickstart-") as folder:
            with socket.create_server(("127.0.0.1", 0)) as other:
                taken = f"127.0.0.1:{other.getsockname()[1]}"
                command = [settings.BUILD / "restanted", "--demo", "--dir", f"{folder}/demo"]
                for name in ("pop3s", "lmtp", "metrics"):
                    command += ["-o", f"listener.{name}.address={taken}"]
                for address, code in (("127.0.0.1:0", 0), (taken, 1)):
                    process = subprocess.Popen(
                        [*command, "-o", f"listener.pop3.address={address}"],
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                    lines = []
                    for line in process.stdout:
                        lines.append(line)
                        if line == "restante: ready\n":
                            process.send_signal(signal.SIGTERM)
                    _, errors = process.communicate(timeout=settings.seconds(60))
                    self.assertIn(f"{taken} is in use", errors)
                    self.assertEqual(process.returncode != 0, code != 0, errors)
                    self.assertEqual("restante: ready\n" in lines, code == 0, errors)
                    self.assertNotIn(taken, "".join(lines))


class Packages(unittest.TestCase):
    """deploy/install-packages, with stand-ins for Debian's commands."""

    def run_function(self, user, installed, apt_code=0):
        with tempfile.TemporaryDirectory(prefix="restante-packages-") as folder:
            folder = pathlib.Path(folder)
            stand_ins = {
                "id": f"echo {user}",
                "apt-get": f'echo "apt-get $*" >>{folder}/calls; exit {apt_code}',
                "dpkg-query": f'case " {installed} " in *" $4 "*) echo installed ;; esac',
            }
            for name, text in stand_ins.items():
                (folder / name).write_text(f"#!/bin/sh\n{text}\n")
                (folder / name).chmod(0o755)
            (folder / "calls").touch()
            (folder / "list").write_text("# A comment.\nfirst  # why\n\nsecond\n")
            done = subprocess.run(
                ["sh", "-c", f". {DEPLOY}/install-packages; install_packages {folder}/list"],
                capture_output=True,
                text=True,
                env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
                check=False,
            )
            return done, (folder / "calls").read_text()

    def test_nothing_is_done_when_all_is_there(self):
        for user in (0, 1000):
            done, calls = self.run_function(user, "first second")
            self.assertEqual((done.returncode, done.stdout, done.stderr, calls), (0, "", "", ""))

    def test_root_installs_what_is_missing_and_no_more(self):
        done, calls = self.run_function(0, "first")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("install -y", calls)
        self.assertTrue(calls.strip().endswith(" second"), calls)
        self.assertNotIn("first", calls)

    def test_an_ordinary_user_is_told_the_exact_command(self):
        done, calls = self.run_function(1000, "")
        self.assertEqual((done.returncode, calls), (1, ""))
        self.assertRegex(done.stderr, "sudo apt-get install -y [^\n]*first second\n")

    def test_a_failing_apt_get_is_told(self):
        done, _ = self.run_function(0, "", apt_code=100)
        self.assertEqual(done.returncode, 1)
        self.assertIn("apt-get update failed", done.stderr)
