"""Names of the libraries' layers, and what their tables say of them; no library is needed to read this."""

from __future__ import annotations

# What each computes, and what it costs: u = 2 N D² a product of a batch with a matrix.
LINEAR = {
    "zuko-lu": "zuko `LULinearTransform`: its log-determinant takes O(D), but it forms L @ U",
    "nflows-lu": "nflows `LULinear`: two products with triangles that it writes as full matrices at every call",
    "glasflow-lu": "glasflow `LULinear`: the same code in the fork that is kept",
    "normflows-lu-permute": "normflows `LULinearPermute`: the same behind a permutation",
    "normflows-lu": "normflows `InvertibleAffine`, P @ L @ U formed",
    "normflows-dense": "normflows `InvertibleAffine` with W itself: autodiff of `slogdet` by LU, the ordinary gradient",
    "glasflow-qr": "glasflow `QRLinear` with D reflections, one after another: D dependent steps of 4 N D a layer",
    "glasflow-svd": "glasflow `SVDLinear` with 2 D reflections",
    "zuko-rotation": "zuko `RotationTransform`: exp(A - Aᵀ), cubic; rotations only, log-determinant 0",
    "normflows-residual": "normflows `Residual` of z + A z: random trace of a series of random length, for ‖A‖ < 1 only",
}
AUTOREGRESSIVE = {
    "zuko-maf": "zuko `MAF`, a hidden layer of D units a transform",
    "glasflow-maf": "glasflow `MaskedAffineAutoregressiveTransform`, two masked layers of D units a transform",
    "zuko-nsf": "zuko `NSF`, splines of 8 bins, a hidden layer of D units a transform",
    "glasflow-made-mog": "glasflow `MADEMoG` of 10 components: one transform, whatever L",
}

# Beyond these a process takes minutes or tens of GB: D reflections keep N D numbers each for the backward pass.
LARGEST = {"glasflow-qr": 1000, "glasflow-svd": 1000, "zuko-rotation": 500, "zuko-nsf": 1000, "glasflow-made-mog": 2000}

# Rows of Table 1; ours first.
KINDS = {
    "relgrad": "ours, L = 2",
    "made": "MADE",
    "made-mog": "MADE MoG",
    "real-nvp": "Real NVP (5)",
    "maf": "MAF (5)",
    "maf-mog": "MAF MoG (5)",
}
