"""What the tests share: the program, golden files, and a small network with biases."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import relgrad

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = sorted((ROOT / "kernels/tests/golden").glob("*.json"))

# JAX reads it when it is imported.
os.environ.setdefault("JAX_ENABLE_X64", "1")


def program() -> str:
    """The program that the wheel brought: next to this interpreter, else on the path."""
    beside = Path(sys.executable).with_name("relgrad")
    found = str(beside) if beside.exists() else shutil.which("relgrad")
    if found is None:
        pytest.skip("the program relgrad is not installed: install the wheel of harness/python/build")
    return found


def array(node: dict) -> np.ndarray:
    return np.array(node["data"]).reshape(node["shape"])


def arrays(nodes: list[dict] | None) -> list[np.ndarray] | None:
    return None if nodes is None else [array(node) for node in nodes]


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max|a - b| / max|b|; absolute where b is all zero. NaN where a is not finite, which no tolerance lets pass."""
    scale = np.abs(theirs).max() or 1.0
    return float(np.abs(np.asarray(ours, dtype=float) - theirs).max() / scale)


class Golden:
    """A dense golden file without a condition."""

    def __init__(self, case: dict) -> None:
        self.id, self.tol, self.config, self.outputs = case["id"], case["tol"], case["config"], case["outputs"]
        self.weights, self.biases = arrays(case["inputs"]["W"]), arrays(case["inputs"]["b"])
        self.x = np.ascontiguousarray(array(case["inputs"]["X"]).T)
        self.linearity = self.config["nonlinearity"]

    @property
    def activation(self) -> str:
        of = self.linearity
        return f"smooth:{of['alpha']!r}" if of["name"] == "s_L" else f"tanh:{of['alpha']!r}:{of['beta']!r}"

    def parameters(self, dtype: type) -> relgrad.Parameters:
        biases = None if self.biases is None else [bias.astype(dtype) for bias in self.biases]
        return relgrad.Parameters(
            [weight.astype(dtype) for weight in self.weights],
            biases,
            activation=self.activation,
            last_nonlinear=self.config["last_nonlinear"],
            base=self.config["base"],
        )

    def direction(self, name: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        node = self.outputs[name]
        return arrays(node["dW"]), arrays(node["db"]) or []


def _cases() -> list[Golden]:
    texts = (json.loads(path.read_text()) for path in GOLDEN)
    return [Golden(case) for case in texts if case.get("kind") == "dense" and "conditional" not in case["config"]]


CASES = _cases()


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def golden(request: pytest.FixtureRequest) -> Golden:
    return request.param


@pytest.fixture
def network() -> relgrad.Parameters:
    return relgrad.Parameters.random(dim=6, layers=3, bias=True, seed=3, dtype=np.float64)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(20, 6))
