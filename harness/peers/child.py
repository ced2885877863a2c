"""What one process does: verify a peer against relgrad's numbers, or time one method of it at one dimension.

Prints one line of JSON. The driver (bench.py) sets the environment: threads, number type, which BLAS kernel.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import problem
from problem import Array, Case

PEERS = ("numpy", "jax", "torch")

# The same rules as in relgrad's cells (harness/src/measure/cell/sampling.rs).
SHORTEST_SAMPLE_SECONDS = 20e-6
WARMUP_SECONDS = 0.1
MAX_WARMUPS = 50
MAX_SAMPLES = 1000

# Largest relative error of a gradient, norm-wise per array. The case has weights of condition number up to about 10 D.
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}
# The bound of relgrad's own check in TF32 (kernels/src/check.rs).
TF32_TOLERANCE = 2e-2


@dataclass
class Rules:
    """When sampling ends."""

    min_samples: int
    sampling_seconds: float
    cell_seconds: float


def main() -> None:
    arguments = parse()
    peer = importlib.import_module(f"{arguments.peer}_peer")
    if hasattr(peer, "set_math"):
        peer.set_math(arguments.math)
    if hasattr(peer, "set_threads"):
        peer.set_threads(arguments.threads)
    if arguments.verify:
        reply = verify(peer, problem.read(arguments.verify), arguments)
    else:
        reply = measure(peer, arguments)
    reply |= {"versions": peer.versions(), "blas": blas()}
    json.dump(reply, sys.stdout)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--math", choices=("f32", "tf32", "f64"), default="f32", help="a GPU's products: only tf32 rounds factors")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--verify", type=Path, metavar="CASE", help="what `relgrad peer-case` wrote")
    parser.add_argument("--method", choices=problem.METHODS)
    parser.add_argument("--dim", type=int)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--min-samples", type=int, default=5)
    parser.add_argument("--sampling-seconds", type=float, default=0.3)
    parser.add_argument("--cell-seconds", type=float, default=10.0)
    return parser.parse_args()


def verify(peer: Any, case: Case, arguments: argparse.Namespace) -> dict[str, Any]:
    """Relative errors of every method that the peer has, against what relgrad computed for the same inputs.

    In TF32 `autodiff` is left out: the inverse of a Jacobian with rounded factors has the square of the weights'
    condition in its error, and shows nothing. The same code is verified in f32.
    """
    errors = {}
    for method in peer.METHODS:
        if arguments.math == "tf32" and method == "autodiff":
            continue
        inputs = problem.Problem([w.copy() for w in case.problem.weights], case.problem.x, case.problem.step)
        with peer.session(method):
            evaluation = peer.prepare(method, inputs, arguments.device)
            evaluation.evaluate()
            errors[method] = distance(evaluation.result(), case.expected[method], method, case)
    tolerance = TF32_TOLERANCE if arguments.math == "tf32" else TOLERANCE[case.problem.x.dtype.name]
    return {"errors": errors, "tolerance": tolerance, "passed": all(e <= tolerance for e in errors.values())}


def distance(found: list[Array], expected: list[Array], method: str, case: Case) -> float:
    """max|a - b| / max|b|, worst over the layers; of a step, of what it changed."""
    worst = 0.0
    for a, b, old in zip(found, expected, case.problem.weights, strict=True):
        scale = np.max(np.abs(b - old if method == "relative-inplace" else b))
        error = float(np.max(np.abs(a - b)) / scale)
        worst = max(worst, error if np.isfinite(error) else np.inf)
    return worst


def measure(peer: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    drawn = problem.draw(
        arguments.method,
        arguments.dim,
        arguments.batch,
        arguments.layers,
        arguments.dtype,
        arguments.seed,
    )
    rules = Rules(arguments.min_samples, arguments.sampling_seconds, arguments.cell_seconds)
    with peer.session(arguments.method):
        evaluation = peer.prepare(arguments.method, drawn, arguments.device)
        samples = sample(evaluation.evaluate, rules)
        if not all(np.isfinite(array[0]).all() for array in evaluation.result()):
            raise ArithmeticError("the gradient is not finite")
    return samples


def sample(evaluate: Any, rules: Rules) -> dict[str, Any]:
    """Warms up, then samples; the first evaluation compiles and touches fresh memory and never counts."""

    def timed(evaluations: int) -> float:
        start = time.perf_counter()
        for _ in range(evaluations):
            evaluate()
        return (time.perf_counter() - start) / evaluations

    last = timed(1)
    warmup, evaluations, warmups = [last], 1, 1
    # The limit counts from here: the first call of a framework compiles.
    compiled = time.perf_counter()
    while time.perf_counter() - compiled < WARMUP_SECONDS:
        # One long evaluation is warm-up enough, unless it may have been the compiler that took the time.
        if warmups > 1 and last > WARMUP_SECONDS:
            break
        if warmup[0] > rules.cell_seconds / 2:
            break
        last = timed(evaluations)
        warmups += 1
        if len(warmup) < MAX_WARMUPS:
            warmup.append(last)
        evaluations = max(1, int(np.ceil(SHORTEST_SAMPLE_SECONDS / max(last, 1e-9))))
    start = time.perf_counter()
    seconds: list[float] = []
    while len(seconds) < MAX_SAMPLES:
        seconds.append(timed(evaluations))
        now = time.perf_counter()
        if now - compiled + seconds[-1] * evaluations > rules.cell_seconds:
            break
        if len(seconds) >= rules.min_samples and now - start >= rules.sampling_seconds:
            break
    return {"seconds": seconds, "evaluations_per_sample": evaluations, "warmup_seconds": warmup}


def blas() -> list[dict[str, Any]]:
    """Which BLAS libraries are loaded, with the kernel that each chose and its threads."""
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "architecture", "num_threads", "prefix")
    return [{key: info[key] for key in keys if key in info} for info in threadpool_info()]


if __name__ == "__main__":
    main()
