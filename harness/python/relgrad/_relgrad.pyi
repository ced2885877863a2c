"""The compiled module. ``relgrad/_models.py`` and ``relgrad/_table.py`` have its interface."""

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._models import Gradient, Parameters

VERSION: str

def gradient(
    parameters: Parameters, x: NDArray[Any], method: str, bias_mode: str, out: Gradient, threads: int | None
) -> None: ...
def likelihood(
    parameters: Parameters, x: NDArray[Any], latents: NDArray[Any], threads: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]: ...
def invert(parameters: Parameters, s: NDArray[Any], threads: int | None) -> None: ...
def sample(parameters: Parameters, count: int, seed: int, threads: int | None) -> NDArray[Any]: ...
def step(
    parameters: Parameters,
    x: NDArray[Any],
    mu: float,
    transposed: bool,
    bias_mode: str,
    guard: bool,
    threads: int | None,
) -> tuple[list[float], list[float]]: ...
def initial(
    dim: int, layers: int, bias: bool, init: str, seed: int, float64: bool
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]: ...
def read(
    path: str | PathLike[str], table: str, skip_invalid: bool
) -> tuple[list[tuple[str, NDArray[Any] | list[str | None]]], list[str]]: ...
