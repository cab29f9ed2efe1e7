"""schemathesis against a real server: no server error, and no answer that the OpenAPI document does not describe.

Its `positive_data_acceptance` is left out: a well-formed cursor, ttl or id can still be one that this server refuses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.processes import hector_server

ROOT = Path(__file__).parents[2]
CONFIG = """
llms: {quick: {type: builtin}}
agents: {support_agent: {llm: quick}, my_agent: {llm: quick}}
"""
RUN = (
    "--phases=examples,coverage,fuzzing",
    "--max-examples=5",
    "--workers=1",
    "--seed=1",
    "--generation-deterministic",
    "--exclude-checks=positive_data_acceptance",
    "--warnings=off",
    "--no-color",
)


def test_every_answer_is_documented_and_none_is_a_server_error(tmp_path: Path) -> None:
    with hector_server(CONFIG) as server:
        result = subprocess.run(
            [str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/openapi.json", *RUN],
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.web.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Tested: 20" in result.stdout
