"""Messages as Bedrock's Converse operations take them, with images and documents.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

from __future__ import annotations

from typing import Any

from hector.agents.base import Turn
from hector.agents.contents import Block, with_blocks
from hector.model import Part

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}
_TAKES = (
    "PNG, JPEG, GIF and WebP images and PDF, Word, Excel, CSV, HTML, Markdown and plain text documents "
    "(as bytes, or by an s3:// url)"
)


def messages_of(turn: Turn) -> list[dict[str, Any]]:
    """Raises ModelError for a file that Bedrock does not take."""
    messages = []
    documents = 0
    for role, blocks in with_blocks(turn, _text, _file, takes=_TAKES):
        for block in blocks:
            if "document" in block:
                # Names must differ; the user's own would be an opening for prompt injection, AWS says.
                documents += 1
                block["document"]["name"] = f"document-{documents}"
        if any("document" in block for block in blocks) and not any("text" in block for block in blocks):
            blocks.append(_text("See the document."))  # a document without any text is refused
        messages.append({"role": role, "content": blocks})
    return messages


def _text(text: str) -> Block:
    return {"text": text}


def _file(part: Part) -> Block | None:
    source: Block = {"bytes": part.raw}
    if part.raw is None:
        if not (part.url or "").startswith("s3://"):
            return None
        source = {"s3Location": {"uri": part.url}}
    if part.media_type in _IMAGES:
        return {"image": {"format": _IMAGES[part.media_type], "source": source}}
    if part.media_type in _DOCUMENTS:
        return {"document": {"format": _DOCUMENTS[part.media_type], "source": source}}
    return None
