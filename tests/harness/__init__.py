# SPDX-License-Identifier: Apache-2.0
"""What every Python suite shares: a server of one's own, plain POP3 and LMTP clients, expectations
about bytes.

The clients here are deliberately dumb: they send the bytes they are given and show the bytes that
come back, so that a test can break every rule. Well-behaved clients (poplib, smtplib, curl ...)
have their say in tests/interop.
"""
