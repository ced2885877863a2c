"""The gradients in JAX: each method is one jitted function of the weights and the batch.

`autodiff` is what a user would write: the Jacobian of every sample by vmap(jacfwd), slogdet, and grad through both.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from problem import ALPHA, Array, Problem

NAME = "JAX"
METHODS = ("relative", "relative-inplace", "ordinary", "autodiff")

Weights = list[jax.Array]


def sigma(y: jax.Array) -> jax.Array:
    return ALPHA * y + (1.0 - ALPHA) * jax.nn.softplus(y)


def slope_and_ratio(y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """s'(y) and s''(y)/s'(y)."""
    s = jax.nn.sigmoid(y)
    slope = ALPHA + (1.0 - ALPHA) * s
    return slope, (1.0 - ALPHA) * s * (1.0 - s) / slope


def forward(weights: Weights, x: jax.Array) -> tuple[Weights, Weights]:
    """Pre-activations Y_1 .. Y_L and the layers' inputs Z_0 .. Z_{L-1}."""
    ys, zs = [], [x]
    for k, weight in enumerate(weights):
        ys.append(zs[-1] @ weight.T)
        if k + 1 < len(weights):
            zs.append(sigma(ys[-1]))
    return ys, zs


def error(ys: Weights, k: int, pulled: jax.Array | None) -> jax.Array:
    """delta_k, from V_{k+1}; psi(Z_L) = -Z_L for the linear last layer."""
    if k + 1 == len(ys):
        return -ys[k]
    slope, ratio = slope_and_ratio(ys[k])
    return pulled * slope + ratio


def relative(weights: Weights, x: jax.Array) -> Weights:
    """dW_k = (1/N) delta_k U_k^T + W_k with U_k = W_k^T Y_k [M11]."""
    batch = x.shape[0]
    ys, _ = forward(weights, x)
    gradient: list[Any] = [None] * len(weights)
    pulled = None
    for k in reversed(range(len(weights))):
        weight = weights[k]
        delta = error(ys, k, pulled)
        both = jnp.concatenate([ys[k], delta] if k else [ys[k]]) @ weight
        pulled = both[batch:]
        gradient[k] = (delta / batch).T @ both[:batch] + weight
    return gradient


def relative_step(weights: Weights, x: jax.Array, step: float) -> Weights:
    return [weight + step * gradient for weight, gradient in zip(weights, relative(weights, x), strict=True)]


def ordinary(weights: Weights, x: jax.Array) -> Weights:
    """G_k = (1/N) delta_k Z_{k-1}^T + W_k^{-T} [M9]."""
    batch = x.shape[0]
    ys, zs = forward(weights, x)
    gradient: list[Any] = [None] * len(weights)
    pulled = None
    for k in reversed(range(len(weights))):
        delta = error(ys, k, pulled)
        pulled = delta @ weights[k]
        gradient[k] = (delta / batch).T @ zs[k] + jnp.linalg.inv(weights[k]).T
    return gradient


def log_likelihood(weights: Weights, x: jax.Array) -> jax.Array:
    def g(sample: jax.Array) -> jax.Array:
        for weight in weights[:-1]:
            sample = sigma(weight @ sample)
        return weights[-1] @ sample

    jacobians = jax.vmap(jax.jacfwd(g))(x)
    z = jax.vmap(g)(x)
    return jnp.mean(-0.5 * jnp.sum(z * z, axis=1) + jnp.linalg.slogdet(jacobians)[1])


class Evaluation:
    """One method on one problem: `evaluate` is what is timed, `result` what it computed last."""

    def __init__(self, method: str, problem: Problem, device: str) -> None:
        put = partial(jax.device_put, device=jax.devices("gpu" if device == "cuda" else "cpu")[0])
        self.method = method
        self.weights = [put(weight) for weight in problem.weights]
        self.x = put(problem.x)
        # The host's copy would count against a large problem.
        problem.weights.clear()
        self.step = problem.step
        self.gradient: Weights | None = None
        self.run = {
            "relative": jax.jit(relative),
            # The old weights are given away, so that the new ones can take their place.
            "relative-inplace": jax.jit(relative_step, donate_argnums=0),
            "ordinary": jax.jit(ordinary),
            "autodiff": jax.jit(jax.grad(log_likelihood)),
        }[method]

    def evaluate(self) -> None:
        if self.method == "relative-inplace":
            self.weights = jax.block_until_ready(self.run(self.weights, self.x, self.step))
        else:
            # The last result is let go first, or there would be two in memory.
            self.gradient = None
            self.gradient = jax.block_until_ready(self.run(self.weights, self.x))

    def result(self) -> list[Array]:
        arrays = self.weights if self.method == "relative-inplace" else self.gradient
        return [np.asarray(array) for array in arrays]


def session(method: str) -> AbstractContextManager[None]:
    return nullcontext()


def prepare(method: str, problem: Problem, device: str) -> Evaluation:
    return Evaluation(method, problem, device)


def set_math(math: str) -> None:
    """On a GPU the default would be TF32, ten bits of the 23 that the other frameworks compute with."""
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if math == "tf32" else "highest")


def versions() -> dict[str, str]:
    return {"jax": jax.__version__, "platform": jax.devices()[0].device_kind}
