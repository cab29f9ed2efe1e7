"""The settings that hector.yaml can hold, as typed models. Durations are in milliseconds once read."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from hector.config.duration import Duration, PositiveDuration
from hector.errors import ConfigError

Locate = Callable[[tuple[str | int, ...], str], str]
"""A message about a key, given by its path, with the key's place in front."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise PydanticCustomError("number", "this must be a whole number, not {value}", {"value": repr(value)})
    return value


def _header_value(value: Any) -> Any:
    """Without the line's end that a key often has in its file. Anything else that no header can hold is refused."""
    if not isinstance(value, str):
        return value
    if not (value.strip().isascii() and value.strip().isprintable()):
        raise PydanticCustomError("key", "this has characters that no key can have")
    return value.strip()


Number = Annotated[int, BeforeValidator(_no_truth)]
"""A whole number, or the text of one, as an environment variable gives it."""
Positive = Annotated[Number, Field(gt=0)]
DEFAULT_TOKENS = 8_000
LEAST_SUMMARY_TOKENS = 1_000
LEAST_SUMMARY_MESSAGES = 4
LONGEST_LINE = 100
"""Messages that wait in one session at most, whatever its agent allows."""
Secret = Annotated[SecretStr, BeforeValidator(_header_value)]


def nearest(word: str, valid: list[str]) -> str:
    """A hint: the valid word that is meant, if one is close, and all of them."""
    close = difflib.get_close_matches(word, valid, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"valid: {', '.join(valid)}"


class Model(BaseModel):
    """A mapping whose keys are all known; an unknown one is an error that names the nearest valid key."""

    # Built as a part of `Settings`, once, and not each by itself before that.
    model_config = ConfigDict(frozen=True, defer_build=True, json_schema_extra={"additionalProperties": False})

    @model_validator(mode="wrap")
    @classmethod
    def _known_keys(cls, data: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        """Unknown keys beside all else that is wrong: pydantic's own `extra` knows no nearest key."""
        unknown = [key for key in data if key not in cls.model_fields] if isinstance(data, dict) else []
        if not unknown:
            return check(data)
        problems = [_unknown_key(str(key), list(cls.model_fields)) for key in unknown]
        try:
            check({key: value for key, value in data.items() if key in cls.model_fields})
        except ValidationError as error:
            problems += [_again(problem) for problem in error.errors()]
        raise ValidationError.from_exception_data(cls.__name__, problems)


def _unknown_key(key: str, valid: list[str]) -> InitErrorDetails:
    message = PydanticCustomError(
        "unknown_key", "unknown key {key}; {hint}", {"key": repr(key), "hint": nearest(key, valid)}
    )
    return InitErrorDetails(type=message, loc=(), input=key)


def _again(problem: ErrorDetails) -> InitErrorDetails:
    """A problem that was found, to be raised together with others."""
    kind = PydanticCustomError(problem["type"], problem["msg"], problem.get("ctx"))
    return InitErrorDetails(type=kind, loc=problem["loc"], input=problem["input"])


class BuiltinLLM(Model):
    """The offline stand-in model; `delay` is the pause between two pieces of an answer."""

    type: Literal["builtin"]
    delay: Duration = 0


class OpenAILLM(Model):
    """Any server that speaks OpenAI's Chat Completions."""

    type: Literal["openai"]
    model: str
    base_url: str = Field(default="https://api.openai.com/v1", pattern=r"^https?://")
    api_key: Secret = SecretStr("none")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Positive | None = None


class AnthropicLLM(Model):
    """Anthropic's Messages API, through its SDK; without `api_key`, the SDK looks for one (ANTHROPIC_API_KEY)."""

    type: Literal["anthropic"]
    model: str
    api_key: Secret | None = None
    base_url: str | None = Field(default=None, pattern=r"^https?://")
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Positive = 4096


class BedrockLLM(Model):
    """Any model on Amazon Bedrock; region and credentials come from where AWS's tools look for them, unless given."""

    type: Literal["bedrock"]
    model: str
    region: str | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Positive | None = None
    endpoint_url: str | None = Field(default=None, pattern=r"^https?://")


class PythonLLM(Model):
    """A Python callable, `module:function`, on the import path, or beside the configuration."""

    type: Literal["python"]
    target: str


LLM = Annotated[BuiltinLLM | OpenAILLM | AnthropicLLM | BedrockLLM | PythonLLM, Field(discriminator="type")]


ABSENT: Any = Field(default={}, validate_default=True)
"""A section that is left out has the defaults of its keys."""


class Prompt(Model):
    system: str | None = None


class Reasoning(Model):
    enable_streaming: bool = True


class Memory(Model):
    """What an agent is shown of a session: the newest messages, what fits into so many tokens, or a summary first."""

    strategy: Literal["window", "tokens", "summary"] = "window"
    messages: Annotated[Number, Field(ge=0, le=1000)] = 40
    tokens: Annotated[Number, Field(ge=100, le=10_000_000)] | None = None

    @property
    def budget(self) -> int | None:
        """In tokens; None: it goes by messages."""
        return self.tokens or (DEFAULT_TOKENS if self.strategy == "tokens" else None)

    @property
    def misfit(self) -> tuple[str, str] | None:
        """The first key that does not go with the strategy, and why."""
        counted, chosen = self.tokens is not None, "messages" in self.model_fields_set
        if self.strategy == "window":
            return (
                ("tokens", "strategy window goes by messages; for tokens, choose tokens or summary")
                if counted
                else None
            )
        if self.strategy == "tokens":
            return ("messages", "strategy tokens goes by tokens alone; leave this out") if chosen else None
        if counted and chosen:
            return "messages", "with tokens, the conversation is measured in these; leave one of the two out"
        if self.tokens is not None and self.tokens < LEAST_SUMMARY_TOKENS:
            return "tokens", f"strategy summary needs at least {LEAST_SUMMARY_TOKENS}, not {self.tokens}"
        if self.messages < LEAST_SUMMARY_MESSAGES:
            return "messages", f"strategy summary needs at least {LEAST_SUMMARY_MESSAGES}, not {self.messages}"
        return None


class Turns(Model):
    """`policy`: what happens to a message that meets a busy session; at most `max_waiting` wait, for `max_wait`."""

    policy: Literal["reject", "enqueue", "interrupt"] = "reject"
    max_waiting: Annotated[Number, Field(ge=1, le=LONGEST_LINE)] = 10
    max_wait: PositiveDuration = 300_000
    timeout: PositiveDuration = 600_000
    on_disconnect: Literal["continue", "cancel"] = "continue"
    on_deadline: Literal["fail", "hand_over"] = "fail"


class AgentSettings(Model):
    llm: str
    name: str | None = None
    description: str = ""
    prompt: Prompt = ABSENT
    reasoning: Reasoning | None = None
    memory: Memory = ABSENT
    turns: Turns = ABSENT


class MemoryStoreSettings(Model):
    backend: Literal["memory"] = "memory"


class DynamoDBStoreSettings(Model):
    backend: Literal["dynamodb"]
    table: str = Field(min_length=3)
    region: str | None = None
    endpoint_url: str | None = None


class URLStoreSettings(Model):
    """`redis://host:6379/0`, `rediss://…`; `sqlite:///hector.db`, `postgresql://user:password@host/database`."""

    backend: Literal["redis", "sql"]
    url: str = Field(pattern=r"^[a-z+]+://", repr=False)


_BACKENDS = {
    "redis": "redis", "rediss": "redis", "valkey": "redis", "valkeys": "redis", "unix": "redis",
    "sqlite": "sql", "postgresql": "sql", "postgres": "sql",
}  # fmt: skip
"""Which backend a URL's scheme means, where it is the URL that the backend's driver takes."""


def _from_url(value: Any) -> Any:
    """A store's URL, such as `dynamodb://table?region=eu-west-1`, as the mapping that it stands for."""
    if not isinstance(value, str):
        return value
    try:
        url = urlsplit(value)
    except ValueError:
        url = urlsplit("")
    # What comes before a lone colon may be a user, or a password.
    if not url.scheme or ("://" not in value and url.scheme not in ("memory", "dynamodb")):
        raise PydanticCustomError("store_url", "this is not a store URL, such as memory:// or dynamodb://table")
    if url.scheme in _BACKENDS:
        return {"backend": _BACKENDS[url.scheme], "url": value}
    if url.scheme not in ("memory", "dynamodb"):
        hint = nearest(url.scheme, ["memory", "dynamodb", *_BACKENDS])
        raise PydanticCustomError(
            "store_url", "unknown store {scheme}; {hint}", {"scheme": repr(url.scheme), "hint": hint}
        )
    table = {"table": url.netloc} if url.netloc else {}
    return {"backend": url.scheme, **table, **dict(parse_qsl(url.query))}


StoreSettings = Annotated[
    Annotated[MemoryStoreSettings | DynamoDBStoreSettings | URLStoreSettings, Field(discriminator="backend")],
    BeforeValidator(_from_url),
]


class Sessions(Model):
    """`ttl`: a session ends this long after its last activity; `max_age`: and this long after its start, at most.

    The `ttl` of a file that has none is never the longer one.
    """

    ttl: PositiveDuration = 86_400_000
    max_age: PositiveDuration = 2_592_000_000

    @property
    def misfit(self) -> tuple[str, str] | None:
        """As `Memory.misfit`."""
        if "ttl" not in self.model_fields_set or self.ttl <= self.max_age:
            return None
        unsaid = "" if "max_age" in self.model_fields_set else " if it is left out"
        return "ttl", f"longer than max_age, which is {self.max_age / 1000:.12g} s{unsaid}: lower this, or raise that"

    @property
    def usual_ttl(self) -> int:
        """Of a session that is not created with one of its own."""
        return min(self.ttl, self.max_age)


class Settings(Model):
    agents: dict[Name, AgentSettings] = Field(min_length=1)
    llms: dict[Name, LLM] = Field(min_length=1)
    reasoning: Reasoning = ABSENT
    session_store: StoreSettings = Field(default={"backend": "memory"}, validate_default=True)
    sessions: Sessions = ABSENT
    work_queue: str | None = Field(default=None, pattern=r"^https?://")
    public_url: str | None = Field(default=None, pattern=r"^https?://")

    _folder: str = PrivateAttr(default="")
    _locate: Locate | None = PrivateAttr(default=None)
    _store_named: str = PrivateAttr(default="")

    @property
    def folder(self) -> str:
        """Where the configuration lies; empty if there is none."""
        return self._folder

    def found_in(self, folder: str, locate: Locate) -> Settings:
        """These settings, knowing their file."""
        self._folder, self._locate = folder, locate
        return self

    def with_store(self, store: StoreSettings, named: str) -> Settings:
        """These settings with another store, which errors call as it is `named`: it is not in the file."""
        settings = self.model_copy(update={"session_store": store})
        settings._store_named = named
        return settings

    def error(self, path: tuple[str | int, ...], message: str) -> ConfigError:
        """What is wrong with a key, where that only shows when it is used; with its file and line."""
        if self._store_named and path[:1] == ("session_store",):
            return ConfigError(f"{self._store_named}: {message}")
        return ConfigError(self._locate(path, message) if self._locate else f"{'.'.join(map(str, path))}: {message}")

    def streams(self, agent: AgentSettings) -> bool:
        """Whether the agent's answers are streamed: its own setting, else the common one."""
        return (agent.reasoning or self.reasoning).enable_streaming


DEFAULTS: dict[str, Any] = {
    "llms": {"builtin": {"type": "builtin", "delay": "20ms"}},
    "agents": {
        "assistant": {"name": "Assistant", "description": "A general assistant", "llm": "builtin"},
        "support_agent": {"name": "Support", "description": "Answers customers' questions", "llm": "builtin"},
        "my_agent": {"name": "My agent", "description": "An agent to try things out with", "llm": "builtin"},
    },
}
"""What is served with no hector.yaml at all, or with one that names neither agents nor llms."""
