"""The forms of the URL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hector.config.settings import DEFAULTS, Settings
from hector.errors import ConfigError
from hector.stores.redis import RedisStore
from hector.stores.redis.url import parsed
from hector.wiring import build
from tests import redis_server

FORMS = {
    "redis://": {"host": "localhost", "port": 6379, "db": 0, "ssl": False},
    "redis://host": {"host": "host", "port": 6379, "db": 0, "ssl": False},
    "valkey://host:7000/3": {"host": "host", "port": 7000, "db": 3, "ssl": False},
    "redis://:p%40ss@host/1": {"host": "host", "port": 6379, "db": 1, "ssl": False, "password": "p@ss"},
    "redis://me:p@[::1]:1": {"host": "::1", "port": 1, "db": 0, "ssl": False, "username": "me", "password": "p"},
    "rediss://host": {"host": "host", "port": 6379, "db": 0, "ssl": True, "ssl_check_hostname": True},
    "valkeys://host?ssl_check_hostname=false&ssl_cert_reqs=none&ssl_ca_certs=%2Fca.pem": {
        "host": "host", "port": 6379, "db": 0, "ssl": True,
        "ssl_check_hostname": False, "ssl_cert_reqs": "none", "ssl_ca_certs": "/ca.pem",
    },
    "unix:///run/redis.sock?db=2": {"unix_socket_path": "/run/redis.sock", "db": 2},
    "unix://me:p@/run/redis.sock": {"unix_socket_path": "/run/redis.sock", "db": 0, "username": "me", "password": "p"},
    "redis://host?cluster=true": {"host": "host", "port": 6379, "ssl": False},
}  # fmt: skip

WRONG = {
    "redis://:secret@host:port": "the port is not a number",
    "redis://:secret/1@host": "the port is not a number",
    "redis://:a?secret@host": "has an @ in it (a password with / ? # or @ in it has to be percent-encoded)",
    "redis://:a#secret@host": "has an @ in it",
    "redis://:secret@[host": "its address cannot be read",
    "redis://:secret@host/name": "the database is a number",
    "redis://:secret@host/1?cluster=true": "a cluster has one database only",
    "redis://:secret@host?clutser=true": "'clutser' is no option of it; valid: cluster, db, prefix, ssl_ca_certs",
    "redis://:secret@host?cluster=yes": "cluster is one of true, false",
    "redis://:secret@host?ssl_ca_certs=ca.pem": "ssl_ca_certs needs rediss:// or valkeys://",
    "redis://:secret@host?prefix={a}": "the prefix may hold",
    "unix://:secret@?db=1": "needs the path of a socket",
    "unix:///socket?cluster=true": "cannot be a cluster's",
}


@pytest.mark.parametrize("url", FORMS)
def test_what_a_url_means(url: str) -> None:
    place = parsed(url)
    assert place.client == FORMS[url]
    assert place.cluster == ("cluster=true" in url)
    assert "p@" not in place.shown
    assert "?" not in place.shown


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_is_a_sentence_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        RedisStore(url)
    assert WRONG[url] in wrong.value.message
    assert wrong.value.message.startswith("this is not a Redis URL"), "whose it is, says whoever has named it"
    assert "secret" not in wrong.value.message


def test_a_prefix_is_a_namespace() -> None:
    assert parsed("redis://host").prefix == "hector"
    assert parsed("redis://host?prefix=staging").prefix == "staging"


def test_the_setting_makes_the_store() -> None:
    settings = Settings.model_validate({**DEFAULTS, "session_store": "valkey://host:7000?prefix=mine"})
    store = build(settings).store
    assert isinstance(store, RedisStore)
    assert store._connection.place.shown == "valkey://host:7000"


def test_settings_do_not_show_the_password() -> None:
    settings = Settings.model_validate({**DEFAULTS, "session_store": "redis://:secret@host"})
    assert "secret" not in repr(settings)


async def test_a_socket_in_the_file_system(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    with redis_server.running("--unixsocket", str(socket)):
        store = RedisStore(f"unix://{socket}")
        assert all(check.ok for check in await store.check())
        await store.aclose()


def test_a_missing_driver_is_a_sentence_and_a_present_one_is_imported_late() -> None:
    code = """
import sys
from hector.stores.redis import RedisStore
store = RedisStore("redis://127.0.0.1:1")
print("redis" in sys.modules)
store.open()
print("redis" in sys.modules)
import importlib.util
importlib.util.find_spec = lambda name: None
try:
    RedisStore("redis://127.0.0.1:1")
except Exception as error:
    print(type(error).__name__, error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": "layers/hector"}, capture_output=True, text=True, check=True
    )
    late, opened, missing = result.stdout.splitlines()
    assert (late, opened) == ("False", "True")
    assert missing.startswith("ConfigError")
    assert missing.endswith("pip install 'hector-serverless[redis]'")
