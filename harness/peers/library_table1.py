"""Table 1's other rows: trains them on the sets at hand, relgrad's network of the same size beside them.

Every model learns the whole training part in batches of 100 with Adam at 1e-3, from standardised x, until `patience`
epochs bring no better validation likelihood, or to the cap on epochs. A model is appended to models.jsonl when it is done,
and not trained again by the next call.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import library_data
import library_tables
from library_common import ROOT, facts, say

# Epochs at most, and epochs without a better validation likelihood after which a training stops.
CAPS = {"power-subset": (100, 10), "miniboone-subset": (1000, 30), "bsds300": (25, 5), "mnist": (5, 2)}

HIDDEN = (1, 2)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "models.jsonl"
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {(line["set"], line["kind"], line["hidden"]) for line in done}
    for name in options.sets:
        jobs = [("relgrad", 1)] if "relgrad" in options.kinds else []
        jobs += [(kind, hidden) for kind in options.kinds if kind != "relgrad" for hidden in HIDDEN]
        jobs = [job for job in jobs if (name, *job) not in known]
        if not jobs:
            continue
        try:
            data = library_data.load(name, options.data)
        except (OSError, ValueError) as cause:
            say(f"{name} cannot be read from {options.data}: {cause}")
            return 2
        for kind, hidden in jobs:
            line = learn(options, data, kind, hidden)
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            say(f"{name} {kind} {hidden}: test {line['test']:.2f} ± {line['two_standard_errors']:.2f} nats")
    (options.out / "table1.json").write_text(json.dumps(facts("table1", options), indent=1) + "\n")
    return library_tables.table1(options.out)


def parse(arguments: list[str]) -> argparse.Namespace:
    from library_densities import KINDS

    parser = argparse.ArgumentParser(prog="libraries table1", description=__doc__)
    kinds = ("relgrad", *KINDS)
    words = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--sets", type=words, default=list(library_data.SETS), metavar="LIST", help="sets of Table 1")
    parser.add_argument("--kinds", type=words, default=list(kinds), metavar="LIST", help=", ".join(kinds))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", metavar="DIR", help="folder of the sets")
    parser.add_argument("--epochs", type=int, help="a smaller cap on epochs, to try it")
    parser.add_argument("--threads", type=int, default=1, help="threads of a training (default 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "results/libraries-table1", metavar="DIR")
    parser.add_argument("--relgrad", type=Path, default=ROOT / "target/release/relgrad", metavar="PROGRAM")
    options = parser.parse_args(arguments)
    for given, allowed in ((options.sets, library_data.SETS), (options.kinds, kinds)):
        for word in given:
            if word not in allowed:
                parser.error(f"`{word}` is not one of {', '.join(allowed)}")
    return options


def learn(options: argparse.Namespace, data: library_data.DataSet, kind: str, hidden: int) -> dict[str, Any]:
    cap, patience = CAPS[data.name]
    cap = min(cap, options.epochs or cap)
    line: dict[str, Any] = {"set": data.name, "kind": kind, "hidden": hidden, "cap": cap, "patience": patience}
    line |= {"dim": data.dim, "stands_for": data.stands_for, "provenance": data.provenance}
    line |= {"train": len(data.parts[0]), "fingerprint": data.fingerprint}
    if kind == "relgrad":
        return line | ours(options, data, cap, patience)
    import torch

    from library_densities import train, width

    torch.set_num_threads(options.threads)
    units = width(kind, data.dim, hidden)
    told = lambda text: say(f"{data.name} {kind} {hidden} (H = {units}), {text}")  # noqa: E731
    outcome = train(kind, hidden, units, data.parts, cap, patience, options.seed, told)
    return line | {"units": units, "seed": options.seed} | asdict(outcome)


def ours(options: argparse.Namespace, data: library_data.DataSet, cap: int, patience: int) -> dict[str, Any]:
    """relgrad's own loader, network of two layers and relative gradient, with the same batches and stopping rule."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "training"
        command = [options.relgrad, "train", data.name, "--data", options.data, "--layers", 2, "--init", "standardise"]
        command += ["--optimizer", "adam", "--learning-rate", 1e-3, "--schedule", "constant", "--edge", "none"]
        command += ["--batch", 100, "--epochs", cap]
        command += ["--patience", patience, "--threads", options.threads, "--seed", options.seed, "--quiet", "--out", out]
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
        outcome = json.loads((out / "training.json").read_text())["outcome"]
    stopped = "epochs" if outcome["stop"] == "complete" else outcome["stop"]
    return {
        "units": None,
        "seed": options.seed,
        "validation": outcome["validation"]["mean"],
        "test": outcome["test"]["mean"],
        "two_standard_errors": outcome["test"]["two_standard_errors"],
        "epochs": outcome["epochs"],
        "best_epoch": outcome["best_epoch"],
        "seconds": outcome["seconds"],
        "stopped": stopped,
        "parameters": 2 * data.dim * (data.dim + 1),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
