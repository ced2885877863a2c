"""The gradients in NumPy, as fast as it goes: every product and elementwise pass writes to a buffer taken beforehand.

Products are NumPy's own (OpenBLAS); the inverse is LAPACK's getrf and getri through SciPy, which does 2 D^3 operations
where numpy.linalg.inv does 8/3 D^3.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
from scipy.linalg import get_lapack_funcs

from problem import ALPHA, Array, Problem

NAME = "NumPy"
METHODS = ("relative", "relative-inplace", "ordinary")


# SciPy's OpenBLAS is another one than NumPy's, and the threads of both take one another's cores: at D = 100 a gradient
# took 20 ms by getri and 0.3 by NumPy alone, at 1,000 134 and 80. At 2,000 both are equal, at 5,000 getri takes 2.1 s for 5.1.
SMALL = 1000


class Evaluation:
    """One method on one problem: `evaluate` is what is timed, `result` what it computed last."""

    def __init__(self, method: str, problem: Problem) -> None:
        self.method = method
        self.step = problem.step
        self.weights = problem.weights
        self.x = problem.x
        layers, (batch, dim) = len(problem.weights), problem.x.shape
        empty = lambda *shape: np.empty(shape, problem.x.dtype)  # noqa: E731
        # [Y_k | delta_k] above each other, so that one product over W_k serves both: (2N, D) a layer.
        self.pairs = [empty(2 * batch, dim) for _ in range(layers)]
        self.pulled = empty(2 * batch, dim)
        # Z_1 .. Z_{L-1}, and e^{-|y|} for the slopes.
        self.z = [empty(batch, dim) for _ in range(layers - 1)]
        self.e = [empty(batch, dim) for _ in range(layers - 1)]
        self.work = [empty(batch, dim) for _ in range(2)]
        self.gradient = [empty(dim, dim) for _ in range(layers)]
        if method == "ordinary" and dim > SMALL:
            self.getrf, self.getri, lwork = get_lapack_funcs(("getrf", "getri", "getri_lwork"), (problem.x,))
            self.lwork = int(lwork(dim)[0].real)
        self.run = {
            "relative": self._relative,
            "relative-inplace": self._relative_step,
            "ordinary": self._ordinary,
        }[method]

    def evaluate(self) -> None:
        self.run()

    def result(self) -> list[Array]:
        return self.weights if self.method == "relative-inplace" else self.gradient

    def _forward(self) -> None:
        """Y_k = W_k Z_{k-1}, Z_k = s_L(Y_k), with s_L(y) = max(y, alpha y) + (1 - alpha) log(1 + e^{-|y|})."""
        batch = len(self.x)
        z = self.x
        for k, weight in enumerate(self.weights):
            y = self.pairs[k][:batch]
            np.matmul(z, weight.T, out=y)
            if k + 1 == len(self.weights):
                return
            e, z = self.e[k], self.z[k]
            np.copysign(y, -1.0, out=e)
            np.exp(e, out=e)
            np.add(e, 1.0, out=z)
            np.log(z, out=z)
            z *= 1.0 - ALPHA
            np.multiply(y, ALPHA, out=self.work[0])
            np.maximum(self.work[0], y, out=self.work[0])
            z += self.work[0]

    def _error(self, k: int, pulled: Array) -> Array:
        """delta_k = V_{k+1} s'(Y_k) + s''(Y_k)/s'(Y_k), or psi(Z_L) = -Z_L for the linear last layer."""
        batch = len(self.x)
        y, delta = self.pairs[k][:batch], self.pairs[k][batch:]
        if k + 1 == len(self.weights):
            np.negative(y, out=delta)
            return delta
        # s' = alpha + (1 - alpha) sigmoid(y), with sigmoid(y) = (1 + tanh(y/2))/2;  s'' = (1 - alpha) e / (1 + e)^2.
        e, (slope, ratio) = self.e[k], self.work
        np.multiply(y, 0.5, out=slope)
        np.tanh(slope, out=slope)
        slope *= 0.5 * (1.0 - ALPHA)
        slope += 0.5 * (1.0 + ALPHA)
        np.add(e, 1.0, out=ratio)
        np.multiply(ratio, ratio, out=ratio)
        ratio *= slope
        np.divide(e, ratio, out=ratio)
        ratio *= 1.0 - ALPHA
        np.multiply(pulled, slope, out=delta)
        delta += ratio
        return delta

    def _relative(self) -> None:
        """dW_k = (1/N) delta_k U_k^T + W_k with U_k = W_k^T Y_k [M11]; [U | V] in one product over W_k."""
        batch = len(self.x)
        self._forward()
        for k in reversed(range(len(self.weights))):
            weight, gradient = self.weights[k], self.gradient[k]
            delta = self._error(k, self.pulled[batch:])
            wanted = 2 * batch if k else batch
            np.matmul(self.pairs[k][:wanted], weight, out=self.pulled[:wanted])
            delta *= 1.0 / batch
            np.matmul(delta.T, self.pulled[:batch], out=gradient)
            gradient += weight

    def _relative_step(self) -> None:
        """The gradient, then W_k <- W_k + mu dW_k."""
        self._relative()
        for weight, gradient in zip(self.weights, self.gradient, strict=True):
            gradient *= self.step
            weight += gradient

    def _ordinary(self) -> None:
        """G_k = (1/N) delta_k Z_{k-1}^T + W_k^{-T} [M9]."""
        batch = len(self.x)
        self._forward()
        for k in reversed(range(len(self.weights))):
            weight, gradient = self.weights[k], self.gradient[k]
            delta = self._error(k, self.pulled[:batch])
            if k:
                np.matmul(delta, weight, out=self.pulled[:batch])
            delta *= 1.0 / batch
            np.matmul(delta.T, self.z[k - 1] if k else self.x, out=gradient)
            gradient += self._inverse_transposed(k)

    def _inverse_transposed(self, k: int) -> Array:
        """By NumPy's inverse, which solves for the identity (2.7 D^3 operations), or beyond SMALL by SciPy's getrf and getri."""
        weight = self.weights[k]
        if len(weight) <= SMALL:
            try:
                return np.linalg.inv(weight).T
            except np.linalg.LinAlgError as cause:
                raise ArithmeticError(f"the weight of layer {k + 1} is singular") from cause
        # LAPACK sees the rows of W as columns: it inverts W^T, in Fortran order, into a copy of it.
        factors, pivots, singular = self.getrf(weight.T)
        inverse, info = self.getri(factors, pivots, lwork=self.lwork, overwrite_lu=True)
        if singular or info:
            raise ArithmeticError(f"the weight of layer {k + 1} is singular")
        return inverse


def session(method: str) -> AbstractContextManager[None]:
    return nullcontext()


def prepare(method: str, problem: Problem, device: str) -> Evaluation:
    if device != "cpu":
        raise ValueError("NumPy runs on the CPU only")
    return Evaluation(method, problem)


def versions() -> dict[str, str]:
    import scipy

    return {"numpy": np.__version__, "scipy": scipy.__version__}
