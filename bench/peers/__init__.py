# SPDX-License-Identifier: Apache-2.0
"""Other people's servers, tuned, started and measured beside Restante: bench/compare."""
