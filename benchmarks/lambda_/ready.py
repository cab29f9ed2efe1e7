"""A function's handler, as on Lambda: no layer carries click, with which httpx would import its command line."""

import sys

sys.modules["click"] = None  # type: ignore[assignment]

from app import handler  # type: ignore[import-not-found]  # noqa: E402

__all__ = ["handler"]
