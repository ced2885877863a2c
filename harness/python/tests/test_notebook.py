"""The notebook runs from its first cell to its last, with a figure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

NOTEBOOK = Path(__file__).parents[1] / "notebooks/from-sweep-to-figure.ipynb"
# Of its file, outputs included.
MOST_BYTES = 60_000


@pytest.mark.filterwarnings("default")
def test_the_notebook_goes_from_a_sweep_to_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path(sys.executable).with_name("relgrad").exists():
        pytest.skip("the program relgrad is not installed: install the wheel of harness/python/build")
    monkeypatch.delenv("RELGRAD_RESULTS", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "samples of" in text and "relative  D=16:" in text and "ordinary  time ∝ D^" in text


def test_the_committed_notebook_is_small_and_has_its_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert NOTEBOOK.stat().st_size < MOST_BYTES
