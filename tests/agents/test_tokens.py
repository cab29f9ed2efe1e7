"""Counting tokens: with the model's own tokenizer where there is one, else by estimates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import tiktoken
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from tiktoken import Encoding

from hector.agents.openai import OpenAIAgent
from hector.agents.tokens.base import Tokenizer
from hector.agents.tokens.estimate import IMAGE_TOKENS, LEAST_DOCUMENT_TOKENS, Estimate, estimated, file_tokens
from hector.agents.tokens.openai import TiktokenTokenizer
from hector.config.settings import Settings
from hector.model import Part
from hector.wiring import build
from tests.agents.wires import WIRES, Answer, model_server, streaming

OPENAI = WIRES["openai"]
TEXTS = ["one two three", "", "four"]
LETTERS = Encoding("letters", pat_str=r".", mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={})
"""A token for each byte."""


@asynccontextmanager
async def counting(**routes: Answer) -> AsyncIterator[Tokenizer]:
    """The tokenizer of an agent whose model's server has these routes, too."""
    async with model_server(OPENAI, streaming(OPENAI), **routes) as url:
        agent = OPENAI.agent(url)
        assert isinstance(agent, OpenAIAgent)
        yield agent.tokenizer()
        await agent.aclose()


def words(key: str, asked: list[Any], shape: str) -> Answer:
    """A server's route that counts words in the text under a key."""

    async def answer(request: Request) -> Response:
        body = await request.json()
        asked.append(body)
        found = body[key].split()
        return JSONResponse({"tokens": list(range(len(found)))} if shape == "tokens" else {"count": len(found)})

    return answer


async def test_llama_cpp_counts() -> None:
    asked: list[Any] = []
    async with counting(tokenize=words("content", asked, "tokens")) as tokenizer:
        assert await tokenizer.count(TEXTS) == [3, 0, 1]
        assert await tokenizer.count([]) == []
    assert len(asked) == 3


async def test_vllm_counts() -> None:
    asked: list[Any] = []
    async with counting(tokenize=words("prompt", asked, "count")) as tokenizer:
        assert await tokenizer.count(TEXTS) == [3, 0, 1]
    assert {(body["model"], body["add_special_tokens"]) for body in asked} == {("m", False)}


async def test_llama_cpp_python_counts() -> None:
    asked: list[Any] = []
    async with counting(extras__tokenize__count=words("input", asked, "count")) as tokenizer:
        assert await tokenizer.count(TEXTS) == [3, 0, 1]
        assert await tokenizer.count(TEXTS) == [3, 0, 1]


@pytest.mark.parametrize("answered", [JSONResponse({"error": "no"}, 405), JSONResponse([]), Response("hello")])
async def test_a_server_that_cannot_is_asked_once_and_tokens_are_estimated(answered: Response) -> None:
    asked = 0

    async def answer(_: Request) -> Response:
        nonlocal asked
        asked += 1
        return answered

    async with counting(tokenize=answer) as tokenizer:
        for _ in range(3):
            assert await tokenizer.count(TEXTS) == [4, 0, 1]
    assert asked == 1


async def test_a_server_that_is_out_of_order_is_asked_again_with_the_next_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = True

    async def answer(request: Request) -> Response:
        return Response(status_code=503) if broken else await words("content", [], "tokens")(request)

    async with counting(tokenize=answer) as tokenizer:
        assert await tokenizer.count(TEXTS) == [4, 0, 1]
        broken = False
        assert await tokenizer.count(TEXTS) == [3, 0, 1]
    assert caplog.text.count("tokens are estimated for now") == 1


async def test_tiktoken_counts_for_the_models_that_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiktoken, "encoding_for_model", {"gpt-test": LETTERS}.__getitem__)
    assert await TiktokenTokenizer("gpt-test").count(["abc", "", "ü", "<|endoftext|>", "x" * 10_000]) == [
        3, 0, 2, 13, 10_000,
    ]  # fmt: skip
    assert await TiktokenTokenizer("smollm2").count(["abc"]) is None


async def test_an_encoding_that_cannot_be_downloaded_costs_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_network(_: str) -> Encoding:
        raise OSError("no network")

    monkeypatch.setattr(tiktoken, "encoding_for_model", no_network)
    tokenizer = TiktokenTokenizer("gpt-test")
    assert [await tokenizer.count(["abc"]) for _ in range(3)] == [None] * 3
    assert [(record.levelno, "no network" in record.message) for record in caplog.records] == [(logging.WARNING, True)]


async def test_a_download_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    over = threading.Event()
    monkeypatch.setattr("hector.agents.tokens.openai._SECONDS", 0.05)
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda _: over.wait(30))
    assert await asyncio.wait_for(TiktokenTokenizer("gpt-test").count(["abc"]), 10) is None
    over.set()


def test_each_llm_has_its_own_way_of_counting() -> None:
    llms = {
        "openai": {"type": "openai", "model": "gpt-4o"}, "anthropic": {"type": "anthropic", "model": "m"},
        "bedrock": {"type": "bedrock", "model": "m"}, "builtin": {"type": "builtin"},
        "python": {"type": "python", "target": "benchmarks.agents:stamp"}, "window": {"type": "openai", "model": "m"},
    }  # fmt: skip
    agents = {name: {"llm": name, "memory": {"strategy": "tokens"}} for name in llms if name != "window"}
    services = build(Settings.model_validate({"llms": llms, "agents": {**agents, "plain": {"llm": "window"}}}))
    kinds = {id_: type(served.tokenizer).__name__ for id_, served in services.agents.items()}
    assert kinds == {
        "openai": "FirstThatCan", "anthropic": "Estimate", "bedrock": "Estimate", "builtin": "Words",
        "python": "NoneType", "plain": "NoneType",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0), ("word", 1), ("words", 2), ("Grüße", 2), ("привет", 3), ("שלום", 2), ("你好世界", 4), ("नमस्ते", 6),
        ("😀", 2), ("你好 hi", 3), ("\ud800", 1),
    ],
)  # fmt: skip
async def test_estimates_go_by_the_alphabet(text: str, tokens: int) -> None:
    assert estimated(text) == tokens
    assert await Estimate().count([text]) == [tokens]


def test_files_are_estimated_by_kind_and_size() -> None:
    assert file_tokens(Part(raw=b"...", media_type="image/png")) == IMAGE_TOKENS
    assert file_tokens(Part(url="https://example.com/x.pdf", media_type="application/pdf")) == LEAST_DOCUMENT_TOKENS
    assert file_tokens(Part(raw=b"x" * 1_000_000, media_type="application/pdf")) == 50_000
