from __future__ import annotations

from strands import tool


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"
