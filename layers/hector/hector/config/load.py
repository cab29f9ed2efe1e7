"""From a file (or none) and the environment to checked settings."""

from __future__ import annotations

import os
import re
from pathlib import Path as File
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hector.config.document import Document, Path
from hector.config.settings import DEFAULTS, Settings, StoreSettings, nearest
from hector.errors import ConfigError

DEFAULT_FILE = "hector.yaml"
REMOTE = ("s3://", "ssm://")
_SECRET = re.compile(r"(?:^|_)(?:key|token|secret|password)$", re.IGNORECASE)
"""Keys whose values are told to nobody."""


def source(file: str | None = None) -> str | None:
    """What `load` reads, as it is named; None if that are the embedded defaults."""
    return file or os.environ.get("HECTOR_CONFIG") or (DEFAULT_FILE if File(DEFAULT_FILE).exists() else None)


def load(file: str | None = None) -> Settings:
    """The settings of `file`, else of $HECTOR_CONFIG, else of ./hector.yaml, else the embedded defaults.

    A file may also be `s3://bucket/key` or `ssm://name`. One without `agents` and `llms` alike has the embedded ones,
    too; $HECTOR_MODEL is the Bedrock model that these are given. $HECTOR_STORE, a URL, takes the place of
    `session_store`, and $HECTOR_QUEUE that of `work_queue`. Raises ConfigError: a line for each problem, which names
    file, line and key.
    """
    named = source(file)
    if named and named.startswith(REMOTE):
        from hector.config.remote import read_remote

        settings = _parse(read_remote(named), named, folder="")
    elif named:
        path = File(named)
        settings = _parse(_read(path), str(path), folder=str(path.resolve().parent))
    else:
        settings = Settings.model_validate(_defaults())
    if url := os.environ.get("HECTOR_STORE"):
        settings = settings.with_store(store_at(url, "HECTOR_STORE"), "HECTOR_STORE")
    if url := os.environ.get("HECTOR_QUEUE"):
        if not url.startswith(("https://", "http://")):
            raise ConfigError("HECTOR_QUEUE: this must be the URL of an SQS queue, such as https://sqs.….")
        settings = settings.model_copy(update={"work_queue": url})
    return settings


def _defaults() -> dict[str, Any]:
    model = os.environ.get("HECTOR_MODEL")
    if not model:
        return DEFAULTS
    agents = {id_: {**agent, "llm": "bedrock"} for id_, agent in DEFAULTS["agents"].items()}
    return {"llms": {"bedrock": {"type": "bedrock", "model": model}}, "agents": agents}


def store_at(url: str, named: str) -> StoreSettings:
    """The settings that a store's URL stands for. Raises ConfigError, which calls it as it is `named`.

    The error holds nothing of the URL but its scheme: there may be a password in it.
    """
    try:
        settings: StoreSettings = TypeAdapter[Any](StoreSettings).validate_python(url)
    except ValidationError as error:
        problem = error.errors()[0]
        key = "".join(f"{part}: " for part in problem["loc"][1:])
        raise ConfigError(f"{named}: {key}{_message(problem, ('session_store',))}") from None
    return settings


def _read(path: File) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: this file is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from None


def _parse(text: str, name: str, folder: str) -> Settings:
    document = Document(text, name)
    problems = _dangling(document)
    try:
        settings = Settings.model_validate(_completed(document.data))
    except ValidationError as error:
        problems = [_explain(document, problem) for problem in error.errors()] + problems
        raise ConfigError("\n".join(problems)) from None
    if problems:
        raise ConfigError("\n".join(problems))
    misfits = [
        document.error(("agents", id_, "memory", misfit[0]), misfit[1])
        for id_, agent in settings.agents.items()
        if (misfit := agent.memory.misfit)
    ]
    if misfit := settings.sessions.misfit:
        misfits.append(document.error(("sessions", misfit[0]), misfit[1]))
    if misfits:
        raise ConfigError("\n".join(misfits))
    return settings.found_in(folder, document.error)


def _completed(data: Any) -> Any:
    """With the embedded agents and their model, where a file that says something says nothing of either."""
    if isinstance(data, dict) and data and not data.keys() & {"agents", "llms"}:
        return {**_defaults(), **data}
    return data


def _dangling(document: Document) -> list[str]:
    """The agents whose llm is not there; looked for in the plain content, which may have other mistakes."""
    data = document.data if isinstance(document.data, dict) else {}
    llms, agents = data.get("llms"), data.get("agents")
    if not isinstance(llms, dict) or not isinstance(agents, dict):
        return []
    named = {id_: agent.get("llm") for id_, agent in agents.items() if isinstance(agent, dict)}
    return [
        document.error(("agents", id_, "llm"), f"there is no llm {llm!r}; {nearest(llm, [*map(str, llms)])}")
        for id_, llm in named.items()
        if isinstance(llm, str) and llm not in llms
    ]


def _explain(document: Document, problem: Any) -> str:
    path = _path(document.data, problem["loc"])
    context = problem.get("ctx", {})
    if problem["type"] == "unknown_key":
        path = (*path, context["key"].strip("'"))
    elif problem["type"] == "union_tag_invalid":
        path = (*path, context["discriminator"].strip("'"))
    return document.error(path, _message(problem, path))


def _path(data: Any, location: tuple[str | int, ...]) -> Path:
    """The keys of the file that pydantic's location means: the names of union members are not among them."""
    path: Path = ()
    for index, part in enumerate(location):
        inside = isinstance(data, dict) and part in data
        inside = inside or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if part == "[key]":
            continue
        if inside:
            data = data[part]
            path = (*path, part)
        elif index == len(location) - 1 and not (
            isinstance(data, dict) and part in (data.get("type"), data.get("backend"))
        ):
            path = (*path, part)
    return path


def _message(problem: Any, path: Path) -> str:
    context = problem.get("ctx", {})
    given = _given(problem["input"], path)
    match problem["type"]:
        case "missing":
            return "this key is missing"
        case "union_tag_invalid":
            key, tag = context["discriminator"].strip("'"), str(context["tag"])
            valid = [expected.strip("' ") for expected in context["expected_tags"].split(",")]
            shown = f" {tag!r}" if re.fullmatch(r"\w+", tag) else ""  # a URL, perhaps
            return f"unknown {key}{shown}; {nearest(tag, valid)}"
        case "union_tag_not_found":
            return f"the key {context['discriminator']} is missing"
        case "unknown_key" | "duration" | "store_url" | "number" | "key":
            return str(problem["msg"])
        case "too_short":
            return "this needs at least one entry"
        case "literal_error":
            return f"{given or 'this'} is not valid; valid: {context['expected']}"
        case "string_pattern_mismatch":
            return f"{given or 'this'} does not match {context['pattern']}"
        case "model_type" | "dict_type" | "model_attributes_type":
            said = "this must be a mapping of keys to values"
        case _:
            said = f"{problem['msg'][0].lower()}{problem['msg'][1:]}"
    return f"{said}, not {given}" if given else said


def _given(value: Any, path: Path) -> str:
    """What stands there instead; empty for what may be a password or a key, or hold one."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    secret = path[:1] == ("session_store",) or _SECRET.search(str(path[-1]) if path else "") or "@" in str(value)
    return "" if secret else repr(value)
