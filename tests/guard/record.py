# SPDX-License-Identifier: Apache-2.0
"""Writes what the scenarios take now into recorded.json: `tests/guard/record`."""

import json

from guard import callgrind, environment, figures


def main():
    scenarios = callgrind.measure()
    before = figures.load()["scenarios"] if figures.RECORDED.exists() else {}
    record = figures.to_record(scenarios, environment.describe())
    figures.RECORDED.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for name, functions in scenarios.items():
        change = f"{figures.growth(before[name], functions):+.1%}" if name in before else "new"
        print(f"{name:<14} {sum(functions.values()):>12,.0f} instructions, {change}")


if __name__ == "__main__":
    main()
