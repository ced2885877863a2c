"""Time of a gradient for each sample against the batch size, beside what the machine allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import targets

COLORS = {"relgrad": "#0072b2", "numpy": "#e69f00", "jax": "#009e73", "torch": "#d55e00"}
MARKS = {"relgrad": "o", "numpy": "s", "jax": "^", "torch": "D"}
METHODS = ("relative", "relative-inplace")


def draw(samples: list[dict[str, Any]], facts: dict[str, Any], path: Path) -> str:
    """Writes a panel for each method and dimension; returns what to say of it."""
    try:
        import matplotlib
    except ImportError:
        return "no figure: matplotlib is not installed"
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "relgrad", "svg.fonttype": "none"}
    from matplotlib import pyplot

    threads = facts["options"]["threads"]
    at = {batch: targets.Measured(samples, batch) for batch in targets.batches(samples)}
    dims = sorted({dim for measured in at.values() for method in METHODS for dim in measured.dims(method, threads)})
    figure, panels = pyplot.subplots(len(METHODS), len(dims), figsize=(3.2 * len(dims), 6), squeeze=False, sharex=True)
    for row, method in zip(panels, METHODS, strict=True):
        for panel, dim in zip(row, dims, strict=True):
            for who, color in COLORS.items():
                known = [(n, m.seconds(who, method, dim, threads)) for n, m in at.items()]
                points = [(n, seconds / n) for n, seconds in known if seconds is not None]
                style = {"color": color, "marker": MARKS[who], "markersize": 4, "label": targets.NAMES[who]}
                panel.plot(*zip(*points, strict=True), **style) if points else None
            bounds = [(n, targets.bounds(m, facts, method, dim, threads)) for n, m in at.items()]
            bounds = [(n, pair) for n, pair in bounds if pair]
            for index, (name, dashes) in enumerate((("arithmetic", "--"), ("memory", ":"))):
                line = [(n, pair[index] / n) for n, pair in bounds]
                panel.plot(*zip(*line, strict=True), dashes, color="#444444", label=f"bound: {name}") if line else None
            panel.set(xscale="log", yscale="log", title=f"{method}, D = {dim:,}")
            panel.title.set_fontsize(9)
            panel.grid(alpha=0.3)
    for panel in panels[-1]:
        panel.set_xlabel("batch size N")
    for row in panels:
        row[0].set_ylabel("seconds a sample")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=6, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    return f"figure: {path}"
