# SPDX-License-Identifier: Apache-2.0
"""Transcripts, and what plays them."""
