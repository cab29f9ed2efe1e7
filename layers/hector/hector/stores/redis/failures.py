"""What redis-py raises, as the product's errors: one sentence that names the setting and says what to do."""

from __future__ import annotations

from hector.errors import ConfigError, StoreUnavailable
from hector.stores.redis.url import SETTING, Place

_PASSING = ("LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY ", "UNBLOCKED")
"""How an engine begins to refuse what it may take in a moment."""
_CLASSES = {
    "ConnectionError", "TimeoutError", "BusyLoadingError", "MaxConnectionsError", "ReadOnlyError", "ClusterDownError",
    "MasterDownError", "TryAgainError", "SlotNotCoveredError", "ClusterError", "AskError",
}  # fmt: skip


def driver_missing() -> ConfigError:
    return ConfigError(
        "A redis:// session store needs the package redis, which is not installed here: "
        "pip install 'hector-serverless[redis]'"
    )


def passes(error: Exception, place: Place) -> bool:
    """Whether the same call may succeed in a moment. It may have taken effect, too: so every script knows its own."""
    message = str(error)
    if type(error).__name__ == "MovedError":
        return place.cluster
    if type(error).__name__ == "RedisClusterException":
        return "cluster mode" not in message.lower()
    if "non local key" in message:  # of a listing, while its slot is being moved
        return place.cluster
    return type(error).__name__ in _CLASSES or message.startswith(_PASSING) or isinstance(error, OSError)


def translated(error: Exception, place: Place) -> StoreUnavailable:
    message = str(error)
    match type(error).__name__:
        case "AuthenticationError" | "AuthenticationWrongNumberOfArgsError":
            return StoreUnavailable(
                f"{place.shown} does not take this user and password: correct the URL in {SETTING}."
            )
        case "NoPermissionError":
            return StoreUnavailable(
                f"{place.shown} does not let this user do what a session store does ({message}): give it "
                f"`~{place.prefix}:* +@all -@dangerous +info`, or name another user in {SETTING}."
            )
        case "MovedError":
            return StoreUnavailable(f"{place.shown} is a node of a cluster: add ?cluster=true to {SETTING}.")
        case "RedisClusterException" if "cluster mode" in message.lower():
            return StoreUnavailable(f"{place.shown} is no cluster: take cluster=true out of {SETTING}.")
        case "OutOfMemoryError":
            return StoreUnavailable(
                f"{place.shown} is full: raise its maxmemory, or shorten sessions.ttl and sessions.max_age."
            )
        case "ReadOnlyError":
            return StoreUnavailable(f"{place.shown} is a replica that takes no writes: name the primary in {SETTING}.")
    if message.startswith(("NOAUTH", "WRONGPASS")) or "unauthenticated" in message:
        return StoreUnavailable(f"{place.shown} asks for a user and password: put them into the URL in {SETTING}.")
    if message.startswith("MISCONF"):
        return StoreUnavailable(f"{place.shown} takes no writes because it cannot save to its disk: see its log.")
    if passes(error, place):
        return StoreUnavailable(f"{place.shown} cannot be reached ({message}): check {SETTING} and the network.")
    return StoreUnavailable(f"{place.shown} refused a request: {message}")
