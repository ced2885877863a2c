"""One network and batch: z = g(x), L layers y = W z, smooth leaky activation but after the last, standard-normal base.

This is the default architecture of relgrad's kernels (kernels/MATH.md, equations [M1]-[M5]): no bias,
s_L(x) = alpha x + (1 - alpha) log(1 + e^x) with alpha = 0.3. Samples are rows here, (N, D), the way frameworks hold a
batch; in memory that is the same as relgrad's columns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.3

# Steps while timing: small enough that thousands of them leave a network of the same scale.
TIMED_STEP = 1e-6

# What a peer can compute, by the name of the relgrad method that it stands against.
METHODS = ("relative", "relative-inplace", "ordinary", "autodiff")

Array = NDArray[np.floating]


@dataclass
class Problem:
    """Weights (L arrays of (D, D), y = W z) and a batch x (N, D)."""

    weights: list[Array]
    x: Array
    step: float = TIMED_STEP

    @property
    def dim(self) -> int:
        return self.x.shape[1]

    @property
    def batch(self) -> int:
        return self.x.shape[0]


@dataclass
class Case:
    """A problem with what relgrad computes for it, per method: gradients of every layer, or stepped weights."""

    problem: Problem
    expected: dict[str, list[Array]]


def draw(method: str, dim: int, batch: int, layers: int, dtype: str, seed: int) -> Problem:
    """A problem to be timed; times do not depend on its numbers, as long as weights can be inverted."""
    random = np.random.default_rng(seed)
    scale = np.asarray(dim**-0.5, dtype)

    def weight() -> Array:
        if method in ("ordinary", "autodiff"):
            return random.standard_normal((dim, dim), dtype=dtype) * scale
        # Drawing the 400 million numbers of one weight at D = 20,000 would take longer than all evaluations.
        period = random.standard_normal(65_537, dtype=dtype) * scale
        return np.resize(period, (dim, dim))

    weights = [weight() for _ in range(layers)]
    return Problem(weights, random.standard_normal((batch, dim), dtype=dtype))


def read(path: Path) -> Case:
    """Reads what `relgrad peer-case` wrote: every array is a list of numbers, column by column."""
    case = json.loads(path.read_text())
    dim, batch, dtype = case["dim"], case["batch"], np.dtype({"f32": "float32", "f64": "float64"}[case["dtype"]])

    def square(numbers: list[float]) -> Array:
        return np.ascontiguousarray(np.array(numbers, dtype).reshape(dim, dim).T)

    problem = Problem(
        [square(weight) for weight in case["weights"]],
        np.array(case["x"], dtype).reshape(batch, dim),
        case["step_size"],
    )
    return Case(problem, {name: [square(array) for array in arrays] for name, arrays in case["results"].items()})
