"""The tokenizer of the very model, where its server offers it: llama.cpp, vLLM, and llama-cpp-python."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import httpx

logger = logging.getLogger(__name__)

_SECONDS = 2.0
_AT_ONCE = 8


class ServerTokenizer:
    """`POST /tokenize` on the model's host. A server that has no such route is asked once, and never again."""

    def __init__(self, client: httpx.AsyncClient, *, base_url: str, model: str) -> None:
        root = base_url.rstrip("/").removesuffix("/v1")
        # vLLM reads `prompt`, llama.cpp `content`; each leaves alone what it does not know.
        self._ways: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
            (f"{root}/tokenize", ("prompt", "content"), {"model": model, "add_special_tokens": False}),
            (f"{root}/extras/tokenize/count", ("input",), {"model": model}),
        ]
        self._client = client
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def count(self, texts: Sequence[str]) -> list[int] | None:
        if not texts:
            return []
        while self._ways:
            way = self._ways[0]
            try:
                # One alone at first: it may well be that the server has no such route.
                first = await self._ask(way, texts[0])
                return [first, *await asyncio.gather(*(self._ask(way, text) for text in texts[1:]))]
            except _NoSuchRoute:
                if way in self._ways:
                    self._ways.remove(way)
            except httpx.HTTPError as error:
                logger.warning("tokens are estimated for now: %s at %s", type(error).__name__, way[0])
                return None
        return None

    async def _ask(self, way: tuple[str, tuple[str, ...], dict[str, Any]], text: str) -> int:
        url, keys, settings = way
        async with self._room:
            response = await self._client.post(url, json={**settings, **dict.fromkeys(keys, text)}, timeout=_SECONDS)
        if response.status_code >= 500 or response.status_code == 429:
            response.raise_for_status()
        try:
            answer = response.json()
            count = answer["count"] if "count" in answer else len(answer["tokens"])
        except (ValueError, TypeError, KeyError):
            count = None
        if not response.is_success or not isinstance(count, int):
            raise _NoSuchRoute
        return count


class _NoSuchRoute(Exception):
    pass
