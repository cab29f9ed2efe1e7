"""Which other origins may call, with what, and read which headers: all, as for any public API."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

CORS = Middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["GET", "POST", "PATCH", "DELETE"],
    allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key", "Prefer", "A2A-Version"],
    expose_headers=["Location", "Content-Location", "Retry-After"],
)
