"""What each function may not load while it starts: every import is paid by whoever meets a cold start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lambda_ import built

COMMON = {
    "boto3",
    "redis",
    "sqlalchemy",
    "openai",
    "anthropic",
    "uvicorn",
    "typer",
    "rich",
    "httpx",
    "pydantic.v1",
}
FORBIDDEN = {
    "create_session": COMMON - {"httpx"},
    "post_task": COMMON | {"fastapi"},
    "stream_response": COMMON | {"fastapi"},
}
CODE = """
import json, sys
import app
assert callable(app.handler)
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("function", FORBIDDEN)
def test_forbidden_imports(function: str, built_template: Path) -> None:
    layers = [built_template.parent / name / "python" for name in ("HectorLayer", "ResponseStreamingLayer")]
    folder = built.ROOT / "functions" / function
    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, [folder, *layers])),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HECTOR_STORE": "dynamodb://table",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    python = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    result = subprocess.run(
        [python, "-S", "-c", CODE], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    loaded = set(json.loads(result.stdout))
    assert "hector.stores.dynamodb" in loaded, "the deployed store is what is measured"
    assert not loaded & FORBIDDEN[function]
