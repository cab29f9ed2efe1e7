"""schemathesis against a real server: no server error, and no answer that the OpenAPI document does not describe.

Its `positive_data_acceptance` is left out: a well-formed cursor, ttl or id can still be one that this server refuses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.processes import hector_server
from tests.web.schemathesis_hooks import MET

ROOT = Path(__file__).parents[2]
CONFIG = """
llms: {quick: {type: builtin}}
agents: {support_agent: {llm: quick}, my_agent: {llm: quick}}
"""
RUN = (
    "--phases=examples,coverage,fuzzing,stateful",
    "--max-examples=10",
    "--workers=1",
    "--seed=1",
    "--generation-deterministic",
    "--exclude-checks=positive_data_acceptance",
    "--warnings=off",
    "--no-color",
)
CODES = {
    "invalid_request", "not_found", "session_busy", "task_not_cancelable", "idempotency_key_reused",
    "method_not_allowed",
}  # fmt: skip


@pytest.mark.parametrize("store", ["memory:", "sqlite:///hector.db"])
def test_every_answer_is_documented_and_none_is_a_server_error(tmp_path: Path, store: str) -> None:
    met = tmp_path / "met"
    with hector_server(CONFIG, HECTOR_STORE=store) as server:
        document = httpx.get(f"{server.url}/openapi.json").json()
        hooks = {"SCHEMATHESIS_HOOKS": "tests.web.schemathesis_hooks", "PYTHONPATH": str(ROOT), MET: str(met)}
        result = subprocess.run(
            [str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/openapi.json", *RUN],
            cwd=tmp_path,
            env={**os.environ, **hooks},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Tested: 20" in result.stdout
    answers = [json.loads(line) for line in met.read_text().splitlines()]
    successes = {(operation, status) for operation, status, _ in answers if status < 400}
    assert successes == {
        (f"{verb.upper()} {path}", int(status))
        for path, operations in document["paths"].items()
        for verb, operation in operations.items()
        for status in operation["responses"]
        if int(status) < 400
    }, "each route has succeeded in every way that it can"
    assert {code for _, _, code in answers if code} >= CODES
