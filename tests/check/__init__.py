# SPDX-License-Identifier: Apache-2.0
"""Rules about the source tree that a program can check.

Each rule is a class with `check(tree)`, which yields one line per fault, and `bad`, small trees
that the rule has to find fault with: a rule that cannot fail is no rule.
"""
