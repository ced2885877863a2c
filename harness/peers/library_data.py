"""The sets of Table 1 at hand, with the preprocessing of harness/src/data, as NumPy arrays.

What was loaded is compared with the fingerprints and sizes of harness/src/data/catalogue.json, to which relgrad holds its
own loaders, so that both learn the same numbers.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CATALOGUE = Path(__file__).resolve().parents[1] / "src/data/catalogue.json"

# relgrad's names of the sets, in the order of Table 1.
SETS = ("power-subset", "miniboone-subset", "bsds300", "mnist")

LOGIT_MARGIN = 1e-6
PERIOD = 101  # of the fingerprint's weights


@dataclass
class DataSet:
    """A set in its three parts, (N, D) each, in f64."""

    name: str
    stands_for: str
    provenance: str
    parts: tuple[Array, Array, Array]
    fingerprint: float

    @property
    def dim(self) -> int:
        return self.parts[0].shape[1]


def load(name: str, folder: Path) -> DataSet:
    """Loads a set; raises ValueError where it is missing, or its sizes or its fingerprint are not relgrad's."""
    if not (folder / name).is_dir():
        raise ValueError("there is no such folder; --data names the folder of the sets")
    entry = next(entry for entry in json.loads(CATALOGUE.read_text()) if entry["name"] == name)
    parts = LOADERS[name](folder / name)
    sizes = [len(part) for part in parts]
    if sizes != entry["parts"] or parts[0].shape[1] != entry["dim"]:
        raise ValueError(f"{name}: {sizes} samples, relgrad has {entry['parts']}")
    found = fingerprint(parts)
    known = entry.get("fingerprint")
    if known is not None and abs(found - known) > 1e-9 * (1.0 + abs(known)):
        raise ValueError(f"{name}: its fingerprint is {found:.12e}, relgrad's {known:.12e}")
    return DataSet(name, entry["stands_for"], entry["provenance"], parts, found)


def fingerprint(parts: tuple[Array, ...]) -> float:
    """The mean of all numbers with weights that differ between neighbours (harness/src/data/catalogue.rs)."""
    total, count = 0.0, 0
    for k, part in enumerate(parts):
        columns = 17 * np.arange(part.shape[1])
        for start in range(0, len(part), 4096):
            rows = part[start : start + 4096]
            weights = (7 * k + 31 * np.arange(start, start + len(rows))[:, None] + columns) % PERIOD / PERIOD
            total += float(np.sum(weights * rows))
        count += part.size
    return total / count


def logit(p: Array) -> Array:
    q = LOGIT_MARGIN + (1.0 - 2.0 * LOGIT_MARGIN) * p
    return np.log(q / (1.0 - q))


def split_in_order(rows: Array) -> tuple[Array, Array, Array]:
    test = len(rows) // 10
    validation = (len(rows) - test) // 10
    train = len(rows) - test - validation
    return rows[:train], rows[train : train + validation], rows[train + validation :]


def standardised(rows: Array) -> tuple[Array, Array, Array]:
    """Split, then standardised by mean and population deviation of training and validation, rounded to f32."""
    train, validation, test = split_in_order(rows)
    known = np.concatenate([train, validation])
    mean, deviation = known.mean(0), known.std(0)
    scale = lambda part: ((part - mean) / deviation).astype(np.float32).astype(np.float64)  # noqa: E731
    return scale(train), scale(validation), scale(test)


def power(folder: Path) -> tuple[Array, Array, Array]:
    (path,) = folder.glob("household_power_consumption*.gz")
    rows = []
    with gzip.open(path, "rt") as file:
        for _, time, *fields in csv.reader(file):
            if len(fields) == 7 and not any(field in ("", "?") for field in fields) and time[:1].isdigit():
                hour, minute = map(int, time.split(":")[:2])
                rows.append([*map(float, fields), 60 * hour + minute])
    random = np.random.RandomState(42)
    values = np.array(rows)
    random.shuffle(values)
    values = values[:, [0, 2, 4, 5, 6, 7]]
    for columns, width in ((slice(1, 2), 0.01), (slice(0, 1), 0.001), (slice(2, 5), 1.0)):
        values[:, columns] += width * random.rand(*values[:, columns].shape)
    return standardised(values)


def miniboone(folder: Path) -> tuple[Array, Array, Array]:
    (path,) = folder.glob("*.npy")
    return standardised(np.load(path).astype(np.float64))


def bsds300(folder: Path) -> tuple[Array, Array, Array]:
    random = np.random.RandomState(42)

    def part(pixels: NDArray[np.uint8]) -> Array:
        patches = (pixels + random.rand(*pixels.shape)) / 256.0
        return (patches - patches.mean(1, keepdims=True))[:, :-1]

    with np.load(folder / "bsds300-patches-u8.npz") as arrays:
        return part(arrays["train"]), part(arrays["val"]), part(arrays["test"])


def mnist(folder: Path) -> tuple[Array, Array, Array]:
    def pictures(name: str) -> NDArray[np.uint8]:
        with gzip.open(folder / name) as file:
            return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)

    random = np.random.RandomState(42)
    train, test = pictures("train-images-idx3-ubyte.gz"), pictures("t10k-images-idx3-ubyte.gz")
    part = lambda pixels: logit(pixels / 256.0 + random.rand(*pixels.shape) / 256.0)  # noqa: E731
    return part(train[:-10_000]), part(train[-10_000:]), part(test)


LOADERS: dict[str, Any] = {
    "power-subset": power,
    "miniboone-subset": miniboone,
    "bsds300": bsds300,
    "mnist": mnist,
}


def gaussian(parts: tuple[Array, ...]) -> tuple[float, float]:
    """Mean and two standard errors, over the test part, of the full-covariance Gaussian of the training part."""
    train, test = parts[0], parts[-1]
    mean = train.mean(0)
    lower = np.linalg.cholesky(np.cov(train, rowvar=False, bias=True))
    z = np.linalg.solve(lower, (test - mean).T)
    nats = -0.5 * (z * z).sum(0) - np.log(np.diag(lower)).sum() - 0.5 * test.shape[1] * np.log(2 * np.pi)
    return two_standard_errors(nats)


def two_standard_errors(nats: Array) -> tuple[float, float]:
    return float(nats.mean()), float(2.0 * nats.std() / np.sqrt(len(nats)))
