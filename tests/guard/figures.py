# SPDX-License-Identifier: Apache-2.0
"""The recorded figures and what it means to exceed them."""

import json
import pathlib

RECORDED = pathlib.Path(__file__).with_name("recorded.json")

GROWTH_MAX = 0.05  # of a scenario, over what is recorded
SHARE_MIN = 0.005  # of a scenario: what a function must take to be recorded
BLAME_MIN = 0.005  # of a scenario: what a function must have grown by to be named
BLAMED_MAX = 8


def load(path=RECORDED):
    return json.loads(path.read_text(encoding="utf-8"))


def to_record(scenarios, environment):
    """What recorded.json holds."""
    figures = {}
    for name, functions in sorted(scenarios.items()):
        total = sum(functions.values())
        large = {
            function: round(count, 2)
            for function, count in functions.items()
            if count >= total * SHARE_MIN
        }
        figures[name] = {
            "instructions": round(total, 1),
            "functions": dict(sorted(large.items(), key=lambda one: -one[1])),
        }
    return {"environment": environment, "scenarios": figures}


def growth(recorded, functions):
    """By what part the scenario has grown; negative when it got cheaper."""
    return sum(functions.values()) / recorded["instructions"] - 1


def blamed(recorded, functions):
    """(function, before, after) of those that grew most. A function that was too small to be
    recorded was less than SHARE_MIN.
    """
    least = recorded["instructions"] * BLAME_MIN
    grown = []
    for function, after in functions.items():
        before = recorded["functions"].get(function)
        if after - (before or 0) >= least:
            grown.append((function, before, after))
    grown.sort(key=lambda one: (one[1] or 0) - one[2])
    return grown[:BLAMED_MAX]


def explain(name, recorded, functions):
    """Why the scenario fails, naming the functions that grew."""
    lines = [
        f"{name}: {sum(functions.values()):,.0f} instructions for one operation, "
        f"{recorded['instructions']:,.0f} recorded: {growth(recorded, functions):+.1%}"
    ]
    for function, before, after in blamed(recorded, functions):
        was = "hardly any" if before is None else f"{before:,.1f}"
        lines.append(f"  {function}: {was} before, {after:,.1f} now")
    lines.append("  if that is meant: tests/guard/record, and say why in the commit")
    return "\n".join(lines)
