"""One process: verifies the libraries' layers against relgrad's numbers, or times one of them at one dimension."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import child
import problem
from library_common import versions
from library_factors import Array, reference
from library_layers import LAYERS, Layer, autoregressive, log_likelihood
from library_names import AUTOREGRESSIVE

TOLERANCE = child.TOLERANCE
# What the random residual layer may be off, in standard errors of the mean of its draws.
DEVIATIONS, DRAWS = 4.0, 400
LEAST_SCALE = 0.05
COUNTED_DIM = 200  # products are counted up to here: their counts are exact at any D


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(0)
    if arguments.probe:
        reply: dict[str, Any] = {"does_not_run": does_not_run()}
    else:
        reply = verify(arguments.verify) if arguments.verify else measure(arguments)
    json.dump(reply | {"versions": versions(), "blas": child.blas()}, sys.stdout)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verify", type=Path, metavar="CASE", help="what `relgrad peer-case` wrote")
    parser.add_argument("--probe", action="store_true", help="call what an old PyTorch had")
    parser.add_argument("--layer", choices=(*LAYERS, *AUTOREGRESSIVE))
    parser.add_argument("--dim", type=int)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--min-samples", type=int, default=5)
    parser.add_argument("--sampling-seconds", type=float, default=0.3)
    parser.add_argument("--cell-seconds", type=float, default=10.0)
    return parser.parse_args()


def verify(path: Path) -> dict[str, Any]:
    """The largest relative error of every layer: of the log-likelihood, and norm-wise of every parameter's gradient."""
    case = problem.read(path)
    told = json.loads(path.read_text())["log_likelihood"]
    dtype = {"float64": torch.float64, "float32": torch.float32}[case.problem.x.dtype.name]
    weights = [weight.astype(np.float64) for weight in case.problem.weights]
    ours = (told, [gradient.astype(np.float64) for gradient in case.expected["ordinary"]])
    errors = {"reference": differences(reference(weights, case.problem.x), ours)}
    x = torch.from_numpy(case.problem.x)
    for name, make in LAYERS.items():
        layers = [make(weight, case.problem.dim, dtype, np.random.default_rng(0)) for weight in weights]
        denses = [layer.dense for layer in layers]
        same = all(np.array_equal(dense, weight) for dense, weight in zip(denses, weights, strict=True))
        likelihood, gradients = ours if same else reference(denses, case.problem.x)
        errors[name] = of_layers(layers, x, likelihood, gradients)
    tolerance = TOLERANCE[case.problem.x.dtype.name]
    passed = {name: error <= tolerance for name, error in errors.items()}
    reply: dict[str, Any] = {"errors": errors, "tolerance": tolerance, "passed": passed}
    if dtype == torch.float64:
        reply["residual_deviations"] = residual_deviations(weights[0], x)
        passed["normflows-residual"] &= reply["residual_deviations"] <= DEVIATIONS
        for name in AUTOREGRESSIVE:
            errors[name] = autoregressive_error(name, case.problem.dim)
            passed[name] = errors[name] <= tolerance
    return reply


def of_layers(layers: list[Layer], x: torch.Tensor, likelihood: float, gradients: list[Array]) -> float:
    found = log_likelihood(layers, x)
    found.backward()
    pairs = [(np.array(float(found.detach())), np.array(likelihood))]
    for layer, gradient in zip(layers, gradients, strict=True):
        wanted = layer.expected(gradient)
        pairs += [(p.grad.double().numpy(), g) for p, g in zip(layer.parameters, wanted, strict=True)]
    return worst(pairs)


def differences(found: tuple[float, list[Array]], wanted: tuple[float, list[Array]]) -> float:
    pairs = [(np.array(found[0]), np.array(wanted[0])), *zip(found[1], wanted[1], strict=True)]
    return worst(pairs)


def worst(pairs: list[tuple[Array, Array]]) -> float:
    """max|a - b| / max|b|, but no less than a twentieth of the largest of all b in the denominator: the gradient of the
    last orthogonal factor is 0, since a normal density has no direction."""
    sizes = [float(np.max(np.abs(b))) for _, b in pairs]
    least = LEAST_SCALE * max(sizes[1:])
    errors = [float(np.max(np.abs(a - b))) / max(size, least) for (a, b), size in zip(pairs, sizes, strict=True)]
    return max(error if np.isfinite(error) else np.inf for error in errors)


def residual_deviations(weight: Array, x: torch.Tensor) -> float:
    """How far the mean of the library's random gradients is from the exact one, in standard errors.

    With its defaults the library estimates the log-determinant's gradient, and its value is no estimate of the value. So
    the gradients by A are compared, as their products with one random matrix.
    """
    import normflows

    dim = len(weight)
    exact = LAYERS["normflows-residual"](weight, dim, torch.float64, np.random.default_rng(0))
    np.random.seed(0)
    linear = torch.nn.Linear(dim, dim, bias=False).double()
    linear.load_state_dict({"weight": exact.parameters[0].detach()})
    module = normflows.flows.Residual(linear).double()
    probe = torch.from_numpy(np.random.default_rng(1).standard_normal((dim, dim)))
    values = []
    for _ in range(DRAWS):
        module.zero_grad()
        module.inverse(x)[1].mean().backward()
        values.append(float((probe * linear.weight.grad).sum()))
    wanted = np.sum(probe.numpy() * np.linalg.inv(exact.dense).T)
    return float(abs(np.mean(values) - wanted) / (np.std(values, ddof=1) / np.sqrt(DRAWS)))


def autoregressive_error(name: str, dim: int) -> float:
    """The log-density against the exact log-determinant of the model's own Jacobian, which must be triangular too."""
    model, log_density = autoregressive(name, dim, 2)
    model.double()
    x = torch.randn(dim, dtype=torch.float64)
    if name == "glasflow-made-mog":
        return mixture_error(model, x)
    if name.startswith("zuko"):
        function = lambda sample: model().transform(sample)  # noqa: E731
    else:
        function = lambda sample: model._transform(sample[None])[0][0]  # noqa: E731
    jacobian = torch.autograd.functional.jacobian(function, x)
    z = function(x)
    exact = torch.linalg.slogdet(jacobian)[1] - 0.5 * (z * z).sum() - 0.5 * dim * np.log(2.0 * np.pi)
    return float(abs(log_density(x[None])[0] - exact).detach() / abs(exact).detach())


def mixture_error(model: torch.nn.Module, x: torch.Tensor) -> float:
    """The last coordinate's density integrates to 1: by a fine sum over the line."""
    line = torch.linspace(-40.0, 40.0, 8001, dtype=torch.float64)
    rows = x.repeat(len(line), 1)
    rows[:, -1] = line
    density = model.log_prob(rows).exp()
    before = model.log_prob(x[None]).exp()
    # p(x) / Σ p(x_<D, t) dt = p(x_D | x_<D), against the mixture that the model's own outputs name.
    outputs = model._made(x[None]).reshape(len(x), -1, 3)[-1]
    scale = torch.nn.functional.softplus(outputs[:, 2]) + model._made.epsilon
    share = torch.softmax(outputs[:, 0], 0)
    conditional = (share * torch.exp(torch.distributions.Normal(outputs[:, 1], scale).log_prob(x[-1]))).sum()
    found = before / (density.sum() * (line[1] - line[0]))
    return float(abs(found - conditional).detach() / conditional.detach())


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times the mean negative log-likelihood and the gradient of every parameter."""
    x = torch.randn(arguments.batch, arguments.dim)
    before = memory("VmRSS")
    parameters, loss = problem_of(arguments.layer, arguments.dim, arguments.layers)
    forget_peak()

    def evaluate() -> None:
        for parameter in parameters:
            parameter.grad = None
        loss(x).backward()

    rules = child.Rules(arguments.min_samples, arguments.sampling_seconds, arguments.cell_seconds)
    reply = child.sample(evaluate, rules)
    if not all(torch.isfinite(parameter.grad.flatten()[0]) for parameter in parameters if parameter.grad is not None):
        raise ArithmeticError("the gradient is not finite")
    reply["peak_bytes"] = max(memory("VmHWM") - before, 0)
    reply["parameters"] = sum(parameter.numel() for parameter in parameters)
    if arguments.dim <= COUNTED_DIM:
        # PyTorch cannot count what calls `autograd.grad` in its forward pass: the residual layer.
        with contextlib.suppress(RuntimeError):
            reply["products"] = products(arguments)
    return reply


def does_not_run() -> dict[str, str]:
    """Directions and helpers of the layers that today's PyTorch refuses: the exception; or a warning that it will."""
    import nflows.transforms as nflows
    import normflows.flows as normflows
    from glasflow.nflows import transforms as glasflow

    z = torch.randn(3, 4)
    calls: dict[str, Any] = {}
    for name, library in (("nflows", nflows), ("glasflow", glasflow)):
        for layer in (library.LULinear(4), library.QRLinear(4, 4), library.SVDLinear(4, 4)):
            kind = f"{name} {type(layer).__name__}"
            calls |= {f"{kind}.forward": lambda it=layer: it(z), f"{kind}.inverse": lambda it=layer: it.inverse(z)}
            calls[f"{kind}.weight_inverse"] = lambda it=layer: it.weight_inverse()
    calls["normflows InvertibleAffine"] = lambda: normflows.InvertibleAffine(4).inverse(z)
    calls["normflows LULinearPermute.forward"] = lambda: normflows.LULinearPermute(4)(z)
    calls["normflows LULinearPermute.inverse"] = lambda: normflows.LULinearPermute(4).inverse(z)
    calls["normflows LULinearPermute's weight_inverse"] = lambda: normflows.LULinearPermute(4).linear.weight_inverse()
    found = {}
    for name, call in calls.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                call()
            except Exception as cause:  # noqa: BLE001 - whatever it is, it is the answer
                found[name] = f"{type(cause).__name__}: {str(cause).splitlines()[0]}"
                continue
        if caught:
            found[name] = "runs, with a warning: " + str(caught[0].message).split(" (Triggered")[0].splitlines()[0]
    return found


def problem_of(name: str, dim: int, layers: int) -> tuple[list[torch.Tensor], Any]:
    if name in AUTOREGRESSIVE:
        model, log_density = autoregressive(name, dim, layers)
        return list(model.parameters()), lambda x: -log_density(x).mean()
    random = np.random.default_rng(0)
    made = [LAYERS[name](None, dim, torch.float32, random) for _ in range(layers)]
    parameters = [parameter for layer in made for parameter in layer.parameters]
    return parameters, lambda x: -log_likelihood(made, x)


def products(arguments: argparse.Namespace) -> dict[str, float]:
    """Operations of all products of one evaluation, as PyTorch counts them: a D³ + b N D², from two batch sizes.

    Inverses, determinants and exponentials of matrices are none, and not counted.
    """
    counts = []
    for batch in (arguments.batch, 2 * arguments.batch):
        parameters, loss = problem_of(arguments.layer, arguments.dim, arguments.layers)
        torch.manual_seed(0)
        np.random.seed(0)
        with FlopCounterMode(display=False) as counter:
            loss(torch.randn(batch, arguments.dim)).backward()
        counts.append(counter.get_total_flops())
    once, twice = counts
    cubic, square = 2 * once - twice, twice - once
    return {"cubic": cubic / arguments.dim**3, "square": square / (arguments.batch * arguments.dim**2)}


def memory(name: str) -> int:
    """Resident bytes of this process, now (VmRSS) or at most (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    return 0


def forget_peak() -> None:
    """What importing PyTorch took is no peak of the layer."""
    try:
        Path(f"/proc/{os.getpid()}/clear_refs").write_text("5")
    except OSError:
        return


if __name__ == "__main__":
    main()
