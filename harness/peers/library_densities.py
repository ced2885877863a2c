"""The other rows of Table 1 as the libraries build them, with as many parameters as a network of L = 2: 2 D² + 2 D.

H is the largest width whose live parameters, those that no mask sets to 0, are at most so many. With wide layers the
weights follow these formulas; D inputs, `hidden` layers of H units, K = 5 transforms, C components:

    MADE      zuko      ½DH + ½(hidden-1)H² + DH                   mean and log-scale of every coordinate
    MAF       zuko      K times that
    Real NVP  zuko      K (½DH + (hidden-1)H² + DH)                one network for scale and shift of half of x
    MADE MoG  glasflow  ½DH + ½hidden H² + (3/2)CDH                its first layer has no nonlinearity behind it
    MAF MoG   glasflow  K (½DH + ½hidden H² + DH) + MADE MoG

A layer narrower than D leaves more than half of the last matrix alive, so that the count decides and not the formula.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from library_data import Array, two_standard_errors

KINDS = ("made", "made-mog", "real-nvp", "maf", "maf-mog")
TITLES = {
    "made": "MADE",
    "made-mog": "MADE MoG",
    "real-nvp": "Real NVP (5)",
    "maf": "MAF (5)",
    "maf-mog": "MAF MoG (5)",
}
LIBRARY = {"made": "zuko", "real-nvp": "zuko", "maf": "zuko", "made-mog": "glasflow", "maf-mog": "glasflow"}

TRANSFORMS = 5
# MAF has 10; with so few parameters that would leave one hidden unit at D = 43.
COMPONENTS = 3

# The same for every model, relgrad's too.
BATCH, LEARNING_RATE = 100, 1e-3


def width(kind: str, dim: int, hidden: int) -> int:
    """The largest H with at most 2 D² + 2 D live parameters, or 1 where even that has more."""
    allowed = 2 * dim * (dim + 1)

    def fits(units: int) -> bool:
        return live_parameters(build(kind, dim, hidden, units)) <= allowed

    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def build(kind: str, dim: int, hidden: int, units: int) -> torch.nn.Module:
    """The model of one library; `log_density` evaluates it."""
    if LIBRARY[kind] == "zuko":
        import zuko

        sizes = [units] * hidden
        if kind == "real-nvp":
            return zuko.flows.RealNVP(dim, transforms=TRANSFORMS, hidden_features=sizes)
        return zuko.flows.MAF(dim, transforms=1 if kind == "made" else TRANSFORMS, hidden_features=sizes)
    from glasflow.nflows import transforms
    from glasflow.nflows.distributions import MADEMoG
    from glasflow.nflows.flows import Flow

    shape: dict[str, Any] = {"hidden_features": units, "num_blocks": hidden, "use_residual_blocks": False}
    mixture = MADEMoG(dim, context_features=None, num_mixture_components=COMPONENTS, custom_initialization=True, **shape)
    if kind == "made-mog":
        return mixture
    layers: list[torch.nn.Module] = []
    for _ in range(TRANSFORMS):
        layers.append(transforms.MaskedAffineAutoregressiveTransform(features=dim, **shape))
        layers.append(transforms.ReversePermutation(dim))
    return Flow(transforms.CompositeTransform(layers), mixture)


def log_density(kind: str, model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """log p(x) of every row."""
    return model().log_prob(x) if LIBRARY[kind] == "zuko" else model.log_prob(x)


def live_parameters(model: torch.nn.Module) -> int:
    """Trainable numbers that no mask sets to 0."""
    count = 0
    masked = (module for module in model.modules() if hasattr(module, "mask") and hasattr(module, "weight"))
    masks = {id(module.weight): module.mask for module in masked}
    for parameter in model.parameters():
        mask = masks.get(id(parameter))
        count += parameter.numel() if mask is None else int((mask != 0).sum())
    return count


@dataclass
class Outcome:
    """What a training ended with; nats are of x, before it was standardised; seconds are those of the CPU."""

    validation: float
    test: float
    two_standard_errors: float
    epochs: int
    best_epoch: int
    seconds: float
    stopped: str
    parameters: int


def train(
    kind: str,
    hidden: int,
    units: int,
    parts: tuple[Array, Array, Array],
    epochs: int,
    patience: int,
    seed: int,
    say: Callable[[str], None],
) -> Outcome:
    """Maximum likelihood by Adam on standardised x, until `patience` epochs bring no better validation likelihood."""
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    mean, deviation = parts[0].mean(0), parts[0].std(0)
    shift = -float(np.log(deviation).sum())
    known, validation, test = (torch.from_numpy(((part - mean) / deviation).astype(np.float32)) for part in parts)
    model = build(kind, known.shape[1], hidden, units)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    best, best_epoch, kept = -math.inf, 0, copy.deepcopy(model.state_dict())
    start, stopped, epoch = time.process_time(), "epochs", 0
    for epoch in range(1, epochs + 1):
        model.train()
        for rows in torch.randperm(len(known), generator=order).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss = -log_density(kind, model, known[rows]).mean()
            loss.backward()
            optimizer.step()
        nats = float(evaluate(kind, model, validation).mean()) + shift
        say(f"epoch {epoch}: validation {nats:.3f}, {time.process_time() - start:.0f} s")
        if nats > best:
            best, best_epoch, kept = nats, epoch, copy.deepcopy(model.state_dict())
        elif not math.isfinite(nats):
            stopped = "diverged"
            break
        elif epoch - best_epoch >= patience:
            stopped = "patience"
            break
    seconds = time.process_time() - start
    model.load_state_dict(kept)
    values = evaluate(kind, model, test) + shift
    mean_nats, error = two_standard_errors(values)
    return Outcome(best, mean_nats, error, epoch, best_epoch, seconds, stopped, live_parameters(model))


def evaluate(kind: str, model: torch.nn.Module, x: torch.Tensor) -> Array:
    model.eval()
    with torch.no_grad():
        return np.concatenate([log_density(kind, model, rows).double().numpy() for rows in x.split(1000)])
