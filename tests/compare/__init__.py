# SPDX-License-Identifier: Apache-2.0
"""bench/compare: Restante measured beside other servers."""
