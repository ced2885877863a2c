"""The judgement of a run, on samples made up for it: python3 -m unittest discover harness/peers"""

from __future__ import annotations

import copy
import fnmatch
import unittest
from typing import Any

import targets

FACTS: dict[str, Any] = {
    "options": {"threads": 2, "dtype": "f32", "device": "cpu"},
    "started": "2026-01-01T00-00-00Z",
    "roofline": {
        "machine": {"cpu": "Example CPU", "simd": "avx2+fma"},
        "roofline": {
            "rates": [
                {"operation": "square-product", "dtype": "f32", "threads": 2, "flops_per_second": 100e9},
                {"operation": "square-product", "dtype": "f32", "threads": 1, "flops_per_second": 900e9},
                {"operation": "forward-product", "dtype": "f32", "threads": 2, "flops_per_second": 900e9},
            ],
            "bandwidths": [{"threads": 2, "bytes_per_second": 40e9}],
        },
    },
}


def sample(who: str, method: str, dim: int, seconds: float, round_index: int = 0, **more: Any) -> dict[str, Any]:
    line = {"who": who, "method": method, "group": method.removesuffix("-streamed"), "dim": dim, "threads": 2}
    line |= {"round": round_index, "seconds": [0.9 * seconds, seconds, 5 * seconds]}
    if who == "relgrad":
        model = {"flops": 1400.0 * dim**2, "min_bytes": 16.0 * dim**2, "min_traffic_bytes": 32.0 * dim**2}
        line |= {"peak_bytes": 17 * dim**2, "model": model}
    return line | more


def judged(samples: list[dict[str, Any]], reasons: list[dict[str, Any]] | None = None) -> dict[tuple[str, int | None], targets.Line]:
    return {(line.target, line.dim): line for line in targets.judge(samples, FACTS, reasons or [])}


class Judgement(unittest.TestCase):
    def test_the_best_peer_is_what_counts(self) -> None:
        samples = [sample("relgrad", "relative", 1000, 1.0), sample("numpy", "relative", 1000, 3.0)]
        samples += [sample("torch", "relative", 1000, 0.8), {**sample("jax", "relative", 1000, 0.1), "error": "killed"}]
        line = judged(samples)["relative speed", 1000]
        self.assertEqual((line.verdict, line.against), ("misses", "PyTorch 800 ms"))
        self.assertAlmostEqual(line.value, 0.8)

    def test_a_peer_too_near_the_ceiling_is_a_reason(self) -> None:
        # 1400 D² operations in 0.3 s are 116.7 GFLOP/s at D = 5,000: more than the square product's 100.
        samples = [sample("relgrad", "relative", 5000, 0.36), sample("numpy", "relative", 5000, 0.39)]
        line = judged(samples)["relative speed", 5000]
        self.assertEqual(line.verdict, "misses")
        # Our fastest sample, 0.9 of the median, has 108.
        self.assertIn("needs 117 GFLOP/s, where no sample of a square product or a gradient has more than 108", line.reason)

    def test_a_target_just_below_the_ceiling_is_a_reason_from_there_on(self) -> None:
        # 1400 D² operations in 0.357 s are 98 GFLOP/s at D = 5,000, of 100.
        samples = [sample("relgrad", "relative", 5000, 0.4), sample("numpy", "relative", 5000, 1.3 * 0.357)]
        line = judged(samples)["relative speed", 5000]
        self.assertIn("needs 98 % of the fastest product or gradient of this run, ours has 88 %", line.reason)
        samples[1] = sample("numpy", "relative", 5000, 1.3 * 0.385)
        self.assertNotIn("needs", judged(samples)["relative speed", 5000].reason)

    def test_inverses_that_take_too_long_are_a_reason(self) -> None:
        # 8 D³ a sample: 1e11 operations at D = 500. A quarter of them in inverses at 2 × 20 GFLOP/s are 0.625 s, the rest
        # at 100 GFLOP/s 0.75 s: half of JAX's time is out of reach when that is 2.6 s, and not when it is 2.8 s.
        facts = copy.deepcopy(FACTS)
        inverse = {"operation": "inverse", "dtype": "f32", "threads": 1, "dim": 500, "flops": 2e9, "seconds": [0.1, 0.2]}
        facts["roofline"]["roofline"]["rates"].append(inverse)
        ours = sample("relgrad", "autodiff", 500, 1.5)
        ours["model"] |= {"flops": 1e11}
        for jax, said in ((2.6, "take 1.38 s"), (2.8, "")):
            samples = [ours, sample("jax", "autodiff", 500, jax)]
            line = next(line for line in targets.judge(samples, facts, []) if line.target == "autodiff speed")
            self.assertEqual(line.verdict, "misses")
            self.assertTrue(line.reason.endswith("take 1.38 s") if said else line.reason == "", line.reason)

    def test_a_slow_core_is_a_reason_at_small_dimensions(self) -> None:
        facts = copy.deepcopy(FACTS)
        samples = [sample("relgrad", "relative", 10, 12e-6)]
        for rate, said in ((40e9, "a core has 40 GFLOP/s here"), (90e9, "")):
            facts["roofline"]["roofline"]["rates"][1]["flops_per_second"] = rate
            line = next(line for line in targets.judge(samples, facts, []) if line.target == "relative at small D")
            self.assertEqual((line.verdict, line.reason[: len(said)]), ("misses", said))
            self.assertEqual(bool(line.reason), bool(said))

    def test_fastest_samples_that_meet_a_target_are_a_reason(self) -> None:
        slow = sample("relgrad", "ordinary", 1000, 1.0) | {"seconds": [0.5, 1.0, 1.1]}
        samples = [slow, sample("numpy", "ordinary", 1000, 0.9)]
        line = judged(samples)["ordinary speed", 1000]
        self.assertEqual(line.verdict, "misses")
        self.assertIn("the fastest samples give 1.62×", line.reason)
        slow["seconds"] = [0.95, 1.0, 1.1]
        self.assertEqual(judged(samples)["ordinary speed", 1000].reason, "")

    def test_the_needed_ratio_depends_on_the_dimension(self) -> None:
        samples = []
        for dim in (50, 100, 5000):
            samples += [sample("relgrad", "relative", dim, 1.0), sample("numpy", "relative", dim, 1.2)]
        lines = judged(samples)
        verdicts = {dim: lines["relative speed", dim].verdict for dim in (50, 100, 5000)}
        self.assertEqual(verdicts, {50: "misses", 100: "meets", 5000: "misses"})

    def test_a_gpu_has_targets_of_its_own(self) -> None:
        samples = [sample("relgrad", "relative", 20_000, 0.01), sample("relgrad", "ordinary", 20_000, 0.6)]
        samples += [sample("torch", "ordinary", 20_000, 0.5), sample("torch", "relative", 20_000, 0.001)]
        rates = [
            {"operation": "square-product", "dtype": math, "threads": 2, "flops_per_second": rate}
            for math, rate in (("f32", 60e12), ("tf32", 400e12))
        ]
        bandwidths = [{"threads": 2, "bytes_per_second": 4e12}]
        facts = FACTS | {
            "options": {"threads": 2, "dtype": "f32", "math": "tf32", "device": "cuda"},
            "roofline": {"roofline": {"rates": rates, "bandwidths": bandwidths}},
        }
        lines = {line.target: line for line in targets.judge(samples, facts, [])}
        self.assertEqual(set(lines), {"ordinary speed", "relative of ceiling", "relative over ordinary"})
        self.assertEqual(lines["ordinary speed"].verdict, "meets")
        # 32 D^2 bytes at 4 TB/s are 3.2 ms, more than 1400 D^2 operations at 400 TFLOP/s.
        self.assertAlmostEqual(lines["relative of ceiling"].value, 0.32)
        self.assertEqual(lines["relative of ceiling"].verdict, "misses")
        self.assertAlmostEqual(lines["relative over ordinary"].value, 60.0)
        self.assertEqual(lines["relative over ordinary"].verdict, "meets")

    def test_autodiff_is_held_against_jax_alone(self) -> None:
        samples = [sample("relgrad", "autodiff", 100, 1.0), sample("relgrad", "autodiff-streamed", 100, 0.4)]
        samples += [sample("jax", "autodiff", 100, 1.0), sample("torch", "autodiff", 100, 0.1)]
        lines = judged(samples)
        self.assertEqual(lines["autodiff speed", 100].verdict, "misses")
        self.assertEqual(lines["autodiff-streamed speed", 100].verdict, "meets")

    def test_a_ratio_tells_the_range_of_its_rounds(self) -> None:
        samples = []
        for round_index, (ours, theirs) in enumerate(((1.0, 2.0), (2.0, 3.0), (1.0, 1.8))):
            samples.append(sample("relgrad", "relative", 200, ours, round_index))
            samples.append(sample("jax", "relative", 200, theirs, round_index))
        line = judged(samples)["relative speed", 200]
        self.assertEqual((line.value, line.shown), (2.0, "2.00× (1.50 to 2.00)"))

    def test_the_ceiling_is_that_of_the_square_product_at_the_same_threads(self) -> None:
        # 1.4 GFLOP at 100 GFLOP/s are 14 ms.
        lines = judged([sample("relgrad", "relative", 1000, 0.016), sample("relgrad", "relative-inplace", 1000, 0.020)])
        self.assertAlmostEqual(lines["relative of ceiling", 1000].value, 0.875)
        self.assertEqual(lines["relative of ceiling", 1000].verdict, "meets")
        self.assertEqual(lines["relative-inplace of ceiling", 1000].verdict, "misses")

    def test_memory_is_judged_where_it_is_promised(self) -> None:
        samples = [sample("relgrad", "relative-inplace", dim, 1.0) for dim in (2000, 5000)]
        samples += [sample("relgrad", "autodiff-streamed", 100, 1.0)]
        lines = judged(samples)
        self.assertNotIn(("relative-inplace memory", 2000), lines)
        self.assertAlmostEqual(lines["relative-inplace memory", 5000].value, 17 / 16)
        self.assertEqual(lines["relative-inplace memory", 5000].verdict, "misses")
        # The second worker's two Jacobians of f32 are 8 D² bytes more.
        self.assertAlmostEqual(lines["autodiff-streamed memory", 100].value, 17 / 24)

    def test_scaling_and_exponent(self) -> None:
        samples = [sample("relgrad", "relative", dim, 1e-8 * dim**2.04) for dim in (1000, 2000, 5000, 10_000)]
        samples += [sample("relgrad", "relative", 1000, 1.7e-8 * 1000**2.04, threads=1)]
        lines = judged(samples)
        exponent = lines["relative exponent", None]
        self.assertAlmostEqual(exponent.value, 2.04)
        self.assertEqual((exponent.verdict, exponent.relgrad), ("meets", "D = 2,000 to 10,000"))
        scaling = lines["relative on 2 threads", 1000]
        self.assertAlmostEqual(scaling.value, 1.7)
        self.assertEqual(scaling.verdict, "misses")

    def test_a_reason_covers_its_target_and_dimensions(self) -> None:
        samples = []
        for dim in (10, 20):
            samples += [sample("relgrad", "relative", dim, 1.0), sample("numpy", "relative", dim, 1.0)]
        elsewhere = {"targets": ["relative speed"], "cpu": "another processor", "text": "not here"}
        other_type = {"targets": ["relative speed"], "dtype": "f64", "text": "not for f32"}
        reasons = [elsewhere, other_type, {"targets": ["relative sp*"], "dims": [20], "text": "because"}]
        lines = judged(samples, reasons)
        self.assertEqual((lines["relative speed", 10].reason, lines["relative speed", 20].reason), ("", "because"))
        text = targets.render(samples, FACTS, list(lines.values()))
        self.assertIn("2 miss it without a reason", text)  # D = 10, and the ten microseconds
        self.assertIn("| because |", text)

    def test_the_committed_reasons_name_targets_that_exist(self) -> None:
        names = {"relative exponent"}
        for method in ("relative", "relative-inplace", "ordinary", "autodiff", "autodiff-streamed"):
            names |= {f"{method} speed", f"{method} memory", f"{method} of ceiling"}
        names |= {"relative at small D", "relative on 2 threads"}
        names |= {f"{m} of ceiling, N = {n}" for m in ("relative", "relative-inplace") for n in (1, 4, 10, 16, 32)}
        names |= {f"{m} speed, N = {n}" for m in ("relative", "relative-inplace") for n in (256, 1000)}
        names |= {f"relative-delayed speed, N = {n}" for n in (64, 256, 1000)}
        for reason in targets.read_reasons(targets.Path(__file__).with_name("reasons.toml")):
            for target in reason["targets"]:
                self.assertTrue(any(fnmatch.fnmatchcase(name, target) for name in names), target)
            self.assertTrue(reason["text"])

    def test_a_failed_process_is_told(self) -> None:
        samples = [{**sample("relgrad", "relative", 1000, 1.0), "error": "killed by SIGKILL"}]
        text = targets.render(samples, FACTS, targets.judge(samples, FACTS, []))
        self.assertIn("- relgrad relative, D = 1,000, round 1 failed: killed by SIGKILL", text)

    def test_units(self) -> None:
        self.assertEqual(targets.seconds_text(9.87e-6), "9.87 µs")
        self.assertEqual(targets.seconds_text(0.9996), "1 s")
        self.assertEqual(targets.seconds_text(1234.0), "1234 s")
        self.assertEqual(targets.bytes_text(3 * 2**20), "3 MiB")

    def test_other_batch_sizes_have_targets_of_their_own(self) -> None:
        at = {"batch": 4}
        model = {"flops": 56.0 * 2000**2, "min_bytes": 1.0, "min_traffic_bytes": 24.0 * 2000**2}
        # 96 MB at 40 GB/s are 2.4 ms.
        ours = sample("relgrad", "relative", 2000, 2.9e-3, **at) | {"model": model}
        cached = sample("relgrad", "relative", 1000, 0.9e-3, **at) | {"model": {**model, "min_traffic_bytes": 24e6}}
        lines = judged([ours, cached, sample("torch", "relative", 2000, 2.8e-3, **at), sample("relgrad", "relative", 2000, 1.0)])
        self.assertEqual(lines["relative speed, N = 4", 2000].verdict, "misses")
        self.assertEqual(lines["relative of ceiling, N = 4", 2000].verdict, "meets")
        self.assertIn("GB at 40.0 GB/s", lines["relative of ceiling, N = 4", 2000].against)
        self.assertEqual(lines["relative of ceiling, N = 4", 1000].verdict, "meets")
        self.assertNotIn(("relative speed", 2000), lines)


if __name__ == "__main__":
    unittest.main()
