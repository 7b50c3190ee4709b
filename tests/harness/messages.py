# SPDX-License-Identifier: Apache-2.0
"""What is expected of bytes: how a message sent by LMTP comes back by POP3.

These few functions are the oracle of the byte-exact tests. They are written from the RFCs and not
from the server: RFC 5321 section 4.5.2 and RFC 1939 section 3 for the dots, and the rule that a
bare LF becomes CRLF while a bare CR and NUL are kept.
"""

import re


def crlf(text):
    """Text written with \\n in a test, as a message with CRLF line ends."""
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-8")


def stuff(content):
    """Dot-stuffed by CRLF lines; the content has to end with CRLF or be empty."""
    assert content == b"" or content.endswith(b"\r\n"), content[-20:]
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]


def unstuff(block):
    """A block as a client reads it: one leading dot of each CRLF line is dropped."""
    return (b"\r\n" + block).replace(b"\r\n.", b"\r\n")[2:]


def end_lines(content):
    """What the store makes of line ends: every LF without a CR before it becomes CRLF, and the last
    line is ended.
    """
    content = re.sub(rb"(?<!\r)\n", b"\r\n", content)
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    return content


def expected_of_data(octets):
    """What POP3 hands out for the octets sent after DATA (with their CRLF.CRLF), without the trace
    headers.
    """
    assert octets == b".\r\n" or octets.endswith(b"\r\n.\r\n")
    return end_lines(unstuff(octets[:-3]))


def expected_of_bdat(chunks):
    return end_lines(b"".join(chunks))


_TRACE = re.compile(
    rb"Return-Path: ?<([^\r\n]*)>\r\n(Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)"
)


def split_trace(message):
    """(envelope sender, Received header, the rest); fails when the trace headers do not come first.
    """
    match = _TRACE.match(message)
    assert match, f"no Return-Path and Received at the start of {message[:300]!r}"
    return match.group(1), match.group(2), message[match.end() :]


def without_trace(message):
    return split_trace(message)[2]


def check_stored(message, expected):
    """Demands that the message is the expected bytes behind trace headers, and nothing else.

    The trace is what stands before the expected bytes, and not what looks like a header: a message
    may begin with a blank or with a Received header of its own.
    """
    assert message.endswith(expected), difference(message, expected)
    trace = message[: len(message) - len(expected)]
    assert _TRACE.fullmatch(
        trace
    ), f"not (only) Return-Path and Received before the message: {trace[-300:]!r}"


def difference(message, expected):
    """Where two byte strings, compared from the end, part; for the text of a failure."""
    common = 0
    for left, right in zip(reversed(message), reversed(expected)):
        if left != right:
            break
        common += 1
    left, right = len(message) - common, len(expected) - common
    return (
        f"got {len(message)} octets, expected {len(expected)} behind the trace; "
        f"the last {common} agree; before them {message[max(0, left - 60):left + 20]!r} "
        f"is not {expected[max(0, right - 60):right + 20]!r}"
    )


def sample(number=1, lines=3, body="line"):
    """A small message that can be told from others."""
    text = "From: sender@client.test\nTo: someone@localhost\n"
    text += f"Subject: message {number}\nX-Number: {number}\n\n"
    text += "".join(f"{body} {number}.{line}\n" for line in range(1, lines + 1))
    return crlf(text)
