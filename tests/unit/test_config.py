"""hector.yaml: what is right is read, what is wrong is named by file, line and key, with the nearest valid key."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from hector.config import load
from hector.config.duration import parse_duration
from hector.config.settings import (
    AnthropicLLM,
    BedrockLLM,
    BuiltinLLM,
    DynamoDBStoreSettings,
    MemoryStoreSettings,
    OpenAILLM,
    PythonLLM,
)
from hector.errors import ConfigError
from hector.web.context import ANONYMOUS
from hector.wiring import build

FULL = """\
llms:
  local: {type: openai, base_url: "http://127.0.0.1:11434/v1", model: smollm2, api_key: "${TEST_KEY:-none}",
          temperature: 1, max_tokens: 100}
  mine: {type: python, target: "my_module:answer"}
  offline: {type: builtin, delay: 20ms}
  claude: {type: anthropic, model: claude-sonnet-4-5, api_key: "${TEST_KEY:-none}",
           base_url: "https://proxy.example", temperature: 0}
  amazon: {type: bedrock, model: amazon.nova-lite-v1:0, region: eu-west-1, temperature: 0.2, max_tokens: 1024,
           endpoint_url: "https://vpce.example"}
agents:
  support_agent:
    name: Support
    description: Answers questions about orders
    llm: local
    prompt: {system: You are a patient support agent.}
    reasoning: {enable_streaming: false}
    memory: {strategy: window, messages: 12}
    turns: {policy: reject, timeout: 1h30m, on_disconnect: continue}
  other: {llm: mine}
session_store: {backend: dynamodb, table: hector, region: eu-west-1}
sessions: {ttl: 24h, max_age: 30d}
public_url: https://example.com/chat
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HECTOR_CONFIG", "HECTOR_MODEL", "HECTOR_STORE", "TEST_KEY"):
        monkeypatch.delenv(name, raising=False)


def problem(text: str) -> str:
    Path("hector.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load()
    return raised.value.message


def test_every_setting_is_read() -> None:
    Path("hector.yaml").write_text(FULL)
    settings = load()
    assert settings.llms == {
        "local": OpenAILLM(
            type="openai", base_url="http://127.0.0.1:11434/v1", model="smollm2", api_key=SecretStr("none"),
            temperature=1, max_tokens=100,
        ),
        "mine": PythonLLM(type="python", target="my_module:answer"),
        "offline": BuiltinLLM.model_validate({"type": "builtin", "delay": "20ms"}),
        "claude": AnthropicLLM(
            type="anthropic", model="claude-sonnet-4-5", api_key=SecretStr("none"), base_url="https://proxy.example",
            temperature=0, max_tokens=4096,
        ),
        "amazon": BedrockLLM(
            type="bedrock", model="amazon.nova-lite-v1:0", region="eu-west-1", temperature=0.2, max_tokens=1024,
            endpoint_url="https://vpce.example",
        ),
    }  # fmt: skip
    agent = settings.agents["support_agent"]
    assert (agent.name, agent.llm, agent.prompt.system) == ("Support", "local", "You are a patient support agent.")
    assert (agent.memory.messages, agent.turns.timeout) == (12, 5_400_000)
    assert not settings.streams(agent)
    assert settings.streams(settings.agents["other"])
    assert settings.session_store == DynamoDBStoreSettings(backend="dynamodb", table="hector", region="eu-west-1")
    assert (settings.sessions.ttl, settings.sessions.max_age) == (86_400_000, 2_592_000_000)
    assert settings.public_url == "https://example.com/chat"


def test_without_a_file_the_defaults_serve_the_agents_of_the_page() -> None:
    settings = load()
    assert set(settings.agents) == {"assistant", "support_agent", "my_agent"}
    assert settings.session_store == MemoryStoreSettings()
    assert all(settings.streams(agent) for agent in settings.agents.values())


@pytest.mark.parametrize(
    "text", ["reasoning:\n  enable_streaming: false\n", "session_store: sqlite:///hector.db", "sessions: {ttl: 1h}"]
)
def test_a_file_without_agents_and_llms_has_the_embedded_ones(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hector.yaml").write_text(text)
    settings = load()
    assert set(settings.agents) == {"assistant", "support_agent", "my_agent"}
    assert all(settings.streams(agent) == ("false" not in text) for agent in settings.agents.values())
    assert settings.session_store.backend == ("sql" if "sqlite" in text else "memory")
    monkeypatch.setenv("HECTOR_MODEL", "amazon.nova-lite-v1:0")
    assert [llm.type for llm in load().llms.values()] == ["bedrock"]


@pytest.mark.parametrize(
    ("text", "missing"), [("llms: {b: {type: builtin}}", "agents"), ("agents: {a: {llm: b}}", "llms")]
)
def test_one_of_agents_and_llms_without_the_other_is_a_mistake(text: str, missing: str) -> None:
    assert problem(text) == f"hector.yaml:1: {missing}: this key is missing"


def test_memory_goes_by_messages_or_by_tokens() -> None:
    Path("hector.yaml").write_text(
        "llms: {b: {type: builtin}}\n"
        "agents: {plain: {llm: b}, some: {llm: b, memory: {strategy: tokens}},"
        " more: {llm: b, memory: {strategy: tokens, tokens: 32000}}, short: {llm: b, memory: {strategy: summary}},"
        " long: {llm: b, memory: {strategy: summary, tokens: 16000}}}"
    )
    served = build(load()).agents
    assert {id_: (agent.window, agent.tokens, agent.summarises) for id_, agent in served.items()} == {
        "plain": (40, None, False), "some": (40, 8000, False), "more": (40, 32000, False),
        "short": (40, None, True), "long": (40, 16000, True),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sessions", "said"),
    [
        ("ttl: 60d\n  max_age: 1h", "longer than max_age, which is 3600 s: lower this, or raise that"),
        ("ttl: 60d", "longer than max_age, which is 2592000 s if it is left out: lower this, or raise that"),
    ],
)
def test_a_session_cannot_live_longer_than_its_age(sessions: str, said: str) -> None:
    agents = "llms: {b: {type: builtin}}\nagents: {a: {llm: b}}\n"
    assert problem(f"{agents}sessions:\n  {sessions}\n") == f"hector.yaml:4: sessions.ttl: {said}"


async def test_the_ttl_that_a_file_leaves_out_is_within_the_age_that_it_names() -> None:
    Path("hector.yaml").write_text("llms: {b: {type: builtin}}\nagents: {a: {llm: b}}\nsessions: {max_age: 1h}\n")
    session = await build(load()).turns.create_session(ANONYMOUS, "a")
    assert (session.ttl, session.expires_at - session.created_at) == (3_600_000, 3_600_000)


def test_streaming_can_be_set_for_all_agents_at_once() -> None:
    Path("hector.yaml").write_text(
        "reasoning: {enable_streaming: false}\nllms: {b: {type: builtin}}\n"
        "agents: {one: {llm: b}, two: {llm: b, reasoning: {enable_streaming: true}}}"
    )
    settings = load()
    assert [settings.streams(agent) for agent in settings.agents.values()] == [False, True]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("temperature:", "temprature:", "hector.yaml:3: llms.local.temprature: unknown key 'temprature'; did you mean"
                                        " 'temperature'? valid: type, model, base_url, api_key"),
        ("agents:", "agent:", "hector.yaml:10: agent: unknown key 'agent'; did you mean 'agents'?"),
        ("type: python", "type: pyton", "hector.yaml:4: llms.mine.type: unknown type 'pyton'; did you mean 'python'?"),
        ("type: python, ", "", "hector.yaml:4: llms.mine: the key 'type' is missing"),
        (', target: "my_module:answer"', "", "hector.yaml:4: llms.mine.target: this key is missing"),
        ("llm: mine", "llm: mime", "hector.yaml:19: agents.other.llm: there is no llm 'mime'; did you mean 'mine'?"),
        ("messages: 12", "messages: many", "hector.yaml:17: agents.support_agent.memory.messages: input should be a"),
        ("messages: 12", "messages: true", "agents.support_agent.memory.messages: this must be a whole number"),
        ("strategy: window, messages: 12", "strategy: window, tokens: 9000",
         "hector.yaml:17: agents.support_agent.memory.tokens: strategy window goes by messages"),
        ("strategy: window, messages: 12", "strategy: tokens, messages: 12",
         "hector.yaml:17: agents.support_agent.memory.messages: strategy tokens goes by tokens alone"),
        ("strategy: window, messages: 12", "strategy: tokens, tokens: 99",
         "memory.tokens: input should be greater than"),
        ("strategy: window, messages: 12", "strategy: summary, tokens: 999",
         "agents.support_agent.memory.tokens: strategy summary needs at least 1000, not 999"),
        ("strategy: window, messages: 12", "strategy: summary, messages: 3",
         "agents.support_agent.memory.messages: strategy summary needs at least 4, not 3"),
        ("strategy: window, messages: 12", "strategy: summary, messages: 12, tokens: 9000",
         "agents.support_agent.memory.messages: with tokens, the conversation is measured in these"),
        ("strategy: window", "strategy: windw", "memory.strategy: 'windw' is not valid; valid: 'window', 'tokens' or"),
        ("1h30m", "soon", "hector.yaml:18: agents.support_agent.turns.timeout: 'soon' is not a duration"),
        ("policy: reject", "policy: rejct", "turns.policy: 'rejct' is not valid; valid: 'reject'"),
        ("backend: dynamodb", "backend: dynamo", "hector.yaml:20: session_store.backend: unknown backend 'dynamo'; did"
                                                 " you mean 'dynamodb'? valid: memory, dynamodb"),
        (" table: hector,", "", "hector.yaml:20: session_store.table: this key is missing"),
        ("  other: {llm: mine}", "  other: 3", "hector.yaml:19: agents.other: this must be a mapping"),
        ("  other:", "  bad name:", "hector.yaml:19: agents.bad name: 'bad name' does not match"),
        ("${TEST_KEY:-none}", "${TEST_KEY}", "hector.yaml:2: llms.local.api_key: the environment variable TEST_KEY is"),
        ("${TEST_KEY:-none}", "${a b}", "hector.yaml:2: llms.local.api_key: ${a b} is not of the form ${NAME}"),
        ("  other: {llm: mine}", "  other: {llm: mine", "this is not valid YAML"),
        ("  other:", "  support_agent:", "hector.yaml:19: agents.support_agent stands twice"),
        ("https://example.com", "example.com", "hector.yaml:22: public_url: 'example.com/chat' does not match"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(old: str, new: str, expected: str) -> None:
    assert old in FULL
    assert expected in problem(FULL.replace(old, new, 1))


def test_every_mistake_is_named_at_once() -> None:
    said = problem("llms: {b: {type: builtin, dealy: 1s}}\nagents: {a: {llm: b, nam: x}}\nsession: {}\n")
    assert [line.split(": ")[1] for line in said.splitlines()] == ["session", "agents.a.nam", "llms.b.dealy"]
    said = problem("llms: {b: {typ: builtin}}\nagents: {a: {llm: c, nam: x, nme: y, memory: {messages: -1}}}\n")
    assert [line.split(": ")[1] for line in said.splitlines()] == [
        "agents.a.nam", "agents.a.nme", "agents.a.memory.messages", "llms.b", "agents.a.llm",
    ]  # fmt: skip
    said = problem("llms: {b: {type: builtin, type: openai}}\nagents: {a: {llm: '${X1}', name: '${X2}'}}\n")
    assert [line.split(" ")[1] for line in said.splitlines()] == ["llms.b.type", "agents.a.llm:", "agents.a.name:"]


@pytest.mark.parametrize("text", ["", "[]", "just text", "llms: {}\nagents: {}"])
def test_an_empty_configuration_is_refused(text: str) -> None:
    assert "hector.yaml:1:" in problem(text)


def test_environment_variables_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "secret: value")
    monkeypatch.setenv("MESSAGES", "7")
    Path("hector.yaml").write_text(
        "llms: {m: {type: openai, model: 'a$${b}', api_key: '${TEST_KEY}'}}\n"
        "agents:\n  a:\n    llm: m\n    memory:\n      messages: ${MESSAGES}\n"
    )
    settings = load()
    assert settings.llms["m"] == OpenAILLM(type="openai", model="a${b}", api_key=SecretStr("secret: value"))
    assert settings.agents["a"].memory.messages == 7


def test_the_file_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other.yaml").write_text("llms: {b: {type: builtin}}\nagents: {only: {llm: b}}")
    assert set(load("other.yaml").agents) == {"only"}
    monkeypatch.setenv("HECTOR_CONFIG", "other.yaml")
    assert set(load().agents) == {"only"}
    with pytest.raises(ConfigError, match=r"nothere\.yaml: cannot read the configuration: No such file"):
        load("nothere.yaml")


def test_the_store_can_be_set_by_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECTOR_STORE", "dynamodb://hector?region=eu-west-1&endpoint_url=http://127.0.0.1:8000")
    assert load().session_store == DynamoDBStoreSettings(
        backend="dynamodb", table="hector", region="eu-west-1", endpoint_url="http://127.0.0.1:8000"
    )
    monkeypatch.setenv("HECTOR_STORE", "memory://")
    assert load().session_store == MemoryStoreSettings()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://x", "HECTOR_STORE: unknown store 'mongodb'; valid: memory, dynamodb"),
        ("hector", "HECTOR_STORE: this is not a store URL"),
        ("dynamodb://t?regoin=x", "unknown key 'regoin'; did you mean 'region'?"),
        ("dynamodb://", "table: this key is missing"),
    ],
)
def test_a_wrong_store_url_is_explained(url: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECTOR_STORE", url)
    with pytest.raises(ConfigError) as raised:
        load()
    assert expected in raised.value.message


@pytest.mark.parametrize(
    ("text", "millis"), [("120s", 120_000), ("1h30m", 5_400_000), ("500ms", 500), ("1.5d", 129_600_000), (2, 2000)]
)
def test_durations(text: str | int, millis: int) -> None:
    assert parse_duration(text) == millis


@pytest.mark.parametrize("text", ["", "5", "5 s", "-5s", "s", True, None, -1, "1h30", float("nan")])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 400 + "d", "40000d", 1e300, float("inf")])
def test_what_is_too_long(text: object) -> None:
    with pytest.raises(ValueError, match="more than 100 years"):
        parse_duration(text)


def test_a_key_of_digits_is_a_text_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "0123\n")
    Path("hector.yaml").write_text(
        "llms:\n  m:\n    type: openai\n    model: x\n    api_key: ${TEST_KEY}\nagents: {a: {llm: m}}\n"
    )
    settings = load()
    llm = settings.llms["m"]
    assert isinstance(llm, OpenAILLM)
    assert llm.api_key.get_secret_value() == "0123"
    assert "0123" not in repr(settings)
    monkeypatch.setenv("TEST_KEY", "schlüssel")
    with pytest.raises(ConfigError, match="characters that no key can have") as raised:
        load()
    assert "schlüssel" not in raised.value.message


@pytest.mark.parametrize(
    "text",
    ["when: 2024-13-45", "x: !!int abc", "x: 0x_", "x: &a [*a]", "x: " + "[" * 100 + "]" * 100, "? [a]\n: b", "\tx: 1"],
)
def test_strange_yaml_is_a_problem_of_the_file(text: str) -> None:
    assert problem(text).startswith("hector.yaml")


def test_an_alias_is_filled_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "secret")
    Path("hector.yaml").write_text(
        "llms:\n  m: {type: openai, model: &name '$${TEST_KEY}', api_key: *name}\nagents: {a: {llm: m}}\n"
    )
    assert load().llms["m"] == OpenAILLM(type="openai", model="${TEST_KEY}", api_key=SecretStr("${TEST_KEY}"))


def test_a_target_is_found_beside_the_file_and_its_mistakes_have_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/beside_module.py").write_text("def answer(turn): return 'hi'\n")
    Path("elsewhere/broken_module.py").write_text("def answer(turn) return\n")
    text = 'llms:\n  mine: {type: python, target: "TARGET"}\nagents: {a: {llm: mine}}\n'
    file = Path("elsewhere/hector.yaml")
    monkeypatch.setattr("sys.path", [*sys.path])
    for target, says in [
        ("broken_module:answer", "llms.mine.target: cannot import 'broken_module': SyntaxError"),
        ("beside_module:nothing", "llms.mine.target: module 'beside_module' has no function 'nothing'"),
        ("..x:y", "llms.mine.target: cannot import '..x'"),
    ]:
        file.write_text(text.replace("TARGET", target))
        with pytest.raises(ConfigError) as raised:
            build(load(str(file)))
        assert raised.value.message.startswith(f"elsewhere/hector.yaml:2: {says}")
    file.write_text(text.replace("TARGET", "beside_module:answer"))
    assert list(build(load(str(file))).agents) == ["a"]
