"""A function's handler with its DynamoDB client made: ready to serve, as the peer is once it has been imported."""

import sys

# As on Lambda, where no layer carries click: with it, httpx would import its command line.
sys.modules["click"] = None  # type: ignore[assignment]

import app  # type: ignore[import-not-found]  # noqa: E402

app.services.store.open()
handler = app.handler
