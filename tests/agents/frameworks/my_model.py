"""A model for Strands that says what it is shown, word by word, and calls a tool when asked about the weather."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from strands.models import Model


class ShowingModel(Model):
    def get_config(self) -> Any:
        return {}

    def update_config(self, **model_config: Any) -> None:
        pass

    def structured_output(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def stream(
        self, messages: Any, tool_specs: Any = None, system_prompt: Any = None, **_: Any
    ) -> AsyncIterator[Any]:
        yield {"messageStart": {"role": "assistant"}}
        last = messages[-1]["content"][0]
        if "weather" in last.get("text", ""):
            yield {"contentBlockStart": {"start": {"toolUse": {"name": "weather", "toolUseId": "1"}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps({"city": "Rome"})}}}}
        else:
            yield {"contentBlockStart": {"start": {}}}
            for word in _said(messages, system_prompt):
                yield {"contentBlockDelta": {"delta": {"text": word}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use" if "weather" in last.get("text", "") else "end_turn"}}
        usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}


def _said(messages: Any, system: str | None) -> list[str]:
    texts = [f"system:{system} "]
    for message in messages:
        for block in message["content"]:
            if "text" in block:
                texts.append(f"{message['role']}:{block['text']} ")
            elif "toolUse" in block:
                texts.append(f"{message['role']}:call-{block['toolUse']['name']} ")
            elif "toolResult" in block:
                texts.append(f"tool:{block['toolResult']['content'][0]['text']} ")
    return texts


model = ShowingModel()
