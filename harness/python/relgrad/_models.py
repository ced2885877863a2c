"""Models and their gradients: the classes and functions of the package, on top of the compiled module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import _relgrad


def _array(value: Any) -> np.ndarray:
    """A NumPy array as it is; what speaks DLPack without a copy. Anything else is for the compiled module to refuse."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        return value
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError) as error:
        raise TypeError(f"{type(value).__name__} gives no array of the CPU by DLPack: {error}") from error


class Gradient(NamedTuple):
    """An ascent direction of the mean log-likelihood, shaped like the parameters."""

    weights: list[np.ndarray]
    """The direction of each W, (D, D), first layer first."""
    biases: list[np.ndarray] | None
    """The direction of each b, (D,); ``None`` for a network without biases."""


class Parameters:
    """The parameters of a network z = g(x) of dense layers y = W z + b.

    weights: L arrays (D, D), first layer first. They are kept, not copied: ``step`` changes them in place.
    biases: L arrays (D,), or ``None``.
    activation: the nonlinearity; ``smooth:ALPHA`` is ALPHA x + (1 - ALPHA) log(1 + e^x), ``tanh:ALPHA:BETA`` is
        tanh(ALPHA x) + BETA x.
    last_nonlinear: whether it follows the last layer too.
    base: the density of each latent component: ``normal``, ``sech[:C]``, ``logistic`` or ``laplace``.

    What does not fit is told by the first call that uses it.
    """

    __slots__ = ("activation", "base", "biases", "last_nonlinear", "weights")

    def __init__(
        self,
        weights: Sequence[Any],
        biases: Sequence[Any] | None = None,
        *,
        activation: str = "smooth:0.3",
        last_nonlinear: bool = False,
        base: str = "normal",
    ) -> None:
        self.weights = [_array(weight) for weight in weights]
        self.biases = None if biases is None else [_array(bias) for bias in biases]
        self.activation = activation
        self.last_nonlinear = last_nonlinear
        self.base = base

    @classmethod
    def random(
        cls,
        dim: int,
        layers: int,
        *,
        bias: bool = False,
        init: str = "orthogonal",
        seed: int = 0,
        dtype: Any = np.float32,
        **others: Any,
    ) -> Parameters:
        """A network drawn from ``seed``, bit for bit the same on every machine and as the program draws it.

        init: ``orthogonal``, or ``gaussian`` (independent normals of variance 1/D). Biases are normal, of standard
        deviation 0.1. ``others`` are arguments of the class.
        """
        kind = np.dtype(dtype)
        if kind not in (np.float32, np.float64):
            raise TypeError(f"dtype is {kind}: expected float32 or float64")
        weights, biases = _relgrad.initial(dim, layers, bias, init, seed, kind == np.float64)
        return cls(weights, biases if bias else None, **others)

    def empty_gradient(self) -> Gradient:
        """Arrays for a gradient, with contents that do not matter."""
        biases = self.biases
        return Gradient(
            [np.empty_like(weight, order="C") for weight in self.weights],
            None if biases is None else [np.empty_like(bias, order="C") for bias in biases],
        )

    def copy(self) -> Parameters:
        """The same network with arrays of its own."""
        return Parameters(
            [np.array(weight, order="C") for weight in self.weights],
            None if self.biases is None else [np.array(bias) for bias in self.biases],
            activation=self.activation,
            last_nonlinear=self.last_nonlinear,
            base=self.base,
        )

    def __repr__(self) -> str:
        shape = getattr(self.weights[0], "shape", ()) if self.weights else ()
        return f"Parameters(D={shape[0] if shape else 0}, L={len(self.weights)}, activation={self.activation!r})"


@dataclass(frozen=True)
class LogLikelihood:
    """The log-likelihood of a batch in its three parts, in nats, float64 whatever the precision of the network."""

    lp: np.ndarray
    """sum_i log p_i(z_i) of each sample, (N,)."""
    l1j: np.ndarray
    """sum over the layers of sum_i log s'(y_i) of each sample, (N,)."""
    l2j_per_layer: np.ndarray
    """log|det W| of each layer, (L,)."""

    @property
    def l2j(self) -> float:
        """log|det W|, the sum over the layers."""
        return float(self.l2j_per_layer.sum())

    @property
    def per_sample(self) -> np.ndarray:
        """log p(x) of each sample, (N,)."""
        return self.lp + self.l1j + self.l2j

    @property
    def mean(self) -> float:
        """The mean of log p(x) over the samples: the objective that a gradient ascends."""
        return float((self.lp + self.l1j).mean()) + self.l2j


class StepReport(NamedTuple):
    """What a step did to each layer."""

    step_sizes: list[float]
    """The step sizes taken: ``mu``, or less where the guard shortened it."""
    rho: list[float]
    """The bounds of the norm of E in W <- (I + mu E) W."""


def gradient(
    parameters: Parameters,
    x: Any,
    method: str = "relative",
    out: Gradient | None = None,
    *,
    bias_mode: str = "exact",
    threads: int | None = None,
) -> Gradient:
    """The ascent direction of the mean log-likelihood of x (N, D) by one of relgrad's methods.

    method: ``relative`` (O(N D^2), no inverse), ``transposed``, ``ordinary`` (the gradient, one inverse a layer), or
        ``autodiff`` and ``autodiff-streamed`` (the gradient through the full Jacobian: N matrices D x D in memory, or a
        few at a time).
    out: arrays to write to, such as ``parameters.empty_gradient()`` or an earlier result; new ones by default.
    bias_mode: of the relative gradient: ``exact``, ``paper`` (as printed there, which need not ascend) or ``plain``.
    threads: threads to use; by default one for each core that the process may use.

    Returns ``out``. After an error its contents are undefined.
    """
    if out is None:
        out = _usable(parameters).empty_gradient()
    _relgrad.gradient(parameters, _array(x), method, bias_mode, out, threads)
    return out


def likelihood(parameters: Parameters, x: Any, *, threads: int | None = None) -> LogLikelihood:
    """The log-likelihood of x (N, D). Requires an LU of every weight, O(L D^3)."""
    return _likelihood(parameters, x, threads)[0]


def latents(parameters: Parameters, x: Any, *, threads: int | None = None) -> np.ndarray:
    """z = g(x) of x (N, D): a new array (N, D). Computed with the likelihood."""
    return _likelihood(parameters, x, threads)[1]


def _likelihood(parameters: Parameters, x: Any, threads: int | None) -> tuple[LogLikelihood, np.ndarray]:
    x = _array(x)
    z = np.empty_like(x, order="C")
    return LogLikelihood(*_relgrad.likelihood(parameters, x, z, threads)), z


def invert(parameters: Parameters, s: Any, out: np.ndarray | None = None, *, threads: int | None = None) -> np.ndarray:
    """x = g^-1(s) of latents s (N, D). Requires an LU of every weight, O(L D^3).

    out: an array (N, D) to write to, which may be ``s`` itself; a new one by default. Returns ``out``.
    """
    s = _array(s)
    if out is None:
        out = np.array(s, order="C")
    elif out is not s:
        np.copyto(out, s, casting="no")
    _relgrad.invert(parameters, out, threads)
    return out


def sample(parameters: Parameters, count: int, seed: int = 0, *, threads: int | None = None) -> np.ndarray:
    """``count`` draws from the model, (count, D): latents from the base density by ``seed``, then g^-1."""
    return _relgrad.sample(parameters, count, seed, threads)


def step(
    parameters: Parameters,
    x: Any,
    mu: float,
    *,
    transposed: bool = False,
    bias_mode: str = "exact",
    guard: bool = True,
    threads: int | None = None,
) -> StepReport:
    """W <- W + mu dW and b <- b + mu db in place, along the relative gradient of x (N, D); no gradient is stored.

    mu: the step size, positive.
    transposed: whether to step along the transposed relative gradient.
    guard: whether to shorten the step of a layer so that it stays invertible, to at most 1 / (2 rho).

    Numbers that are not finite are a ``ValueError``; the layers behind the one that it names have stepped already.
    """
    return StepReport(*_relgrad.step(parameters, _array(x), mu, transposed, bias_mode, guard, threads))


def _usable(parameters: Parameters) -> Parameters:
    """Refuses what has no arrays, before arrays like them are made."""
    for name, arrays in (("weights", parameters.weights), ("biases", parameters.biases or [])):
        for k, array in enumerate(arrays):
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name}[{k}] is a {type(array).__name__}: expected a NumPy array")
    return parameters
