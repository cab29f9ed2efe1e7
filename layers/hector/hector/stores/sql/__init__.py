"""The SQL store: a SQLite file for one machine, PostgreSQL for several; through SQLAlchemy.

    hector_sessions    the hot record: lease, fence, open task, cancel mark, the line, expiry; locked by every verb
    hector_tasks       one turn: prompt, answer, final status
    hector_events      a batch of a task's events, up to the number `last`
    hector_keys        an idempotency key: the session or task that it stands for
    hector_summaries   what a session's older turns were about

All but the first go with their session (ON DELETE CASCADE). Each verb is one short transaction, which may be sent
again.
"""

from hector.errors import ConfigError

try:
    from hector.stores.sql.store import SQLStore
except ModuleNotFoundError as error:
    if error.name != "sqlalchemy":
        raise
    raise ConfigError(
        "The SQL store needs the package sqlalchemy, which is not installed here: pip install 'hector-serverless[sql]'"
    ) from None

__all__ = ["SQLStore"]
