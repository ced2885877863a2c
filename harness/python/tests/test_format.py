"""FORMAT.md: the lines that read a model are run as they stand there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, program

MOST_LINES = 20


def lines_of_format() -> str:
    """The only Python of FORMAT.md."""
    _, code, *others = (ROOT / "FORMAT.md").read_text().split("```python\n")
    assert not others
    return code.split("```")[0]


@pytest.fixture
def rows(tmp_path: Path) -> np.ndarray:
    """Rows far from 0, in rows.npy: the training subtracts their means where its first layer standardises."""
    rows = 300 + np.random.default_rng(1).normal(size=(400, 5)) @ np.random.default_rng(2).normal(size=(5, 5)) / 9
    np.save(tmp_path / "rows.npy", rows)
    return rows


def test_the_lines_are_few() -> None:
    assert len([line for line in lines_of_format().splitlines() if line]) <= MOST_LINES


# The NumPy of the lines is f64; a network in f32 rounds its own.
@pytest.mark.parametrize(
    ("words", "tolerance"),
    [
        ("--dtype f64 --init standardise --layers 3", 1e-10),
        ("--dtype f32 --init standardise --optimizer sgd", 1e-4),
        ("--dtype f64 --no-bias --last-nonlinear --activation smooth:0.1", 1e-10),
    ],
)
def test_they_score_rows_as_the_program_does(words: str, tolerance: float, rows: np.ndarray, tmp_path: Path) -> None:
    model, table, script = tmp_path / "model", tmp_path / "scores.npy", tmp_path / "score.py"
    script.write_text(lines_of_format())
    data = str(tmp_path / "rows.npy")
    subprocess.run(
        [program(), "train", data, "--epochs", "3", "--quiet", "--out", str(model), *words.split()], check=True
    )
    subprocess.run([program(), "score", str(model), data, "--out", str(table)], check=True)
    run = subprocess.run([sys.executable, str(script), str(model), data], check=True, capture_output=True, text=True)
    ours, theirs = np.load(table)[:, 0], np.array(run.stdout.split(), dtype=float)
    assert ours.shape == theirs.shape == (len(rows),)
    np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=tolerance)
