"""The gradients in PyTorch: explicit products into buffers taken beforehand, no autograd but for `autodiff`.

The products that end in a gradient are addmm, which adds W in the same call. `autodiff` is the torch.func way to what
the JAX peer does: vmap(jacfwd), slogdet, grad.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
import torch.nn.functional as functional
from torch.func import grad, jacfwd, vmap

from problem import ALPHA, Array, Problem

NAME = "PyTorch"
METHODS = ("relative", "relative-inplace", "ordinary", "autodiff")


def sigma(y: torch.Tensor) -> torch.Tensor:
    return ALPHA * y + (1.0 - ALPHA) * functional.softplus(y)


def log_likelihood(weights: tuple[torch.Tensor, ...], x: torch.Tensor) -> torch.Tensor:
    def g(sample: torch.Tensor) -> torch.Tensor:
        for weight in weights[:-1]:
            sample = sigma(weight @ sample)
        return weights[-1] @ sample

    jacobians = vmap(jacfwd(g))(x)
    z = vmap(g)(x)
    return torch.mean(-0.5 * (z * z).sum(1) + torch.linalg.slogdet(jacobians)[1])


class Evaluation:
    """One method on one problem: `evaluate` is what is timed, `result` what it computed last."""

    def __init__(self, method: str, problem: Problem, device: str) -> None:
        put = lambda array: torch.from_numpy(array).to(device)  # noqa: E731
        self.method = method
        self.device = device
        self.step = problem.step
        self.weights = [put(weight) for weight in problem.weights]
        self.x = put(problem.x)
        layers, (batch, dim) = len(self.weights), problem.x.shape
        empty = lambda *shape: torch.empty(shape, dtype=self.x.dtype, device=device)  # noqa: E731
        self.pairs = [empty(2 * batch, dim) for _ in range(layers)]
        self.pulled = empty(2 * batch, dim)
        self.z = [empty(batch, dim) for _ in range(layers - 1)]
        self.slope, self.ratio = empty(batch, dim), empty(batch, dim)
        self.gradient = [] if method == "autodiff" else [empty(dim, dim) for _ in range(layers)]
        self.inverse = empty(dim if method == "ordinary" else 0, dim)
        self.autodiff = grad(log_likelihood)
        self.run = {
            "relative": self._relative,
            "relative-inplace": self._relative_step,
            "ordinary": self._ordinary,
            "autodiff": self._autodiff,
        }[method]

    def evaluate(self) -> None:
        self.run()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def result(self) -> list[Array]:
        arrays = self.weights if self.method == "relative-inplace" else self.gradient
        return [array.cpu().numpy() for array in arrays]

    def _forward(self) -> None:
        batch = len(self.x)
        z = self.x
        for k, weight in enumerate(self.weights):
            y = self.pairs[k][:batch]
            torch.mm(z, weight.t(), out=y)
            if k + 1 < len(self.weights):
                z = self.z[k]
                torch._C._nn.softplus(y, out=z)
                z.mul_(1.0 - ALPHA).add_(y, alpha=ALPHA)

    def _error(self, k: int, pulled: torch.Tensor) -> torch.Tensor:
        """delta_k = V_{k+1} s'(Y_k) + s''(Y_k)/s'(Y_k), or psi(Z_L) = -Z_L for the linear last layer."""
        batch = len(self.x)
        y, delta = self.pairs[k][:batch], self.pairs[k][batch:]
        if k + 1 == len(self.weights):
            return torch.neg(y, out=delta)
        # With s the sigmoid: s' = alpha + (1 - alpha) s and s'' = (1 - alpha)(s - s^2).
        torch.sigmoid(y, out=self.slope)
        torch.addcmul(self.slope, self.slope, self.slope, value=-1.0, out=self.ratio)
        self.slope.mul_(1.0 - ALPHA).add_(ALPHA)
        self.ratio.div_(self.slope).mul_(1.0 - ALPHA)
        return torch.addcmul(self.ratio, pulled, self.slope, out=delta)

    def _relative(self) -> None:
        """dW_k = (1/N) delta_k U_k^T + W_k with U_k = W_k^T Y_k [M11]; [U | V] in one product over W_k."""
        batch = len(self.x)
        self._forward()
        for k in reversed(range(len(self.weights))):
            weight = self.weights[k]
            delta = self._error(k, self.pulled[batch:])
            wanted = 2 * batch if k else batch
            torch.mm(self.pairs[k][:wanted], weight, out=self.pulled[:wanted])
            torch.addmm(weight, delta.t(), self.pulled[:batch], alpha=1.0 / batch, out=self.gradient[k])

    def _relative_step(self) -> None:
        """The gradient, then W_k <- W_k + mu dW_k."""
        self._relative()
        for weight, gradient in zip(self.weights, self.gradient, strict=True):
            weight.add_(gradient, alpha=self.step)

    def _ordinary(self) -> None:
        """G_k = (1/N) delta_k Z_{k-1}^T + W_k^{-T} [M9]."""
        batch = len(self.x)
        self._forward()
        for k in reversed(range(len(self.weights))):
            weight = self.weights[k]
            delta = self._error(k, self.pulled[:batch])
            if k:
                torch.mm(delta, weight, out=self.pulled[:batch])
            torch.linalg.inv(weight, out=self.inverse)
            z = self.z[k - 1] if k else self.x
            torch.addmm(self.inverse.t(), delta.t(), z, alpha=1.0 / batch, out=self.gradient[k])

    def _autodiff(self) -> None:
        self.gradient = []
        self.gradient = list(self.autodiff(tuple(self.weights), self.x))


def session(method: str) -> AbstractContextManager[None]:
    """Where a method is prepared and evaluated: without autograd's bookkeeping where it is not wanted."""
    return torch.inference_mode(method != "autodiff")


def prepare(method: str, problem: Problem, device: str) -> Evaluation:
    return Evaluation(method, problem, device)


def versions() -> dict[str, str]:
    found = {"torch": torch.__version__, "mkl": str(torch.backends.mkl.is_available())}
    return found | ({"cuda": str(torch.version.cuda)} if torch.version.cuda else {})


def set_math(math: str) -> None:
    """FP32 products are FP32; a GPU's round their factors to TF32 only where that is asked for."""
    torch.set_float32_matmul_precision("high" if math == "tf32" else "highest")


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)

