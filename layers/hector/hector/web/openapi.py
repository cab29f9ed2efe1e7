"""The OpenAPI document, made of the routes' descriptions. Only the FastAPI applications import this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from hector.web.examples import BODIES, answers
from hector.web.known_problems import BODY, EVERYWHERE, PROBLEMS, ROUTELESS, STORED, KnownProblem
from hector.web.routes import ApiRoute, Parameter
from hector.web.schemas import SCHEMAS

_REFERENCE = "#/components/schemas/{model}"
_LOCATION = {"description": "The address of what was made", "schema": {"type": "string", "format": "uri"}}
_LATE = (
    ". What takes more than a few seconds begins with white space; if the store is away when it ends, a problem "
    "document is the body, in the task's place"
)
_EVENTS = ". Events as the components `StreamEvent` and, for their data, `EventData` describe them"
_STREAM = {"description": "The address of the task's own stream", "schema": {"type": "string", "format": "uri"}}
_ALLOW = {"description": "The methods of this path", "schema": {"type": "string"}}
_APPLIED = {"description": "`respond-async`", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds until another try is worth it", "schema": {"type": "integer"}}


ABOUT = (
    "Sessions that remember, answers that stream.\n\nEvery error is a problem document (RFC 9457). A path that is not "
    "here is answered as `components/responses/NoRoute` has it, another method of one that is as `MethodNotAllowed`. "
    "Where GET answers with JSON, HEAD does so without the body."
)


TAGS = {
    "Sessions": "Conversations: begin, read, change, copy and end them.",
    "Tasks": "Turns: say something, and wait for the answer, stream it, follow it, cancel it.",
    "Agents": "What answers.",
    "Service": "The server itself.",
}


def _tag(path: str) -> str:
    if "/tasks" in path or "/message/" in path:
        return "Tasks"
    return {"sessions": "Sessions", "agents": "Agents"}.get(path.split("/")[1], "Service")


def operation(route: ApiRoute) -> dict[str, Any]:
    """What FastAPI cannot know about a route: parameters, body and answers."""
    described: dict[str, Any] = {
        "tags": [_tag(route.path)],
        "parameters": [*map(_parameter, route.parameters), *map(_path_parameter, route.path.split("/")[1:])],
        "responses": {str(route.answer[0]): _success(*route.answer, route.returns)},
    }
    if route.accepts:
        described["responses"]["200"]["description"] += _LATE
        described["responses"]["202"] = _success(202, "application/json", route.accepts)
    described["parameters"] = [parameter for parameter in described["parameters"] if parameter]
    described["responses"] |= {str(status): {"description": text} for status, text in route.also.items()}
    read = route.body is not None or route.upload is not None
    described["responses"] |= _errors(
        (*route.errors, *EVERYWHERE, *(BODY if read else ()), *(STORED if route.stored else ()))
    )
    if route.body is not None:
        described["requestBody"] = _body("application/json", route.body.__name__, required=route.body_required)
    elif route.upload is not None:
        described["requestBody"] = _body(*route.upload, required=True)
    return described


def complete(document: dict[str, Any], routes: Sequence[ApiRoute]) -> None:
    """Add what belongs to no single route: schemas, and examples, and what is answered where there is no route."""
    bodies = [(route.body, "validation") for route in routes if route.body]
    _, definitions = models_json_schema(bodies, ref_template=_REFERENCE)  # type: ignore[arg-type]
    document["tags"] = [{"name": name, "description": about} for name, about in TAGS.items()]
    components = document.setdefault("components", {})
    components["schemas"] = components.get("schemas", {}) | definitions.get("$defs", {}) | SCHEMAS
    components["responses"] = {
        name: {"description": meaning, "content": {"application/problem+json": _content("Problem", [name])}}
        for name, (meaning, _) in ROUTELESS.items()
    }
    components["responses"]["MethodNotAllowed"]["headers"] = {"Allow": _ALLOW}
    components["examples"] = dict(_examples(routes))


def _examples(routes: Sequence[ApiRoute]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Referred to by the routes, rather than part of them: FastAPI would leave out every null."""
    for schema, bodies in BODIES.items():
        yield from ((_example(schema, name), {"value": value}) for name, value in bodies.items())
    for route in routes:
        for returned, status in ((route.returns, route.answer[0]), (route.accepts, 202)):
            if returned:
                given = answers(returned, status)
                yield from ((_example(returned, name), {"value": value}) for name, value in given.items())
    for name, problem in PROBLEMS.items():
        yield _example("Problem", name), {"summary": problem.meaning, "value": problem.example}
    for name, (meaning, value) in ROUTELESS.items():
        yield _example("Problem", name), {"summary": meaning, "value": value}


def _success(status: int, media_type: str, returns: str | None) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if returns:
        response["content"] = {media_type: _content(returns, answers(returns, status))}
    if status == 201:
        response["headers"] = {"Location": _LOCATION}
    elif status == 202:
        response["headers"] = {"Location": _LOCATION, "Preference-Applied": _APPLIED}
    elif media_type == "text/event-stream":
        response["description"] += _EVENTS
        response["headers"] = {"Content-Location": _STREAM}
    return response


def _errors(names: Iterable[str]) -> dict[str, Any]:
    """The answers of these names, by status, each with an example of every one."""
    by_status: dict[int, dict[str, KnownProblem]] = {}
    for name in names:
        by_status.setdefault(PROBLEMS[name].status, {})[name] = PROBLEMS[name]
    answered = {}
    for status, problems in sorted(by_status.items()):
        meanings = list(dict.fromkeys(problem.meaning for problem in problems.values()))
        content = {"application/problem+json": _content("Problem", problems)}
        answered[str(status)] = {"description": "; or: ".join(meanings), "content": content}
        if any(problem.retry_after for problem in problems.values()):
            answered[str(status)]["headers"] = {"Retry-After": _RETRY_AFTER}
    return answered


def _content(schema: str, examples: Iterable[str]) -> dict[str, Any]:
    return {
        "schema": {"$ref": _REFERENCE.format(model=schema)},
        "examples": {name: {"$ref": f"#/components/examples/{_example(schema, name)}"} for name in examples},
    }


def _example(schema: str, name: str) -> str:
    return f"{schema}.{name}"


def _body(media_type: str, schema: str, *, required: bool) -> dict[str, Any]:
    return {"required": required, "content": {media_type: _content(schema, BODIES[schema])}}


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
