"""A dense layer for PyTorch whose backward pass gives the relative gradient, on the device of its parameters.

For a loss that ends in the negative log-likelihood of a model with square layers::

    layers = [RelativeLinear(50), RelativeLinear(50)]
    y = layers[0](x)                                        # (N, D), one sample a row
    z = layers[1](0.3 * y + 0.7 * softplus(y))
    log_p = -0.5 * (z**2).sum(1) - 25 * log(2 * pi)         # of a standard normal
    log_slope = log(0.3 + 0.7 * sigmoid(y)).sum(1)          # of the nonlinearity, by autograd
    loss = -(log_p + log_slope).mean() - sum(layer.log_abs_det() for layer in layers)
    loss.backward()                                         # no inverse of a weight

``weight.grad`` and ``bias.grad`` then hold the relative gradient of the loss, G W^T W for the gradient G, in the group
of affine maps: the first D rows of G' W'^T W' with W' = [[W, b], [0, 1]]. An input that requires a gradient gets the
usual one.

Optimizers: plain gradient descent (``torch.optim.SGD`` without momentum, any schedule, clipping by the norm of all
parameters) keeps the meaning of the relative gradient: W <- (I + mu E) W. Momentum nearly does. Adam and other
elementwise scalings train well but have neither its equivariance nor its invertibility. L-BFGS, line searches and
``gradcheck`` need the gradient itself and do not work. Second derivatives are refused.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["RelativeLinear"]

LOG_DETS = ("exact", "carried", "none")


class _Linear(torch.autograd.Function):
    """y = W x + b; backward: G W^T W and its bias, without the share of the log-determinant."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, layer: RelativeLinear | None
    ) -> torch.Tensor:
        y = torch.nn.functional.linear(x, weight, bias)
        ctx.layer = layer
        ctx.save_for_backward(y, weight, bias)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        shape = grad_y.shape
        y, weight, bias = ctx.saved_tensors
        y, grad_y = y.reshape(-1, shape[-1]), grad_y.reshape(-1, shape[-1])
        wants_x, wants_weight, wants_bias, _ = ctx.needs_input_grad
        if ctx.layer is not None and wants_weight:
            ctx.layer._traces.append((y, grad_y))
        # [U | V] = W^T [Y | delta] in one pass over W.
        both = ([y] if wants_weight else []) + ([grad_y] if wants_x else [])
        pulled = torch.cat(both) @ weight if both else y
        return (
            pulled[-len(grad_y) :].reshape(shape) if wants_x else None,
            grad_y.t() @ pulled[: len(y)] if wants_weight else None,
            grad_y.t() @ (1.0 + y @ bias) if wants_bias else None,
            None,
        )


class _LogAbsDet(torch.autograd.Function):
    """log|det W| with a value that is known; backward: W^-T W^T W = W, and b."""

    @staticmethod
    def forward(
        ctx: Any, weight: torch.Tensor, bias: torch.Tensor | None, value: torch.Tensor, layer: RelativeLinear
    ) -> torch.Tensor:
        ctx.layer = layer
        ctx.save_for_backward(weight, bias)
        return value.to(weight.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, share: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight, bias = ctx.saved_tensors
        if ctx.layer._is_carried:
            ctx.layer._share += float(share)
        wants_weight, wants_bias = ctx.needs_input_grad[:2]
        return share * weight if wants_weight else None, share * bias if wants_bias else None, None, None


class RelativeLinear(torch.nn.Module):
    """y = W x + b with a square W (D, D): x and y are (..., D).

    features: D.
    bias: whether there is a b (D,); it starts at zero.
    log_det: where the value of ``log_abs_det()`` comes from. Its gradient does not depend on this.
        ``exact``: an LU whenever W has changed, O(D^3).
        ``carried``: one LU, then ``carry(rate)`` after each step of plain gradient descent, O(N^2 D).
        ``none``: it is 0, for trainings that need gradients alone.
    device, dtype: those of the parameters. W starts orthogonal.

    Raises ``ValueError`` for another ``log_det``.
    """

    def __init__(
        self,
        features: int,
        bias: bool = True,
        *,
        log_det: str = "exact",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if log_det not in LOG_DETS:
            raise ValueError(f"unknown log_det `{log_det}`: expected {', '.join(LOG_DETS)}")
        self.features = features
        self.log_det = log_det
        self.weight = torch.nn.Parameter(torch.empty(features, features, device=device, dtype=dtype))
        torch.nn.init.orthogonal_(self.weight)
        bias_ = torch.nn.Parameter(torch.zeros(features, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", bias_)
        self._forget()

    def _forget(self) -> None:
        self._value: torch.Tensor | None = None
        self._version = -1
        self._traces: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._share = 0.0

    @property
    def _is_carried(self) -> bool:
        return self.log_det == "carried"

    def extra_repr(self) -> str:
        return f"features={self.features}, bias={self.bias is not None}, log_det={self.log_det!r}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """y (..., D) of x (..., D)."""
        return _Linear.apply(x, self.weight, self.bias, self if self._is_carried else None)

    def log_abs_det(self) -> torch.Tensor:
        """log|det W| in nats, a scalar to subtract from a mean negative log-likelihood. Its gradient is relative: W,
        and b for the bias."""
        return _LogAbsDet.apply(self.weight, self.bias, self._known(), self)

    @torch.no_grad()
    def _known(self) -> torch.Tensor:
        if self.log_det == "none":
            return self.weight.new_zeros(())
        if self._value is None or self._version != self.weight._version:
            self.refresh()
        return self._value

    @torch.no_grad()
    def refresh(self) -> float:
        """Computes log|det W| by an LU, in float64 where the device has it. Returns the drift of a carried value, in
        nats; 0 where there was none."""
        wide = self.weight if self.weight.device.type == "mps" else self.weight.double()
        exact = torch.linalg.slogdet(wide).logabsdet
        drift = 0.0 if self._value is None else abs(float(self._value - exact))
        self._forget()
        self._value, self._version = exact, self.weight._version
        return drift

    @torch.no_grad()
    def carry(self, rate: float) -> None:
        """Carries log|det W| over a step W <- W - rate * W.grad of plain gradient descent that has just been taken, by
        the matrix determinant lemma: O(N^2 D), or O(N D^2) where N > D. Backward passes at the same W that the step has
        added up count together; call it after every step. Rounding adds up slowly: ``refresh()`` now and then.

        Raises ``RuntimeError`` where nothing can be carried: for another ``log_det``, without a value, or without a
        backward pass.
        """
        if not self._is_carried or self._value is None or not self._traces:
            raise RuntimeError("carry() needs log_det='carried', and log_abs_det() and backward() before the step")
        y, grad_y = (torch.cat(blocks).to(self._value.dtype) for blocks in zip(*self._traces))
        # As the step has rounded it: the unrounded one would be wrong by a constant at every step.
        rate = torch.tensor(rate, dtype=self.weight.dtype).item()
        keep = 1.0 - rate * self._share
        gain = rate / keep
        small = y @ grad_y.t() if len(y) <= self.features else grad_y.t() @ y
        identity = torch.eye(len(small), dtype=small.dtype, device=small.device)
        change = torch.linalg.slogdet(identity - gain * small).logabsdet
        value = self._value + self.features * math.log(abs(keep)) + change
        self._forget()
        self._value, self._version = value, self.weight._version
