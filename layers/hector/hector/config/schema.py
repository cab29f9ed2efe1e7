"""The JSON Schema of hector.yaml, for editors: it describes the file, not what is read out of it."""

from __future__ import annotations

from typing import Any

from hector.config.settings import Settings

_VARIABLE = {"type": "string", "pattern": r"\$\{[^}]+\}", "description": "Filled in from the environment"}
_STORE_URL = {
    "type": "string",
    "pattern": "^[a-z]+://",
    "description": "A store's URL",
    "examples": ["memory://", "dynamodb://table?region=eu-west-1"],
}


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12. `${NAME}` is allowed where a number, a boolean or a text of a certain form is."""
    schema = Settings.model_json_schema()
    store = schema["properties"]["session_store"]
    schema["properties"]["session_store"] = {
        "description": "Where sessions are kept: a mapping, or its URL",
        "anyOf": [_STORE_URL, {key: value for key, value in store.items() if key != "default"}],
    }
    # Without both, the embedded ones serve; a file that says nothing at all is a mistake.
    del schema["required"]
    schema |= {"dependentRequired": {"agents": ["llms"], "llms": ["agents"]}, "minProperties": 1}
    described: dict[str, Any] = _with_variables(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described, "title": "hector.yaml"}


def _with_variables(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_variables(item) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {key: _with_variables(value) for key, value in node.items() if key != "x-duration"}
    if isinstance(inner.get("default", {}), dict | None):  # the default of a mapping: of no use to an editor
        inner.pop("default", None)
    if "x-duration" in node:
        if "default" in inner:
            seconds, rest = divmod(inner["default"], 1000)
            inner["default"] = f"{inner['default']}ms" if rest else f"{seconds}s"
        return {**inner, "anyOf": [*node["anyOf"], _VARIABLE]}
    if not _is_narrow(node):
        return inner
    about = {key: inner.pop(key) for key in ("title", "description", "default", "examples") if key in inner}
    return {**about, "anyOf": [inner, _VARIABLE]}


def _is_narrow(node: dict[str, Any]) -> bool:
    """Whether this takes a value that the text `${NAME}` is not."""
    if node.get("type") == "string":
        return "pattern" in node or "enum" in node
    return node.get("type") in ("number", "integer", "boolean")
