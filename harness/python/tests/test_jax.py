"""The JAX layer: golden vectors, a training of relgrad itself, carried determinants."""

from __future__ import annotations

import math

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402
import layers as shared  # noqa: E402
from conftest import Golden  # noqa: E402

from relgrad.jax import carried_log_abs_det, log_abs_det, relative_linear  # noqa: E402

CONFIG = {"last_nonlinear": False, "nonlinearity": {"name": "s_L", "alpha": 0.3}, "base": "normal"}


def sigma(y, of: dict):
    if of["name"] == "s_L":
        return of["alpha"] * y + (1 - of["alpha"]) * jax.nn.softplus(y)
    return jnp.tanh(of["alpha"] * y) + of["beta"] * y


def log_slope(y, of: dict):
    if of["name"] == "s_L":
        return jnp.log(of["alpha"] + (1 - of["alpha"]) * jax.nn.sigmoid(y))
    # 1 - tanh^2 would lose all digits at large |y|.
    return jnp.log(of["alpha"] / jnp.cosh(jnp.clip(of["alpha"] * y, -40, 40)) ** 2 + of["beta"])


def log_density(z, base: str):
    if base == "normal":
        return -0.5 * (z**2) - 0.5 * math.log(2 * math.pi)
    if base == "sech":
        return -jnp.logaddexp(0.5 * math.pi * z, -0.5 * math.pi * z)
    if base == "logistic":
        return -jnp.abs(z) - 2 * jnp.log1p(jnp.exp(-jnp.abs(z)))
    return -jnp.abs(z) - math.log(2)


def loss(layers, x, config: dict, taps=None, values=None):
    """The mean negative log-likelihood, and the layers' outputs."""
    total, outputs = jnp.zeros(len(x), x.dtype), []
    for k, (weight, bias) in enumerate(layers):
        x = relative_linear(x, weight, bias, None if taps is None else taps[k])
        outputs.append(x)
        if config["last_nonlinear"] or k + 1 < len(layers):
            total = total + log_slope(x, config["nonlinearity"]).sum(1)
            x = sigma(x, config["nonlinearity"])
    total = total + log_density(x, config["base"]).sum(1)
    values = values or [None] * len(layers)
    dets = [log_abs_det(weight, bias, value) for (weight, bias), value in zip(layers, values)]
    return -total.mean() - sum(dets), outputs


def model(parameters) -> list:
    biases = parameters.biases or [None] * len(parameters.weights)
    return [(jnp.asarray(w), None if b is None else jnp.asarray(b)) for w, b in zip(parameters.weights, biases)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_are_those_of_the_golden_files(golden: Golden, dtype: str) -> None:
    layers = model(golden.parameters(np.dtype(dtype)))
    gradient = jax.grad(lambda layers: loss(layers, jnp.asarray(golden.x.astype(dtype)), golden.config)[0])(layers)
    biases = [bias for _, bias in gradient if bias is not None]
    shared.require_golden(golden, dtype, [weight for weight, _ in gradient], biases)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_training_ends_where_that_of_relgrad_does(dtype: str) -> None:
    @jax.jit
    def step(layers, x):
        gradient = jax.grad(lambda layers: loss(layers, x, CONFIG)[0])(layers)
        return jax.tree.map(lambda old, g: old - shared.RATE * g, layers, gradient)

    layers = model(shared.start(dtype))
    for x in shared.batches():
        layers = step(layers, jnp.asarray(x.astype(dtype)))
    shared.require_same([np.asarray(w) for w, _ in layers] + [np.asarray(b) for _, b in layers], dtype)


@pytest.mark.parametrize(("samples", "rate"), [(3, 0.005), (20, 0.05)])
def test_a_carried_determinant_is_that_of_an_lu(samples: int, rate: float) -> None:
    @jax.jit
    def step(layers, values, x):
        taps = [jnp.zeros_like(x)] * len(layers)
        of = lambda layers, taps: loss(layers, x, CONFIG, taps, values)  # noqa: E731
        (gradient, errors), outputs = jax.grad(of, argnums=(0, 1), has_aux=True)(layers, taps)
        layers = jax.tree.map(lambda old, g: old - rate * g, layers, gradient)
        carried = [carried_log_abs_det(*of, rate) for of in zip(values, outputs, errors)]
        return layers, carried

    layers = model(shared.start("float64"))
    begun = values = [log_abs_det(weight) for weight, _ in layers]
    for x in shared.batches(samples=samples):
        layers, values = step(layers, values, jnp.asarray(x))
    for (weight, _), value, at_start in zip(layers, values, begun):
        assert float(value) == pytest.approx(float(jnp.linalg.slogdet(weight)[1]), abs=1e-10)
        assert abs(float(value - at_start)) > 0.1


def test_the_gradient_alone_needs_no_lu() -> None:
    layers, x = model(shared.start("float64")), jnp.ones((4, 6))
    of = lambda layers: loss(layers, x, CONFIG)[0]  # noqa: E731
    compiled = {
        name: jax.jit(f(of)).lower(layers).compile().as_text()
        for name, f in [("grad", jax.grad), ("value_and_grad", jax.value_and_grad)]
    }
    assert "getrf" not in compiled["grad"] and "getrf" in compiled["value_and_grad"]


def test_an_input_gets_the_usual_gradient_in_any_shape() -> None:
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(5, 5)))
    x, seed = (jnp.asarray(np.random.default_rng(k).normal(size=(2, 3, 5))) for k in (1, 2))
    y, pull = jax.vjp(lambda x: relative_linear(x, weight), x)
    np.testing.assert_allclose(pull(seed)[0], seed @ weight, atol=1e-12)
    assert y.shape == x.shape
