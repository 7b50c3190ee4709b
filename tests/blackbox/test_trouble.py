# SPDX-License-Identifier: Apache-2.0
"""Damage and other trouble with the store, as operators and clients see it: what is found, what is
refused, what goes on, and that the text names the cure.
"""

import json
import os
import subprocess
import tempfile
import urllib.request

from harness import settings
from harness.case import ServerCase
from harness.lmtp import Lmtp
from harness.mount import MIB, Mount, write_until_full
from harness.pop3 import Pop3
from harness.server import Server, ServerFailed
from harness.wire import until


def flip(path, offset):
    """One bit of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        octet = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([octet ^ 4]))


class Trouble(ServerCase):
    """Each test breaks a store of its own."""

    def setUp(self):
        pass

    def tearDown(self):
        pass

    @classmethod
    def setUpClass(cls):
        pass

    def store(self, messages=20, options=(), **more):
        """A server with a user and mail of all sizes; returns both."""
        server = self.private_server(options=("store.segment_size=1M", *options), **more)
        server.start()
        user = server.new_user()
        contents = [
            f"Subject: {number}\r\n\r\n".encode() + b"text %d\r\n" % number * (number * number)
            for number in range(1, messages + 1)
        ]
        with Lmtp(server.address("lmtp")) as client:
            client.deliver_many(user, contents)
        return server, user

    def pop3(self, server, user):
        client = Pop3(server.address("pop3"), user=user)
        self.addCleanup(client.close)
        return client

    def refused_start(self, server):
        """What a server says that does not start; its exit code is 1."""
        with self.assertRaises(ServerFailed):
            server.start()
        self.assertEqual(server.process.returncode, 1)
        server.process = None
        return server.log().splitlines()[-1]

    def snapshot(self, client):
        """Everything a maildrop shows: number -> (octets, unique-id, message or None)."""
        sizes, uidls, shown = client.listing(), client.uidls(), {}
        for number, octets in sizes.items():
            reply = client.ask(f"RETR {number}")
            message = client.block() if reply.startswith(b"+OK") else None
            if message is None:
                self.assertIn(b"[SYS/PERM]", reply)
            shown[number] = (octets, uidls[number], message)
        return shown

    def seen(self, server, user):
        client = self.pop3(server, user)
        shown = self.snapshot(client)
        client.quit()
        return shown

    # What check says.

    def test_check_finds_nothing_wrong_with_a_store_at_work_or_at_rest(self):
        server, _ = self.store()
        done = json.loads(server.cli("--json", "check").stdout)
        self.assertEqual((done["damages"], done["findings"]), (0, []))
        self.assertGreaterEqual(done["messages"], 20)
        self.assertIn("no damage found", server.cli("check", "--rate", "1G").stdout)
        busy = server.cli("check", offline=True, check=False)
        self.assertEqual(busy.returncode, 2)
        self.assertIn("--socket", busy.stderr)
        server.stop()
        self.assertIn("no damage found", server.cli("check", offline=True).stdout)
        server.start()

    def test_check_of_nothing_could_not_look(self):
        server, _ = self.store(messages=1)
        server.stop()
        nowhere = subprocess.run(
            [settings.BUILD / "restante", "--store", server.folder / "nothing", "check"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(nowhere.returncode, 2)
        server.start()

    def test_a_damaged_message_is_refused_for_itself_alone(self):
        server, user = self.store(options=("store.scrub_rate=0",))
        before = self.seen(server, user)
        segment = server.folder / "volume/segments/00000001.seg"
        octets = segment.read_bytes()
        flip(segment, octets.index(b"text 7\r\n"))
        client = self.pop3(server, user)
        self.assertTrue(client.ask("RETR 7").startswith(b"-ERR [SYS/PERM]"))
        after = self.snapshot(client)
        self.assertIsNone(after[7][2])
        del before[7], after[7]
        self.assertEqual(after, before)
        server.cli("checkpoint")  # the index knows the maildrop's name
        listed = json.loads(server.cli("--json", "damaged").stdout)["damaged"]
        self.assertEqual(len(listed), 1)
        self.assertEqual(listed[0]["name"], f"{user}@localhost")
        self.assertIn("unique_id=", server.cli("damaged").stdout)
        health = server.cli("health", check=False)
        self.assertEqual(health.returncode, 1)
        self.assertIn("restante damaged", health.stdout)
        host, port = server.address("metrics")
        pages = {"readyz": "1 messages are damaged", "metrics": "restante_damaged_messages 1"}
        for path, expected in pages.items():
            with urllib.request.urlopen(f"http://{host}:{port}/{path}") as page:
                self.assertIn(expected, page.read().decode())
        found = server.cli("--json", "check", check=False)
        self.assertEqual(found.returncode, 1)
        kinds = [finding["kind"] for finding in json.loads(found.stdout)["findings"]]
        self.assertEqual(kinds, ["body", "message"])
        client.ok("DELE 7")
        client.quit()
        self.assertEqual(len(self.pop3(server, user).listing()), 19)

    def test_the_scrubber_finds_what_no_send_verifies(self):
        server, user = self.store(messages=1)
        large = b"Subject: large\r\n\r\n" + b"very large indeed\r\n" * 100000
        with Lmtp(server.address("lmtp")) as client:
            client.deliver_many(user, [large])
        server.stop()
        blobs = list((server.folder / "volume/blobs").glob("*/*.blob"))
        self.assertEqual(len(blobs), 1)
        flip(blobs[0], 1000000)
        server.options.append("store.scrub_rate=1T")
        server.start()
        until(
            lambda: json.loads(server.cli("--json", "stat").stdout)["damaged"] == 1,
            "the scrubber has found it",
        )
        client = self.pop3(server, user)
        self.assertIn(b"[SYS/PERM]", client.ask("RETR 2"))
        self.assertIn("message_damaged", server.log())

    def test_flipped_bits_are_found_and_nothing_is_wrong_in_silence(self):
        chance = settings.randomness(self.id())
        server, user = self.store(messages=40)
        before = self.seen(server, user)
        server.stop()
        segments = sorted((server.folder / "volume/segments").glob("*.seg"))
        for path in (segments[0], server.folder / "volume/index/data.mdb"):
            for _ in range(3):
                flip(path, chance.randrange(path.stat().st_size))
        done = server.cli("--json", "check", offline=True, check=False)
        found = json.loads(done.stdout)
        self.assertEqual(done.returncode, 1 if found["damages"] else 0)
        self.assertGreater(found["damages"], 0)
        server.cli("rebuild", offline=True)
        server.start()
        after = self.seen(server, user)
        by_uidl = {uidl: (octets, message) for octets, uidl, message in before.values()}
        for octets, uidl, message in after.values():
            self.assertIn(uidl, by_uidl)
            self.assertEqual(octets, by_uidl[uidl][0])
            if message is not None:
                self.assertEqual(message, by_uidl[uidl][1])
        if len(after) < len(before):
            self.assertGreater(found["damages"], 1)

    # What stops a start, and what does not.

    def test_a_second_process_is_refused(self):
        server, _ = self.store(messages=1)
        second = Server(folder=server.folder)
        self.addCleanup(second.kill)
        self.assertIn("another process", self.refused_start(second))
        done = server.cli("stat", offline=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--socket", done.stderr)
        rebuild = server.cli("rebuild", offline=True, check=False)
        self.assertEqual(rebuild.returncode, 1)
        self.assertIn("stop it", rebuild.stderr)

    def test_a_damaged_volume_file_is_refused_with_its_cure(self):
        server, _ = self.store(messages=1)
        server.stop()
        volume = server.folder / "volume/VOLUME"
        whole = volume.read_bytes()
        flip(volume, 100)
        self.assertIn("restore it from a backup", self.refused_start(server))
        done = server.cli("check", offline=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("restore it from a backup", done.stderr)
        volume.unlink()
        self.assertIn("restore it from a backup", self.refused_start(server))
        volume.write_bytes(whole)
        server.start()

    def test_a_damaged_or_missing_index_is_made_again(self):
        server, user = self.store()
        before = self.seen(server, user)
        for damage in ("flip", "cut", "garbage", "gone"):
            with self.subTest(damage=damage):
                server.stop()
                index = server.folder / "volume/index/data.mdb"
                if damage == "flip":
                    flip(index, 4096 + 148)
                elif damage == "cut":
                    os.truncate(index, 5000)
                elif damage == "garbage":
                    index.write_bytes(b"garbage" * 4096)
                else:
                    index.unlink()
                server.start()
                self.assertEqual(self.seen(server, user), before)
        self.assertIn("index_rebuild", server.log())

    def test_a_missing_segment_costs_its_own_messages_only(self):
        server, user = self.store(messages=60)
        before = self.seen(server, user)
        server.stop()
        segments = sorted((server.folder / "volume/segments").glob("*.seg"))
        self.assertGreater(len(segments), 1)
        segments[0].unlink()
        done = server.cli("--json", "check", offline=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("segment_missing", done.stdout)
        server.start()
        after = self.seen(server, user)
        self.assertEqual(list(after), list(before))
        self.assertTrue(any(message is None for _, _, message in after.values()))
        for number, (octets, uidl, message) in after.items():
            self.assertEqual((octets, uidl), before[number][:2])
            self.assertIn(message, (None, before[number][2]))

    # Disks.

    def test_a_read_only_file_system_is_refused_and_can_be_checked(self):
        mount = Mount("tmpfs", 64 * MIB)
        self.addCleanup(mount.clean)
        folder = mount.store_folder()
        server, _ = self.store(folder=folder)
        server.stop()
        server._log_path = mount.folder / "server.log"
        self.addCleanup(server._log_path.unlink)
        mount.read_only(True)
        self.assertIn("Read-only", self.refused_start(server))
        done = server.cli("check", offline=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--scratch", done.stderr)
        with tempfile.TemporaryDirectory() as scratch:
            server.cli("check", "--scratch", scratch, offline=True)
        mount.read_only(False)
        server.start()
        server.stop()

    def fill(self, path):
        file = open(path, "wb", buffering=0)
        write_until_full(file)
        return file

    def test_on_a_disk_full_to_the_last_block_mail_is_read_and_deleted_and_taken_again_later(self):
        mount = Mount("ext4", 64 * MIB)
        self.addCleanup(mount.clean)
        folder = mount.store_folder()
        server, user = self.store(
            folder=folder, options=("store.map_size=64M", "store.checkpoint_interval=100ms")
        )
        self.addCleanup(server.kill)
        filler = mount.place / "filler"
        self.fill(filler).close()
        with Lmtp(server.address("lmtp")) as client:
            client.expect(250, "MAIL FROM:<a@b.test>")

            def is_full():
                reply = client.ask(f"RCPT TO:<{user}>")
                return reply.code == 452 and reply.enhanced == "4.3.1"

            until(is_full, "new mail is refused")
        for left in range(20, 12, -1):
            client = self.pop3(server, user)
            self.assertEqual(client.stat()[0], left)
            client.retr(1)
            client.ok("DELE 1")
            client.quit()
        self.assertEqual(server.cli("health", check=False).returncode, 1)
        filler.unlink()
        until(lambda: server.cli("health", check=False).returncode == 0, "there is room again")
        with Lmtp(server.address("lmtp")) as client:
            client.deliver_many(user, [b"Subject: again\r\n\r\nroom\r\n"])
        self.assertEqual(self.pop3(server, user).stat()[0], 13)
        self.assertIn("no damage found", server.cli("check").stdout)
        # And it can be killed and started while it is full.
        file = self.fill(filler)
        server.kill()
        server.start()
        client = self.pop3(server, user)
        self.assertEqual(client.stat()[0], 13)
        client.ok("DELE 1")
        client.quit()
        file.close()
        filler.unlink()
        server.stop()
