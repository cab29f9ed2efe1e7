"""A YAML document that knows the line of each of its keys, with environment variables filled in."""

from __future__ import annotations

import os
import re
from typing import Any

import yaml

from hector.errors import ConfigError

Path = tuple[str | int, ...]
_VARIABLE = re.compile(r"\$(\$)?\{([^}]*)\}")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_DEEPEST = 32
_QUOTED = re.compile(r"(?<=alias|e tag) '.*'", re.DOTALL)
"""A value that begins with * or !, as a password may that is not in quotes."""
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document:
    """`data` is the plain content; `line(path)` is where a key stands, from 1.

    `${NAME}` takes an environment variable, `${NAME:-default}` has a default, `$${` is a literal `${`.
    Raises ConfigError for bad YAML, and, all in one, for keys that stand twice and variables that are not set.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._lines: dict[Path, int] = {}
        self._filled: set[int] = set()
        self._problems: list[str] = []
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                self._visit(node, (), ())
            if self._problems:
                raise ConfigError("\n".join(self._problems))
            self.data: Any = {} if node is None else loader.construct_document(node)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            problem = _QUOTED.sub("", str(error.problem))
            raise ConfigError(f"{name}:{line}: this is not valid YAML: {problem}") from None
        except yaml.YAMLError as error:
            raise ConfigError(f"{name}: this is not valid YAML: {error}") from None
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{name}: this is not valid YAML: {error}") from None
        finally:
            loader.dispose()

    def line(self, path: Path) -> int:
        """The line of the key, or of the nearest one above it that exists."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def error(self, path: Path, message: str) -> str:
        key = ".".join(map(str, path))
        return f"{self.name}:{self.line(path)}: {key + ': ' if key else ''}{message}"

    def _visit(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> None:
        if node in above or len(above) > _DEEPEST:
            raise ConfigError(self.error(path, "this is nested too deeply, or contains itself"))
        above = (*above, node)
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                inner = (*path, str(key.value))
                if inner in self._lines:
                    line = key.start_mark.line + 1
                    self._problems.append(f"{self.name}:{line}: {'.'.join(map(str, inner))} stands twice")
                self._lines[inner] = key.start_mark.line + 1
                self._visit(value, inner, above)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._visit(item, (*path, index), above)
        elif isinstance(node, yaml.ScalarNode) and "${" in node.value and id(node) not in self._filled:
            self._filled.add(id(node))  # an alias leads here again
            node.value = _VARIABLE.sub(lambda match: self._variable(match, path), node.value)
            node.tag = "tag:yaml.org,2002:str"  # an API key of digits is still a text; numbers are read from texts

    def _variable(self, match: re.Match[str], path: Path) -> str:
        if match[1]:
            return match[0][1:]
        parsed = _NAME.fullmatch(match[2])
        if parsed is None:
            self._problems.append(self.error(path, f"{match[0]} is not of the form ${{NAME}} or ${{NAME:-default}}"))
            return ""
        value = os.environ.get(parsed[1]) or parsed[2]
        if value is None:
            name = parsed[1]
            unset = f"the environment variable {name} is not set (or empty); set it, or write ${{{name}:-default}}"
            self._problems.append(self.error(path, unset))
        return value or ""
