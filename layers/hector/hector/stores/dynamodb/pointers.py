"""The idempotency keys of sessions: a key of a principal points to the session that it stands for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from hector.model import Principal, Session
from hector.stores.base import Idempotency
from hector.stores.dynamodb.items import far, owner_key
from hector.stores.dynamodb.rows import Key, Row

POINTER = "session"
"""The sort key of an idempotency key that stands for a session."""


def pointer_row(session: Session, idempotency: Idempotency) -> Row:
    """The times are the session's, so that whoever completes it after a crash makes the same one."""
    pk, sk = _key(session.principal, idempotency.key)
    return {
        "pk": pk,
        "sk": sk,
        "target": session.id,
        "fingerprint": idempotency.fingerprint,
        "created_at": session.created_at,
        "until": session.expires_at,
        "last_expiry": session.last_expiry,
        "turns": session.turns,
        "ttl": far(session.last_expiry),
    }


def pointed_session(session: Session, pointer: Row) -> Session:
    """The session as whoever wrote the pointer was about to create it."""
    return replace(
        session,
        id=pointer["target"],
        created_at=pointer["created_at"],
        expires_at=pointer["until"],
        last_expiry=pointer["last_expiry"],
        last_activity_at=pointer["created_at"],
        turns=pointer["turns"],
    )


def _key(principal: Principal, key: str) -> Key:
    """A partition of its own: session ids hold no `#`."""
    return "key#" + hashlib.sha256(json.dumps([owner_key(principal), key]).encode()).hexdigest()[:40], POINTER
