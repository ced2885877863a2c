"""relgrad beside NumPy, JAX and PyTorch, cell by cell on this machine, and a table of the targets.

Every (contestant, method, dimension, round) is a process of its own; one runs at a time. The contestants of a cell run
one after the other, in an order that rotates from round to round, so that a drift of the machine hits all of them. The
first round takes every cell from the smallest dimension up; later rounds repeat what the budget still allows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import figure
import targets
from child import PEERS
from problem import METHODS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

DIMS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)

# Arithmetics of matrix products; all but tf32 are named like the number type.
MATHS = ("f32", "tf32", "f64")

# Beyond these a cell takes minutes: 33 s an evaluation for `ordinary` at 10,000.
LARGEST = {"ordinary": 5000, "autodiff": 500}

# Largest D of a peer's method on the CPU, where it does not come back at larger ones: PyTorch 2.15's gradient of the
# batched slogdet ran for over five minutes at D = 200, after 0.1 s at 100.
COMES_BACK = {("torch", "autodiff"): 100}

# Below this `ordinary` has no target, and the default dimensions leave it out.
SMALLEST_ORDINARY = 100

# The relgrad methods that stand against a peer's method; a peer has one way to autodiff.
OURS = {
    "relative": ("relative",),
    "relative-inplace": ("relative-inplace", "relative-delayed"),
    "ordinary": ("ordinary",),
    "autodiff": ("autodiff", "autodiff-streamed"),
}

# Those for few samples, which have no target at the paper's batch size.
FOR_FEW = ("relative-delayed",)

# relgrad alone, on one thread, to see how two threads scale; the largest takes too long on one.
SCALING_DIMS = (1000, 2000, 5000)

# Environment of this shell that would choose a BLAS kernel for NumPy other than the one made for the processor.
BLAS_OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

# Arithmetic that a library could lower behind the record's back, at its full precision: MKL and oneDNN on a CPU. JAX and
# PyTorch are told in the process.
FULL_PRECISION = {"MKL_BLAS_COMPUTE_MODE": "STANDARD", "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT"}

GRACE_SECONDS = 60.0  # by which the last cell may exceed the budget, since predictions are cautious

# Least operations a second that a prediction assumes where the next smaller dimension says little of a larger one.
CAUTIOUS_FLOPS_PER_SECOND = 5e9

TIMEOUT_SECONDS = 300.0  # beyond its evaluations, after which a process is killed

START_SECONDS = 1.5  # to start a process and import a framework
SETUP_SECONDS_PER_WEIGHT = {"relgrad": 6e-8, "peer": 1e-8}  # to draw one number of a weight, and for relgrad to check


@dataclass(frozen=True)
class Group:
    """One method at one dimension and batch size: its contestants are measured one after the other."""

    method: str
    dim: int
    batch: int
    threads: int
    contestants: tuple[tuple[str, str], ...]  # (who, method as who calls it)


@dataclass
class Bench:
    """The settings, what has been measured, and the time left."""

    options: argparse.Namespace
    folder: Path
    deadline: float
    samples: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def main() -> int:
    options = parse()
    if options.report:
        return report(options.report)
    if options.device == "cuda":
        require_cuda(options)
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    folder = options.out or ROOT / "results" / f"peers-{stamp}"
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(options, folder, time.monotonic() + options.budget)
    facts = describe(bench, stamp)
    (folder / "run.json").write_text(json.dumps(facts, indent=1) + "\n")
    try:
        facts["verification"] = verify(bench)
        facts["roofline"] = roofline(bench)
        measure(bench)
    except KeyboardInterrupt:
        bench.notes.append("Stopped by Ctrl-C: cells are missing.")
        say("stopped; the table shows what was measured")
    facts |= {"ended": datetime.now(UTC).isoformat(timespec="seconds"), "notes": bench.notes}
    (folder / "run.json").write_text(json.dumps(facts, indent=1) + "\n")
    return report(folder)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench-peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 every line meets its target or has a reason; 1 a line misses without one, a cell of relgrad "
        "failed, or a peer computes something else; 2 wrong usage; 4 nothing was measured.",
    )

    def words(known: tuple[str, ...]) -> Any:
        def read(text: str) -> list[str]:
            chosen = [word for word in text.split(",") if word]
            for word in chosen:
                if word not in known:
                    raise argparse.ArgumentTypeError(f"`{word}` is not one of {', '.join(known)}")
            return chosen

        return read

    def dims(text: str) -> list[int]:
        return sorted({int(word) for word in text.replace("_", "").split(",")})

    parser.add_argument("--dims", type=dims, default=list(DIMS), metavar="LIST", help="data dimensions D")
    parser.add_argument("--batch", type=dims, default=[targets.BATCH], metavar="LIST", help="batch sizes N (default 100)")
    parser.add_argument("--methods", type=words(METHODS), default=list(METHODS), metavar="LIST", help=", ".join(METHODS))
    parser.add_argument("--peers", type=words(PEERS), default=list(PEERS), metavar="LIST", help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3, help="processes a cell at most (default 3)")
    parser.add_argument("--budget", type=duration, default=720.0, metavar="TIME", help="such as 90s, 12m (default), 1h")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all")
    parser.add_argument("--dtype", choices=("f32", "f64"), default="f32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where JAX and PyTorch compute")
    parser.add_argument("--math", choices=MATHS, help="arithmetic of a GPU's products (default: that of --dtype)")
    parser.add_argument("--max-ordinary", type=int, default=LARGEST["ordinary"], metavar="D", help="largest D (default 5000)")
    parser.add_argument("--max-autodiff", type=int, default=LARGEST["autodiff"], metavar="D", help="largest D (default 500)")
    parser.add_argument("--sampling-seconds", type=float, default=0.3, help="least sampling of a process (default 0.3)")
    parser.add_argument("--cell-seconds", type=float, default=6.0, help="evaluations of a process end then (default 6)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: results/peers-TIME")
    parser.add_argument("--relgrad", type=Path, default=ROOT / "target/release/relgrad", metavar="PROGRAM")
    parser.add_argument("--report", type=Path, metavar="DIR", help="print the table of an earlier run again, measure nothing")
    options = parser.parse_args()
    if options.math and options.device == "cpu":
        parser.error("--math is for a GPU: add --device cuda, or use --dtype")
    if options.math:
        options.dtype = "f64" if options.math == "f64" else "f32"
    options.math = options.math or options.dtype
    return options


def duration(text: str) -> float:
    """Seconds of 90s, 12m or 1h; a number without a unit may be either, and is refused."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        return float(text[:-1]) * units[text[-1:]]
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"`{text}` is not a duration; write 90s, 12m or 1h") from None


def require_cuda(options: argparse.Namespace) -> None:
    """relgrad says itself whether it has a GPU backend; NumPy has none."""
    listed = subprocess.run(
        [options.relgrad, "sweep", "--list", "--device", "cuda", "--dims", "10"], capture_output=True, text=True
    )
    if listed.returncode:
        say(listed.stderr.strip() or "this relgrad cannot use CUDA")
        sys.exit(2)
    options.peers = [peer for peer in options.peers if peer != "numpy"]


def describe(bench: Bench, stamp: str) -> dict[str, Any]:
    options = {key: str(value) if isinstance(value, Path) else value for key, value in vars(bench.options).items()}
    overrides = [name for name in BLAS_OVERRIDES if name in os.environ]
    precision = "tensorfloat32 and high" if bench.options.math == "tf32" else "highest"
    pinned = FULL_PRECISION | {"jax_default_matmul_precision, torch.set_float32_matmul_precision": precision}
    facts = {"started": stamp, "command": sys.argv, "options": options}
    return facts | {"environment_removed": overrides, "environment_pinned": pinned}


def roofline(bench: Bench) -> dict[str, Any]:
    """The ceilings of this machine at our number type, on one thread and on all, with the machine's facts."""
    say("measuring the machine's ceilings")
    threads = ",".join(str(count) for count in sorted({1, bench.options.threads}))
    command = [bench.options.relgrad, "roofline", "--json", "--device", bench.options.device, "--threads", threads]
    arithmetic = "--math" if bench.options.device == "cuda" else "--dtype"
    command += [arithmetic, bench.options.math]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        bench.notes.append(f"The ceilings could not be measured: {last_line(done.stderr)}")
        return {}
    return json.loads(done.stdout)


def verify(bench: Bench) -> dict[str, Any]:
    """Every method of every peer against relgrad's numbers on the same inputs; a difference ends the bench."""
    outcome: dict[str, Any] = {}
    cases = [(10, "f64"), (50, "f32")]
    if bench.options.math == "tf32":
        cases.append((50, "tf32"))
    for dim, math_name in cases:
        dtype = "f32" if math_name == "tf32" else math_name
        case = bench.folder / f"case-{math_name}.json"
        with case.open("w") as file:
            command = [bench.options.relgrad, "peer-case", "--dim", str(dim), "--dtype", dtype]
            subprocess.run(command, stdout=file, check=True)
        for peer in bench.options.peers:
            arguments = ["--verify", str(case), "--device", bench.options.device, "--math", math_name]
            reply = child(bench, peer, bench.options.threads, arguments, dtype)
            if "error" in reply:
                say(f"{peer} cannot be verified ({math_name}): {reply['error']}")
                sys.exit(1)
            if not reply["passed"]:
                say(f"{peer} does not compute what relgrad computes ({math_name}): {reply['errors']}")
                sys.exit(1)
            outcome[f"{peer} {math_name}"] = reply
            errors = ", ".join(f"{method} {error:.0e}" for method, error in reply["errors"].items())
            say(f"{peer} agrees with relgrad in {math_name}: {errors}")
        case.unlink()
    return outcome


def measure(bench: Bench) -> None:
    planned = list(groups(bench.options))
    for round_index in range(bench.options.rounds):
        for group in planned:
            needed = predict(bench, group)
            left = bench.deadline - time.monotonic()
            if needed > left + GRACE_SECONDS:
                if round_index == 0:
                    bench.notes.append(
                        f"{group.method} at D = {group.dim}, N = {group.batch} on {group.threads} threads was left out: about "
                        f"{needed:.0f} s, with {max(left, 0):.0f} s left of the budget."
                    )
                    say(bench.notes[-1])
                continue
            turn = round_index % len(group.contestants)
            for who, method in group.contestants[turn:] + group.contestants[:turn]:
                if failed_at := failure(bench, group, who, method):
                    note = f"{who} {method} was not tried at N = {group.batch} beyond D = {failed_at}, where it failed."
                    if note not in bench.notes:
                        bench.notes.append(note)
                        say(note)
                    continue
                run(bench, group, who, method, round_index)


def failure(bench: Bench, group: Group, who: str, method: str) -> int | None:
    """The dimension, this one or a smaller, at which a peer failed: a larger one would only take longer to do so."""
    failed = (
        line["dim"]
        for line in bench.samples
        if "error" in line
        and line["dim"] <= group.dim
        and (line["who"], line["method"], line["batch"], line["threads"]) == (who, method, group.batch, group.threads)
    )
    return None if who == "relgrad" else next(failed, None)


def groups(options: argparse.Namespace) -> Iterator[Group]:
    largest = {"ordinary": options.max_ordinary, "autodiff": options.max_autodiff}
    for dim, batch in ((dim, batch) for dim in options.dims for batch in options.batch):
        for method in options.methods:
            if dim > largest.get(method, dim):
                continue
            if method == "ordinary" and dim < SMALLEST_ORDINARY and options.dims == list(DIMS):
                continue
            left_out = FOR_FEW if batch == targets.BATCH else ()
            ours = tuple(("relgrad", name) for name in OURS[method] if name not in left_out)
            able = (peer for peer in options.peers if (peer, method) != ("numpy", "autodiff"))
            if options.device == "cpu":
                able = (peer for peer in able if dim <= COMES_BACK.get((peer, method), dim))
            peers = tuple((peer, method) for peer in able)
            yield Group(method, dim, batch, options.threads, ours + peers)
        scales = dim in SCALING_DIMS and batch == targets.BATCH and options.device == "cpu"
        if "relative" in options.methods and scales and options.threads > 1:
            yield Group("relative", dim, batch, 1, (("relgrad", "relative"),))


def run(bench: Bench, group: Group, who: str, method: str, round_index: int) -> None:
    """Measures one contestant and appends its line to samples.jsonl at once."""
    start = time.monotonic()
    if who == "relgrad":
        reply = ours(bench, group, method)
    else:
        arguments = ["--method", method, "--dim", str(group.dim), "--batch", str(group.batch)]
        arguments += ["--dtype", numpy_dtype(bench.options.dtype)]
        arguments += ["--sampling-seconds", str(bench.options.sampling_seconds)]
        arguments += ["--cell-seconds", str(bench.options.cell_seconds), "--device", bench.options.device]
        arguments += ["--math", bench.options.math]
        reply = child(bench, who, group.threads, arguments, bench.options.dtype)
    line = {"who": who, "method": method, "group": group.method, "dim": group.dim, "batch": group.batch}
    line |= {"threads": group.threads, "round": round_index, "wall_seconds": time.monotonic() - start} | reply
    bench.samples.append(line)
    with (bench.folder / "samples.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    name = f"{who:<8}{method:<18}D = {group.dim:<6} N = {group.batch:<5} {group.threads} threads, round {round_index + 1}"
    if "error" in reply:
        say(f"{name}  FAILED: {reply['error']}")
    else:
        say(f"{name}  {targets.seconds_text(statistics.median(reply['seconds']))} ({len(reply['seconds'])} samples)")


def ours(bench: Bench, group: Group, method: str) -> dict[str, Any]:
    """One cell of relgrad, in the process that a sweep would start, with the cost model of the cell."""
    options = bench.options
    cell = {
        "method": method,
        "device": options.device,
        "dim": group.dim,
        "batch": group.batch,
        "layers": 2,
        "dtype": options.dtype,
        "threads": group.threads,
        "bias": False,
        "activation": "smooth:0.3",
        "seed": 0,
        "round": 0,
    }
    if options.math != options.dtype:
        cell["math"] = options.math
    rules = {
        "min_samples": 5,
        "sampling_seconds": options.sampling_seconds,
        "cell_seconds": options.cell_seconds,
        "deadline_seconds": None,
    }
    spec = json.dumps({"cell": cell, "rules": rules})
    reply = execute(bench, [str(options.relgrad), "cell", spec], group.threads, options.dtype)
    if "reason" in reply:
        return {"error": reply["reason"]}
    reply.pop("memory_trace", None)
    return reply | {"model": model(bench, group, method)}


def model(bench: Bench, group: Group, method: str) -> dict[str, float]:
    """Operations and lower bounds of one evaluation, from relgrad's own cost model."""
    command = [bench.options.relgrad, "peer-case", "--models", "--dim", str(group.dim), "--batch", str(group.batch)]
    command += ["--dtype", bench.options.dtype]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["models"][method]


def child(bench: Bench, peer: str, threads: int, arguments: list[str], dtype: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "child.py"), "--peer", peer, "--threads", str(threads), *arguments]
    return execute(bench, command, threads, dtype)


def execute(bench: Bench, command: list[str], threads: int, dtype: str) -> dict[str, Any]:
    """Runs one process on `threads` cores and reads the JSON it prints; what goes wrong is part of the reply."""
    environment = {name: value for name, value in os.environ.items() if name not in BLAS_OVERRIDES} | FULL_PRECISION
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        environment[name] = str(threads)
    # Variables that would change the arithmetic of cuBLAS behind the record's back.
    for name in ("NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION", "CUBLAS_EMULATE_DOUBLE_PRECISION"):
        environment.pop(name, None)
    environment["JAX_ENABLE_X64"] = "1" if dtype == "f64" else "0"
    environment["JAX_PLATFORMS"] = bench.options.device
    # Warnings of a framework about its own interfaces are no news here.
    environment["PYTHONWARNINGS"] = "ignore"
    cores = sorted(os.sched_getaffinity(0))[:threads]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            timeout=3 * bench.options.cell_seconds + TIMEOUT_SECONDS,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    except subprocess.TimeoutExpired as expired:
        return {"error": f"no result after {expired.timeout:.0f} s"}
    if done.returncode:
        return {"error": last_line(done.stderr) or f"ended with code {done.returncode}"}
    return json.loads(done.stdout)


def predict(bench: Bench, group: Group) -> float:
    """Seconds that a group will take, from itself in an earlier round or from the next smaller dimension."""

    def of(who: str, method: str) -> float:
        known = [
            line
            for line in bench.samples
            if (line["who"], line["method"], line["batch"], line["threads"]) == (who, method, group.batch, group.threads)
            and line["dim"] <= group.dim
        ]
        if not known:
            return START_SECONDS + bench.options.sampling_seconds
        last = max(known, key=lambda line: line["dim"])
        if last["dim"] == group.dim or "error" in last:
            return last["wall_seconds"]
        exponent = 2 if group.method.startswith("relative") else 3
        growth = group.dim / last["dim"]
        before = statistics.median(last["seconds"])
        evaluation = min(before * growth**exponent, before + flops(group) / CAUTIOUS_FLOPS_PER_SECOND)
        per_weight = SETUP_SECONDS_PER_WEIGHT["relgrad" if who == "relgrad" else "peer"]
        sampling = max(bench.options.sampling_seconds + 0.1, min(6 * evaluation, bench.options.cell_seconds + evaluation))
        return START_SECONDS + 2 * per_weight * group.dim**2 + 2 * evaluation + sampling

    return math.fsum(of(who, method) for who, method in group.contestants)


def flops(group: Group) -> float:
    """Operations of one evaluation at L = 2; enough for a prediction."""
    dim, samples = float(group.dim), float(group.batch)
    many = {"ordinary": 10 * samples * dim**2 + 4 * dim**3, "autodiff": 8 * samples * dim**3}
    return many.get(group.method, 14 * samples * dim**2)


def report(folder: Path) -> int:
    """Prints the table of what `folder` holds and writes it there."""
    try:
        facts = json.loads((folder / "run.json").read_text())
        path, packed = folder / "samples.jsonl", folder / "samples.jsonl.gz"
        text = path.read_text() if path.exists() else ""
        if packed.exists() and not path.exists():
            text = gzip.decompress(packed.read_bytes()).decode()
        samples = [json.loads(line) for line in text.splitlines()]
    except (OSError, ValueError, EOFError, zlib.error) as cause:
        say(f"cannot read {folder}: {cause}")
        return 2
    lines = targets.judge(samples, facts, targets.read_reasons(HERE / "reasons.toml"))
    text = targets.render(samples, facts, lines)
    (folder / "table.md").write_text(text)
    (folder / "targets.json").write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n")
    print(text)
    if len({line.get("batch", targets.BATCH) for line in samples if "seconds" in line}) > 1:
        say(figure.draw(samples, facts, folder / "batch.svg"))
    say(f"written to {folder}")
    if not any("seconds" in line for line in samples):
        return 4
    unexplained = any(line.verdict == "misses" and not line.reason for line in lines)
    return int(unexplained or any("error" in line and line["who"] == "relgrad" for line in samples))


def numpy_dtype(dtype: str) -> str:
    return {"f32": "float32", "f64": "float64"}[dtype]


def last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else ""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
