"""The OpenAPI document, made of the routes' descriptions. Only the FastAPI applications import this."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from hector.web.routes import ApiRoute, Parameter
from hector.web.schemas import ERRORS, SCHEMAS

_REFERENCE = "#/components/schemas/{model}"
_LOCATION = {"description": "The address of what was made", "schema": {"type": "string", "format": "uri"}}
_APPLIED = {"description": "`respond-async`", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds until another try is worth it", "schema": {"type": "integer"}}


def operation(route: ApiRoute) -> dict[str, Any]:
    """What FastAPI cannot know about a route: parameters, body and answers."""
    described: dict[str, Any] = {
        "parameters": [*map(_parameter, route.parameters), *map(_path_parameter, route.path.split("/")[1:])],
        "responses": {str(route.answer[0]): _success(*route.answer, route.returns)},
    }
    if route.accepts:
        described["responses"]["202"] = _success(202, "application/json", route.accepts)
    described["parameters"] = [parameter for parameter in described["parameters"] if parameter]
    described["responses"] |= {str(status): {"description": text} for status, text in route.also.items()}
    described["responses"] |= {str(status): _error(status) for status in (*route.errors, *_STORE_ERRORS)}
    if route.body is not None:
        described["requestBody"] = _body("application/json", route.body.__name__, required=route.body_required)
    elif route.upload is not None:
        described["requestBody"] = _body(*route.upload, required=True)
    return described


_STORE_ERRORS = (503,)


def add_schemas(document: dict[str, Any], routes: Sequence[ApiRoute]) -> None:
    bodies = [(route.body, "validation") for route in routes if route.body]
    _, definitions = models_json_schema(bodies, ref_template=_REFERENCE)  # type: ignore[arg-type]
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= definitions.get("$defs", {}) | SCHEMAS


def _success(status: int, media_type: str, returns: str | None) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if returns:
        response["content"] = {media_type: {"schema": {"$ref": _REFERENCE.format(model=returns)}}}
    if status == 201:
        response["headers"] = {"Location": _LOCATION}
    elif status == 202:
        response["headers"] = {"Location": _LOCATION, "Preference-Applied": _APPLIED}
    return response


def _error(status: int) -> dict[str, Any]:
    description, code, detail, members = ERRORS[status]
    example = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **members,
    }
    schema = {"$ref": _REFERENCE.format(model="Problem")}
    response: dict[str, Any] = {
        "description": description,
        "content": {"application/problem+json": {"schema": schema, "example": example}},
    }
    return response | {"headers": {"Retry-After": _RETRY_AFTER}} if status == 409 else response


def _body(media_type: str, schema: str, *, required: bool) -> dict[str, Any]:
    return {"required": required, "content": {media_type: {"schema": {"$ref": _REFERENCE.format(model=schema)}}}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _path_parameter(part: str) -> dict[str, Any] | None:
    if not part.startswith("{"):
        return None
    return {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
