"""What counts tokens: a tokenizer of the model's own where there is one, else an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Tokenizer(Protocol):
    async def count(self, texts: Sequence[str]) -> list[int] | None:
        """The tokens of each text, without what a chat's template adds. None: it cannot tell, now or at all."""


class FirstThatCan:
    """Several tokenizers, the best one first."""

    def __init__(self, *tokenizers: Tokenizer) -> None:
        self._tokenizers = tokenizers

    async def count(self, texts: Sequence[str]) -> list[int] | None:
        for tokenizer in self._tokenizers:
            if (counts := await tokenizer.count(texts)) is not None:
                return counts
        return None
