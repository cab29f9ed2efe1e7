"""`sam build`, once per test run, for the Python and machine that run the tests."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tests.engines import need

ROOT = Path(__file__).parents[2]
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
PARAMETERS = {"PythonRuntime": RUNTIME, "Architecture": ARCHITECTURE}


def sam() -> str:
    """The SAM CLI: on PATH, or where `make sam` puts it."""
    local = ROOT / ".tools" / "sam" / "bin" / "sam"
    return need(
        shutil.which("sam") or (str(local) if local.exists() else None), "the SAM CLI is not here: run `make sam`"
    )


def run_sam(*arguments: str) -> subprocess.CompletedProcess[str]:
    # The tests' virtual environment must not be the `python3` of the Makefiles: it may lack pip.
    environment = {
        **os.environ,
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PATH": os.pathsep.join([str(Path(sys.base_prefix, "bin")), os.environ["PATH"]]),
    }
    return subprocess.run([sam(), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def build(folder: Path) -> Path:
    """Builds everything into ``folder`` and returns the built template."""
    overrides = [f"{name}={value}" for name, value in PARAMETERS.items()]
    result = run_sam("build", "--build-dir", str(folder), "--parameter-overrides", *overrides)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "template.yaml"
