"""The PyTorch layer: golden vectors, a training of relgrad itself, carried determinants, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import layers as shared  # noqa: E402
from conftest import Golden  # noqa: E402

from relgrad.torch import RelativeLinear  # noqa: E402

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def sigma(y: torch.Tensor, of: dict) -> torch.Tensor:
    if of["name"] == "s_L":
        return of["alpha"] * y + (1 - of["alpha"]) * torch.nn.functional.softplus(y, threshold=700.0)
    return torch.tanh(of["alpha"] * y) + of["beta"] * y


def log_slope(y: torch.Tensor, of: dict) -> torch.Tensor:
    if of["name"] == "s_L":
        return torch.log(of["alpha"] + (1 - of["alpha"]) * torch.sigmoid(y))
    # 1 - tanh^2 would lose all digits at large |y|.
    return torch.log(of["alpha"] / torch.cosh((of["alpha"] * y).clamp(-40, 40)) ** 2 + of["beta"])


def log_density(z: torch.Tensor, base: str) -> torch.Tensor:
    if base == "normal":
        return -0.5 * (z**2) - 0.5 * math.log(2 * math.pi)
    if base == "sech":
        return -torch.logaddexp(0.5 * math.pi * z, -0.5 * math.pi * z)
    if base == "logistic":
        return -z.abs() - 2 * torch.log1p(torch.exp(-z.abs()))
    return -z.abs() - math.log(2)


def model(parameters, device: str = "cpu", log_det: str = "exact") -> list[RelativeLinear]:
    made = []
    for k, weight in enumerate(parameters.weights):
        bias = None if parameters.biases is None else torch.tensor(parameters.biases[k])
        layer = RelativeLinear(len(weight), bias is not None, log_det=log_det, device=device)
        layer.weight = torch.nn.Parameter(torch.tensor(weight, device=device))
        if bias is not None:
            layer.bias = torch.nn.Parameter(bias.to(device))
        made.append(layer)
    return made


def loss(layers: list[RelativeLinear], x: torch.Tensor, config: dict) -> torch.Tensor:
    total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for k, layer in enumerate(layers):
        x = layer(x)
        if config["last_nonlinear"] or k + 1 < len(layers):
            total = total + log_slope(x, config["nonlinearity"]).sum(1)
            x = sigma(x, config["nonlinearity"])
    total = total + log_density(x, config["base"]).sum(1)
    return -total.mean() - sum(layer.log_abs_det() for layer in layers)


CONFIG = {"last_nonlinear": False, "nonlinearity": {"name": "s_L", "alpha": 0.3}, "base": "normal"}


def numbers(tensors) -> list[np.ndarray]:
    return [tensor.detach().cpu().numpy() for tensor in tensors]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_are_those_of_the_golden_files(golden: Golden, dtype: str, device: str) -> None:
    layers = model(golden.parameters(np.dtype(dtype)), device, "none")
    x = torch.tensor(golden.x.astype(dtype), device=device)
    loss(layers, x, golden.config).backward()
    biases = [layer.bias.grad for layer in layers if layer.bias is not None]
    shared.require_golden(golden, dtype, numbers(layer.weight.grad for layer in layers), numbers(biases))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_training_ends_where_that_of_relgrad_does(dtype: str) -> None:
    layers = model(shared.start(dtype), log_det="none")
    optimizer = torch.optim.SGD([p for layer in layers for p in layer.parameters()], lr=shared.RATE)
    for x in shared.batches():
        optimizer.zero_grad()
        loss(layers, torch.tensor(x.astype(dtype)), CONFIG).backward()
        optimizer.step()
    found = numbers(layer.weight for layer in layers) + numbers(layer.bias for layer in layers)
    shared.require_same(found, dtype)


@pytest.mark.parametrize(("dtype", "drift"), [("float64", 1e-10), ("float32", 1e-3)])
@pytest.mark.parametrize(("samples", "rate"), [(3, 0.005), (20, 0.05)])
def test_a_carried_determinant_is_that_of_an_lu(dtype: str, drift: float, samples: int, rate: float) -> None:
    layers = model(shared.start(dtype), log_det="carried")
    optimizer = torch.optim.SGD([p for layer in layers for p in layer.parameters()], lr=rate)
    begun = [layer.log_abs_det().item() for layer in layers]
    for x in shared.batches(samples=samples):
        optimizer.zero_grad()
        # Two backward passes at the same W count together.
        for half in torch.tensor(x.astype(dtype)).split(math.ceil(samples / 2)):
            (loss(layers, half, CONFIG) * len(half) / samples).backward()
        optimizer.step()
        for layer in layers:
            layer.carry(rate)
    for layer, at_start in zip(layers, begun):
        carried = float(layer._value)
        assert carried == pytest.approx(torch.linalg.slogdet(layer.weight.double()).logabsdet.item(), abs=drift)
        assert abs(carried - at_start) > 0.1 and layer.refresh() <= drift


def test_the_value_is_computed_only_when_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    slogdet = torch.linalg.slogdet
    monkeypatch.setattr(torch.linalg, "slogdet", lambda matrix: calls.append(len(matrix)) or slogdet(matrix))
    layer = RelativeLinear(4, log_det="none")
    assert layer.log_abs_det().item() == 0.0 and not calls
    layer = RelativeLinear(4)
    with torch.no_grad():
        layer.weight.mul_(2.0)
    for _ in range(3):
        assert layer.log_abs_det().item() == pytest.approx(4 * math.log(2), abs=1e-6)
    assert calls == [4]
    with torch.no_grad():
        layer.weight.mul_(2.0)
    assert layer.log_abs_det().item() == pytest.approx(8 * math.log(2), abs=1e-6) and calls == [4, 4]


def test_an_input_gets_the_usual_gradient_in_any_shape() -> None:
    layer = RelativeLinear(5, dtype=torch.float64)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    seed = torch.randn_like(y)
    y.backward(seed)
    torch.testing.assert_close(x.grad, seed @ layer.weight.detach())
    assert y.shape == x.shape and layer.weight.grad.shape == (5, 5)


def test_a_frozen_bias_and_a_frozen_weight_get_nothing() -> None:
    layer = RelativeLinear(3)
    layer.weight.requires_grad_(False)
    (layer(torch.ones(2, 3)).sum() - layer.log_abs_det()).backward()
    assert layer.weight.grad is None and layer.bias.grad is not None


def test_it_is_saved_loaded_and_moved_like_any_layer() -> None:
    layer, other = RelativeLinear(3), torch.nn.Sequential(RelativeLinear(3)).double()
    other[0].load_state_dict(layer.state_dict())
    assert other[0].weight.dtype == torch.float64 and torch.equal(other[0].weight.float(), layer.weight)
    assert other[0].log_abs_det().item() == pytest.approx(0.0, abs=1e-6)
    assert repr(layer) == "RelativeLinear(features=3, bias=True, log_det='exact')"


def test_what_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="unknown log_det `lazy`: expected exact, carried, none"):
        RelativeLinear(3, log_det="lazy")
    for layer in (RelativeLinear(3), RelativeLinear(3, log_det="carried")):
        with pytest.raises(RuntimeError, match="carry.. needs log_det='carried'"):
            layer.carry(0.1)
    x = torch.ones(2, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(RelativeLinear(3)(x).pow(2).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
