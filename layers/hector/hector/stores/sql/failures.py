"""What SQLAlchemy and the drivers raise, as the product's errors: one sentence that says what to do.

Never with statements, parameters (they are what users wrote) or passwords.
"""

from __future__ import annotations

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from hector.errors import HectorError, InputTooLarge, StoreUnavailable
from hector.stores.sql.engines import BUSY_SECONDS, STATEMENT_SECONDS, missing_folder
from hector.stores.sql.urls import shown

_ANOTHER_TIME = {"40001", "40P01", "53300", "57P01", "57P02", "57P03"}
"""Serialization failure, deadlock, too many connections, the engine is stopped, has crashed, starts."""
_UNFIT = ("Error binding parameter", "cannot adapt type", "cannot contain NUL")
"""What the drivers say of a value before they ask the engine."""
_MISTAKES = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, SQLAlchemyError)
_TIMED_OUT = {"55P03", "57014"}
_STARTING = ("starting up", "shutting down", "recovery mode", "too many", "not yet accepting", "remaining connection")


def again(error: SQLAlchemyError) -> bool:
    """Whether the same transaction may succeed in a moment, on another connection perhaps."""
    if not isinstance(error, DBAPIError) or _mistake(error):
        return False
    text, state = str(error.orig), getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or state in _ANOTHER_TIME or (state or "").startswith("08"):
        return True
    if state is not None or not _is_postgresql(error):
        return False
    # No connection came to be. The engine's own refusal, such as a wrong password, stays one.
    return "FATAL" not in text or any(phrase in text for phrase in _STARTING)


def translated(error: SQLAlchemyError, url: URL) -> HectorError:
    if wrong := _mistake(error):
        return HectorError(f"A statement was given what no database takes ({wrong}): this is a mistake in the program.")
    where = shown(url)
    original = error.orig if isinstance(error, DBAPIError) else error
    text = _first_line(original, url)
    if url.get_backend_name() == "sqlite":
        return _sqlite(text, where, url)
    state = getattr(original, "sqlstate", None) or ""
    if state in _TIMED_OUT:
        return StoreUnavailable(
            f"The PostgreSQL database {where} is busy: a statement took more than {STATEMENT_SECONDS} s. "
            "Try again in a moment."
        )
    if state == "42501":
        return StoreUnavailable(
            f"PostgreSQL does not let this user work in the database {where} ({text}): let its owner run "
            "`hector store init`, and GRANT SELECT, INSERT, UPDATE, DELETE on the hector_ tables."
        )
    if state == "25006":
        return StoreUnavailable(
            f"The PostgreSQL database {where} cannot be written to ({text}): name the primary in session_store.url."
        )
    if state.startswith("53"):
        return StoreUnavailable(f"The PostgreSQL server of {where} is out of resources: {text}")
    if state and not state.startswith(("08", "57")):
        return StoreUnavailable(f"PostgreSQL refused a statement in {where}: {text}")
    return StoreUnavailable(
        f"The PostgreSQL database {where} cannot be reached ({text}): check session_store.url and the network."
    )


def _mistake(error: SQLAlchemyError) -> str | None:
    """The kind of an error that no other time and no other engine would mend, such as a value of a wrong type."""
    if not isinstance(error, StatementError):
        return None
    text, state = str(error.orig), getattr(error.orig, "sqlstate", None) or ""
    if isinstance(error, DBAPIError):
        wrong = any(said in text for said in _UNFIT) or state.startswith("22")
    else:
        wrong = isinstance(error.orig, _MISTAKES)
    return type(error.orig).__name__ if wrong else None


def _sqlite(text: str, where: str, url: URL) -> HectorError:
    if "unable to open" in text:
        folder = missing_folder(url)
        hint = f"there is no folder {folder!r}: make it" if folder else "check that its folder can be written to"
        return StoreUnavailable(f"The SQLite file {where!r} cannot be opened: {hint}, or correct session_store.url.")
    if "locked" in text:
        return StoreUnavailable(
            f"The SQLite file {where!r} is busy: another process wrote to it for more than {BUSY_SECONDS:g} s. "
            "Try again in a moment."
        )
    if "readonly" in text:
        return StoreUnavailable(
            f"The SQLite file {where!r} cannot be written to: let this user write to it and to its folder."
        )
    if "full" in text:
        return StoreUnavailable(f"The disk of the SQLite file {where!r} is full: make room for it.")
    if "too big" in text:
        return InputTooLarge("This is larger than SQLite takes at once. Send less.")
    if "not a database" in text or "malformed" in text:
        return StoreUnavailable(
            f"The file {where!r} is not a sound SQLite database ({text}): correct session_store.url, or restore it."
        )
    return StoreUnavailable(f"SQLite cannot work with the file {where!r}: {text}")


def _first_line(error: BaseException | None, url: URL) -> str:
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return text.replace(url.password, "***") if isinstance(url.password, str) and url.password else text


def _is_postgresql(error: DBAPIError) -> bool:
    return type(error.orig).__module__.partition(".")[0] == "psycopg"
