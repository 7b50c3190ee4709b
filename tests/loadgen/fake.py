# SPDX-License-Identifier: Apache-2.0
"""A small POP3 and LMTP server in memory that can be told to do what no server should: the load
generator has to notice each of it.
"""

import socketserver
import threading
import time

from harness.messages import unstuff


class Fake:
    """Maildrops in memory, one port for POP3 and one for LMTP. `fault` names what it does wrong."""

    def __init__(self, fault=None):
        self.fault = fault
        self.maildrops = {}
        self.sessions = 0
        self.stalled = False
        self.lock = threading.Lock()
        self.servers = [self._serve(pop3_session), self._serve(lmtp_session)]
        self.pop3, self.lmtp = (f"127.0.0.1:{one.server_address[1]}" for one in self.servers)

    def _serve(self, session):
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self):
                try:
                    session(fake, self.rfile, self.wfile)
                except OSError:
                    pass  # The client has gone.

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 64

        server = Listener(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def deliver(self, user, message):
        with self.lock:
            drop = self.maildrops.setdefault(user, [])
            drop.append((f"u{len(drop)}", b"Received: by the fake\r\n" + message))


def stuffed(message):
    return message.replace(b"\r\n.", b"\r\n..")


def lmtp_session(fake, received, sent):
    sent.write(b"220 fake\r\n")
    for line in received:
        verb = line[:4].upper()
        if verb == b"RCPT":
            user = line.split(b"<")[1].split(b">")[0].decode()
        if verb == b"DATA":
            sent.write(b"354 go on\r\n")
            lines = []
            for piece in received:
                if piece == b".\r\n":
                    break
                lines.append(piece)
            fake.deliver("user1" if fake.fault == "misplaced" else user, unstuff(b"".join(lines)))
        sent.write(b"250 OK\r\n")
        if verb == b"QUIT":
            return


def retrieved(fake, message):
    if fake.fault == "content":
        return message[:-20] + bytes([message[-20] ^ 1]) + message[-19:]
    if fake.fault == "short":
        return message[: message.rindex(b"\r\n", 0, len(message) - 2) + 2]
    return message


def listed(fake, message):
    return len(message) + (1 if fake.fault == "size" else 0)


def pop3_session(fake, received, sent):
    fake.sessions += 1
    number, user = fake.sessions, None
    sent.write(b"+OK fake\r\n")
    for line in received:
        verb, _, argument = line.decode().strip().partition(" ")
        drop = list(fake.maildrops.get(user, []))
        if fake.fault == "stall" and verb == "NOOP" and not fake.stalled:
            fake.stalled = True
            time.sleep(1)
        if verb == "USER":
            user = argument
            reply = b"+OK\r\n"
        elif verb == "PASS" and fake.fault == "in_use":
            reply = b"-ERR [IN-USE] somebody else is here\r\n"
        elif verb == "PASS" and fake.fault == "auth":
            reply = b"-ERR no\r\n"
        elif verb == "STAT" and fake.fault == "protocol":
            reply = b"hello\r\n"
        elif verb == "STAT" and fake.fault == "refused":
            reply = b"-ERR not now\r\n"
        elif verb == "STAT" and fake.fault == "closed":
            return
        elif verb == "STAT" and fake.fault == "timeout":
            time.sleep(3)
            return
        elif verb == "STAT":
            reply = b"+OK %d %d\r\n" % (len(drop), sum(listed(fake, one) for _, one in drop))
        elif verb in ("LIST", "UIDL"):
            unique = number if fake.fault == "uidl" else 0
            reply = b"+OK\r\n"
            for index, (uid, message) in enumerate(drop, 1):
                what = listed(fake, message) if verb == "LIST" else f"{uid}-{unique}"
                reply += f"{index} {what}\r\n".encode()
            reply += b".\r\n"
        elif verb == "RETR":
            message = drop[int(argument) - 1][1]
            reply = b"+OK\r\n" + stuffed(retrieved(fake, message)) + b".\r\n"
        else:
            reply = b"+OK\r\n"
        sent.write(reply)
        if verb == "QUIT":
            return
