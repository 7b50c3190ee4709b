# SPDX-License-Identifier: Apache-2.0
"""Configuration keys that tests set, in one place: `-o` arguments without the -o."""


def pop3_idle(seconds):
    return f"listener.pop3.idle_timeout={seconds}"


def lmtp_idle(seconds):
    return f"listener.lmtp.idle_timeout={seconds}"


def login_deadline(seconds):
    return f"listener.pop3.login_timeout={seconds}"


def message_octets_max(octets):
    return f"lmtp.message_octets_max={octets}"
