"""Stand-ins for the folders that Lambda mounts: /var/runtime, and /opt merged from a function's layers."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hector.errors import ConfigError

# What the managed Python runtimes carry ("Lambda runtimes: Python, included SDK versions").
_INCLUDED = [
    "awslambdaric",
    "boto3",
    "botocore",
    "dateutil",
    "jmespath",
    "runtime_client",
    "s3transfer",
    "simplejson",
    "six",
    "snapshot_restore_py",
    "urllib3",
]

# As AWS's own: the function's folder first, then the layers, then this folder (because the script lies in it).
_BOOTSTRAP = """\
import os, sys
if "PYTHONPATH" not in os.environ:
    sys.path.insert(0, os.path.join(os.environ["EMULATOR_OPT"], "python"))
sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
from awslambdaric.__main__ import main
main([sys.argv[0], os.environ["_HANDLER"]])
"""


def make_runtime_folder(folder: Path) -> Path:
    """/var/runtime: links to this environment's awslambdaric and AWS SDK, and the bootstrap script."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _INCLUDED:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            if name in {"awslambdaric", "runtime_client"}:
                raise ConfigError(
                    f"hector emulate needs AWS's runtime client, and {name} is missing: "
                    "pip install 'hector-serverless[emulate]'"
                )
            continue
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    (folder / "bootstrap.py").write_text(_BOOTSTRAP)
    return folder


def merge_layers(layers: Iterable[Path], folder: Path) -> Path:
    """/opt: the layers' files in one tree, a later layer over an earlier one."""
    folder.mkdir(parents=True, exist_ok=True)
    for layer in layers:
        if not layer.is_dir():
            raise ConfigError(f"{layer}: no such layer folder. Run `sam build` first.")
        shutil.copytree(layer, folder, dirs_exist_ok=True, copy_function=_link)
    return folder


def _link(source: str, target: str) -> str:
    Path(target).unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)
    return target
