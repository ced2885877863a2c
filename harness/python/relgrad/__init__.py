"""Relative gradients of deep density models on NumPy arrays, and studies of the program ``relgrad`` as tables.

A model is z = g(x): L layers y = W z + b, each but the last followed by a nonlinearity. Its log-likelihood is
log p(x) = sum_i log p_i(g_i(x)) + log|det J_g(x)|, in nats. Batches have one sample a row: x is (N, D).

Arrays are float32 or float64, all of a call the same, and C-contiguous. They are used in place, without a copy and
without the interpreter's lock: do not write to them from another thread meanwhile. Objects of other libraries that
speak DLPack (CPU tensors of PyTorch, arrays of JAX) are taken as they are, without a copy too.

Errors: ``TypeError`` for another type of numbers; ``ValueError`` for shapes that do not fit, arrays that are not
contiguous or not writable, unknown names, and numbers that are not finite; ``numpy.linalg.LinAlgError`` (a
``ValueError``) for a singular weight where an inverse or a determinant is needed; ``MemoryError``.
"""

from __future__ import annotations

try:
    from ._relgrad import VERSION as __version__
except ImportError as error:
    raise ImportError("these are the sources: install the wheel of harness/python/build, and run elsewhere") from error
from ._models import (
    Gradient,
    LogLikelihood,
    Parameters,
    StepReport,
    gradient,
    invert,
    latents,
    likelihood,
    sample,
    step,
)
from ._table import Table, read

__all__ = [
    "Gradient",
    "LogLikelihood",
    "Parameters",
    "StepReport",
    "Table",
    "__version__",
    "gradient",
    "invert",
    "latents",
    "likelihood",
    "read",
    "sample",
    "step",
]
