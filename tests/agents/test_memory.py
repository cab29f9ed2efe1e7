"""Budgets and summaries as the model's server sees them: the messages that are sent, and how often."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hector.config.settings import Settings
from hector.model import Usage
from hector.services import Services
from hector.stores.base import Store
from hector.stores.memory import MemoryStore
from hector.wiring import build
from tests.agents.wires import WIRES, model_server, streaming
from tests.support import ask, new_session

WIRE = WIRES["openai"]
TEMPLATE = 9
"""Tokens that this model's chat template adds to each message."""


class Model:
    """A server whose tokens are words; it summarises what it is asked to, and says `ok` to anything else."""

    def __init__(self) -> None:
        self.chats: list[list[dict[str, str]]] = []
        self.counted: list[str] = []

    async def chat(self, request: Request) -> Response:
        messages = (await request.json())["messages"]
        self.chats.append(messages)
        answer = f"s{len(self.summaries)}" if messages in self.summaries else "ok"
        return await streaming(WIRE, WIRE.pieces(answer), WIRE.end(asked=self.tokens(messages), said=1))(request)

    async def tokenize(self, request: Request) -> Response:
        text = (await request.json())["content"]
        self.counted.append(text)
        return JSONResponse({"tokens": text.split()})

    @property
    def summaries(self) -> list[list[dict[str, str]]]:
        return [chat for chat in self.chats if chat[0]["content"].startswith("You keep the memory")]

    @staticmethod
    def tokens(messages: list[dict[str, str]]) -> int:
        return sum(len(message["content"].split()) + TEMPLATE for message in messages)


def services(url: str, store: Store, **memory: Any) -> Services:
    return build(
        Settings.model_validate({
            "llms": {"m": {"type": "openai", "base_url": f"{url}/v1", "model": "m"}},
            "agents": {"my_agent": {"llm": "m", "prompt": {"system": "Be brief."}, "memory": memory}},
        }),
        store=store,
    )  # fmt: skip


async def test_the_older_part_is_summarised_exactly_once_by_the_model_itself() -> None:
    model, store = Model(), MemoryStore()
    async with model_server(WIRE, model.chat) as url:
        served = services(url, store, strategy="summary", messages=6)
        session_id = await new_session(served)
        for number in range(1, 12):
            if number == 6:
                await served.aclose()
                served = services(url, store, strategy="summary", messages=6)
            task = await ask(served, session_id, f"q{number}")
        await served.aclose()
    first, second, third = model.summaries
    parts = [[message["content"] for message in chat[1:-1:2]] for chat in model.summaries]
    assert parts == [["q1", "q2", "q3"], ["q4", "q5", "q6"], ["q7", "q8", "q9"]]
    assert first[-1]["role"] == "user"
    assert "Summarise the conversation so far" in first[-1]["content"]
    assert "The summary so far" not in first[0]["content"]
    assert second[0]["content"].endswith("The summary so far, of what was said before these messages:\ns1")
    assert model.chats[-1] == [
        {"role": "system", "content": "Be brief.\n\nWhat was said earlier in this conversation, in short:\ns3"},
        {"role": "user", "content": "q10"}, {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "q11"},
    ]  # fmt: skip
    assert task.usage == Usage(Model.tokens(third) + Model.tokens(model.chats[-1]), 2)
    assert model.counted == [], "a window of messages needs no tokens"


async def test_a_budget_is_kept_as_the_model_counts_and_no_turn_is_counted_twice() -> None:
    model = Model()
    async with model_server(WIRE, model.chat, tokenize=model.tokenize) as url:
        served = services(url, MemoryStore(), strategy="tokens", tokens=300)
        session_id = await new_session(served)
        for number in range(1, 31):
            task = await ask(served, session_id, f"q{number} " + "word " * 20)
            assert task.usage is not None
            if number > 20:
                assert 200 < task.usage.input_tokens <= 300, "the template of this model has been learned"
        await served.aclose()
    sent = [message["content"] for message in model.chats[-1]]
    assert (sent[0], sent[-1].split()[0]) == ("Be brief.", "q30")
    roles = [message["role"] for message in model.chats[-1][1:]]
    assert roles == [*["user", "assistant"] * (len(sent) // 2 - 1), "user"]
    assert max(model.counted.count(text) for text in model.counted) == 1


async def test_a_message_that_is_beyond_the_budget_alone_is_sent_all_the_same() -> None:
    model = Model()
    async with model_server(WIRE, model.chat, tokenize=model.tokenize) as url:
        served = services(url, MemoryStore(), strategy="tokens", tokens=100)
        session_id = await new_session(served)
        await ask(served, session_id, "hello")
        await ask(served, session_id, "word " * 500)
        await served.aclose()
    assert [message["role"] for message in model.chats[-1]] == ["system", "user"]
