"""Fixtures for every test: the real engines, each started once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests import dynamodb_local as dynamodb
from tests import postgres_server as postgres
from tests import redis_server
from tests.backends import FreshPlace, FreshURL, Place, fresh_url


@pytest.fixture(scope="session")
def dynamodb_local() -> Iterator[str]:
    """The endpoint URL of a DynamoDB Local that starts out empty."""
    with dynamodb.running() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis server that starts out empty."""
    with redis_server.running() as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_cluster_url() -> Iterator[str]:
    """The URL of a cluster of three that starts out empty."""
    with redis_server.running_cluster() as servers:
        yield f"{servers[0].url}?cluster=true"


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The URL of a Valkey server that starts out empty."""
    with redis_server.running(program=redis_server.valkey_program()) as server:
        yield server.url.replace("redis://", "valkey://")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A PostgreSQL with an empty database; who stops it starts it again."""
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url(postgres_server: postgres.PostgresServer) -> str:
    return postgres_server.url


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a file that is not there yet."""
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'hector.db'}"


@pytest.fixture(scope="session")
def fresh_store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FreshURL:
    """Makes the URL of an empty place for a backend's name."""
    return lambda backend: fresh_url(backend, request, tmp_path_factory.mktemp(backend))


@pytest.fixture(scope="session")
def fresh_place(fresh_store_url: FreshURL) -> FreshPlace:
    return lambda backend: Place(fresh_store_url(backend))


def pytest_configure() -> None:
    # A shell that starts a command in the background lets it, and all that it starts, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist, nobody asks
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.dealing import ModulesTogether

    return ModulesTogether(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Here, because with pytest-xdist the process that reports knows of no other conftest.
    from tests.contract.table import write_table

    write_table(terminalreporter)
