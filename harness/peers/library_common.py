"""What the parts of `libraries` share: paths, versions, messages."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

PACKAGES = (
    "torch",
    "numpy",
    "zuko",
    "nflows",
    "glasflow",
    "normflows",
    "python-picard",
    "scikit-learn",
)


def versions() -> dict[str, str]:
    """Versions of the libraries, or that one is missing."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def facts(verb: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a run was: its options without the paths of this machine."""
    kept = {key: value for key, value in vars(options).items() if not isinstance(value, Path)}
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    return {"verb": verb, "options": kept, "versions": versions(), "ended": ended}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
