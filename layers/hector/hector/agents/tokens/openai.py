"""OpenAI's own tokenizer, tiktoken, for the models that it knows. It is imported with the first count."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from hector.agents.threads import in_thread

if TYPE_CHECKING:
    from tiktoken import Encoding

logger = logging.getLogger(__name__)

_SECONDS = 15.0
"""How long the download of an encoding may take; it is kept on disk (see TIKTOKEN_CACHE_DIR)."""
_SLICE = 4_096
"""Characters that are encoded at once: tiktoken takes the square of the length for some texts."""


class TiktokenTokenizer:
    def __init__(self, model: str) -> None:
        self._model = model
        self._encoding: Encoding | None = None
        self._given_up = False
        self._opening = asyncio.Lock()

    async def count(self, texts: Sequence[str]) -> list[int] | None:
        async with self._opening:
            if self._encoding is None and not self._given_up:
                self._encoding = await self._open()
                self._given_up = self._encoding is None
        encoding = self._encoding
        return None if encoding is None else await asyncio.to_thread(_counts, encoding, texts)

    async def _open(self) -> Encoding | None:
        try:
            async with (
                asyncio.timeout(_SECONDS),
                aclosing(in_thread(lambda: iter([_encoding_for(self._model)]))) as found,
            ):
                return await anext(found)
        except KeyError:
            return None  # a model that tiktoken does not know
        except ImportError:
            logger.info("tokens of %s are estimated; to count: pip install 'hector-serverless[tokens]'", self._model)
        except Exception as error:  # noqa: BLE001 - whatever keeps the encoding from being downloaded
            logger.warning("tokens of %s are estimated, for want of its encoding: %r", self._model, error)
        return None


def _encoding_for(model: str) -> Encoding:
    import tiktoken

    return tiktoken.encoding_for_model(model)


def _counts(encoding: Encoding, texts: Sequence[str]) -> list[int]:
    return [
        sum(len(encoding.encode_ordinary(text[at : at + _SLICE])) for at in range(0, len(text), _SLICE))
        for text in texts
    ]
