# SPDX-License-Identifier: Apache-2.0
"""Instructions that fixed scenarios take, held against recorded ones."""
