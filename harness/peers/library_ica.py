"""Linear ICA, L = 1 with `sech` latents: relgrad's training beside Picard and scikit-learn's FastICA.

All see the same training samples. Likelihoods are those of one density, p(s) = sech(pi s / 2) / 2 a source, over the test
part, after every row of W has been scaled to its best likelihood on the training part: FastICA sets no scale. The Amari
distance is that of W A from a scaled permutation, 0 where all sources are found and 1 at most.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import library_tables
from library_common import ROOT, facts, say
from library_data import two_standard_errors

Array = NDArray[np.float64]
Parts = tuple[Array, Array, Array]
Found = tuple[Array, float, int]  # W, seconds, iterations

SETS = ("sech", "laplace", "eeg")
SOURCES, SAMPLES = 20, 20_000  # of the mixtures with known sources; a tenth each for validation and test
EEG_PARTS = (24_709, 2_745, 3_050)

# relgrad's two optimizers: plain steps along the relative gradient, and Adam.
SGD = ("--optimizer", "sgd", "--learning-rate", "0.1")
ADAM = ("--optimizer", "adam", "--learning-rate", "0.003")
SHARED = ("--layers", "1", "--base", "sech", "--init", "whiten", "--schedule", "cosine", "--edge", "none")
SHARED += ("--batch", "100")

# Epochs of relgrad: what its plain steps need to come within 0.01 nats of Picard's maximum.
EPOCHS = {"sech": 30, "laplace": 30, "eeg": 300}

CLIP = 50.0  # of the scale's Newton steps


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if "eeg" in options.sets and not (options.data / "eeg").is_dir():
        say(f"there is no {options.data / 'eeg'}; --data names the folder of the sets, --sets sech,laplace needs none")
        return 2
    lines = []
    for name in options.sets:
        for seed in range(options.seeds):
            parts, mixing = data(name, seed, options.data)
            for method, run in METHODS.items():
                unmixing, seconds, iterations = run(parts, seed, options, options.epochs or EPOCHS[name])
                line = {"set": name, "method": method, "seed": seed, "seconds": seconds, "iterations": iterations}
                line |= judged(unmixing, parts, mixing)
                lines.append(line)
                say(f"{name} {method} seed {seed}: {line}")
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (options.out / "ica.jsonl").write_text(text)
    (options.out / "ica.json").write_text(json.dumps(facts("ica", options), indent=1) + "\n")
    return library_tables.ica(options.out)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="libraries ica", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--sets", type=words, default=list(SETS), metavar="LIST", help=", ".join(SETS))
    parser.add_argument("--seeds", type=int, default=3, help="mixtures, and starts, a set (default 3)")
    parser.add_argument("--epochs", type=int, help="epochs of relgrad (default: 30, of the EEG 300)")
    parser.add_argument("--threads", type=int, default=1, help="of relgrad; the others follow OMP_NUM_THREADS")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", metavar="DIR", help="has eeg/")
    parser.add_argument("--out", type=Path, default=ROOT / "results/libraries-ica", metavar="DIR")
    parser.add_argument("--relgrad", type=Path, default=ROOT / "target/release/relgrad", metavar="PROGRAM")
    options = parser.parse_args(arguments)
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"{', '.join(unknown)}: the sets are {', '.join(SETS)}")
    return options


def data(name: str, seed: int, folder: Path) -> tuple[Parts, Array | None]:
    """Training, validation and test part, standardised by the first; and the mixing of known sources."""
    random = np.random.RandomState(seed)
    if name == "eeg":
        with gzip.open(folder / "eeg/eeglab_data.fdt.gz") as file:
            rows = np.frombuffer(file.read(), "<f4").reshape(-1, 32).astype(np.float64)
        # The order of the set's README, whatever the seed.
        rows = rows[np.random.RandomState(0).permutation(len(rows))]
        first, second, _ = EEG_PARTS
        mixing = None
    else:
        uniform = random.rand(SAMPLES, SOURCES)
        sources = 2.0 / np.pi * np.log(np.tan(0.5 * np.pi * uniform))
        if name == "laplace":
            sources = random.laplace(size=uniform.shape)
        mixing = random.randn(SOURCES, SOURCES)
        rows = sources @ mixing.T
        second = SAMPLES // 10
        first = SAMPLES - 2 * second
    parts = rows[:first], rows[first : first + second], rows[first + second :]
    mean, deviation = parts[0].mean(0), parts[0].std(0)
    scaled = tuple((part - mean) / deviation for part in parts)
    return scaled, None if mixing is None else mixing / deviation[:, None]


def ours(optimizer: tuple[str, ...]) -> Callable[..., Found]:
    def run(parts: Parts, seed: int, options: argparse.Namespace, epochs: int) -> Found:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.savez(folder / "mixed.npz", train=parts[0], validation=parts[1], test=parts[2])
            command = [options.relgrad, "train", "mixed.npz", *SHARED, *optimizer, "--epochs", epochs]
            command += ["--patience", 0, "--threads", options.threads, "--seed", seed, "--quiet", "--out", "out"]
            command[0] = Path(command[0]).resolve()
            subprocess.run([str(word) for word in command], check=True, capture_output=True, cwd=folder)
            outcome = json.loads((folder / "out/training.json").read_text())["outcome"]
            (model,) = (folder / "out").glob("best-*.safetensors")
            weight, bias = (tensor(model, f"layer1.{part}") for part in ("weight", "bias"))
            told = outcome["test"]["mean"]
            found = float(log_density(parts[2] @ weight.T + bias).sum(1).mean() + np.linalg.slogdet(weight)[1])
            if abs(found - told) > 1e-3 * (1.0 + abs(told)):
                raise ValueError(f"relgrad's test likelihood is {told}, that of its weights {found}")
        return weight, outcome["seconds"], outcome["epochs"]

    return run


def tensor(path: Path, name: str) -> Array:
    """One array of a safetensors file."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    entry = json.loads(raw[8 : 8 + length])[name]
    begin, end = (8 + length + offset for offset in entry["data_offsets"])
    kind = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
    return np.frombuffer(raw[begin:end], kind).reshape(entry["shape"]).astype(np.float64)


def picard(ortho: bool) -> Callable[..., Found]:
    """Without `ortho` the maximum of the same likelihood: its tanh is the score of sech(s) / pi."""

    def run(parts: Parts, seed: int, options: argparse.Namespace, epochs: int) -> Found:
        from picard import picard as solve

        start = time.perf_counter()
        whitening, rotated, _, iterations = solve(
            parts[0].T, ortho=ortho, extended=False, random_state=seed, return_n_iter=True
        )
        return rotated @ whitening, time.perf_counter() - start, int(iterations)

    return run


def fast_ica(parts: Parts, seed: int, options: argparse.Namespace, epochs: int) -> Found:
    from sklearn.decomposition import FastICA

    start = time.perf_counter()
    with warnings.catch_warnings():
        # That it did not converge shows in its iterations.
        warnings.simplefilter("ignore")
        model = FastICA(fun="logcosh", whiten="unit-variance", random_state=seed).fit(parts[0])
    return model.components_, time.perf_counter() - start, int(model.n_iter_)


METHODS: dict[str, Callable[..., Found]] = {
    "relgrad, SGD": ours(SGD),
    "relgrad, Adam": ours(ADAM),
    "Picard": picard(ortho=False),
    "Picard-O": picard(ortho=True),
    "FastICA": fast_ica,
}


def log_density(s: Array) -> Array:
    """log of sech(pi s / 2) / 2."""
    a = 0.5 * np.pi * np.abs(s)
    return -a - np.log1p(np.exp(-2.0 * a))


def judged(unmixing: Array, parts: Parts, mixing: Array | None) -> dict[str, Any]:
    """Test likelihood with the best scale of every row, and the Amari distance where the sources are known."""
    scaled = best_scales(parts[0] @ unmixing.T)[:, None] * unmixing
    nats = log_density(parts[2] @ scaled.T).sum(1) + np.linalg.slogdet(scaled)[1]
    mean, error = two_standard_errors(nats)
    train = float(log_density(parts[0] @ scaled.T).sum(1).mean() + np.linalg.slogdet(scaled)[1])
    distance = None if mixing is None else amari(unmixing @ mixing)
    return {"test": mean, "two_standard_errors": error, "train": train, "amari": distance}


def best_scales(sources: Array) -> Array:
    """c > 0 that maximises log c + mean log p(c s) of every column, by Newton's steps in log c."""
    log_scale = -np.log(sources.std(0))
    for _ in range(50):
        s = np.exp(log_scale) * sources
        t = 0.5 * np.pi * np.tanh(0.5 * np.pi * s)
        slope = 1.0 - (s * t).mean(0)
        curve = -(s * t + s * s * (0.25 * np.pi**2 - t * t)).mean(0)
        step = slope / np.maximum(-curve, 1.0 / CLIP)
        log_scale += step
        if np.abs(step).max() < 1e-12:
            break
    return np.exp(log_scale)


def amari(product: Array) -> float:
    """Mean of (row sum over row maximum - 1) of |W A| and of its transpose, over D - 1."""
    p = np.abs(product)
    dim = len(p)
    rows = (p.sum(1) / p.max(1) - 1.0).sum()
    columns = (p.sum(0) / p.max(0) - 1.0).sum()
    return float((rows + columns) / (2.0 * dim * (dim - 1)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
