"""Statements that several rooms send, and those that SQLAlchemy writes for each engine by itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from hector.errors import NotFound
from hector.model import Task, session_id_of
from hector.stores.base import Outcome
from hector.stores.sql.rows import outcome_values
from hector.stores.sql.tables import tasks


def insert_or(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can be told what to do on a conflict."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_new(connection: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Whether the row was new; one that is there stays as it is."""
    statement = insert_or(connection, table).values(**values).on_conflict_do_nothing()
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1


def of_task(task_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return tasks.c.session_id == session_id_of(task_id), tasks.c.id == task_id


def task_row(connection: Connection, task_id: str) -> Any:
    """Raises NotFound."""
    row = connection.execute(select(tasks).where(*of_task(task_id))).first()
    if row is None:
        raise NotFound.task(task_id)
    return row


def end_task(connection: Connection, task: Task, nonce: str) -> None:
    outcome = Outcome(task.state, task.last_event, task.output, task.usage, task.error, task.stop_reason)
    values = {"turn": task.turn, "updated_at": task.updated_at, "nonce": nonce, **outcome_values(outcome)}
    connection.execute(update(tasks).where(*of_task(task.id)).values(**values))
