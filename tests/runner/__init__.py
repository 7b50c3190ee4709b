# SPDX-License-Identifier: Apache-2.0
"""Builds what the suites need, runs them side by side, and adds up what they say."""
