# SPDX-License-Identifier: Apache-2.0
"""kill -9 with an oracle."""
