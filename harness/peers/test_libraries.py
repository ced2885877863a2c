"""The tables of `libraries` on runs made up for them, and its layers where the libraries are installed:
python3 -m unittest discover harness/peers"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import tempfile
import unittest
from pathlib import Path
from typing import Any

import library_tables
from library_names import AUTOREGRESSIVE, KINDS, LINEAR

HAVE = all(importlib.util.find_spec(name) for name in ("torch", "scipy", "zuko", "nflows", "glasflow", "normflows"))
WITH_LIBRARIES = unittest.skipUnless(HAVE, "the libraries are not installed")
WITH_NUMPY = unittest.skipUnless(importlib.util.find_spec("numpy"), "NumPy is not installed")

FACTS: dict[str, Any] = {
    "options": {"ours": ["relative"], "batch": 100, "depth": 2, "threads": 2},
    "machine": {"cpu": "Example CPU"},
    "verification": {
        "passed": {"zuko-lu": True, "glasflow-lu": True},
        "f64": {"errors": {"reference": 1e-15, "zuko-lu": 2e-15}, "residual_deviations": 1.5},
        "f32": {"errors": {"zuko-lu": 3e-6}},
    },
    "does_not_run": {"nflows LULinear.inverse": "AttributeError: gone"},
    "versions": {"torch": "9.9"},
    "notes": ["Something was left out."],
}


def sample(name: str, dim: int, seconds: float, **more: Any) -> dict[str, Any]:
    return {"method": name, "dim": dim, "round": 0, "seconds": [seconds, seconds, 9 * seconds], "peak_bytes": 2**20} | more


class Tables(unittest.TestCase):
    def test_an_exponent_is_the_slope(self) -> None:
        points = [(dim, 3e-9 * dim**2.5) for dim in (100, 200, 1000)]
        self.assertAlmostEqual(library_tables.exponent(points), 2.5)
        self.assertIsNone(library_tables.exponent(points[:1]))

    def test_cubic_products_are_told_though_the_time_is_not_cubic(self) -> None:
        counted = {"zuko-lu": {"cubic": 12.0}, "glasflow-lu": {"cubic": 0.0}}
        times = {(name, dim): 1e-8 * dim**2.1 for name in counted for dim in (500, 1000)}
        self.assertIn("Cubic: products of 12 D³", library_tables.cubic("zuko-lu", times, counted))
        self.assertEqual(library_tables.cubic("glasflow-lu", times, counted), " PyTorch counts no product of D³.")
        times = {(name, dim): 1e-8 * dim**2.9 for name in counted for dim in (500, 1000)}
        self.assertIn("grows like D^2.9", library_tables.cubic("glasflow-lu", times, counted))

    def test_a_table_has_medians_ratios_and_errors(self) -> None:
        samples = [sample("relative", dim, 1e-8 * dim**2) for dim in (500, 1000)]
        samples += [sample("zuko-lu", dim, 4e-8 * dim**2, products={"cubic": 12.0, "square": 10.0}) for dim in (500, 1000)]
        samples += [sample("zuko-lu", 1000, 5e-2, round=1), sample("glasflow-lu", 500, 1.0) | {"error": "killed"}]
        text = "\n".join(library_tables.layer_lines(FACTS, samples))
        # 40 ms and 50 ms in two rounds.
        self.assertRegex(text, r"\| zuko-lu +\| 10 ms +\| 45 ms +\|")
        self.assertRegex(text, r"\| zuko-lu +\| 4.5× at 1,000 +\| 2.17 +\| 2.17 +\| 12 +\| 10 +\| 2e-15 +\| 3e-06 +\|")
        for part in ("nflows LULinear.inverse: AttributeError: gone", "PyTorch 9.9", "left out", "1.5 standard errors"):
            self.assertIn(part, text)

    def test_a_run_with_a_failure_ends_with_1(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for lines, code in (([sample("relative", 500, 1.0)], 0), ([sample("relative", 500, 1.0) | {"error": "x"}], 1)):
                (folder / "samples.jsonl").write_text("".join(library_tables.json.dumps(line) + "\n" for line in lines))
                (folder / "run.json").write_text(library_tables.json.dumps(FACTS))
                with contextlib.redirect_stdout(io.StringIO()):
                    self.assertEqual(library_tables.layers(folder), code)
                self.assertTrue((folder / "table.md").read_text().startswith("# The libraries"))

    def test_the_better_hidden_layers_are_chosen_by_validation(self) -> None:
        line = {"set": "mnist", "kind": "made", "units": 7, "parameters": 12, "epochs": 5, "best_epoch": 4, "stopped": "epochs"}
        line |= {"two_standard_errors": 1.5, "seconds": 2.0}
        models = [
            line | {"hidden": 1, "validation": -2.0, "test": -9.0},
            line | {"hidden": 2, "validation": -1.0, "test": -10.0},
        ]
        text = "\n".join(library_tables.table1_lines(models))
        self.assertRegex(text, r"\| MADE +\|.*\| −10.00 ± 1.50 \(−1380.8 ± 4.8\) \|")
        self.assertIn("| 4 of 5 ", text)

    def test_every_row_has_published_values_and_every_layer_a_text(self) -> None:
        self.assertEqual(set(library_tables.PUBLISHED), set(KINDS))
        self.assertTrue(all(len(values) == len(library_tables.SETS) for values in library_tables.PUBLISHED.values()))
        self.assertFalse(set(LINEAR) & set(AUTOREGRESSIVE))

    def test_ica_means_are_over_the_seeds(self) -> None:
        line = {"set": "sech", "method": "Picard", "seconds": 0.5, "iterations": 10, "train": -17.0}
        lines = [line | {"test": -17.0, "amari": 0.01}, line | {"test": -18.0, "amari": 0.03}]
        text = "\n".join(library_tables.ica_lines(lines))
        self.assertRegex(text, r"\| 20 sech sources \| Picard \| −17.500 +\| −17.000 +\| 0.0200 \| 500 ms \| 10 +\| 2 +\|")


@WITH_NUMPY
class Ica(unittest.TestCase):
    def test_the_amari_distance_is_that_of_a_scaled_permutation(self) -> None:
        import numpy as np

        from library_ica import amari

        self.assertEqual(amari(np.array([[0.0, -3.0], [0.5, 0.0]])), 0.0)
        self.assertAlmostEqual(amari(np.ones((4, 4))), 1.0)

    def test_the_best_scale_undoes_any_scale(self) -> None:
        import numpy as np

        from library_ica import best_scales, log_density

        sources = np.random.default_rng(0).laplace(size=(5000, 1))
        scale = best_scales(sources)[0]
        self.assertAlmostEqual(scale, 7.0 * best_scales(7.0 * sources)[0])
        value = lambda c: math.log(c) + log_density(c * sources).mean()  # noqa: E731
        self.assertGreater(value(scale), max(value(0.99 * scale), value(1.01 * scale)))

    def test_the_density_is_one(self) -> None:
        import numpy as np

        from library_ica import log_density

        line = np.linspace(-40.0, 40.0, 80_001)
        self.assertAlmostEqual(np.exp(log_density(line)).sum() * (line[1] - line[0]), 1.0)


@WITH_LIBRARIES
class Layers(unittest.TestCase):
    def setUp(self) -> None:
        import numpy as np

        random = np.random.default_rng(1)
        self.weights = [random.standard_normal((6, 6)) / 6**0.5 for _ in range(2)]
        self.x = random.standard_normal((9, 6))

    def test_the_reference_is_the_derivative_of_its_likelihood(self) -> None:
        from library_factors import reference

        _, gradients = reference(self.weights, self.x)
        for k, (i, j) in ((0, (1, 4)), (1, (3, 0))):
            values = []
            for step in (1e-6, -1e-6):
                moved = [weight.copy() for weight in self.weights]
                moved[k][i, j] += step
                values.append(reference(moved, self.x)[0])
            self.assertAlmostEqual((values[0] - values[1]) / 2e-6, gradients[k][i, j], places=7)

    def test_every_layer_has_the_mapped_gradient_and_a_wrong_one_shows(self) -> None:
        import numpy as np
        import torch

        from library_child import of_layers
        from library_factors import reference
        from library_layers import LAYERS

        for name, make in LAYERS.items():
            layers = [make(weight, 6, torch.float64, np.random.default_rng(0)) for weight in self.weights]
            likelihood, gradients = reference([layer.dense for layer in layers], self.x)
            x = torch.from_numpy(self.x)
            self.assertLess(of_layers(layers, x, likelihood, gradients), 1e-9, name)
            # The gradient without the determinant's share, which a layer that forgets it would have.
            wrong = [g - np.linalg.inv(layer.dense).T for g, layer in zip(gradients, layers, strict=True)]
            layers = [make(weight, 6, torch.float64, np.random.default_rng(0)) for weight in self.weights]
            if name != "zuko-rotation":
                self.assertGreater(of_layers(layers, x, likelihood, wrong), 1e-2, name)
            self.assertGreater(of_layers(layers, x, likelihood + 0.1, gradients), 1e-3, name)

    def test_every_density_of_table_1_integrates_to_1(self) -> None:
        import torch

        from library_densities import KINDS, build, log_density

        torch.manual_seed(0)
        line = torch.linspace(-25.0, 25.0, 501)
        grid = torch.cartesian_prod(line, line)
        for kind in KINDS:
            for hidden in (1, 2):
                with torch.no_grad():
                    total = log_density(kind, build(kind, 2, hidden, 4), grid).exp().sum() * 0.1**2
                self.assertAlmostEqual(float(total), 1.0, places=2, msg=f"{kind} {hidden}")

    def test_widths_are_the_largest_that_fit(self) -> None:
        from library_densities import KINDS, build, live_parameters, width

        for kind in KINDS:
            units = width(kind, 40, 2)
            allowed = 2 * 40 * 41
            self.assertLessEqual(live_parameters(build(kind, 40, 2, units)), allowed, kind)
            self.assertGreater(live_parameters(build(kind, 40, 2, units + 1)), allowed, kind)


if __name__ == "__main__":
    unittest.main()
