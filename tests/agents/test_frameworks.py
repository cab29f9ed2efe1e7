"""The examples of docs/python-agents.md, as they stand there, on the real LangGraph and Strands."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hector.agents.python import load_target
from tests.engines import need
from tests.support import ask, new_session, services_with

ROOT = Path(__file__).parents[2]
FRAMEWORKS = ROOT / ".tools/frameworks/bin/python"
EXAMPLES = dict(
    re.findall(r"```python\n# (\w+\.py)\n(.*?)```", (ROOT / "docs/python-agents.md").read_text(), re.DOTALL)
)


def run(python: Path, folder: Path, example: str, text: str) -> list[dict[str, Any]]:
    """What the example's `answer` gives for a turn with this text."""
    return [json.loads(line) for line in printed(python, folder, example, "run.py", text)]


def printed(python: Path, folder: Path, example: str, script: str, *arguments: str) -> list[str]:
    """The lines that a script prints which runs an example."""
    (folder / example).write_text(EXAMPLES[example])
    paths = (folder, ROOT / "layers/hector", ROOT / "tests/agents/frameworks")
    target = f"{example.removesuffix('.py')}:answer"
    command = [str(python), str(ROOT / "tests/agents/frameworks" / script), target, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OTEL_SDK_DISABLED": "true"}
    ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def texts(outputs: list[dict[str, Any]]) -> list[str]:
    return [output["Text"]["text"] for output in outputs if output.get("Text", {}).get("text")]


def notes(outputs: list[dict[str, Any]]) -> list[str]:
    return [output["Progress"]["note"] for output in outputs if "Progress" in output]


@pytest.fixture
def python() -> Path:
    ready = FRAMEWORKS if FRAMEWORKS.exists() else None
    return need(ready, "LangGraph and Strands are not set up: make frameworks")


def test_every_example_of_the_page_is_run_here() -> None:
    assert set(EXAMPLES) == {"my_module.py", "forgetful.py", "graph_agent.py", "strands_agent.py"}


@pytest.mark.parametrize("example", ["graph_agent.py", "strands_agent.py"])
def test_an_agent_is_wrapped_in_ten_lines(example: str) -> None:
    body = EXAMPLES[example].partition("async def")[2]
    assert len(body.strip().splitlines()) <= 10


def test_a_function(tmp_path: Path) -> None:
    outputs = run(Path(sys.executable), tmp_path, "my_module.py", "Hi")
    assert texts(outputs) == ["2 messages ago we began. ", "You said: Hi"]


def test_a_graph_remembers_and_streams(python: Path, tmp_path: Path) -> None:
    outputs = run(python, tmp_path, "graph_agent.py", "What is my name?")
    assert "".join(texts(outputs)) == "system:Be brief. human:My name is Alice ai:Hello Alice human:What is my name?"
    assert len(texts(outputs)) > 5, "token by token"


def test_a_graph_that_calls_a_tool(python: Path, tmp_path: Path) -> None:
    outputs = run(python, tmp_path, "graph_agent.py", "What is the weather?")
    assert notes(outputs) == ["calling weather"]
    assert "tool:sunny in Rome" in "".join(texts(outputs))
    assert "sunny" not in json.dumps(outputs[:1]), "the tool's result is no part of the answer by itself"


def test_a_strands_agent_remembers_and_streams(python: Path, tmp_path: Path) -> None:
    outputs = run(python, tmp_path, "strands_agent.py", "What is my name?")
    assert texts(outputs) == [
        "system:Be brief. ", "user:My name is Alice ", "assistant:Hello Alice ", "user:What is my name? ",
    ]  # fmt: skip


def test_a_strands_agent_that_calls_a_tool(python: Path, tmp_path: Path) -> None:
    outputs = run(python, tmp_path, "strands_agent.py", "What is the weather?")
    assert notes(outputs) == ["calling weather"]
    assert "tool:sunny in Rome " in texts(outputs)


@pytest.mark.parametrize("example", ["graph_agent.py", "strands_agent.py"])
def test_a_crash_between_a_tool_call_and_its_result_leaves_no_orphan(
    example: str, python: Path, tmp_path: Path
) -> None:
    (shown,) = printed(python, tmp_path, example, "crash.py")
    user, agent = ("human", "ai") if example == "graph_agent.py" else ("user", "assistant")
    assert (
        shown.removeprefix("system:None ").split()
        == (f"{user}:What is the weather? {agent}:[There was no answer, because of a failure.] {user}:Go on.").split()
    )


def test_an_agent_that_makes_its_own_summaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forgetful.py").write_text(EXAMPLES["forgetful.py"])
    monkeypatch.syspath_prepend(tmp_path)
    agents = {"my_agent": {"llm": "builtin", "memory": {"strategy": "summary", "messages": 4}}}
    services = services_with(agent=load_target("forgetful:answer"), agents=agents)

    async def told() -> str:
        session_id = await new_session(services)
        for text in ("one", "two", "three", "four", "five", "six"):
            task = await ask(services, session_id, text)
        return task.output.text if task.output else ""

    assert asyncio.run(told()) == "I know this much: They said: two They said: four"
