"""No mistake in the configuration tells a password or a key: the setting is named, and a URL's scheme."""

from __future__ import annotations

from pathlib import Path

import pytest

from hector.config import load
from hector.errors import ConfigError
from hector.wiring import build

SECRET = "hunter2"
BASE = "llms: {b: {type: builtin}}\nagents: {a: {llm: b}}\n"
URLS = {
    f"postgresql+psycopg://app:{SECRET}@db/hector": "unknown store 'postgresql+psycopg'; did you mean 'postgresql'?",
    f"mysql://app:{SECRET}@db/hector": "unknown store 'mysql'",
    f"app:{SECRET}@db/x": "this is not a store URL",
    f"{SECRET}:app@db/x": "this is not a store URL",
    SECRET: "this is not a store URL",
    f"redis://app:{SECRET}@[db": "this is not a store URL",
    f"redis://app:{SECRET}@db:port/0": "the port is not a number",
    f"redis://app:pass?{SECRET}@db": "percent-encoded",
    f"postgresql://app:{SECRET}@db:port/app": "this is not a database URL",
    f"postgresql://app:{SECRET}@db": "the URL names no database",
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HECTOR_CONFIG", "HECTOR_STORE", "HECTOR_QUEUE"):
        monkeypatch.delenv(name, raising=False)


def mistake() -> str:
    with pytest.raises(ConfigError) as raised:
        build(load())
    return raised.value.message


@pytest.mark.parametrize("url", URLS)
def test_a_wrong_url_is_told_with_its_place_and_without_itself(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hector.yaml").write_text(f"{BASE}session_store: '{url}'\n")
    said = mistake()
    assert said.startswith("hector.yaml:3: session_store: ")
    assert URLS[url] in said
    assert SECRET not in said
    assert "HECTOR_STORE" not in said
    Path("hector.yaml").write_text(BASE)
    monkeypatch.setenv("HECTOR_STORE", url)
    said = mistake()
    assert said.startswith("HECTOR_STORE: ")
    assert URLS[url] in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"{BASE}session_store: {{backend: sql, url: 'app:{SECRET}@db/x'}}", "hector.yaml:3: session_store.url: "),
        (f"{BASE}session_store: {{backend: sql, url: 'mysql://app:{SECRET}@db/x'}}", "hector.yaml:3: session_store: "),
        (f"{BASE}session_store: {{backend: redis, url: 'redis://app:{SECRET}@[db'}}", "hector.yaml:3: session_store: "),
        (f"{BASE}session_store: {{backend: 'redis://app:{SECRET}@db'}}", "session_store.backend: unknown backend; "),
        (f"{BASE}session_store: [{SECRET}]", "session_store: this must be a mapping of keys to values, not a list"),
        (f"{BASE}session_store: {{backend: sql, url: [{SECRET}]}}", "session_store.url: input should be a valid"),
        (f"llms: [{{type: openai, api_key: {SECRET}}}]\nagents: {{}}", "llms: this must be a mapping of keys to"),
        (f"llms: {{b: {{type: openai, model: {{api_key: {SECRET}}}}}}}\nagents: {{}}", "valid string, not a mapping"),
        (f"llms: {{b: {{type: openai, model: x, api_key: [{SECRET}]}}}}\nagents: {{}}", "llms.b.api_key: input should"),
        (f"llms: {{b: {{type: openai, model: x, apikey: {SECRET}}}}}\nagents: {{}}", "did you mean 'api_key'?"),
        (f"llms: {{b: {{type: openai, model: x, api_key: *{SECRET}}}}}", "not valid YAML: found undefined alias"),
        (f"llms: {{b: {{type: openai, model: x, api_key: !{SECRET} }}}}", "could not determine a constructor for"),
        (f"llms: {{b: {{type: openai, model: x, base_url: 'me:{SECRET}@host'}}}}", "base_url: this does not match"),
        (f"{BASE}work_queue: 'me:{SECRET}@host'", "work_queue: this does not match"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_not_told_where_it_may_be_a_secret(text: str, named: str) -> None:
    Path("hector.yaml").write_text(text)
    said = mistake()
    assert named in said
    assert SECRET not in said


def test_a_key_of_digits_is_not_told() -> None:
    Path("hector.yaml").write_text("llms: {b: {type: openai, model: x, api_key: 8412345678}}\nagents: {a: {llm: b}}")
    assert mistake() == "hector.yaml:1: llms.b.api_key: input should be a valid string"


def test_the_queue_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECTOR_QUEUE", SECRET)
    assert mistake() == "HECTOR_QUEUE: this must be the URL of an SQS queue, such as https://sqs.…."
