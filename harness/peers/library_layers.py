"""The linear layers of the libraries for log|det J|, set to a weight of ours, and their autoregressive models.

A layer is y = W z with the log-determinant that its library computes. `factor` writes W as a product of what the library
holds; where that has signs or an order which the library cannot hold, a fixed signed permutation stands before or behind
the layer. `expected` maps the dense ordinary gradient G to the layer's own parameters: with W = P L U,

    gL = tril(Pᵀ G Uᵀ, -1),   gU = triu(Lᵀ Pᵀ G)                                             [M52]

Rows are samples, as everywhere here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional

from library_factors import Array, factor, of_reflections, of_softplus, reflections
from problem import ALPHA

Step = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

# Of the timed residual layer, W = I + A.
CONTRACTION = 0.5
RESIDUAL_TERMS = 60  # of the series that is compared with the exact log-determinant: 0.5^60 is below all rounding


@dataclass
class Layer:
    """One layer: `step` maps z to y and the log-determinant, `dense` is the W that it equals."""

    parameters: list[torch.Tensor]
    step: Step
    dense: Array
    expected: Callable[[Array], list[Array]]


def log_likelihood(layers: Iterable[Layer], x: torch.Tensor) -> torch.Tensor:
    """The mean log-likelihood of a batch: relgrad's activation between the layers, a standard normal behind them."""
    layers = list(layers)
    total = torch.zeros((), dtype=x.dtype)
    z = x
    for k, layer in enumerate(layers):
        y, log_det = layer.step(z)
        total = total + log_det
        if k + 1 < len(layers):
            z = ALPHA * y + (1.0 - ALPHA) * functional.softplus(y)
            total = total + torch.log(ALPHA + (1.0 - ALPHA) * torch.sigmoid(y)).sum(1)
        else:
            z = y
    density = -0.5 * (z * z).sum(1) - 0.5 * z.shape[1] * math.log(2.0 * math.pi)
    return (total + density).mean()


def _put(parameter: torch.Tensor, values: Array) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _behind(module: Step, order: Array, signs: Array, dtype: torch.dtype) -> Step:
    """A library's layer, then y = S y[order]; nothing where that is the identity."""
    if np.array_equal(order, np.arange(len(order))) and np.all(signs == 1.0):
        return module
    index, sign = torch.from_numpy(np.asarray(order)), torch.from_numpy(signs).to(dtype)

    def step(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, log_det = module(z)
        return y[:, index] * sign, log_det

    return step


def zuko_lu(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    """L with a diagonal of its own, U with ones: both triangles of one array."""
    import zuko

    packed = torch.zeros(dim, dim, dtype=dtype, requires_grad=True)

    def call(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return zuko.transforms.LULinearTransform(packed).call_and_ladj(z)

    if weight is None:
        _put(packed, random.standard_normal((dim, dim), dtype=np.float32) / dim)
        with torch.no_grad():
            packed.fill_diagonal_(1.0)
        return Layer([packed], call, np.eye(1), lambda gradient: [gradient])
    factors = factor(weight)
    diagonal = np.diag(factors.upper)
    lower, upper = factors.lower * diagonal, factors.upper / diagonal[:, None]
    _put(packed, np.tril(lower) + np.triu(upper, 1))

    def expected(gradient: Array) -> list[Array]:
        pulled = factors.pulled(gradient)
        return [np.tril(pulled @ upper.T) + np.triu(lower.T @ pulled, 1)]

    step = _behind(call, factors.order, factors.signs, dtype)
    return Layer([packed], step, weight, expected)


def zuko_rotation(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    """exp(A - Aᵀ), whose log-determinant is 0: not any W, but the rotation of ours' skew part."""
    import zuko

    start = random.standard_normal((dim, dim)) / math.sqrt(dim) if weight is None else weight
    parameter = torch.from_numpy(start.copy()).to(dtype).requires_grad_()

    def step(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return zuko.transforms.RotationTransform(parameter).call_and_ladj(z)

    if weight is None:
        return Layer([parameter], step, np.eye(1), lambda gradient: [gradient])
    from scipy.linalg import expm, expm_frechet

    skew = start - start.T

    def expected(gradient: Array) -> list[Array]:
        of_skew = expm_frechet(skew.T, gradient, compute_expm=False)
        return [of_skew - of_skew.T]

    return Layer([parameter], step, expm(skew), expected)


def nflows_lu(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    from nflows import transforms

    return _lu_linear(transforms.LULinear(dim, identity_init=False), weight, dim, dtype)


def glasflow_lu(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    from glasflow.nflows import transforms

    return _lu_linear(transforms.LULinear(dim, identity_init=False), weight, dim, dtype)


def _lu_linear(module: torch.nn.Module, weight: Array | None, dim: int, dtype: torch.dtype) -> Layer:
    """L and U as lists of entries, the diagonal of U by softplus; the bias stays 0 and out of the comparison."""
    module.to(dtype)
    parameters = [module.lower_entries, module.upper_entries, module.unconstrained_upper_diag]
    call = lambda z: module(z)  # noqa: E731
    if weight is None:
        return Layer(parameters, call, np.eye(1), lambda gradient: [gradient])
    factors = factor(weight)
    raw = of_softplus(np.diag(factors.upper), module.eps)
    below, above = np.tril_indices(dim, -1), np.triu_indices(dim, 1)
    for parameter, values in zip(parameters, (factors.lower[below], factors.upper[above], raw), strict=True):
        _put(parameter, values)

    def expected(gradient: Array) -> list[Array]:
        of_upper = factors.of_upper(gradient)
        return [factors.of_lower(gradient)[below], of_upper[above], np.diag(of_upper) / (1.0 + np.exp(-raw))]

    return Layer(parameters, _behind(call, factors.order, factors.signs, dtype), weight, expected)


def normflows_lu_permute(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    """y = L U Π S z: the factors of Wᵀ, transposed; the library permutes before the layer."""
    import normflows

    module = normflows.flows.LULinearPermute(dim, identity_init=False).to(dtype)
    linear = module.linear
    parameters = [linear.lower_entries, linear.upper_entries, linear.unconstrained_upper_diag]
    call = lambda z: module.inverse(z)  # noqa: E731
    if weight is None:
        return Layer(parameters, call, np.eye(1), lambda gradient: [gradient])
    turned = factor(weight.T)
    diagonal = np.diag(turned.upper)
    lower, upper = turned.upper.T / diagonal, diagonal[:, None] * turned.lower.T
    _put(module.permutation._permutation, np.argsort(turned.order))
    raw = of_softplus(np.diag(upper), linear.eps)
    below, above = np.tril_indices(dim, -1), np.triu_indices(dim, 1)
    for parameter, values in zip(parameters, (lower[below], upper[above], raw), strict=True):
        _put(parameter, values)
    signs = torch.from_numpy(turned.signs).to(dtype)

    def expected(gradient: Array) -> list[Array]:
        # W = L U A with A = (S Π)ᵀ of the transposed factors, so that G Aᵀ takes the place of G.
        pulled = turned.pulled(gradient.T).T
        of_upper = lower.T @ pulled
        return [(pulled @ upper.T)[below], of_upper[above], np.diag(of_upper) / (1.0 + np.exp(-raw))]

    return Layer(parameters, lambda z: call(z * signs), weight, expected)


def normflows_lu(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    """InvertibleAffine, z W with W = P L U of our Wᵀ; signs of its own."""
    import normflows

    module = _without_warnings(lambda: normflows.flows.InvertibleAffine(dim, use_lu=True)).to(dtype)
    parameters = [module.L, module.U, module.log_S]
    call = lambda z: module.inverse(z)  # noqa: E731
    if weight is None:
        return Layer(parameters, call, np.eye(1), lambda gradient: [gradient])
    from scipy.linalg import lu

    permuted, lower, upper = lu(weight.T)
    diagonal = np.diag(upper)
    for tensor, values in (
        (module.P, permuted),
        (module.L, np.tril(lower, -1)),
        (module.U, np.triu(upper, 1)),
        (module.sign_S, np.sign(diagonal)),
        (module.log_S, np.log(np.abs(diagonal))),
    ):
        _put(tensor, values)

    def expected(gradient: Array) -> list[Array]:
        pulled = permuted.T @ gradient.T
        of_upper = lower.T @ pulled
        return [np.tril(pulled @ upper.T, -1), np.triu(of_upper, 1), np.diag(of_upper) * diagonal]

    return Layer(parameters, call, weight, expected)


def normflows_dense(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    """InvertibleAffine without factors: slogdet of W, which is the ordinary gradient by autodiff."""
    import normflows

    module = _without_warnings(lambda: normflows.flows.InvertibleAffine(dim, use_lu=False)).to(dtype)
    if weight is not None:
        _put(module.W, weight.T)
    dense = np.eye(1) if weight is None else weight
    return Layer([module.W], lambda z: module.inverse(z), dense, lambda gradient: [gradient.T])


def glasflow_qr(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    """H_K … H_1 R with K = D reflections, one after the other; R's diagonal by exp."""
    from glasflow.nflows import transforms

    if weight is None:
        module = transforms.QRLinear(dim, dim).to(dtype)
        parameters = [module.upper_entries, module.log_upper_diag, module.orthogonal.q_vectors]
        _put(parameters[2], random.standard_normal((dim, dim)))
        return Layer(parameters, lambda z: module(z), np.eye(1), lambda gradient: [gradient])
    orthogonal, upper = np.linalg.qr(weight)
    signs = np.sign(np.diag(upper))
    orthogonal, upper = orthogonal * signs, signs[:, None] * upper
    vectors = reflections(orthogonal)
    module = transforms.QRLinear(dim, len(vectors)).to(dtype)
    above = np.triu_indices(dim, 1)
    parameters = [module.upper_entries, module.log_upper_diag, module.orthogonal.q_vectors]
    for parameter, values in zip(parameters, (upper[above], np.log(np.diag(upper)), vectors), strict=True):
        _put(parameter, values)

    def expected(gradient: Array) -> list[Array]:
        of_upper = orthogonal.T @ gradient
        of_vectors = of_reflections(vectors, gradient @ upper.T)
        return [of_upper[above], np.diag(of_upper) * np.diag(upper), of_vectors]

    return Layer(parameters, lambda z: module(z), weight, expected)


def glasflow_svd(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    """Two sequences of K = D reflections around a diagonal; D must be even."""
    from glasflow.nflows import transforms

    module = transforms.SVDLinear(dim, dim).to(dtype)
    parameters = [module.orthogonal_1.q_vectors, module.unconstrained_diagonal, module.orthogonal_2.q_vectors]
    if weight is None:
        for parameter in (parameters[0], parameters[2]):
            _put(parameter, random.standard_normal((dim, dim)))
        return Layer(parameters, lambda z: module(z), np.eye(1), lambda gradient: [gradient])
    left, values, right = np.linalg.svd(weight)
    # An even number of reflections has determinant 1: a flipped column of both, and a flipped coordinate before.
    flip = np.linalg.det(left)
    left[:, 0] *= flip
    right[0] *= flip
    before = np.ones(dim)
    before[0] = np.linalg.det(right)
    right = right * before
    first, second = reflections(left), reflections(right)
    raw = of_softplus(values, module.eps)
    for parameter, numbers in zip(parameters, (first, raw, second), strict=True):
        _put(parameter, numbers)
    signs = torch.from_numpy(before).to(dtype)

    def expected(gradient: Array) -> list[Array]:
        pulled = gradient * before
        of_values = np.diag(left.T @ pulled @ right.T)
        of_first = of_reflections(first, pulled @ (values[:, None] * right).T)
        of_second = of_reflections(second, (left * values).T @ pulled)
        return [of_first, of_values / (1.0 + np.exp(-raw)), of_second]

    return Layer(parameters, lambda z: module(z * signs), weight, expected)


def normflows_residual(weight: Array | None, dim: int, dtype: torch.dtype, random: np.random.Generator) -> Layer:
    """W = I + A, A scaled to half of what would not contract. Timed: the library's defaults, a random trace and length
    of the series. Compared: the exact trace and a long series."""
    import normflows

    linear = torch.nn.Linear(dim, dim, bias=False).to(dtype)
    # The norm of a Gaussian matrix of variance 1/D is 2.
    start = random.standard_normal((dim, dim)) / math.sqrt(dim) if weight is None else weight
    norm = 2.0 if weight is None else np.linalg.norm(start, 2)
    contraction = CONTRACTION / norm * start
    _put(linear.weight, contraction)
    exact = {"exact_trace": True, "n_power_series": RESIDUAL_TERMS, "reduce_memory": False} if weight is not None else {}
    module = normflows.flows.Residual(linear, **exact).to(dtype)
    dense = np.eye(dim) + contraction if weight is not None else np.eye(1)
    return Layer([linear.weight], lambda z: module.inverse(z), dense, lambda gradient: [gradient])


def _without_warnings(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """normflows factors by the deprecated `Tensor.lu`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build()


LAYERS: dict[str, Callable[..., Layer]] = {
    "zuko-lu": zuko_lu,
    "nflows-lu": nflows_lu,
    "glasflow-lu": glasflow_lu,
    "normflows-lu": normflows_lu,
    "normflows-lu-permute": normflows_lu_permute,
    "normflows-dense": normflows_dense,
    "glasflow-qr": glasflow_qr,
    "glasflow-svd": glasflow_svd,
    "zuko-rotation": zuko_rotation,
    "normflows-residual": normflows_residual,
}


def autoregressive(name: str, dim: int, layers: int) -> tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """A model of `layers` transforms, each with one hidden layer of D units, and its log-density."""
    if name.startswith("zuko"):
        import zuko

        kind = {"zuko-maf": zuko.flows.MAF, "zuko-nsf": zuko.flows.NSF}[name]
        model = kind(dim, transforms=layers, hidden_features=(dim,))
        return model, lambda x: model().log_prob(x)
    from glasflow.nflows import transforms
    from glasflow.nflows.distributions import MADEMoG, StandardNormal
    from glasflow.nflows.flows import Flow

    shape = {"hidden_features": dim, "num_blocks": 1, "use_residual_blocks": False}
    if name == "glasflow-made-mog":
        model = MADEMoG(dim, context_features=None, num_mixture_components=10, **shape)
    else:
        masked = [transforms.MaskedAffineAutoregressiveTransform(features=dim, **shape) for _ in range(layers)]
        model = Flow(transforms.CompositeTransform(masked), StandardNormal([dim]))
    return model, model.log_prob
