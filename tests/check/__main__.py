# SPDX-License-Identifier: Apache-2.0
"""Runs every rule over the tree: `python3 -m check [ROOT]` in tests/. First each rule proves that
it can fail.
"""

import pathlib
import shutil
import statistics
import sys

from check import layers, style
from check.tree import LAYERS, Tree


def can_fail(rule):
    """Names of the made-up bad trees that the rule does not find fault with."""
    if rule is style.FormatIsClangFormats and shutil.which("clang-format") is None:
        return []
    return [sorted(tree.files) for tree in rule.bad if not list(rule().check(tree))]


def figures(tree):
    """The numbers the style guide compares with."""
    sources = [name for name in tree.sources(LAYERS) if name.endswith(".c")]
    lengths = [length for name in sources for _, _, length in style.functions(tree.files[name])]
    code = sum(tree.files[name].count("\n") for name in sources)
    unit = sum(
        tree.files[name].count("\n")
        for name in tree.sources(("tests",))
        if name.startswith("tests/unit/")
    )
    if lengths and code:
        print(
            f"# {len(sources)} C files, {code} lines; "
            f"function median {statistics.median(lengths):.0f}, longest {max(lengths)}; "
            f"unit tests per code {unit / code:.2f}"
        )


def main():
    root = (
        pathlib.Path(sys.argv[1])
        if len(sys.argv) > 1
        else pathlib.Path(__file__).resolve().parents[2]
    )
    tree = Tree.of_repository(root)
    passed = failed = 0
    for rule in layers.RULES + style.RULES:
        blind = can_fail(rule)
        faults = list(rule().check(tree))
        for files in blind:
            print(
                f"not ok - the rule finds no fault with a tree that breaks it {files}: {rule.name}"
            )
        if faults:
            print(f"not ok - {rule.name}")
            for fault in faults[:40]:
                print(f"    {fault}")
            if len(faults) > 40:
                print(f"    ... and {len(faults) - 40} more")
        if faults or blind:
            failed += 1
        else:
            passed += 1
            print(f"ok - {rule.name}")
    figures(tree)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
