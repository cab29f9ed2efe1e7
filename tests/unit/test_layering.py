"""A module imports only from the rooms above it, as ARCHITECTURE.md lists them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "layers" / "hector" / "hector"
ROOMS = [
    "model", "errors", "concurrency", "margins", "telemetry", "config", "aws", "stores", "queues", "agents", "history",
    "live", "log_writer", "endings", "producer", "recovery", "claims", "running", "patience", "line", "turns", "sweep",
    "worker", "follow", "turn_order", "transcript", "copies", "store_copy", "services", "dialects", "web", "wiring",
    "events", "emulator", "cli", "testing",
]  # fmt: skip
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def room_of(module: str) -> str:
    """`hector.stores.base` is in the room `stores`."""
    return module.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_from_above(path: Path) -> None:
    room = path.parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    assert room in ROOMS, f"{room} is a new room: say in ARCHITECTURE.md and here where it stands"
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module == "hector":
            names = [f"hector.{alias.name}" for alias in node.names if alias.name in ROOMS]
        for name in names:
            if name.startswith("hector.") and room_of(name) != room:
                assert ROOMS.index(room_of(name)) < ROOMS.index(room), f"{path} imports {name}"
