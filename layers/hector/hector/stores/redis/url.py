"""A Redis URL, taken apart: where the engine is, who we are there, and what is ours in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from hector.errors import ConfigError

SETTING = "session_store (HECTOR_STORE)"
_ENCODED = "(a password with / ? # or @ in it has to be percent-encoded)"
_TLS = ("rediss", "valkeys")
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_CHOICES = {
    "cluster": ("true", "false"),
    "ssl_check_hostname": ("true", "false"),
    "ssl_cert_reqs": ("required", "none"),
}
_OPTIONS = sorted([*_FILES, *_CHOICES, "db", "prefix"])


@dataclass(frozen=True, slots=True)
class Place:
    """`shown` is the URL for people: without user, password and options."""

    shown: str
    prefix: str
    cluster: bool
    client: dict[str, Any] = field(repr=False)


def parsed(url: str) -> Place:
    """Raises ConfigError, which never holds the URL: there may be a password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _wrong(f"its address cannot be read {_ENCODED}") from None
    if "@" in parts.query + parts.fragment:
        raise _wrong(f"what comes after ? or # has an @ in it {_ENCODED}")
    options = _checked_options(parts.query)
    cluster = options.pop("cluster", "false") == "true"
    prefix = options.pop("prefix", "hector")
    db = options.pop("db", "")
    client: dict[str, Any] = {name: unquote(value) for name, value in _login(parts).items()}
    if parts.scheme == "unix":
        if not parts.path or cluster:
            raise _wrong("a unix:// URL needs the path of a socket, and cannot be a cluster's")
        client |= {"unix_socket_path": unquote(parts.path)}
        shown = f"unix://{parts.path}"
    else:
        host, port = _address(parts)
        db = db or parts.path.strip("/")
        client |= {"host": host, "port": port, "ssl": parts.scheme in _TLS}
        shown = f"{parts.scheme}://{host}:{port}"
    if not re.fullmatch(r"[0-9]{0,4}", db):
        raise _wrong("the database is a number, as in redis://host:6379/0")
    if int(db or 0) and cluster:
        raise _wrong("a cluster has one database only: leave out its number")
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", prefix):
        raise _wrong("the prefix may hold letters, digits and . _ : - only")
    if parts.scheme in _TLS:
        client |= {**options, "ssl_check_hostname": options.get("ssl_check_hostname", "true") == "true"}
    elif options:
        raise _wrong(f"{', '.join(sorted(options))} needs rediss:// or valkeys://")
    return Place(shown, prefix, cluster, client if cluster else client | {"db": int(db or 0)})


def _checked_options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS:
            raise _wrong(f"{name!r} is no option of it; valid: {', '.join(_OPTIONS)}")
        if value not in _CHOICES.get(name, (value,)):
            raise _wrong(f"{name} is one of {', '.join(_CHOICES[name])}")
    return options


def _login(parts: SplitResult) -> dict[str, str]:
    return {name: value for name, value in (("username", parts.username), ("password", parts.password)) if value}


def _address(parts: SplitResult) -> tuple[str, int]:
    try:
        port = parts.port
    except ValueError:
        raise _wrong(f"the port is not a number {_ENCODED}") from None
    return parts.hostname or "localhost", port or 6379


def _wrong(problem: str) -> ConfigError:
    return ConfigError(f"this is not a Redis URL that can be used: {problem}.")
