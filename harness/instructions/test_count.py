"""The comparison of instruction counts: python3 -m unittest discover harness/instructions"""

from __future__ import annotations

import contextlib
import io
import unittest

import count


class Comparison(unittest.TestCase):
    def compared(self, instructions: int) -> tuple[int, str]:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            code = count.compare({"relative D=10": instructions}, {"relative D=10": 100_000})
        return code, output.getvalue()

    def test_growth_beyond_the_tolerance_is_a_regression(self) -> None:
        code, text = self.compared(103_100)
        self.assertEqual(code, 1)
        self.assertIn("(+3.1%)  REGRESSION", text)

    def test_growth_within_the_tolerance_and_shrinking_are_not(self) -> None:
        self.assertEqual(self.compared(102_900)[0], 0)
        code, text = self.compared(90_000)
        self.assertEqual(code, 0)
        self.assertIn("--update", text)

    def test_a_case_without_a_baseline_is_told(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            self.assertEqual(count.compare({"relative D=50": 1}, {}), 0)
        self.assertIn("not in the baseline", output.getvalue())


if __name__ == "__main__":
    unittest.main()
