"""What an agent may yield, and what it is told where it yields something else."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from hector.agents.base import Progress, Text, Truncated
from hector.agents.outputs import checked
from hector.errors import AgentError
from hector.model import StopReason, Usage


class Count:
    """A whole number of somebody else's, such as numpy's."""

    def __index__(self) -> int:
        return 5


def raw(kind: Any, *values: Any) -> Any:
    return kind(*values)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (Text("x"), Text("x")),
        (Progress("x"), Progress("x", None)),
        (raw(Progress, "x", Decimal("0.5")), Progress("x", 0.5)),
        (raw(Progress, "x", Fraction(1, 4)), Progress("x", 0.25)),
        (Progress("x", 7), Progress("x", 1.0)),
        (Progress("x", -1), Progress("x", 0.0)),
        (Progress("x", float("nan")), Progress("x", None)),
        (Progress("x", float("inf")), Progress("x", None)),
        (Usage(0, 3), Usage(0, 3)),
        (raw(Usage, Count(), Count()), Usage(5, 5)),
        (Truncated(StopReason.MAX_TOKENS), Truncated(StopReason.MAX_TOKENS)),
        (raw(Truncated, "context_window"), Truncated(StopReason.CONTEXT_WINDOW)),
    ],
)
def test_what_can_be_is_made_what_it_should_be(given: object, taken: Any) -> None:
    made = checked(given)
    assert made == taken
    assert [type(value) for value in made] == [type(value) for value in taken], "and not only alike"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (raw(Usage, Decimal(5), 3), r"'Decimal' as Usage\.input_tokens: it must be a whole number"),
        (raw(Usage, None, 3), r"None as Usage\.input_tokens"),
        (raw(Usage, 3, 4.0), r"'float' as Usage\.output_tokens"),
        (raw(Usage, 3, "7"), r"'str' as Usage\.output_tokens"),
        (raw(Usage, True, 7), r"'bool' as Usage\.input_tokens"),
        (Usage(-1, 3), r"Usage\.input_tokens out of range"),
        (Usage(1, 2**53), r"Usage\.output_tokens out of range"),
        (raw(Truncated, "nope"), r"'str' as Truncated\.reason: it must be a StopReason: max_tokens or context_window"),
        (raw(Truncated, []), r"'list' as Truncated\.reason"),
        (raw(Progress, "x", "half"), r"'str' as Progress\.fraction: it must be a number"),
        (Progress("x", 10**400), r"'int' as Progress\.fraction"),
        (raw(Progress, 5), r"'int' as Progress\.note: it must be a str"),
        (raw(Text, b"x"), r"'bytes' as Text\.text: it must be a str"),
        (7, r"gave 'int': answer\(turn\) must give str, Text"),
        (None, r"gave None: answer\(turn\) must give"),
    ],
)
def test_anything_else_is_named(given: object, says: str) -> None:
    with pytest.raises(AgentError, match=says) as raised:
        checked(given)
    assert raised.value.code == "agent_error"
