"""The tables of `libraries`: of layers, of Table 1, of linear ICA. Reads what the runs wrote; needs no library."""

from __future__ import annotations

import gzip
import json
import math
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from library_names import AUTOREGRESSIVE, KINDS, LINEAR
from targets import bytes_text, seconds_text, table

# A fitted exponent above this, or products of D³ that PyTorch counted, are told.
CUBIC_EXPONENT = 2.5
FIT_FROM = 500
CUBIC_PRODUCTS = 0.5


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    """Lines of NAME.jsonl, or of NAME.jsonl.gz as it is archived."""
    path, packed = folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"
    text = path.read_text() if path.exists() else gzip.decompress(packed.read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def write(folder: Path, name: str, lines: Iterable[str]) -> None:
    text = "\n".join(lines) + "\n"
    (folder / name).write_text(text)
    print(text)


# Layers


def layers(folder: Path) -> int:
    try:
        facts, samples = json.loads((folder / "run.json").read_text()), read(folder, "samples")
    except (OSError, ValueError) as cause:
        print(f"cannot read {folder}: {cause}", file=sys.stderr)
        return 2
    write(folder, "table.md", layer_lines(facts, samples))
    failed = any("error" in line for line in samples) or not all(facts["verification"]["passed"].values())
    return int(failed)


def layer_lines(facts: dict[str, Any], samples: list[dict[str, Any]]) -> list[str]:
    options = facts["options"]
    times, peaks, products = medians(samples)
    names = list(dict.fromkeys(line["method"] for line in samples))
    dims = sorted({dim for _, dim in times})
    ours = [name for name in names if name in options["ours"]]
    linear = [name for name in names if name in LINEAR]
    rest = [name for name in names if name in AUTOREGRESSIVE]
    machine = facts.get("machine", {})
    threads = "one thread" if options["threads"] == 1 else f"{options['threads']} threads"
    lines = [
        "# The libraries' layers beside relgrad",
        "",
        f"Mean negative log-likelihood and the gradient of every parameter: N = {options['batch']}, L = {options['depth']}, "
        f"f32, {threads}, {machine.get('cpu', 'an unknown processor')}. relgrad's own lines are its "
        "gradients alone, as in a sweep.",
        "Medians of the rounds; every round is a process of its own.",
        "",
    ]
    head = ["layer", *(f"D = {dim:,}" for dim in dims)]
    for title, of in (("Time", times), ("Peak memory", peaks)):
        text = seconds_text if title == "Time" else bytes_text
        rows = [[name, *(text(of[name, d]) if (name, d) in of else "–" for d in dims)] for name in ours + linear + rest]
        lines += [f"## {title}", "", *table(head, rows), ""]
    rows = [row(name, times, products, dims, facts, options["ours"]) for name in ours + linear + rest]
    columns = ["layer", "over relative", "exponent", f"from D = {FIT_FROM}", "D³", "N D²", "error, f64", "error, f32"]
    lines += ["## What they cost", "", *table(columns, rows), ""]
    lines += explanations(times, products, linear + rest, facts)
    return lines


def medians(samples: list[dict[str, Any]]) -> tuple[dict[Any, float], dict[Any, float], dict[str, dict[str, float]]]:
    """Times and peaks by (layer, D): medians of the rounds' medians, and of the rounds. Counted products by layer."""
    seconds: dict[Any, list[float]] = {}
    bytes_: dict[Any, list[float]] = {}
    products: dict[str, dict[str, float]] = {}
    for line in samples:
        if "error" in line:
            continue
        key = (line["method"], line["dim"])
        seconds.setdefault(key, []).append(statistics.median(line["seconds"]))
        if line.get("peak_bytes"):
            bytes_.setdefault(key, []).append(line["peak_bytes"])
        if "products" in line:
            products[line["method"]] = line["products"]
    middle = lambda of: {key: statistics.median(values) for key, values in of.items()}  # noqa: E731
    return middle(seconds), middle(bytes_), products


def row(
    name: str,
    times: dict[Any, float],
    products: dict[str, dict[str, float]],
    dims: list[int],
    facts: dict[str, Any],
    ours: list[str],
) -> list[str]:
    over = [d for d in dims if (name, d) in times and ("relative", d) in times]
    ratio = f"{times[name, over[-1]] / times['relative', over[-1]]:.1f}× at {over[-1]:,}" if over else "–"
    of = lambda least: [(d, times[name, d]) for d in dims if (name, d) in times and d >= least]  # noqa: E731
    fits = [exponent(of(0)), exponent(of(FIT_FROM))]
    shown = ["–" if fit is None else f"{fit:.2f}" for fit in fits]
    counts = [f"{products[name][key]:.0f}" if name in products else "–" for key in ("cubic", "square")]
    verification = facts["verification"]
    errors = [verification[dtype]["errors"].get(name) if dtype in verification else None for dtype in ("f64", "f32")]
    told = ["–" if error is None or name in ours else f"{error:.0e}" for error in errors]
    return [name, ratio, *shown, *counts, *told]


def exponent(points: list[tuple[int, float]]) -> float | None:
    """Slope of log t over log D by least squares; two points at least."""
    if len(points) < 2:
        return None
    x, y = [math.log(d) for d, _ in points], [math.log(t) for _, t in points]
    centre = statistics.fmean(x)
    spread = math.fsum((a - centre) ** 2 for a in x)
    return math.fsum((a - centre) * b for a, b in zip(x, y, strict=True)) / spread


def explanations(
    times: dict[Any, float], products: dict[str, dict[str, float]], names: list[str], facts: dict[str, Any]
) -> list[str]:
    lines = [f"- **{name}**: {({**LINEAR, **AUTOREGRESSIVE})[name]}.{cubic(name, times, products)}" for name in names]
    options = facts["options"]
    lines += [
        "",
        f"The exponent is that of a power of D fitted to all D, and to D ≥ {FIT_FROM}. Under D³ and N D² stand the operations "
        f"of all products of one evaluation at L = {options['depth']} in these units, as PyTorch's FlopCounterMode counts them "
        "in the forward and the backward pass: what does not grow with N, and what does. It does not see inverses, "
        "determinants, exponentials and products with vectors. relative has 14 N D², ordinary 10 N D² and 4 D³.",
        "",
        "Errors are relative, the worst of the log-likelihood and the gradients of all parameters of the layer, against "
        "relgrad's at D = 10 (f64) and D = 50 (f32) on the same W and batch: gL = tril(Pᵀ G Uᵀ, -1), gU = triu(Lᵀ Pᵀ G). A "
        "rotation and I + A cannot be our W; they are compared at a W of their own with a reference that agrees with "
        f"relgrad to {facts['verification']['f64']['errors']['reference']:.0e}. The residual layer is compared with its exact "
        "trace and 60 terms; the mean of 400 of its random gradients is "
        f"{facts['verification']['f64']['residual_deviations']:.1f} standard errors from the exact one. Autoregressive models "
        "are compared with the determinant of their own Jacobian.",
    ]
    refused = facts.get("does_not_run", {})
    version = facts["versions"]["torch"]
    if refused:
        lines += ["", f"With PyTorch {version}:", *(f"- {name}: {reason}" for name, reason in refused.items())]
    return lines + [""] * bool(facts["notes"]) + [f"- {note}" for note in facts["notes"]]


def cubic(name: str, times: dict[Any, float], products: dict[str, dict[str, float]]) -> str:
    """Says that a layer is cubic where its products or its times show it."""
    fitted = exponent([(d, t) for (of, d), t in times.items() if of == name and d >= FIT_FROM])
    counted = products.get(name, {}).get("cubic", 0.0)
    if counted > CUBIC_PRODUCTS:
        return f" **Cubic: products of {counted:.0f} D³ operations an evaluation**, whatever N."
    if fitted is not None and fitted > CUBIC_EXPONENT:
        return f" **Its time grows like D^{fitted:.1f}**, with no product of D³: what it computes besides is cubic."
    return " PyTorch counts no product of D³." if name in products else ""


# Table 1

# MAF's Table 1 (Papamakarios et al. 2017), with far larger networks; quoted from a public list, MNIST from memory.
PUBLISHED = {
    "made": ("−3.08 ± 0.03", "−15.59 ± 0.50", "148.85 ± 0.28", "−1380.8 ± 4.8"),
    "made-mog": ("0.40 ± 0.01", "−12.27 ± 0.47", "153.71 ± 0.28", "−1038.5 ± 1.8"),
    "real-nvp": ("−0.02 ± 0.01", "−13.55 ± 0.49", "152.97 ± 0.28", "−1323.2 ± 6.6"),
    "maf": ("0.14 ± 0.01", "−11.75 ± 0.44", "155.69 ± 0.28", "−1300.5 ± 1.7"),
    "maf-mog": ("0.30 ± 0.01", "−11.68 ± 0.44", "156.36 ± 0.28", "−1100.3 ± 1.6"),
    "relgrad": ("0.065 ± 0.013", "−13.372 ± 0.450", "151.12 ± 0.28", "−1375.2 ± 1.4"),
}
SETS = {
    "power-subset": "POWER, subset",
    "miniboone-subset": "MINIBOONE, subset",
    "bsds300": "BSDS300, fresh draw",
    "mnist": "MNIST, same data",
}
STOPPED = {"patience": "patience", "epochs": "cap", "diverged": "diverged"}


def table1(folder: Path) -> int:
    write(folder, "table1.md", table1_lines(read(folder, "models")))
    return 0


def table1_lines(models: list[dict[str, Any]]) -> list[str]:
    """The better of one and two hidden layers by validation, beside the published value; then every training."""
    lines = ["# Table 1: the other rows, with as many parameters as ours", ""]
    columns = ["model", *SETS.values()]
    rows = []
    for kind, title in KINDS.items():
        cells = [title]
        for name, published in zip(SETS, PUBLISHED[kind], strict=True):
            of = [line for line in models if (line["set"], line["kind"]) == (name, kind)]
            cells.append(f"{nats(max(of, key=lambda line: line['validation']))} ({published})" if of else "–")
        rows.append(cells)
    lines += [*table(columns, rows), "", *TABLE1_NOTES, "", "## Every training", ""]
    columns = ["set", "model", "hidden layers", "H", "parameters", "validation", "test", "epochs", "stopped by", "time"]
    rows = [
        [
            line["set"],
            KINDS[line["kind"]],
            "–" if line["kind"] == "relgrad" else str(line["hidden"]),
            str(line["units"] or "–"),
            f"{line['parameters']:,}",
            f"{line['validation']:.2f}",
            nats(line),
            f"{line['best_epoch']} of {line['epochs']}",
            STOPPED.get(line["stopped"], line["stopped"]),
            seconds_text(line["seconds"]) if line["seconds"] else "–",
        ]
        for line in sorted(models, key=lambda line: (list(SETS).index(line["set"]), list(KINDS).index(line["kind"])))
    ]
    return lines + table(columns, rows)


TABLE1_NOTES = (
    "Test nats ± 2 standard errors over the test samples; in brackets the published value: of ours that of Gresele et al. "
    "2020, of the others that of Papamakarios et al. 2017, whose models are larger (on MNIST from memory, but for MADE MoG). "
    "It belongs to more training, and for a subset to another set. POWER and MINIBOONE are small parts of the published "
    "sets, and only the rows of a column may be compared; BSDS300 has the same images and another draw of patches; MNIST "
    "is the set itself with its own split.",
    "",
    "Every model has at most 2 D² + 2 D parameters that no mask sets to 0, those of ours with L = 2, except where even H = 1 "
    "has more. H follows from that count. All learn in batches of 100 with Adam at 1e-3 from standardised data until the "
    "patience or the cap on epochs ends it; the caps are ours, and short. The model kept is that of the best validation "
    "likelihood, and a cell that of one or two hidden layers by the same rule. MoG has 3 components, where MAF has 10.",
)


def nats(line: dict[str, Any]) -> str:
    return f"{line['test']:.2f} ± {line['two_standard_errors']:.2f}".replace("-", "−")


# Linear ICA


def ica(folder: Path) -> int:
    write(folder, "ica.md", ica_lines(read(folder, "ica")))
    return 0


ICA_SETS = {"sech": "20 sech sources", "laplace": "20 Laplace sources", "eeg": "EEG, 32 channels"}


def ica_lines(lines: list[dict[str, Any]]) -> list[str]:
    rows = []
    for name in dict.fromkeys(line["set"] for line in lines):
        for method in dict.fromkeys(line["method"] for line in lines):
            of = [line for line in lines if (line["set"], line["method"]) == (name, method)]
            if not of:
                continue
            mean = lambda key, of=of: statistics.fmean(line[key] for line in of)  # noqa: E731
            distance = "–" if of[0]["amari"] is None else f"{mean('amari'):.4f}"
            cells = [ICA_SETS[name], method, f"{mean('test'):.3f}", f"{mean('train'):.3f}", distance]
            cells += [seconds_text(mean("seconds")), f"{mean('iterations'):.0f}", str(len(of))]
            rows.append([cell.replace("-", "−") if cell[0] == "-" else cell for cell in cells])
    columns = ["data", "method", "test (nats)", "training (nats)", "Amari", "time", "iterations", "seeds"]
    return [
        "# Linear ICA, L = 1, sech latents",
        "",
        *table(columns, rows),
        "",
        "Means over the seeds; a seed is another mixture of other sources, or another start on the EEG. Nats are those of "
        "standardised samples, of the same density for all, with the best scale of every source. Picard and FastICA see all "
        "of the training part at once and their iterations are passes; relgrad's are epochs, in batches of 100.",
    ]
