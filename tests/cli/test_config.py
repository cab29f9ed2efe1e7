"""`hector config init | validate | schema`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.cli.driving import hector
from tests.unit.test_config import FULL


def test_init_writes_what_is_valid_and_never_over_another() -> None:
    assert hector("config", "init").returncode == 0
    written = Path("hector.yaml").read_text()
    assert hector("config", "validate").stdout == "The configuration is valid.\n"
    assert hector("call", "my_agent", "count to 3").stdout == "1 2 3\n"
    again = hector("config", "init")
    assert again.returncode == 2
    assert again.stderr == "hector: hector.yaml is there already, and is left as it is. Name another file.\n"
    assert Path("hector.yaml").read_text() == written
    assert hector("config", "init", "no/such/folder.yaml").returncode == 2


def test_all_that_init_has_as_a_comment_is_valid_too() -> None:
    hector("config", "init")
    everything = re.sub(r"(?m)^( *)# ( *[a-z_]+:)", r"\1\2", Path("hector.yaml").read_text())
    assert len(yaml.safe_load(everything)) == 5
    Path("hector.yaml").write_text(everything)
    Path("my_module.py").write_text("def answer(turn):\n    return turn.text\n")
    assert hector("config", "validate").stdout == "The configuration is valid.\n"
    assert not problems(yaml.safe_load(everything))


def test_validate_says_all_that_is_wrong() -> None:
    Path("other.yaml").write_text("llms: {b: {typ: builtin}}\nfoo: 1\nagents:\n  a: {lmm: b}\n  c: {llm: d}\n")
    done = hector("config", "validate", "other.yaml")
    assert done.returncode == 2
    assert [line.split(": ")[1:3] for line in done.stderr.splitlines()] == [
        ["other.yaml:2", "foo"],
        ["other.yaml:4", "agents.a.lmm"],
        ["other.yaml:4", "agents.a.llm"],
        ["other.yaml:1", "llms.b"],
        ["other.yaml:5", "agents.c.llm"],
    ]
    as_json = hector("config", "validate", "other.yaml", "--json")
    assert as_json.returncode == 2
    assert json.loads(as_json.stdout)["problems"] == [line[8:] for line in done.stderr.splitlines()]


def test_a_configuration_that_is_not_read_is_not_valid() -> None:
    done = hector("config", "validate")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hector: There is no hector.yaml here; `hector config init` writes one.\n"
    as_json = hector("config", "validate", "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)["valid"]) == (2, False)
    assert json.loads(as_json.stdout)["problems"] == [done.stderr[8:-1]]


@pytest.mark.parametrize(
    "command", [["config", "validate"], ["list"], ["call", "my_agent", "hello"], ["store", "check"]]
)
def test_a_file_that_is_called_almost_so_is_not_read_and_that_is_said(command: list[str]) -> None:
    hector("config", "init", "hector.yml")
    misnamed = (
        "hector: There is no hector.yaml here, and hector.yml is not read: the file is to be called hector.yaml.\n"
    )
    done = hector(*command)
    assert (done.returncode, done.stderr) == (2 if "validate" in command else 0, misnamed)
    assert hector(*command, HECTOR_CONFIG="hector.yml").stderr == "", "unless it is named"
    Path("hector.yaml").write_bytes(Path("hector.yml").read_bytes())
    assert hector(*command).stderr == ""


def test_validate_imports_python_agents() -> None:
    Path("hector.yaml").write_text("llms: {m: {type: python, target: 'gone:answer'}}\nagents: {a: {llm: m}}\n")
    done = hector("config", "validate")
    assert (done.returncode, done.stderr.startswith("hector: hector.yaml:1: llms.m.target: ")) == (2, True)


def test_the_schema_takes_what_is_valid() -> None:
    assert not problems(yaml.safe_load(FULL))
    assert not problems({**AGENT, "sessions": {"ttl": 90, "max_age": "1h30m"}, "session_store": "dynamodb://table"})
    assert not problems({**AGENT, "sessions": {"ttl": "${TTL}"}, "public_url": "${URL:-https://x.example}"})
    assert not problems({"reasoning": {"enable_streaming": True}}), "the embedded agents"


@pytest.mark.parametrize(
    "wrong",
    [
        {"sessions": {"ttl": "soon"}},
        {"sessions": {"ttl": -1}},
        {"session_store": "table"},
        {"session_store": {"backend": "paper"}},
        {"session": {}},
        {"llms": {"b": {"type": "builtin", "dely": 1}}},
        {"agents": {"a": {"llm": "b", "memory": {"messages": "many"}}}},
        {"public_url": "x.example"},
    ],
)
def test_the_schema_refuses_what_is_not(wrong: dict[str, Any]) -> None:
    assert problems(AGENT | wrong)


@pytest.mark.parametrize("half", [{}, {"agents": {"a": {"llm": "b"}}}, {"llms": {"b": {"type": "builtin"}}}])
def test_the_schema_refuses_one_of_agents_and_llms_without_the_other(half: dict[str, Any]) -> None:
    assert problems(half)


def test_the_schema_has_durations_as_they_are_written() -> None:
    sessions = schema()["$defs"]["Sessions"]["properties"]
    assert sessions["ttl"]["default"] == "86400s"
    assert "1h30m" in sessions["ttl"]["examples"]


AGENT = {"llms": {"b": {"type": "builtin"}}, "agents": {"a": {"llm": "b"}}}


def schema() -> dict[str, Any]:
    described: dict[str, Any] = json.loads(hector("config", "schema").stdout)
    Draft202012Validator.check_schema(described)
    return described


def problems(document: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft202012Validator(schema()).iter_errors(document)]
