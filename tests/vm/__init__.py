# SPDX-License-Identifier: Apache-2.0
"""Another kernel, in a virtual machine: for what this machine's kernel lacks."""
