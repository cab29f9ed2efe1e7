"""What is uploaded and what Lambda unpacks: the layers as `sam build` makes them, for the template's default target.

Needs make and a package index. Lambda's own limit is 250 MB unpacked, of a function and its layers together.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Row

PROJECT = Path(__file__).parents[1]
TARGET = PROJECT / "layers" / "targets" / "python3.13-arm64"
LAYERS = {"HectorLayer": ("hector", 40.0), "ResponseStreamingLayer": ("response_streaming", 5.0),
          "AuthorizerLayer": ("authorizer", 25.0)}  # fmt: skip
"""Logical id -> its folder, and the most that it may have, unpacked, in MB."""


def measure(*, quick: bool = False) -> list[Row]:
    """`quick` changes nothing: a size needs no second look."""
    return [row for name, (folder, at_most) in LAYERS.items() for row in _sizes(name, folder, at_most)]


def _sizes(name: str, folder: str, at_most: float) -> list[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "layer")
        built = subprocess.run(
            ["make", "--silent", "-f", PROJECT / "layers" / folder / "Makefile", f"build-{name}"],
            cwd=TARGET,
            # A virtual environment's Python may lack pip.
            env={**os.environ, "ARTIFACTS_DIR": str(out), "PATH": f"{sys.base_prefix}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode != 0:
            return [Row(f"{name}, unpacked", "MB", None, note=f"not built: {built.stderr.strip().splitlines()[0]}")]
        packed = Path(shutil.make_archive(str(Path(scratch, "packed")), "zip", out)).stat().st_size / 1e6
        return [
            Row(f"{name}, unpacked", "MB", _weight(out), at_most=at_most, note=_heaviest(out / "python")),
            Row(f"{name}, zipped", "MB", packed, note=built.stdout.strip()),
        ]


def _weight(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _heaviest(python: Path) -> str:
    found = sorted(((_weight(entry), entry.name) for entry in python.iterdir() if entry.is_dir()), reverse=True)
    return ", ".join(f"{name} {weight:.1f}" for weight, name in found[:6])
