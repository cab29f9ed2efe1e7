"""Tokens without a tokenizer: by characters and alphabets for texts, by kind and size for files."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hector.model import Part

IMAGE_TOKENS = 1_500
"""What a picture of about a megapixel costs with most models."""
LEAST_DOCUMENT_TOKENS = 1_500
BYTES_PER_DOCUMENT_TOKEN = 20
"""Of PDFs and office documents: much of them is fonts, pictures and markup."""

_ASCII = bytes(range(0x80))
_REST = bytes(range(0x80, 0xC0))  # the bytes of a character after its first
_LATIN = bytes(range(0xC0, 0xCA))  # first bytes of U+0080 to U+027F
_TWO = bytes(range(0xCA, 0xE0))  # of Greek, Cyrillic, Hebrew, Arabic, …
_THREE = bytes(range(0xE0, 0xF0))  # of Chinese, Japanese, Korean, the scripts of India, …


class Estimate:
    """Four characters a token in English; other alphabets have shorter ones. Good to a quarter for running text."""

    async def count(self, texts: Sequence[str]) -> list[int]:
        return [estimated(text) for text in texts]


def estimated(text: str) -> int:
    """A quarter token for each ASCII character, a half for other alphabets, 1 for CJK and its like, 2 for emoji."""
    if text.isascii():
        return math.ceil(len(text) / 4)
    first = text.encode("utf-8", "replace").translate(None, _REST)
    latin = len(first.translate(None, _ASCII))
    alphabets = len(first.translate(None, _ASCII + _LATIN))
    wide = len(first.translate(None, _ASCII + _LATIN + _TWO))
    emoji = len(first.translate(None, _ASCII + _LATIN + _TWO + _THREE))
    ascii_ = len(first) - latin
    return math.ceil(ascii_ / 4 + (latin - alphabets) / 2 + (alphabets - wide) / 2 + (wide - emoji) + 2 * emoji)


def file_tokens(part: Part) -> int:
    """For a part that is no text, and no file of text."""
    if part.media_type.startswith("image/"):
        return IMAGE_TOKENS
    return max(LEAST_DOCUMENT_TOKENS, len(part.raw or b"") // BYTES_PER_DOCUMENT_TOKEN)
