# SPDX-License-Identifier: Apache-2.0
"""Configuration keys that tests set, in one place: `-o` arguments without the -o."""

SHORT = "pop3.allow_short_timeouts=true"


def pop3_idle(text):
    return f"pop3.idle_timeout={text}"


def pop3_login(text):
    return f"pop3.login_timeout={text}"


def pop3_stall(text):
    return f"pop3.stall_timeout={text}"


def lmtp_idle(text):
    return f"lmtp.idle_timeout={text}"


def message_octets_max(octets):
    return f"lmtp.message_octets_max={octets}"
