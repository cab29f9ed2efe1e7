"""What a function may not import while it starts: every module is paid for on each cold start.

Each function is imported in a fresh process, from its sources; when that is done its DynamoDB client is made, too.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "benchmarks/lambda_"
OTHER_STORES = {"hector.stores.memory", "hector.stores.redis", "hector.stores.sql", "redis", "sqlalchemy", "sqlite3"}
AGENTS = {f"hector.agents.{name}" for name in ("anthropic", "bedrock", "openai", "python", "retries", "threads")}
MODEL_SDKS = {"openai", "anthropic", "httpx2", "boto3", "a2a", *AGENTS}
SERVING = {"uvicorn", "typer", "rich", "hector.cli"}
HEAVY = {"aws_lambda_powertools", "numpy", "cryptography", "pydantic.v1", "pytest"}
EVERYWHERE = OTHER_STORES | MODEL_SDKS | SERVING | HEAVY
FORBIDDEN = {
    "stream_response": EVERYWHERE | {"fastapi", "hector.web.server", "httpx"},
    "post_task": EVERYWHERE | {"fastapi", "hector.web.server", "httpx"},
    "create_session": EVERYWHERE | {"httpx", "hector.agents.remote", "response_streaming.asgi"},
    "handle_event": EVERYWHERE | {"fastapi", "starlette", "mangum", "httpx", "hector.web"},
}


@functools.cache
def imported(function: str, config: str = "hector.yaml", store: str = "dynamodb://sessions") -> frozenset[str]:
    """The modules that a function has loaded when it is ready."""
    ready = "import ready" if store.startswith("dynamodb") else "import app"
    paths = (ROOT / "functions" / function, ROOT / "layers/hector", ROOT / "layers/response_streaming", CONFIGS)
    result = subprocess.run(
        [sys.executable, "-c", f"{ready}, sys, json; print(json.dumps(list(sys.modules)))"],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("HECTOR_", "AWS_", "COV"))},
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "HECTOR_CONFIG": str(CONFIGS / config),
            "HECTOR_STORE": store,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return frozenset(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("function", FORBIDDEN)
def test_a_function_imports_nothing_that_it_does_not_use(function: str) -> None:
    modules = imported(function)
    assert {"hector.stores.dynamodb", "botocore.client"} <= modules, "the deployed store is what is looked at"
    assert sorted(modules & FORBIDDEN[function]) == []


@pytest.mark.parametrize("function", FORBIDDEN)
def test_a_configured_model_brings_only_its_own_client(function: str) -> None:
    modules = imported(function, "hector-openai.yaml")
    brought = {"httpx", "hector.agents.openai", "hector.agents.retries"}
    assert brought <= modules
    assert sorted(modules & (FORBIDDEN[function] - brought)) == []


@pytest.mark.parametrize("function", FORBIDDEN)
def test_the_memory_store_brings_no_aws_client(function: str) -> None:
    modules = imported(function, store="memory://")
    assert "hector.stores.memory" in modules
    assert sorted(modules & {"botocore", "boto3", "hector.stores.dynamodb"}) == []


@pytest.mark.parametrize("kind", ["anthropic", "bedrock"])
def test_a_vendor_sdk_is_imported_with_the_first_turn_and_not_before(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "hector.yaml"
    file.write_text(f"llms: {{main: {{type: {kind}, model: m}}}}\nagents: {{my_agent: {{llm: main}}}}")
    modules = imported("stream_response", str(file), store="memory://")
    assert f"hector.agents.{kind}" in modules
    assert sorted(modules & {"anthropic", "httpx2", "botocore", "boto3"}) == []
