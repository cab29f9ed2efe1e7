#!/usr/bin/env python3
"""Builds a Lambda layer for a target that need not be this machine.

    build_layer.py layers/hector --target layers/targets/python3.13-arm64 --out DIR

The layer's folder holds a requirements.txt with pinned versions, the packages themselves, executables for the layer's
root, and perhaps extras/NAME.txt, more pinned versions for who asks for them. pip is asked for the target's wheels
(plain pip would take this machine's); what a running function never reads is left out; .pyc files are made by a Python
of the target's version, because /opt is read-only and every cold start would compile again. Standard library only.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

# A fixed time stamp makes two builds of the same sources the same archive: a deployment then skips what is unchanged.
TIMESTAMP = 1_577_836_800  # 2020-01-01

ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
DEAD_FOLDERS = {"tests", "test", "__pycache__"}
DEAD_SUFFIXES = {".pyi", ".c", ".h", ".pyx", ".pxd", ".md"}
DEAD_METADATA = {"RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "top_level.txt", "zip-safe"}


class BuildError(Exception):
    """The layer cannot be built; the message says what to do."""


@dataclass(frozen=True)
class Target:
    """A Lambda runtime: Python's minor version, the machine as ELF calls it, and the newest glibc that is there."""

    python: str
    machine: str
    glibc: tuple[int, int]

    @classmethod
    def read(cls, folder: Path) -> Target:
        file = folder / "target.json"
        if not file.exists():
            known = ", ".join(sorted(entry.name for entry in (Path(__file__).parent / "targets").iterdir()))
            raise BuildError(f"{folder.name}: no such target. Known targets: {known}")
        content = json.loads(file.read_text())
        return cls(content["python"], content["machine"], tuple(content["glibc"]))

    @property
    def platforms(self) -> list[str]:
        """The wheel tags that run there, newest first."""
        major, newest = self.glibc
        tags = [f"manylinux_{major}_{minor}_{self.machine}" for minor in range(newest, 16, -1)]
        return [*tags, f"manylinux2014_{self.machine}"]

    @property
    def markers(self) -> dict[str, str]:
        """What environment markers in a requirements file mean there."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


@dataclass(frozen=True)
class Choices:
    """What goes into a layer beyond the rule, and what does not.

    ``aws_services``: those whose models botocore keeps. ``files``: for the layer's root, if they exist. ``without``:
    packages that no function imports. ``extras``: names of requirements in the layer's folder extras.
    """

    aws_services: Collection[str] = ()
    files: Collection[Path] = ()
    without: Collection[str] = ()
    extras: Collection[str] = ()


def build(layer: Path, target: Target, out: Path, choices: Choices) -> str:
    """Builds the layer into ``out`` and returns a line that says what was built. Raises BuildError."""
    wanted = [layer / "requirements.txt", *(layer / "extras" / f"{name}.txt" for name in choices.extras)]
    for requirements in wanted:
        if not requirements.exists():
            known = ", ".join(sorted(path.stem for path in (layer / "extras").glob("*.txt"))) or "none"
            raise BuildError(f"{requirements} is missing: what a layer holds has to be pinned. Extras there: {known}.")
    python = out / "python"
    shutil.rmtree(out, ignore_errors=True)
    python.mkdir(parents=True)
    install(wanted, target, python)
    for entry in sorted(layer.iterdir()):
        if (entry / "__init__.py").exists():
            shutil.copytree(entry, python / entry.name, dirs_exist_ok=True)
        elif entry.is_file() and os.access(entry, os.X_OK):
            shutil.copy2(entry, out / entry.name)
    for file in choices.files:
        if file.exists():
            shutil.copy2(file, out / file.name)
    strip(python, choices)
    compiled = compile_all(python, target)
    check(python, target)
    for path in (out, *out.rglob("*")):
        os.utime(path, (TIMESTAMP, TIMESTAMP))
    return f"{layer.name}: Python {target.python}, {target.machine}, {sizes(out)}, {compiled}"


def sizes(folder: Path) -> str:
    """What Lambda counts against its 250 MB, and what is stored and loaded."""
    with tempfile.TemporaryDirectory() as scratch:
        packed = Path(shutil.make_archive(str(Path(scratch, "layer")), "zip", folder)).stat().st_size
    unpacked = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{unpacked / 1e6:.1f} MB, zipped {packed / 1e6:.1f} MB"


def install(requirements: list[Path], target: Target, folder: Path) -> None:
    """pip-installs the target's wheels. The requirements are taken as complete (``--no-deps``)."""
    if importlib.util.find_spec("pip") is None:
        raise BuildError(
            f"{sys.executable} has no pip. Run `{sys.executable} -m ensurepip`, or build with another Python."
        )
    platforms = [option for tag in target.platforms for option in ("--platform", tag)]
    with tempfile.TemporaryDirectory() as scratch:
        chosen = Path(scratch, "requirements.txt")
        lines = [line for file in requirements for line in choose(file.read_text(), target)]
        chosen.write_text("\n".join(dict.fromkeys(lines)) + "\n")
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--no-compile", "--only-binary=:all:", "--implementation", "cp", "--python-version", target.python),
            *platforms,
            *("--root-user-action=ignore", "--target", str(folder), "--requirement", str(chosen)),
        ]
        result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [result.stderr]
        raise BuildError(f"pip found no wheels for Python {target.python} on {target.machine}:\n" + "\n".join(errors))


def choose(requirements: str, target: Target) -> Iterator[str]:
    """The lines that apply to the target. pip would judge environment markers by the machine that it runs on."""
    from pip._vendor.packaging.markers import Marker

    for line in re.sub(r"\\\n\s*", " ", requirements).splitlines():
        text = line.split(" #")[0].strip()
        found = re.fullmatch(r"(?P<name>[^;]+);(?P<marker>.*?)(?P<hashes>\s--hash.*)?", text)
        if found is None:
            if text and not text.startswith("#"):
                yield text
        elif Marker(found["marker"].strip()).evaluate(target.markers):
            yield f"{found['name'].strip()} {found['hashes'] or ''}".strip()


def strip(folder: Path, choices: Choices) -> None:
    """Removes what no function reads: tests, stubs, installer's notes, and the AWS SDK's models of other services."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for package in choices.without:
        if not (folder / package).exists():
            raise BuildError(f"There is no {package} that could be left out: correct what the Makefile says.")
        shutil.rmtree(folder / package)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            if path.name in DEAD_FOLDERS and path.parent != folder:
                shutil.rmtree(path)
        elif path.parent.name.endswith(".dist-info"):
            if path.name in DEAD_METADATA:
                path.unlink()
        elif path.suffix in DEAD_SUFFIXES:
            path.unlink()
    # The folders are services; the files beside them (endpoints, partitions, retries) serve all and stay.
    for service in (folder / "botocore" / "data").glob("*/"):
        if service.name not in choices.aws_services:
            shutil.rmtree(service)


def compile_all(folder: Path, target: Target) -> str:
    """Compiles with a Python of the target's version, if there is one; says how it went."""
    python = find_python(target.python)
    if python is None:
        return f"WITHOUT .pyc files (no python{target.python} on PATH): cold starts will take longer"
    command = [python, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(folder), "-p", "/opt/python", str(folder)], check=True)
    return f"compiled by {python}"


def find_python(version: str) -> str | None:
    """A Python of this minor version: the running one, one on PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = sorted(pyenv.glob(f"{version}.*/bin/python{version}"))
    for candidate in [sys.executable, shutil.which(f"python{version}"), *map(str, found)]:
        if candidate is None:
            continue
        code = "import sys; print('%d.%d' % sys.version_info[:2], sys.version_info.releaselevel)"
        answer = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        if answer.stdout.split() == [version, "final"]:  # a pre-release may write another format
            return candidate
    return None


def check(folder: Path, target: Target) -> None:
    """Every native library is one for the target. Raises BuildError."""
    for library in folder.rglob("*.so*"):
        head = library.read_bytes()[:20]
        machine = ELF_MACHINES.get(int.from_bytes(head[18:20], "little"), "unknown")
        if machine != target.machine:
            raise BuildError(f"{library.relative_to(folder)} is for {machine}, the layer is for {target.machine}.")
        tag = re.search(r"\.cpython-(\d)(\d+)", library.name)
        if tag is not None and f"{tag[1]}.{tag[2]}" != target.python:
            raise BuildError(f"{library.relative_to(folder)} is not for Python {target.python}.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build a Lambda layer.")
    parser.add_argument("layer", type=Path, help="folder with requirements.txt and packages")
    parser.add_argument("--target", type=Path, required=True, help="one of the folders in layers/targets")
    parser.add_argument("--out", type=Path, required=True, help="where the layer's content goes; emptied first")
    parser.add_argument("--aws-services", nargs="*", default=[], help="the services whose models botocore keeps")
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="files for the layer's root, if they exist")
    parser.add_argument("--without", nargs="*", default=[], help="packages (a/b) that no function imports")
    parser.add_argument("--extras", nargs="*", default=[], help="names of more requirements, extras/NAME.txt")
    options = parser.parse_args()
    choices = Choices(options.aws_services, options.files, options.without, options.extras)
    try:
        print(build(options.layer, Target.read(options.target), options.out, choices))
    except BuildError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
