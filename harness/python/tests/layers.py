"""One model in two frameworks: what the tests of the layers share."""

from __future__ import annotations

import numpy as np
from conftest import Golden, distance

import relgrad

RATE = 0.02
STEPS = 100


def batches(samples: int = 20, dim: int = 6) -> list[np.ndarray]:
    """The batches of a training, in their order: a mixture of independent Laplace components."""
    random = np.random.default_rng(5)
    mixing = random.normal(size=(dim, dim)) / np.sqrt(dim)
    return [random.laplace(scale=0.7, size=(samples, dim)) @ mixing for _ in range(STEPS)]


def start(dtype: str) -> relgrad.Parameters:
    return relgrad.Parameters.random(dim=6, layers=3, bias=True, seed=3, dtype=dtype)


def trained(dtype: str) -> relgrad.Parameters:
    """The network after 100 plain steps of relgrad itself."""
    parameters = start(dtype)
    for x in batches():
        relgrad.step(parameters, x.astype(dtype), RATE, guard=False)
    return parameters


def require_same(found: list[np.ndarray], dtype: str) -> None:
    """The same parameters to rounding: errors of each step grow over a hundred of them."""
    expected, before = trained(dtype), start(dtype)
    arrays = expected.weights + expected.biases
    tolerance = {"float64": 1e-13, "float32": 1e-5}[dtype]
    for ours, theirs, was in zip(found, arrays, before.weights + before.biases):
        assert distance(ours, theirs) <= tolerance
        assert distance(was, theirs) > 0.1, "the training has moved nothing"


def require_golden(golden: Golden, dtype: str, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
    """Gradients of the mean negative log-likelihood against the file's ascent directions."""
    expected = golden.direction("relative")
    tolerance = golden.tol["f64" if dtype == "float64" else "f32"]["relative"]
    if tolerance is None:
        return
    for ours, theirs in zip(weights + biases, expected[0] + expected[1]):
        # The framework's own nonlinearity and its derivative may lose a digit more than ours.
        assert distance(-np.asarray(ours), theirs) <= 10 * tolerance
