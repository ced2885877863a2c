"""Instructions of one gradient at small D, against a committed baseline.

At D = 10 a gradient takes some ten microseconds, and a shared machine's noise hides a regression of a tenth. The number
of instructions has no noise: callgrind counts two runs of `relgrad evaluate` on one thread, and the difference over the
difference of their evaluations is that of one evaluation, start and set-up left out.

A count belongs to a compiler, so a baseline of another one is not compared. Valgrind knows no AVX-512: the counts are
those of the AVX2 code on every processor.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BASELINE = HERE / "baseline.json"

# N = 100, L = 2, f32: method and D.
CASES = (("relative", 10), ("relative", 50), ("relative-inplace", 10))

# Evaluations of the two runs.
FEW, MANY = 10, 60

# Growth that is a regression. Counts repeat to a few parts in a thousand: the allocator and the scheduler have a share.
TOLERANCE = 0.03


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the counts to the baseline")
    parser.add_argument("--relgrad", type=Path, default=ROOT / "target/release/relgrad", metavar="PROGRAM")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("instruction counts skipped: there is no valgrind here (apt-get install valgrind)")
        return 0
    if not arguments.relgrad.exists():
        print(f"{arguments.relgrad} is missing: cargo build --release", file=sys.stderr)
        return 2
    compiler = subprocess.run(["rustc", "--version"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if not arguments.update and baseline.get("compiler") != compiler:
        known = baseline.get("compiler", "no compiler yet")
        print(f"instruction counts skipped: the baseline is of {known}, this is {compiler} (--update writes a new one)")
        return 0
    counts = {f"{method} D={dim}": of_one_evaluation(arguments.relgrad, method, dim) for method, dim in CASES}
    if arguments.update:
        BASELINE.write_text(json.dumps({"compiler": compiler, "instructions": counts}, indent=2) + "\n")
    return compare(counts, counts if arguments.update else baseline["instructions"])


def of_one_evaluation(relgrad: Path, method: str, dim: int) -> int:
    few, many = (collected(relgrad, method, dim, count) for count in (FEW, MANY))
    return round((many - few) / (MANY - FEW))


def collected(relgrad: Path, method: str, dim: int, count: int) -> int:
    """Instructions of a whole process with `count` evaluations."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(relgrad), "evaluate"]
    command += ["--method", method, "--dim", str(dim), "--count", str(count), "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Collected *: *(\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"callgrind gave no count for {method} at D = {dim}:\n{done.stderr.strip()}")
    return int(found[1])


def compare(counts: dict[str, int], baseline: dict[str, int]) -> int:
    """Prints a line a case; 1 when one grew by more than the tolerance."""
    regressed = False
    for name, count in counts.items():
        if name not in baseline:
            print(f"{name:<24}{count:>12,} instructions, not in the baseline")
            continue
        change = count / baseline[name] - 1
        verdict = "REGRESSION" if change > TOLERANCE else "better: run with --update" if change < -TOLERANCE else "ok"
        print(f"{name:<24}{count:>12,} instructions, baseline {baseline[name]:>12,} ({change:+.1%})  {verdict}")
        regressed |= change > TOLERANCE
    return int(regressed)


if __name__ == "__main__":
    sys.exit(main())
