"""What the libraries' layers are made of, from a weight W of ours, and the likelihood and gradients that they must have.

W = S P L U,   Q = H(v_K) ... H(v_1),   H(v) = I - 2 v vᵀ / vᵀv
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from problem import ALPHA

Array = NDArray[np.floating]


def reference(weights: list[Array], x: Array) -> tuple[float, list[Array]]:
    """Log-likelihood and ordinary gradients [M2], [M9] in f64; itself compared with relgrad's in every verification."""
    z, inputs, outputs, likelihood = x.astype(np.float64), [], [], 0.0
    for k, weight in enumerate(weights):
        inputs.append(z)
        y = z @ weight.T
        outputs.append(y)
        likelihood += np.linalg.slogdet(weight)[1]
        if k + 1 < len(weights):
            z = ALPHA * y + (1.0 - ALPHA) * np.logaddexp(0.0, y)
            likelihood += np.log(_slope(y)).sum(1).mean()
    likelihood += (-0.5 * (y * y).sum(1) - 0.5 * y.shape[1] * math.log(2.0 * math.pi)).mean()
    delta, gradients = -y, []
    for k in reversed(range(len(weights))):
        gradients.append(delta.T @ inputs[k] / len(x) + np.linalg.inv(weights[k]).T)
        if k:
            slope = _slope(outputs[k - 1])
            sigmoid = (slope - ALPHA) / (1.0 - ALPHA)
            delta = (delta @ weights[k]) * slope + (1.0 - ALPHA) * sigmoid * (1.0 - sigmoid) / slope
    return float(likelihood), gradients[::-1]


def _slope(y: Array) -> Array:
    return ALPHA + (1.0 - ALPHA) / (1.0 + np.exp(-y))


@dataclass
class Factors:
    """W = S Π L U: y = S (L U z)[order], L unit lower, U with a positive diagonal."""

    order: NDArray[np.int64]
    signs: Array
    lower: Array
    upper: Array

    def pulled(self, gradient: Array) -> Array:
        """Pᵀ G."""
        result = np.empty_like(gradient)
        result[self.order] = self.signs[:, None] * gradient
        return result

    def of_lower(self, gradient: Array) -> Array:
        return self.pulled(gradient) @ self.upper.T

    def of_upper(self, gradient: Array) -> Array:
        return self.lower.T @ self.pulled(gradient)


def factor(weight: Array) -> Factors:
    """W = P L U; a negative diagonal of U becomes signs of L's rows and columns and of P."""
    from scipy.linalg import lu

    permuted, lower, upper = lu(weight)
    order = permuted.argmax(1)
    signs = np.sign(np.diag(upper))
    return Factors(order, signs[order], signs[:, None] * lower * signs, signs[:, None] * upper)


def reflections(orthogonal: Array) -> Array:
    """Vectors v with Q = H(v_K) … H(v_1), by taking every column of Q to its unit vector; K is D or D - 1."""
    dim, rest, vectors = len(orthogonal), orthogonal.copy(), []
    for i in range(dim):
        vector = rest[:, i].copy()
        vector[i] -= 1.0
        if i + 1 == dim and rest[i, i] > 0.0:
            break
        vector /= np.linalg.norm(vector)
        rest -= 2.0 * np.outer(vector, vector @ rest)
        vectors.append(vector)
    return np.array(vectors[::-1])


def of_reflections(vectors: Array, gradient: Array) -> Array:
    """The gradient of every v_i of Q = H_K … H_1 from that of Q."""
    dim = gradient.shape[0]
    matrix = lambda v: np.eye(dim) - 2.0 * np.outer(v, v) / (v @ v)  # noqa: E731
    after, before = np.eye(dim), np.eye(dim)
    for v in vectors[::-1]:
        after = after @ matrix(v)
    result = []
    for v in vectors:
        after = after @ matrix(v)  # H(v) is its own inverse: what comes after v alone is left
        of_matrix = after.T @ gradient @ before.T
        s = v @ v
        result.append(-2.0 / s * (of_matrix + of_matrix.T) @ v + 4.0 * (v @ of_matrix @ v) / s**2 * v)
        before = matrix(v) @ before
    return np.array(result)


def of_softplus(value: Array, epsilon: float) -> Array:
    """The number whose softplus is value - epsilon."""
    wanted = value - epsilon
    if np.any(wanted <= 0.0):
        raise ValueError(f"the library's diagonal is above {epsilon}, this one falls to {value.min():.1e}")
    return wanted + np.log(-np.expm1(-wanted))
