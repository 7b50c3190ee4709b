# SPDX-License-Identifier: Apache-2.0
"""No scenario takes more than 5 % more instructions than recorded. See tests/README.md."""

import shutil
import unittest

from guard import callgrind, environment, figures
from harness.settings import BUILD

CALLGRIND_FILE = """# callgrind format
desc: Trigger: Client Request: parse/{operations}
events: Ir
ob=/usr/lib/libc.so.6
fl=a.c
fn=strlen
10 {strlen}
ob=/srv/bench-micro
fn=command_parse.isra.0
20 {parse}
cfn=strlen
calls=1 10
21 900
fn=0x0000000000001234
30 7
"""


def file_of(operations, strlen, parse):
    return CALLGRIND_FILE.format(operations=operations, strlen=strlen, parse=parse)


class Reading(unittest.TestCase):
    def test_a_function_counts_what_it_took_itself_and_starting_drops_out(self):
        found = callgrind.per_operation([file_of(10, 150, 1100), file_of(20, 250, 2100)])
        self.assertEqual(found, {"parse": {"strlen": 10, "command_parse": 100, "(bench-micro)": 0}})

    def test_growth_names_the_function_that_grew_with_before_and_after(self):
        recorded = figures.to_record({"parse": {"strlen": 10, "command_parse": 100}}, {})
        recorded = recorded["scenarios"]["parse"]
        grown = {"strlen": 10, "command_parse": 100, "helper": 6}
        self.assertGreater(figures.growth(recorded, grown), figures.GROWTH_MAX)
        self.assertIn("helper: hardly any before, 6.0 now", figures.explain("p", recorded, grown))
        self.assertNotIn("strlen", figures.explain("p", recorded, grown))

    def test_another_compiler_is_a_reason_not_to_compare(self):
        recorded = {"compiler": "gcc 12.2.0", "machine": "x86_64"}
        self.assertEqual(environment.differences(recorded, dict(recorded)), [])
        found = environment.differences(recorded, {**recorded, "compiler": "gcc 13.1.0"})
        self.assertEqual(found, ["compiler is gcc 13.1.0, recorded with gcc 12.2.0"])


@unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed")
@unittest.skipUnless((BUILD / "bench" / "bench-micro").exists(), "bench-micro was not built")
class Scenarios(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.recorded = figures.load()
        cls.differences = environment.differences(
            cls.recorded["environment"], environment.describe()
        )
        cls.found = callgrind.measure()
        for name, functions in cls.found.items():
            recorded = cls.recorded["scenarios"].get(name)
            change = f"{figures.growth(recorded, functions):+.1%}" if recorded else "not recorded"
            print(f"# {name}: {sum(functions.values()):,.0f} instructions, {change}")

    def test_all_that_is_measured_is_recorded_and_the_other_way_round(self):
        self.assertEqual(
            sorted(self.found), sorted(self.recorded["scenarios"]), "run tests/guard/record"
        )

    def check(self, name):
        if self.differences:
            self.skipTest("recorded elsewhere: " + "; ".join(self.differences))
        recorded, functions = self.recorded["scenarios"][name], self.found.get(name, {})
        if figures.growth(recorded, functions) > figures.GROWTH_MAX:
            self.fail(figures.explain(name, recorded, functions))


def add_tests():
    """A test for each scenario, so that a report says which one grew."""
    for name in figures.load()["scenarios"]:
        method = f"test_{name.replace('-', '_')}_takes_no_more_instructions_than_recorded"
        setattr(Scenarios, method, lambda self, name=name: self.check(name))


add_tests()

if __name__ == "__main__":
    unittest.main()
