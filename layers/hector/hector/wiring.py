"""The one place where configuration becomes a store, agents and services."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hector import config
from hector.agents.base import Agent, ServedAgent
from hector.config.settings import (
    LLM,
    AnthropicLLM,
    BedrockLLM,
    BuiltinLLM,
    DynamoDBStoreSettings,
    MemoryStoreSettings,
    OpenAILLM,
    PythonLLM,
    Settings,
    StoreSettings,
    URLStoreSettings,
)
from hector.errors import ConfigError
from hector.follow import Follow
from hector.live import LiveLogs
from hector.model import Millis, TurnPolicy
from hector.queues.base import WorkQueue
from hector.recovery import Recovery
from hector.services import HEARTBEAT_SECONDS, Services
from hector.stores.base import Clock, Store, system_clock
from hector.telemetry import on_lambda
from hector.turns import SessionLimits, Turns

if TYPE_CHECKING:
    from hector.agents.tokens.base import Tokenizer


def load(file: str | None = None) -> Services:
    """The services of the configuration (see `hector.config.load`). Raises ConfigError."""
    return build(config.load(file))


def load_on_lambda() -> Services:
    """The services of the `hector.yaml` in the root of the layer that carries this package; see `load` for the others.

    The store is made ready here: a function's start is the cheapest moment for that.
    """
    # Looking for pydantic's plugins means reading the metadata of every package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    layer_config = Path(__file__).parents[2] / "hector.yaml"
    shipped = layer_config.exists() and not os.environ.get("HECTOR_CONFIG")
    on_lambda.listen()
    services = load(str(layer_config) if shipped else None)
    services.store.open()
    return services


def build(
    settings: Settings,
    *,
    store: Store | None = None,
    queue: WorkQueue | None = None,
    clock: Clock = system_clock,
    heartbeat: float = HEARTBEAT_SECONDS,
) -> Services:
    """The services of these settings; a `store` or a `queue` given here takes the place of the configured one."""
    models = {name: _agent(settings, name, llm) for name, llm in settings.llms.items()}
    counted = {agent.llm for agent in settings.agents.values() if agent.memory.budget is not None}
    tokenizers = {name: _tokenizer(settings.llms[name], models[name]) for name in counted}
    agents = {
        id_: ServedAgent(
            id=id_,
            agent=models[agent.llm],
            name=agent.name or id_,
            description=agent.description,
            system=agent.prompt.system,
            window=agent.memory.messages,
            tokens=agent.memory.budget,
            summarises=agent.memory.strategy == "summary",
            tokenizer=tokenizers.get(agent.llm),
            timeout=agent.turns.timeout / 1000,
            streams=settings.streams(agent),
            policy=TurnPolicy(agent.turns.policy),
            max_waiting=agent.turns.max_waiting,
            max_wait=agent.turns.max_wait / 1000,
            hands_over=agent.turns.on_deadline == "hand_over",
            cancels_on_disconnect=agent.turns.on_disconnect == "cancel",
        )
        for id_, agent in settings.agents.items()
    }
    longest_turn = max(agent.turns.timeout for agent in settings.agents.values())
    store = store or configured_store(settings, clock, longest_turn=longest_turn)
    live = LiveLogs()
    queue = queue or _queue(settings)
    recovery = Recovery(store, live, clock, queue)
    limits = SessionLimits(settings.sessions.usual_ttl, settings.sessions.max_age)
    turns = Turns(store, live, recovery, agents, limits, clock, queue)
    follow = Follow(store, live, recovery)
    return Services(settings, store, agents, turns, follow, recovery, clock, queue, heartbeat)


def _agent(settings: Settings, name: str, llm: LLM) -> Agent:
    match llm:
        case BuiltinLLM():
            from hector.agents.builtin import BuiltinAgent

            return BuiltinAgent(llm.delay / 1000)
        case OpenAILLM():
            from hector.agents.openai import OpenAIAgent

            return OpenAIAgent(
                base_url=llm.base_url,
                model=llm.model,
                api_key=llm.api_key.get_secret_value(),
                temperature=llm.temperature,
                max_tokens=llm.max_tokens,
            )
        case AnthropicLLM():
            from hector.agents.anthropic import AnthropicAgent

            return AnthropicAgent(
                model=llm.model,
                api_key=llm.api_key.get_secret_value() if llm.api_key else None,
                base_url=llm.base_url,
                temperature=llm.temperature,
                max_tokens=llm.max_tokens,
            )
        case BedrockLLM():
            from hector.agents.bedrock import BedrockAgent

            return BedrockAgent(
                model=llm.model,
                region=llm.region,
                temperature=llm.temperature,
                max_tokens=llm.max_tokens,
                endpoint_url=llm.endpoint_url,
            )
        case PythonLLM():
            from hector.agents.python import PythonAgent, load_target

            folder = settings.folder or os.getcwd()
            if folder not in sys.path:
                sys.path.insert(0, folder)
            try:
                return PythonAgent(load_target(llm.target))
            except ConfigError as error:
                raise settings.error(("llms", name, "target"), error.message) from error


def _tokenizer(llm: LLM, agent: Agent) -> Tokenizer | None:
    """What counts as the agent's model does; None for Python, where nobody knows how often it calls which model."""
    from hector.agents.tokens.estimate import Estimate

    if isinstance(llm, PythonLLM):
        return None
    own: Callable[[], Tokenizer] | None = getattr(agent, "tokenizer", None)
    return own() if own else Estimate()


def configured_store(settings: Settings, clock: Clock = system_clock, *, longest_turn: Millis = 0) -> Store:
    """`open_store` for the configured one. Raises ConfigError, which names the place of its setting."""
    try:
        return open_store(settings.session_store, clock, longest_turn=longest_turn)
    except ConfigError as error:
        raise settings.error(("session_store",), error.message) from error


def open_store(settings: StoreSettings, clock: Clock = system_clock, *, longest_turn: Millis = 0) -> Store:
    """The store that these settings mean; it connects when it is used first. Raises ConfigError.

    `longest_turn`: for how long a turn may run, which says how far back sweeps have to look.
    """
    match settings:
        case MemoryStoreSettings():
            from hector.stores.memory import MemoryStore

            return MemoryStore(clock)
        case DynamoDBStoreSettings():
            from hector.stores.dynamodb import DynamoDBStore

            return DynamoDBStore(
                settings.table,
                region=settings.region,
                endpoint_url=settings.endpoint_url,
                clock=clock,
                longest_turn=longest_turn,
            )
        case URLStoreSettings(backend="redis"):
            from hector.stores.redis import RedisStore

            return RedisStore(settings.url, clock=clock)
        case URLStoreSettings():
            from hector.stores.sql import SQLStore

            return SQLStore(settings.url, clock=clock)


def _queue(settings: Settings) -> WorkQueue | None:
    if settings.work_queue is None:
        return None
    from hector.queues.sqs import SQSQueue

    return SQSQueue(settings.work_queue)
