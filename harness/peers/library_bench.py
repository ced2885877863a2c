"""The libraries' layers beside relgrad's gradients at the same D, N, L, number type and threads, and a table.

Every (layer, dimension, round) is a process of its own; one runs at a time, in an order that rotates from round to round.
Before anything is timed, every layer must agree with what relgrad computes for the same weights and batch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench
import library_tables
import targets
from library_common import HERE, ROOT, facts, say
from library_names import AUTOREGRESSIVE, LARGEST, LINEAR

DIMS = (100, 200, 500, 1000, 2000)
OURS = ("relative", "ordinary")

MOST_KEPT = 40  # samples of a process
LEFT_OUT = "left out: about {needed:.0f} s, with {left:.0f} s left of the budget"


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.report:
        return library_tables.layers(options.report)
    folder = options.out or ROOT / f"results/libraries-{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
    folder.mkdir(parents=True, exist_ok=True)
    run = bench.Bench(options, folder, time.monotonic() + options.budget)
    known = facts("layers", options) | {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    known |= {"machine": machine(options), "verification": verify(run), "does_not_run": probe(run)}
    try:
        measure(run, known["verification"]["passed"])
    except KeyboardInterrupt:
        run.notes.append("Stopped by Ctrl-C: cells are missing.")
    known |= {"ended": datetime.now(UTC).isoformat(timespec="seconds"), "notes": run.notes}
    (folder / "run.json").write_text(json.dumps(known, indent=1) + "\n")
    return library_tables.layers(folder)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="libraries layers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 all was measured; 1 a layer computes something else and was left out, or a process failed; "
        "2 wrong usage.",
    )
    words = lambda text: [word for word in text.split(",") if word]  # noqa: E731
    numbers = lambda text: sorted({int(word) for word in text.replace("_", "").split(",")})  # noqa: E731
    known = (*LINEAR, *AUTOREGRESSIVE)
    parser.add_argument("--dims", type=numbers, default=list(DIMS), metavar="LIST", help="data dimensions D")
    parser.add_argument("--layers", type=words, default=list(known), metavar="LIST", help=", ".join(known))
    parser.add_argument("--ours", type=words, default=list(OURS), metavar="LIST", help="methods of relgrad beside them")
    parser.add_argument("--batch", type=int, default=100, metavar="N")
    parser.add_argument("--depth", type=int, default=2, metavar="L", help="layers of a network, or transforms (default 2)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="processes a cell (default 3)")
    parser.add_argument("--budget", type=bench.duration, default=1500.0, metavar="TIME", help="default 25m")
    parser.add_argument("--sampling-seconds", type=float, default=0.3, help="least sampling of a process (default 0.3)")
    parser.add_argument("--cell-seconds", type=float, default=6.0, help="evaluations of a process end then (default 6)")
    parser.add_argument("--no-limits", action="store_true", help="also the dimensions at which a layer takes minutes")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: results/libraries-TIME")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write the table of an earlier run again")
    parser.add_argument("--relgrad", type=Path, default=ROOT / "target/release/relgrad", metavar="PROGRAM")
    options = parser.parse_args(arguments)
    for word in options.layers:
        if word not in known:
            parser.error(f"`{word}` is not one of {', '.join(known)}")
    # What bench.execute reads beside these.
    options.device, options.dtype = "cpu", "f32"
    return options


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """The processor, and its rate of square products on as many threads: for the table's head."""
    threads = str(options.threads)
    command = [options.relgrad, "roofline", "--json", "--threads", threads, "--dtype", "f32"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {}
    told = json.loads(done.stdout)
    rates = [
        rate["flops_per_second"]
        for rate in told["roofline"]["rates"]
        if (rate["operation"], rate["dtype"], rate["threads"]) == ("square-product", "f32", options.threads)
    ]
    facts = {key: told["machine"].get(key) for key in ("cpu", "simd", "logical_cores")}
    return facts | {"square_product_flops_per_second": max(rates, default=None)}


def verify(run: bench.Bench) -> dict[str, Any]:
    """Errors of every layer at two cases of `relgrad peer-case`; a layer that differs in one of them is not timed."""
    outcome: dict[str, Any] = {"passed": {}}
    for dim, dtype in ((10, "f64"), (50, "f32")):
        case = run.folder / f"case-{dtype}.json"
        command = [run.options.relgrad, "peer-case", "--dim", str(dim), "--dtype", dtype]
        with case.open("w") as file:
            subprocess.run(command, stdout=file, check=True)
        reply = child(run, ["--verify", str(case)])
        case.unlink()
        if "error" in reply:
            say(f"the layers cannot be verified: {reply['error']}")
            sys.exit(1)
        outcome[dtype] = {key: reply[key] for key in ("errors", "tolerance", "residual_deviations") if key in reply}
        for name, passed in reply["passed"].items():
            outcome["passed"][name] = outcome["passed"].get(name, True) and passed
            if not passed:
                say(f"{name} does not compute what relgrad computes in {dtype}: {reply['errors'].get(name)}")
    if not outcome["passed"].pop("reference"):
        say("our own reference does not agree with relgrad")
        sys.exit(1)
    say(f"{sum(outcome['passed'].values())} of {len(outcome['passed'])} layers agree with relgrad")
    return outcome


def probe(run: bench.Bench) -> dict[str, str]:
    """Calls of the libraries that today's PyTorch refuses, with what it says."""
    return child(run, ["--probe"])["does_not_run"]


def measure(run: bench.Bench, passed: dict[str, bool]) -> None:
    options = run.options
    layers = [name for name in options.layers if passed.get(name)]
    for round_index in range(options.rounds):
        for dim in options.dims:
            able = [name for name in layers if options.no_limits or dim <= LARGEST.get(name, dim)]
            contestants = [("relgrad", method) for method in options.ours] + [("library", name) for name in able]
            turn = round_index % len(contestants)
            for who, name in contestants[turn:] + contestants[:turn]:
                needed, left = predicted(run, name, dim), run.deadline - time.monotonic()
                if needed > left:
                    if round_index == 0:
                        text = LEFT_OUT.format(needed=needed, left=max(left, 0.0))
                        run.notes.append(f"{name} at D = {dim:,} was {text}.")
                        say(run.notes[-1])
                    continue
                if any("error" in line and line["method"] == name and line["dim"] <= dim for line in run.samples):
                    continue
                one(run, who, name, dim, round_index)


def one(run: bench.Bench, who: str, name: str, dim: int, round_index: int) -> None:
    """Measures one cell and appends its line to samples.jsonl at once."""
    options, start = run.options, time.monotonic()
    if who == "relgrad":
        reply = ours(run, name, dim)
    else:
        arguments = ["--layer", name, "--dim", str(dim), "--batch", str(options.batch), "--layers", str(options.depth)]
        arguments += ["--sampling-seconds", str(options.sampling_seconds), "--cell-seconds", str(options.cell_seconds)]
        reply = child(run, arguments)
    reply = {key: reply[key] for key in KEPT if key in reply}
    if "seconds" in reply:
        reply |= {"samples": len(reply["seconds"]), "seconds": thinned(reply["seconds"])}
    line = {"who": who, "method": name, "dim": dim, "batch": options.batch, "threads": options.threads}
    line |= {"round": round_index, "wall_seconds": round(time.monotonic() - start, 3)} | reply
    run.samples.append(line)
    with (run.folder / "samples.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    told = reply.get("error") and f"FAILED: {reply['error']}"
    told = told or f"{targets.seconds_text(statistics.median(reply['seconds']))} ({reply['samples']} samples)"
    say(f"{name:<21}D = {dim:<6} round {round_index + 1}  {told}")


KEPT = ("seconds", "evaluations_per_sample", "peak_bytes", "parameters", "products", "error", "model")


def thinned(seconds: list[float]) -> list[float]:
    """At most so many samples, evenly over the process, to five digits: what an archive can hold."""
    step = -(-len(seconds) // MOST_KEPT)
    return [float(f"{value:.5g}") for value in seconds[::step]]


def ours(run: bench.Bench, method: str, dim: int) -> dict[str, Any]:
    """One cell of relgrad, in the process that a sweep would start."""
    options = run.options
    cell = {"method": method, "device": "cpu", "dim": dim, "batch": options.batch, "layers": options.depth}
    cell |= {"dtype": "f32", "threads": options.threads, "bias": False, "activation": "smooth:0.3", "seed": 0, "round": 0}
    rules = {"min_samples": 5, "sampling_seconds": options.sampling_seconds, "cell_seconds": options.cell_seconds}
    spec = json.dumps({"cell": cell, "rules": rules | {"deadline_seconds": None}})
    reply = bench.execute(run, [str(options.relgrad), "cell", spec], options.threads, "f32")
    return {"error": reply["reason"]} if "reason" in reply else reply


def child(run: bench.Bench, arguments: list[str]) -> dict[str, Any]:
    threads = run.options.threads
    command = [sys.executable, str(HERE / "library_child.py"), "--threads", str(threads), *arguments]
    return bench.execute(run, command, threads, "f32")


def predicted(run: bench.Bench, name: str, dim: int) -> float:
    """Seconds of a cell: those of an earlier round, or of the next smaller dimension by the third power of D."""
    known = [line for line in run.samples if line["method"] == name and line["dim"] <= dim]
    if not known:
        return 10.0
    last = max(known, key=lambda line: (line["dim"], line["round"]))
    if last["dim"] == dim or "error" in last:
        return last["wall_seconds"]
    evaluation = statistics.median(last["seconds"]) * (dim / last["dim"]) ** 3
    return 5.0 + last["wall_seconds"] + 3.0 * evaluation


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
