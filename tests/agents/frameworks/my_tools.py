from __future__ import annotations

import threading
import time

from strands import tool

hangs = False
began = threading.Event()


def look_up(city: str) -> str:
    began.set()
    while hangs:
        time.sleep(0.01)
    return f"sunny in {city}"


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return look_up(city)
