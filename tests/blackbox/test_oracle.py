# SPDX-License-Identifier: Apache-2.0
"""The expectations the other tests use can fail."""

import unittest

from harness import messages


class Oracle(unittest.TestCase):
    def test_dots_are_stuffed_and_unstuffed(self):
        for content in (b"", b".\r\n", b"a\r\n.\r\n..\r\n", b"a.\r\n"):
            self.assertEqual(messages.unstuff(messages.stuff(content)), content)
        self.assertEqual(messages.stuff(b".\r\na\r\n.b\r\n"), b"..\r\na\r\n..b\r\n")

    def test_line_ends_are_made_by_the_rules(self):
        self.assertEqual(messages.end_lines(b"a\nb\r\nc\rd\r\r\ne"), b"a\r\nb\r\nc\rd\r\r\ne\r\n")
        self.assertEqual(messages.expected_of_data(b".\n.\r\n..\r\n.\r\n"), b"\r\n.\r\n.\r\n")
        self.assertEqual(messages.expected_of_data(b".\r\n"), b"")

    def test_what_was_stored_is_told_from_what_was_not(self):
        good = b"Return-Path: <a@b>\r\nReceived: from x\r\n\tby y\r\nbody\r\n"
        messages.check_stored(good, b"body\r\n")
        for bad in (
            good.replace(b"body", b"Body"),
            good[:-1],
            b"X: 1\r\n" + good,
            good.replace(b"body", b"X: 1\r\nbody"),
            b"body\r\n",
            good + b"\r\n",
        ):
            with self.assertRaises(AssertionError):
                messages.check_stored(bad, b"body\r\n")
