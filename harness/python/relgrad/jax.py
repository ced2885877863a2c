"""A dense layer for JAX whose derivative is the relative gradient.

For a loss that ends in the negative log-likelihood of a model with square layers::

    def loss(layers, x):                                    # layers: [(W, b), (W, b)]; x: (N, D), one sample a row
        (w1, b1), (w2, b2) = layers
        y = relative_linear(x, w1, b1)
        z = relative_linear(0.3 * y + 0.7 * softplus(y), w2, b2)
        log_p = -0.5 * (z**2).sum(1) - 25 * log(2 * pi)
        log_slope = log(0.3 + 0.7 * sigmoid(y)).sum(1)
        return -(log_p + log_slope).mean() - log_abs_det(w1, b1) - log_abs_det(w2, b2)

    gradient = jax.jit(jax.grad(loss))(layers, x)           # no inverse and no determinant of a weight

The gradient holds G W^T W for the gradient G, in the group of affine maps: the first D rows of G' W'^T W' with
W' = [[W, b], [0, 1]]. ``jax.grad`` alone drops the value of the loss, and with it the LU of ``log_abs_det``;
``jax.value_and_grad`` computes it, unless a carried value is given.

Optimizers: plain gradient descent (``optax.sgd`` without momentum, any schedule, clipping by the global norm) keeps the
meaning of the relative gradient: W <- (I + mu E) W. Momentum nearly does. Adam and other elementwise scalings train
well but have neither its equivariance nor its invertibility. L-BFGS and line searches need the gradient itself and do
not work. Derivatives are of reverse mode and of first order.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["carried_log_abs_det", "log_abs_det", "relative_linear"]


def relative_linear(x: jax.Array, weight: jax.Array, bias: jax.Array | None = None, tap: Any = None) -> jax.Array:
    """y = W x + b (..., D) for x (..., D), W (D, D), b (D,). The derivatives in W and b are relative, that in x is the
    usual one.

    tap: zeros (..., D); the derivative in them is that in y, which ``carried_log_abs_det`` asks for.
    """
    y = _linear(x, weight, bias)
    return y if tap is None else y + tap


@jax.custom_vjp
def _linear(x: jax.Array, weight: jax.Array, bias: jax.Array | None) -> jax.Array:
    y = x @ weight.T
    return y if bias is None else y + bias


def _linear_forward(x: jax.Array, weight: jax.Array, bias: jax.Array | None) -> tuple[jax.Array, Any]:
    y = _linear(x, weight, bias)
    return y, (y, weight, bias)


def _linear_backward(kept: Any, grad_y: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    y, weight, bias = kept
    rows, deltas = y.reshape(-1, y.shape[-1]), grad_y.reshape(-1, y.shape[-1])
    # [U | V] = W^T [Y | delta] in one pass over W.
    pulled = jnp.concatenate([rows, deltas]) @ weight
    grad_bias = None if bias is None else deltas.T @ (1.0 + rows @ bias)
    return pulled[len(rows) :].reshape(y.shape), deltas.T @ pulled[: len(rows)], grad_bias


_linear.defvjp(_linear_forward, _linear_backward)


@jax.custom_vjp
def log_abs_det(weight: jax.Array, bias: jax.Array | None = None, value: Any = None) -> jax.Array:
    """log|det W| in nats, a scalar to subtract from a mean negative log-likelihood. Its derivative is relative: W, and
    b in the bias.

    value: log|det W| where it is known, as from ``carried_log_abs_det``; else it is computed by an LU, O(D^3).
    """
    return jnp.linalg.slogdet(weight)[1] if value is None else jnp.asarray(value, weight.dtype)


def _log_abs_det_forward(weight: jax.Array, bias: jax.Array | None, value: Any) -> tuple[jax.Array, Any]:
    return log_abs_det(weight, bias, value), (weight, bias, value)


def _log_abs_det_backward(kept: Any, share: jax.Array) -> tuple[jax.Array, jax.Array | None, Any]:
    weight, bias, value = kept
    no_derivative = None if value is None else jnp.zeros_like(value)
    return share * weight, None if bias is None else share * bias, no_derivative


log_abs_det.defvjp(_log_abs_det_forward, _log_abs_det_backward)


def carried_log_abs_det(value: Any, y: jax.Array, grad_y: jax.Array, rate: Any, share: Any = -1.0) -> jax.Array:
    """log|det W| after a step W - rate * gradient of plain gradient descent, from its value before, by the matrix
    determinant lemma: O(N^2 D), or O(N D^2) where N > D.

    y, grad_y: the layer's outputs (N, D) in that step, and the derivative of the loss in them.
    share: the derivative of the loss in log|det W|; -1 for a mean negative log-likelihood.

    Rounding adds up slowly, and faster in float32: take the value of ``log_abs_det`` now and then.
    """
    samples, dim = y.shape
    keep = 1.0 - rate * share
    small = y @ grad_y.T if samples <= dim else grad_y.T @ y
    change = jnp.linalg.slogdet(jnp.eye(len(small), dtype=small.dtype) - (rate / keep) * small)[1]
    return value + dim * jnp.log(jnp.abs(keep)) + change
