"""A listing is asked for page by page, until it is long enough or has ended; a page may be short, or empty."""

from __future__ import annotations

from typing import Any

import httpx

from hector.cli.client import Client

PAGES: dict[str | None, dict[str, Any]] = {
    None: {"items": [], "nextCursor": "1"},
    "1": {"items": [{"id": "a"}], "nextCursor": "2"},
    "2": {"items": [], "nextCursor": "3"},
    "3": {"items": [{"id": "b"}], "nextCursor": None},
}


async def test_empty_pages_in_between_end_nothing() -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("cursor"))
        return httpx.Response(200, json=PAGES[asked[-1]])

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://server") as http:
        listed = await Client(http, "server", lasting=True).listing("sessions", limit=10, agentId="rare")
        assert listed == {"items": [{"id": "a"}, {"id": "b"}], "nextCursor": None}
        assert asked == [None, "1", "2", "3"]
        assert await Client(http, "server", lasting=True).listing("sessions", limit=1) == PAGES["1"]
