"""What relgrad must reach beside its peers, judged on one run's samples, and the table that says so."""

from __future__ import annotations

import fnmatch
import math
import statistics
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Least ratios of the best peer's time to ours: (smallest D, largest D, ratio).
RELATIVE = ((10, 50, 3.0), (51, 4999, 1.0), (5000, 10**9, 1.3))
IN_PLACE = ((1, 10**9, 1.3),)
ORDINARY = ((100, 10**9, 1.0),)
AUTODIFF = ((10, 500, 2.0),)
# Of the best square product's rate.
CEILING_DIM, CEILING_FRACTION = 1000, 0.85
# A ratio that asks for more than this of the fastest product or gradient of a run has a reason: hardly a gradient had more
# (kernels/PERFORMANCE.md).
NEAR_CEILING = 0.97
# Peak memory over its lower bound.
IN_PLACE_MEMORY_DIM, IN_PLACE_MEMORY = 5000, 1.05
AUTODIFF_MEMORY = 1.1
# Time of `relative` on one thread over that on two.
SCALING_DIM, SCALING = 1000, 1.8
EXPONENT_DIM, EXPONENT, EXPONENT_TOLERANCE = 2000, 2.0, 0.05
SMALL_DIM, SMALL_SECONDS = 10, 10e-6
# One core's square product on the machine that the limit was set on, and what is too slow to be held to it.
SMALL_CORE, SLOW_CORE = 105e9, 0.5 * 105e9

# On a GPU: LU and inverse within 1.3 times those of another framework, `relative` within 1.5 times its ceiling and 50
# times as fast as `ordinary`, the last two at the largest dimension of the paper.
GPU_ORDINARY = ((1000, 10**9, 1 / 1.3),)
GPU_DIM, GPU_CEILING_FRACTION, GPU_SPEEDUP = 20_000, 1 / 1.5, 50.0

# Samples of a cell unless others are asked for; the targets above are for these.
BATCH = 100
# With others: faster than the best peer, and a time over max(flops / square product's rate, traffic / bandwidth). From
# the first dimension on the weights exceed a cache; below, what they are read from is faster than memory.
FEW_SPEED = ((1, 10**9, 1.0),)
FEW_DIM, FEW_OVER_BOUND, CACHED_OVER_BOUND = 2000, 1.25, 1.5

NAMES = {"numpy": "NumPy", "jax": "JAX", "torch": "PyTorch", "relgrad": "relgrad"}


@dataclass
class Line:
    """One line of the table."""

    target: str
    dim: int | None
    relgrad: str
    against: str
    value: float
    """What is compared: a ratio, a fraction, an exponent, or seconds."""
    shown: str
    needed: str
    verdict: str
    reason: str = ""
    undisturbed: float | None = None
    """`value` from the fastest samples instead of the medians."""


class Measured:
    """Medians of the processes of every (who, method, dim, threads), at one batch size."""

    def __init__(self, samples: list[dict[str, Any]], batch: int = BATCH) -> None:
        self.rounds: dict[tuple[str, str, int, int], dict[int, float]] = {}
        self.bests: dict[tuple[str, str, int, int], float] = {}
        self.peaks: dict[tuple[str, str, int, int], int] = {}
        self.models: dict[tuple[str, int], dict[str, float]] = {}
        for line in samples:
            if "error" in line or line.get("batch", BATCH) != batch:
                continue
            key = (line["who"], line["method"], line["dim"], line["threads"])
            self.rounds.setdefault(key, {})[line["round"]] = statistics.median(line["seconds"])
            self.bests[key] = min(self.bests.get(key, math.inf), *line["seconds"])
            if line.get("peak_bytes"):
                self.peaks[key] = max(line["peak_bytes"], self.peaks.get(key, 0))
            if "model" in line:
                self.models[line["method"], line["dim"]] = line["model"]

    def seconds(self, who: str, method: str, dim: int, threads: int) -> float | None:
        rounds = self.rounds.get((who, method, dim, threads))
        return statistics.median(rounds.values()) if rounds else None

    def best(self, who: str, method: str, dim: int, threads: int) -> float:
        """The fastest sample of all rounds: what the cell takes while nothing else runs."""
        return self.bests[who, method, dim, threads]

    def dims(self, method: str, threads: int) -> list[int]:
        return sorted({d for who, m, d, t in self.rounds if (who, m, t) == ("relgrad", method, threads)})

    def ratio(self, ours: tuple[str, str, int, int], theirs: tuple[str, str, int, int]) -> tuple[float, str]:
        """Their time over ours: the ratio of the medians, and the range over the rounds that both have."""
        value = self.seconds(*theirs) / self.seconds(*ours)
        shared = self.rounds[ours].keys() & self.rounds[theirs].keys()
        ratios = [self.rounds[theirs][r] / self.rounds[ours][r] for r in shared]
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
        return value, f"{value:.2f}×{spread}"


def judge(samples: list[dict[str, Any]], facts: dict[str, Any], reasons: list[dict[str, Any]]) -> list[Line]:
    measured = Measured(samples)
    threads = facts["options"]["threads"]
    layers_width = 2 * {"f32": 4, "f64": 8}[facts["options"]["dtype"]]
    on_gpu = [
        *speeds(measured, threads, "ordinary", "ordinary", GPU_ORDINARY, facts),
        *ceilings(measured, threads, facts, GPU_DIM, GPU_CEILING_FRACTION),
        *over_ordinary(measured, threads),
    ]
    on_cpu = [
        *speeds(measured, threads, "relative", "relative", RELATIVE, facts),
        *small(measured, threads, facts),
        *speeds(measured, threads, "relative-inplace", "relative-inplace", IN_PLACE, facts),
        *memory(measured, threads, "relative-inplace", IN_PLACE_MEMORY_DIM, IN_PLACE_MEMORY),
        *ceilings(measured, threads, facts, CEILING_DIM, CEILING_FRACTION),
        *speeds(measured, threads, "ordinary", "ordinary", ORDINARY, facts),
        *speeds(measured, threads, "autodiff", "autodiff", AUTODIFF, facts, ("jax",)),
        *speeds(measured, threads, "autodiff-streamed", "autodiff", AUTODIFF, facts, ("jax",)),
        *memory(measured, threads, "autodiff", 1, AUTODIFF_MEMORY),
        # The streamed bound is per worker: each has L Jacobians of one sample.
        *memory(measured, threads, "autodiff-streamed", 1, AUTODIFF_MEMORY, (threads - 1) * layers_width),
        *exponent(measured, threads),
        *scaling(measured, threads),
    ]
    lines = on_gpu if facts["options"]["device"] == "cuda" else on_cpu
    for batch in batches(samples):
        if batch != BATCH:
            lines += few(Measured(samples, batch), threads, facts, batch)
    for line in lines:
        if line.verdict == "misses":
            line.reason = line.reason or reason_for(line, reasons, facts)
    return lines


def batches(samples: list[dict[str, Any]]) -> list[int]:
    return sorted({line.get("batch", BATCH) for line in samples})


def few(measured: Measured, threads: int, facts: dict[str, Any], batch: int) -> Iterator[Line]:
    """Another batch size than the paper's, for the relative gradient and its step."""
    for method in ("relative", "relative-inplace"):
        at = f", N = {batch}"
        yield from speeds(measured, threads, method, method, FEW_SPEED, facts, at=at)
        yield from ceilings(measured, threads, facts, FEW_DIM, 1 / FEW_OVER_BOUND, (method,), at)
        cached = ceilings(measured, threads, facts, CEILING_DIM, 1 / CACHED_OVER_BOUND, (method,), at)
        yield from (line for line in cached if line.dim < FEW_DIM)
    yield from speeds(measured, threads, "relative-delayed", "relative-inplace", FEW_SPEED, facts, at=f", N = {batch}")


def verdict(meets: bool) -> str:
    return "meets" if meets else "misses"


def speeds(
    measured: Measured,
    threads: int,
    ours: str,
    theirs: str,
    bands: tuple[tuple[int, int, float], ...],
    facts: dict[str, Any],
    peers: tuple[str, ...] = ("numpy", "jax", "torch"),
    at: str = "",
) -> Iterator[Line]:
    for dim in measured.dims(ours, threads):
        need = next((ratio for low, high, ratio in bands if low <= dim <= high), None)
        times = {p: s for p in peers if (s := measured.seconds(p, theirs, dim, threads)) is not None}
        if need is None or not times:
            continue
        best = min(times, key=times.__getitem__)
        value, shown = measured.ratio(("relgrad", ours, dim, threads), (best, theirs, dim, threads))
        undisturbed = measured.best(best, theirs, dim, threads) / measured.best("relgrad", ours, dim, threads)
        reason = ""
        if value < need:
            wanted = times[best] / need
            reason = (
                beyond_ceiling(measured, (ours, dim, threads), wanted, facts)
                or beyond_inverses(measured, (ours, dim, threads), wanted, facts)
                or disturbed(undisturbed, need, "×")
            )
        yield Line(
            f"{ours} speed{at}",
            dim,
            seconds_text(measured.seconds("relgrad", ours, dim, threads)),
            f"{NAMES[best]} {seconds_text(times[best])}",
            value,
            shown,
            f"≥ {need:.3g}×",
            verdict(value >= need),
            reason,
            undisturbed,
        )


def beyond_ceiling(measured: Measured, cell: tuple[str, int, int], wanted: float, facts: dict[str, Any]) -> str:
    """Why `wanted` seconds cannot be had: no square product and no gradient reached that rate in this run."""
    method, dim, threads = cell
    model = measured.models.get((method, dim))
    if not method.startswith("relative") or model is None or not square_rate(facts, threads):
        return ""
    ours = (
        measured.models[m, d]["flops"] / seconds
        for (who, m, d, t), seconds in measured.bests.items()
        if (who, t) == ("relgrad", threads) and m.startswith("relative") and (m, d) in measured.models
    )
    rate, needed = max(square_rate(facts, threads), *ours), model["flops"] / wanted
    if needed > rate:
        return f"needs {needed / 1e9:.0f} GFLOP/s, where no sample of a square product or a gradient has more than {rate / 1e9:.0f}"
    if needed > NEAR_CEILING * rate and dim >= CEILING_DIM:
        reached = model["flops"] / measured.seconds("relgrad", method, dim, threads)
        return f"needs {100 * needed / rate:.0f} % of the fastest product or gradient of this run, ours has {100 * reached / rate:.0f} %"
    return ""


def beyond_inverses(measured: Measured, cell: tuple[str, int, int], wanted: float, facts: dict[str, Any]) -> str:
    """Why `autodiff` cannot take `wanted` seconds: one LU and inverse a sample at the best rate of this run for that D, and
    all else at the rate of the square product, take longer."""
    method, dim, threads = cell
    model = measured.models.get((method, dim))
    inverse = best_rate(facts, "inverse", 1, dim)
    if not method.startswith("autodiff") or model is None or not inverse or not square_rate(facts, threads):
        return ""
    # Samples are shared out, so that every thread has matrices of its own to invert.
    inverting = 2.0 * BATCH * dim**3
    least = inverting / (threads * inverse) + (model["flops"] - inverting) / square_rate(facts, threads)
    if least <= wanted:
        return ""
    return (
        f"needs {seconds_text(wanted)}, where its products at the square product’s rate and its LU and inverse at {threads} × "
        f"{inverse / 1e9:.0f} GFLOP/s, the fastest here, take {seconds_text(least)}"
    )


def disturbed(undisturbed: float, need: float, unit: str) -> str:
    """That the medians miss what the fastest samples of the same processes meet."""
    scale = 100 if unit == " %" else 1
    return f"the fastest samples give {scale * undisturbed:.3g}{unit}: the machine was disturbed" if undisturbed >= need else ""


def square_rate(facts: dict[str, Any], threads: int) -> float:
    """Best rate of a square product in any sample, 0 where none was measured.

    A ceiling is what the machine can do: a median taken while a neighbour had a core would flatter every fraction of it.
    """
    return best_rate(facts, "square-product", threads)


def best_rate(facts: dict[str, Any], operation: str, threads: int, dim: int | None = None) -> float:
    """Rate of the fastest sample of an operation of the roofline, of all dimensions or of one; 0 where there is none."""
    arithmetic = facts["options"].get("math") or facts["options"]["dtype"]
    rates = facts.get("roofline", {}).get("roofline", {}).get("rates", [])
    wanted = (r for r in rates if (r["operation"], r["dtype"], r["threads"]) == (operation, arithmetic, threads))
    of_dim = (r for r in wanted if dim is None or r["dim"] == dim)
    return max((r["flops"] / min(r["seconds"]) if r.get("seconds") else r["flops_per_second"] for r in of_dim), default=0.0)


def over_ordinary(measured: Measured, threads: int) -> Iterator[Line]:
    """Our `ordinary` over our `relative`."""
    ours, other = (("relgrad", method, GPU_DIM, threads) for method in ("relative", "ordinary"))
    if ours not in measured.rounds or other not in measured.rounds:
        return
    value, shown = measured.ratio(ours, other)
    text = f"ordinary {seconds_text(measured.seconds(*other))}"
    relative = seconds_text(measured.seconds(*ours))
    yield Line("relative over ordinary", GPU_DIM, relative, text, value, shown, f"≥ {GPU_SPEEDUP:g}×", verdict(value >= GPU_SPEEDUP))


def small(measured: Measured, threads: int, facts: dict[str, Any]) -> Iterator[Line]:
    value = measured.seconds("relgrad", "relative", SMALL_DIM, threads)
    if value is None:
        return
    text, limit = seconds_text(value), seconds_text(SMALL_SECONDS)
    reason, core = "", square_rate(facts, 1)
    if value > SMALL_SECONDS and 0.0 < core < SLOW_CORE:
        reason = f"a core has {core / 1e9:.0f} GFLOP/s here; the limit is from one with {SMALL_CORE / 1e9:.0f}"
    yield Line("relative at small D", SMALL_DIM, text, "", value, text, f"≤ {limit}", verdict(value <= SMALL_SECONDS), reason)


def memory(
    measured: Measured, threads: int, method: str, least_dim: int, need: float, extra_per_square: float = 0.0
) -> Iterator[Line]:
    """Peak memory over the lower bound of the cost model, plus `extra_per_square` D² bytes."""
    for dim in measured.dims(method, threads):
        peak = measured.peaks.get(("relgrad", method, dim, threads))
        if dim < least_dim or peak is None:
            continue
        bound = measured.models[method, dim]["min_bytes"] + extra_per_square * dim**2
        value = peak / bound
        yield Line(
            f"{method} memory",
            dim,
            bytes_text(peak),
            f"bound {bytes_text(bound)}",
            value,
            f"{value:.3f}×",
            f"≤ {need:g}×",
            verdict(value <= need),
        )


def bounds(measured: Measured, facts: dict[str, Any], method: str, dim: int, threads: int) -> tuple[float, float] | None:
    """Seconds that an evaluation takes at least, for its arithmetic and for what it moves; none without ceilings."""
    roofline, model = facts.get("roofline", {}).get("roofline"), measured.models.get((method, dim))
    if not roofline or model is None:
        return None
    rate = square_rate(facts, threads) or math.nan
    bandwidth = max((b["bytes_per_second"] for b in roofline["bandwidths"] if b["threads"] == threads), default=math.nan)
    return model["flops"] / rate, model["min_traffic_bytes"] / bandwidth


def ceilings(
    measured: Measured,
    threads: int,
    facts: dict[str, Any],
    least_dim: int,
    need: float,
    methods: tuple[str, ...] = ("relative", "relative-inplace"),
    at: str = "",
) -> Iterator[Line]:
    for method in methods:
        for dim in measured.dims(method, threads):
            known = bounds(measured, facts, method, dim, threads)
            if dim < least_dim or known is None:
                continue
            (computing, moving), model = known, measured.models[method, dim]
            seconds, least = measured.seconds("relgrad", method, dim, threads), max(known)
            bound = f"square product {model['flops'] / computing / 1e9:.1f} GFLOP/s"
            if moving > computing:
                traffic = model["min_traffic_bytes"]
                bound = f"{traffic / 1e9:.3g} GB at {traffic / moving / 1e9:.1f} GB/s"
            value = least / seconds
            undisturbed = least / measured.best("relgrad", method, dim, threads)
            yield Line(
                f"{method} of ceiling{at}",
                dim,
                f"{model['flops'] / seconds / 1e9:.1f} GFLOP/s" if computing >= moving else seconds_text(seconds),
                bound,
                value,
                f"{100 * value:.1f} %",
                f"≥ {100 * need:.3g} %",
                verdict(value >= need),
                disturbed(undisturbed, need, " %") if value < need else "",
                undisturbed,
            )


def exponent(measured: Measured, threads: int) -> Iterator[Line]:
    """p of time ∝ Dᵖ by least squares on logarithms of the medians."""
    dims = [dim for dim in measured.dims("relative", threads) if dim >= EXPONENT_DIM]
    if len(dims) < 3:
        return
    x = [math.log(dim) for dim in dims]

    def slope(seconds: Callable[[str, str, int, int], float]) -> float:
        return statistics.linear_regression(x, [math.log(seconds("relgrad", "relative", dim, threads)) for dim in dims]).slope

    value, undisturbed = slope(measured.seconds), slope(measured.best)
    reason = ""
    if abs(value - EXPONENT) > EXPONENT_TOLERANCE >= abs(undisturbed - EXPONENT):
        reason = f"the fastest samples give {undisturbed:.3f}: the machine was disturbed"
    yield Line(
        "relative exponent",
        None,
        f"D = {dims[0]:,} to {dims[-1]:,}",
        "",
        value,
        f"{value:.3f}",
        f"{EXPONENT:.2f} ± {EXPONENT_TOLERANCE}",
        verdict(abs(value - EXPONENT) <= EXPONENT_TOLERANCE),
        reason,
        undisturbed,
    )


def scaling(measured: Measured, threads: int) -> Iterator[Line]:
    for dim in measured.dims("relative", 1) if threads == 2 else ():
        one, two = ("relgrad", "relative", dim, 1), ("relgrad", "relative", dim, 2)
        if dim < SCALING_DIM or two not in measured.rounds:
            continue
        value, shown = measured.ratio(two, one)
        text = f"1 thread {seconds_text(measured.seconds(*one))}"
        ours = seconds_text(measured.seconds(*two))
        undisturbed = measured.best(*one) / measured.best(*two)
        reason = disturbed(undisturbed, SCALING, "×") if value < SCALING else ""
        needed = f"≥ {SCALING:g}×"
        yield Line("relative on 2 threads", dim, ours, text, value, shown, needed, verdict(value >= SCALING), reason, undisturbed)


def read_reasons(path: Path) -> list[dict[str, Any]]:
    return tomllib.loads(path.read_text()).get("reason", [])


def reason_for(line: Line, reasons: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """The first reason given for this target that covers this dimension, this number type and this processor."""
    cpu, dtype = facts.get("roofline", {}).get("machine", {}).get("cpu", ""), facts["options"]["dtype"]
    for reason in reasons:
        names_it = any(fnmatch.fnmatchcase(line.target, target) for target in reason["targets"])
        covers_it = "dims" not in reason or line.dim in reason["dims"]
        if names_it and covers_it and reason.get("cpu", "") in cpu and reason.get("dtype", dtype) == dtype:
            return reason["text"]
    return ""


def render(samples: list[dict[str, Any]], facts: dict[str, Any], lines: list[Line]) -> str:
    options = facts["options"]
    machine = facts.get("roofline", {}).get("machine", {})
    parts = [
        "# relgrad beside its peers",
        "",
        f"{machine.get('cpu', 'unknown processor')}, {machine.get('simd', '')}, {options['threads']} threads, "
        f"{options.get('math') or options['dtype']}, N = {', '.join(map(str, batches(samples)))}, L = 2, {options['device']}; {facts['started']}.",
        *(f"GPU: {gpu}." for gpu in machine.get("gpus", []) if options["device"] == "cuda"),
        f"Peers: {', '.join(kernels(samples)) or 'none'}.",
        "",
        "## Medians",
        "",
        *times(samples, options["threads"]),
        "## Targets",
        "",
        *table(
            ["target", "D", "relgrad", "against", "value", "needed", "verdict", "reason"],
            [
                [
                    line.target,
                    "" if line.dim is None else f"{line.dim:,}",
                    line.relgrad,
                    line.against,
                    line.shown,
                    line.needed,
                    line.verdict,
                    line.reason,
                ]
                for line in lines
            ],
        ),
        "",
        f"{sum(line.verdict == 'meets' for line in lines)} of {len(lines)} lines meet their target; "
        f"{sum(line.verdict == 'misses' and not line.reason for line in lines)} miss it without a reason.",
        "",
        *(f"- {failure}" for failure in failures(samples)),
        *(f"- {note}" for note in facts.get("notes", [])),
        "",
    ]
    return "\n".join(parts)


def failures(samples: list[dict[str, Any]]) -> Iterator[str]:
    """Processes without a measurement, which no line above can show."""
    for line in samples:
        if "error" in line:
            name = f"{NAMES[line['who']]} {line['method']}, D = {line['dim']:,}, round {line['round'] + 1}"
            yield f"{name} failed: {line['error']}"


def times(samples: list[dict[str, Any]], threads: int) -> Iterator[str]:
    """A table a group: one row a dimension, one column a contestant."""
    for group, batch in dict.fromkeys((line["group"], line.get("batch", BATCH)) for line in samples):
        measured = Measured(samples, batch)
        of_group = [line for line in samples if line["group"] == group and line["threads"] == threads]
        contestants = sorted({(line["who"], line["method"]) for line in of_group}, key=lambda c: (c[0] != "relgrad", c))
        rows = []
        for dim in sorted({line["dim"] for line in of_group}):
            row = [f"{dim:,}"]
            for who, method in contestants:
                seconds = measured.seconds(who, method, dim, threads)
                row.append(seconds_text(seconds) if seconds is not None else "–")
            rows.append(row)
        heads = [NAMES[who] if method == group else f"{NAMES[who]} {method}" for who, method in contestants]
        yield f"### {group}, N = {batch}"
        yield ""
        yield from table(["D", *heads], rows)
        yield ""


def kernels(samples: list[dict[str, Any]]) -> Iterator[str]:
    """Version of each peer and the BLAS kernel that ran."""
    for who in ("numpy", "jax", "torch"):
        line = next((line for line in samples if line["who"] == who and "versions" in line), None)
        if line is None:
            continue
        blas = [f"{b['internal_api']} {b.get('architecture', '')}".strip() for b in line["blas"]]
        # JAX brings NumPy's and SciPy's OpenBLAS along, but multiplies with its own kernels.
        used = f" ({', '.join(dict.fromkeys(blas))})" if who == "numpy" else ""
        yield f"{NAMES[who]} {line['versions'][who]}{used}"


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    text = lambda row: "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"  # noqa: E731
    return [text(columns), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(text, rows)]


def seconds_text(seconds: float) -> str:
    """Three significant digits and a unit of fitting size."""
    for scale, unit in ((1e-6, "µs"), (1e-3, "ms")):
        if seconds < 999.5 * scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds < 999.5 else f"{seconds:.0f} s"


def bytes_text(count: float) -> str:
    for scale, unit in ((2**10, "KiB"), (2**20, "MiB")):
        if count < 999.5 * scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 2**30:.3g} GiB"
