# SPDX-License-Identifier: Apache-2.0
"""The server as its clients and its administrator see it."""
