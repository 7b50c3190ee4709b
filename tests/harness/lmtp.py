# SPDX-License-Identifier: Apache-2.0
"""An LMTP client that says what it is told."""

import re

from harness.messages import stuff
from harness.wire import Wire


class Reply:
    """One reply: the code and the text of each of its lines."""

    def __init__(self, code, texts):
        self.code = code
        self.texts = texts

    @property
    def text(self):
        return self.texts[-1]

    @property
    def enhanced(self):
        """The enhanced status code that opens the text, or an empty string."""
        match = re.match(r"^([245]\.\d{1,3}\.\d{1,3})( |$)", self.text)
        return match.group(1) if match else ""

    def __repr__(self):
        return f"Reply({self.code}, {self.texts!r})"


class Lmtp(Wire):
    def __init__(self, address, hello=True, **options):
        super().__init__(address, **options)
        self.greeting = self.reply()
        assert self.greeting.code == 220, self.greeting
        if hello:
            self.capabilities = self.ask("LHLO client.test").texts[1:]

    def reply(self):
        texts = []
        while True:
            line = self.line().decode("utf-8", "backslashreplace")
            assert re.match(r"^[2-5]\d\d[ -]", line), f"not a reply line: {line!r}"
            assert not texts or line[:3] == code, f"two codes in one reply: {line!r}"
            code = line[:3]
            texts.append(line[4:])
            if line[3] == " ":
                return Reply(int(code), texts)

    def replies(self, count):
        return [self.reply() for _ in range(count)]

    def ask(self, command):
        if isinstance(command, str):
            command = command.encode("utf-8")
        self.send(command + b"\r\n")
        return self.reply()

    def expect(self, code, command):
        reply = self.ask(command)
        assert reply.code == code, f"{command!r} was answered {reply}, not {code}"
        return reply

    def envelope(self, recipients, sender="sender@client.test"):
        self.expect(250, f"MAIL FROM:<{sender}>")
        for recipient in recipients:
            self.expect(250, f"RCPT TO:<{recipient}>")

    def data(self, recipients, octets, sender="sender@client.test"):
        """Delivers by DATA exactly the octets given, which have to end with CRLF.CRLF; one reply
        per recipient.
        """
        self.envelope(recipients, sender)
        self.expect(354, "DATA")
        self.send(octets)
        return self.replies(len(recipients))

    def bdat(self, recipients, chunks, sender="sender@client.test"):
        """Delivers by BDAT, chunk by chunk, all sent before the first reply is read."""
        self.envelope(recipients, sender)
        for index, chunk in enumerate(chunks):
            last = b" LAST" if index == len(chunks) - 1 else b""
            self.send(b"BDAT %d%s\r\n%s" % (len(chunk), last, chunk))
        for _ in chunks[:-1]:
            reply = self.reply()
            assert reply.code == 250, reply
        return self.replies(len(recipients))

    def deliver(self, recipients, content, sender="sender@client.test"):
        """Delivers a message that ends with CRLF and demands success."""
        if isinstance(recipients, str):
            recipients = [recipients]
        for reply in self.data(recipients, stuff(content) + b".\r\n", sender):
            assert reply.code == 250, reply

    def deliver_many(self, recipient, contents, sender="sender@client.test"):
        """Delivers messages one after the other with the whole envelope of each in one packet."""
        for content in contents:
            octets = stuff(content) + b".\r\n"  # first: the server need not wait for that
            self.send(
                b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n"
                % (sender.encode(), recipient.encode())
            )
            for code in (250, 250, 354):
                reply = self.reply()
                assert reply.code == code, reply
            self.send(octets)
            reply = self.reply()
            assert reply.code == 250, reply
