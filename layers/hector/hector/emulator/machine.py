"""This machine, as Lambda would call it, and whether a build is for it."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hector.errors import ConfigError

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURE = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}.get(
    platform.machine().lower(), platform.machine()
)
_ELF_MACHINES = {62: "x86_64", 183: "arm64"}


def parameters_for_here(template: Mapping[str, Any]) -> dict[str, str]:
    """The stack's parameters that say what functions run on, set to this machine where the template allows it."""
    every = (
        template.get("Globals", {}).get("Function", {}),
        *(one.get("Properties", {}) for one in template["Resources"].values()),
    )
    found: dict[str, str] = {}
    for properties in every:
        for value, here in ((properties.get("Runtime"), RUNTIME), *_architectures(properties)):
            name = value.get("Ref") if isinstance(value, dict) else None
            parameter = template.get("Parameters", {}).get(name)
            if parameter is not None and here in parameter.get("AllowedValues", [here]):
                found[str(name)] = here
    return found


def build_command(template: Mapping[str, Any] | None = None) -> str:
    """What builds for this machine."""
    if template is None:
        found = {"PythonRuntime": RUNTIME, "Architecture": ARCHITECTURE}
    else:
        found = parameters_for_here(template)
    overrides = " ".join(f"{name}={value}" for name, value in found.items())
    return f"sam build --parameter-overrides {overrides}" if overrides else "sam build"


def check_runtime(name: str, properties: Mapping[str, Any], template: Mapping[str, Any]) -> None:
    """A function is for this Python and architecture. Raises ConfigError."""
    runtime = properties.get("Runtime")
    architecture = (properties.get("Architectures") or ["x86_64"])[0]
    if (runtime, architecture) != (RUNTIME, ARCHITECTURE):
        raise ConfigError(
            f"{name} is for {runtime} on {architecture}; this is {RUNTIME} on {ARCHITECTURE}. Build for this machine, "
            f"`{build_command(template)}`, and leave those parameters away here; or start `hector` with {runtime}."
        )


def check_build(folder: Path, template: Mapping[str, Any]) -> None:
    """Native libraries in a built folder are for this Python and architecture. Raises ConfigError."""
    for library in folder.rglob("*.so"):
        head = library.read_bytes()[:20]
        machine = _ELF_MACHINES.get(int.from_bytes(head[18:20], "little"), "another machine")
        tag = re.search(r"\.cpython-(\d)(\d+)", library.name)
        python = f"python{tag[1]}.{tag[2]}" if tag else RUNTIME
        if (machine, python) != (ARCHITECTURE, RUNTIME):
            raise ConfigError(
                f"{folder} is built for {python} on {machine}; this is {RUNTIME} on {ARCHITECTURE}. "
                f"Build for this machine: {build_command(template)}"
            )


def _architectures(properties: Mapping[str, Any]) -> list[tuple[Any, str]]:
    listed = properties.get("Architectures")
    return [(value, ARCHITECTURE) for value in listed] if isinstance(listed, list) else []
