"""The kernels on NumPy arrays: golden vectors, memory, errors."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from conftest import CASES, Golden, array, distance

import relgrad

TYPES = {"f64": np.float64, "f32": np.float32}


def test_the_golden_files_are_there() -> None:
    assert len(CASES) > 15


@pytest.mark.parametrize("dtype", ["f64", "f32"])
def test_every_direction_is_that_of_the_golden_file(golden: Golden, dtype: str) -> None:
    parameters, x = golden.parameters(TYPES[dtype]), golden.x.astype(TYPES[dtype])
    methods = {"relative": "relative", "transposed": "transposed", "ordinary": "ordinary", "autodiff": "ordinary"}
    for method, group in methods.items():
        tolerances = golden.tol.get(f"{dtype}_autodiff" if method == "autodiff" else dtype, {})
        if tolerances.get(group) is None:
            continue
        found = relgrad.gradient(parameters, x, method)
        weights, biases = golden.direction(group)
        pairs = list(zip(found.weights + (found.biases or []), weights + biases))
        assert len(pairs) == len(weights) + len(biases)
        assert max(distance(ours, theirs) for ours, theirs in pairs) <= tolerances[group], method


@pytest.mark.parametrize("dtype", ["f64", "f32"])
def test_likelihood_latents_and_inverse_are_those_of_the_golden_file(golden: Golden, dtype: str) -> None:
    parameters, x = golden.parameters(TYPES[dtype]), golden.x.astype(TYPES[dtype])
    tolerances, expected = golden.tol[dtype], golden.outputs["loglik"]
    found = {
        "loglik": lambda: [(relgrad.likelihood(parameters, x).per_sample, array(expected["per_sample"]))],
        "forward": lambda: [(relgrad.latents(parameters, x).T, array(golden.outputs["Z"]))],
        "inverse": lambda: [
            (
                relgrad.invert(parameters, np.ascontiguousarray(array(golden.outputs["inverse"]["S"]).T, x.dtype)).T,
                array(golden.outputs["inverse"]["X"]),
            )
        ],
        "parts": lambda: [
            (getattr(relgrad.likelihood(parameters, x), ours), array(expected[theirs]))
            for ours, theirs in [("lp", "Lp"), ("l1j", "L1J"), ("l2j_per_layer", "L2J_per_layer")]
        ],
    }
    for group, pairs in found.items():
        if tolerances.get(group) is not None:
            assert max(distance(*pair) for pair in pairs()) <= tolerances[group], group


@pytest.mark.parametrize("transposed", [False, True])
def test_a_step_goes_along_the_golden_direction_in_place(golden: Golden, transposed: bool) -> None:
    group = "transposed" if transposed else "relative"
    parameters, before = golden.parameters(np.float64), golden.parameters(np.float64)
    report = relgrad.step(parameters, golden.x, 64.0, transposed=transposed, guard=False)
    weights, biases = golden.direction(group)
    after = parameters.weights + (parameters.biases or [])
    for new, old, direction in zip(after, before.weights + (before.biases or []), weights + biases):
        assert distance((new - old) / 64.0, direction) <= golden.tol["f64"][group]
    assert report.step_sizes == [64.0] * len(weights) and min(report.rho) >= 1.0


def test_the_guard_shortens_a_step(network: relgrad.Parameters, x: np.ndarray) -> None:
    report = relgrad.step(network, x, 64.0)
    assert report.step_sizes == [0.5 / rho for rho in report.rho]


def test_a_gradient_uses_the_memory_that_it_is_given(network: relgrad.Parameters, x: np.ndarray) -> None:
    out = network.empty_gradient()
    places = [a.ctypes.data for a in out.weights + out.biases]
    found = relgrad.gradient(network, x, out=out)
    assert found is out and [a.ctypes.data for a in found.weights + found.biases] == places
    assert network.weights[0].flags.c_contiguous
    # A change of the user's array is a change of the network: nothing was copied.
    network.weights[0][...] *= 2.0
    assert not np.allclose(relgrad.gradient(network, x).weights[0], out.weights[0])


def test_the_modes_of_the_bias_are_those_of_the_equations(network: relgrad.Parameters, x: np.ndarray) -> None:
    exact, paper, plain = (relgrad.gradient(network, x, bias_mode=mode) for mode in ("exact", "paper", "plain"))
    ordinary = relgrad.gradient(network, x, "ordinary")
    for k, bias in enumerate(network.biases):
        np.testing.assert_allclose(paper.biases[k], exact.biases[k] - bias, atol=1e-12)
        np.testing.assert_allclose(plain.biases[k], ordinary.biases[k], atol=1e-12)


def test_threads_change_nothing_but_the_rounding(network: relgrad.Parameters, x: np.ndarray) -> None:
    one, two = (relgrad.gradient(network, x, threads=threads) for threads in (1, 2))
    np.testing.assert_allclose(one.weights[0], two.weights[0], rtol=1e-12)


def test_samples_are_those_that_the_latents_say(network: relgrad.Parameters) -> None:
    drawn = relgrad.sample(network, 2000, seed=7)
    assert drawn.shape == (2000, 6) and np.array_equal(drawn, relgrad.sample(network, 2000, seed=7, threads=1))
    z = relgrad.latents(network, drawn)
    # Standard normals: five standard errors of 12 000.
    assert abs(z.mean()) < 5 / np.sqrt(z.size) and abs(z.std() - 1) < 5 / np.sqrt(2 * z.size)
    back = relgrad.invert(network, z)
    np.testing.assert_allclose(back, drawn, atol=1e-9)
    assert relgrad.invert(network, z, out=z) is z
    np.testing.assert_array_equal(z, back)


def test_the_mean_is_that_of_the_samples(network: relgrad.Parameters, x: np.ndarray) -> None:
    found = relgrad.likelihood(network, x)
    assert found.mean == pytest.approx(found.per_sample.mean()) and found.l2j == found.l2j_per_layer.sum()


def test_a_seed_gives_the_same_network_in_both_precisions() -> None:
    wide, narrow = (relgrad.Parameters.random(5, 2, bias=True, seed=9, dtype=t) for t in ("float64", "float32"))
    np.testing.assert_array_equal(wide.weights[1].astype(np.float32), narrow.weights[1])
    np.testing.assert_allclose(wide.weights[0] @ wide.weights[0].T, np.eye(5), atol=1e-12)
    with pytest.raises(TypeError, match="dtype is int64: expected float32 or float64"):
        relgrad.Parameters.random(5, 2, dtype=int)


def test_dlpack_is_taken_without_a_copy(network: relgrad.Parameters, x: np.ndarray) -> None:
    class Foreign:
        def __init__(self, of: np.ndarray) -> None:
            self.of = of

        def __dlpack__(self, **options: object) -> object:
            return self.of.__dlpack__(**options)

        def __dlpack_device__(self) -> object:
            return self.of.__dlpack_device__()

    foreign = relgrad.Parameters([Foreign(w) for w in network.weights], network.biases)
    assert all(np.shares_memory(a, b) for a, b in zip(foreign.weights, network.weights))
    np.testing.assert_array_equal(
        relgrad.gradient(foreign, Foreign(x)).weights[0], relgrad.gradient(network, x).weights[0]
    )


def changed(network: relgrad.Parameters, **arrays: object) -> relgrad.Parameters:
    other = network.copy()
    for name, value in arrays.items():
        setattr(other, name, value)
    return other


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda n, x: (n, x.astype(np.float32)), TypeError, "x has dtype float32: expected float64, as weights[0]"),
        (lambda n, x: (n, x.astype(int)), TypeError, "x has dtype int64: expected float64, as weights[0]"),
        (lambda n, x: (n, x.tolist()), TypeError, "x is a list: expected a NumPy array"),
        (lambda n, x: (n, x[:, :5].copy()), ValueError, "x has shape (20, 5): expected (N, 6)"),
        (lambda n, x: (n, x[0]), ValueError, "x has shape (6,): expected (N, 6)"),
        (lambda n, x: (n, x[:0]), ValueError, "x has no samples"),
        (lambda n, x: (n, np.asfortranarray(x)), ValueError, "x is not C-contiguous: pass numpy.ascontiguousarray(x)"),
        (lambda n, x: (n, np.full_like(x, np.nan)), ValueError, "not finite"),
        (lambda n, x: (changed(n, weights=[]), x), ValueError, "weights is empty: a network has at least one layer"),
        (lambda n, x: (changed(n, biases=n.biases[:2]), x), ValueError, "biases has 2 arrays: expected 3"),
        (lambda n, x: (changed(n, activation="relu"), x), ValueError, "unknown activation `relu`: expected smooth"),
        (lambda n, x: (changed(n, activation="smooth:2"), x), ValueError, "alpha = 2 must be in (0, 1] for s_L"),
        (lambda n, x: (changed(n, base="cauchy"), x), ValueError, "unknown base density `cauchy`: expected normal"),
        (
            lambda n, x: (changed(n, weights=[w[:, :3].copy() for w in n.weights]), x),
            ValueError,
            "weights[0] has shape",
        ),
        (
            lambda n, x: (changed(n, weights=[w.astype(int) for w in n.weights]), x),
            TypeError,
            "weights[0] has dtype int64",
        ),
    ],
)
def test_what_does_not_fit_is_one_clear_line(network, x, change, error, text) -> None:
    with pytest.raises(error) as told:
        relgrad.gradient(*change(network, x))
    assert text in str(told.value) and "\n" not in str(told.value)


def test_other_errors_are_one_clear_line(network: relgrad.Parameters, x: np.ndarray) -> None:
    out = network.empty_gradient()
    frozen = network.copy()
    frozen.weights[1].flags.writeable = False
    unaligned = np.frombuffer(b"\0" * (8 * 120 + 1), dtype=np.uint8)[1:].view(np.float64).reshape(20, 6)
    for call, error, text in [
        (lambda: relgrad.gradient(network, x, "magic"), ValueError, "unknown method `magic`"),
        (lambda: relgrad.gradient(network, x, threads=0), ValueError, "threads = 0 must be at least 1"),
        (lambda: relgrad.gradient(network, x, out=out._replace(biases=None)), ValueError, "out.biases has 0 arrays"),
        (
            lambda: relgrad.gradient(network, x, out=out._replace(weights=network.weights)),
            ValueError,
            "out.weights[0] shares memory with another array",
        ),
        (lambda: relgrad.gradient(network, unaligned), ValueError, "x is not C-contiguous"),
        (lambda: relgrad.step(network, x, -1.0), ValueError, "mu = -1 must be positive and finite"),
        (lambda: relgrad.step(frozen, x, 0.1), ValueError, "weights[1] is read-only"),
        (lambda: relgrad.invert(network, x[:, :2].copy()), ValueError, "s has shape (20, 2): expected (N, 6)"),
    ]:
        with pytest.raises(error) as told:
            call()
        assert text in str(told.value) and "\n" not in str(told.value)


def test_a_singular_weight_is_named(network: relgrad.Parameters, x: np.ndarray) -> None:
    network.weights[1][...] = 1.0
    for call in (
        lambda: relgrad.gradient(network, x, "ordinary"),
        lambda: relgrad.likelihood(network, x),
        lambda: relgrad.sample(network, 2),
    ):
        with pytest.raises(np.linalg.LinAlgError, match="weight of layer 2 is singular"):
            call()
    assert np.isfinite(relgrad.gradient(network, x).weights[1]).all(), "the relative gradient needs no inverse"


def test_the_lock_is_released() -> None:
    parameters = relgrad.Parameters.random(dim=300, layers=2)
    x = np.zeros((64, 300), dtype=np.float32)
    counted, done = 0, threading.Event()

    def work() -> None:
        for _ in range(20):
            relgrad.gradient(parameters, x, "autodiff-streamed", threads=1)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.wait(0.001):
        counted += 1
    thread.join()
    # With the lock held by each of the 20 calls, this thread would wake between two calls at most.
    assert counted > 40
