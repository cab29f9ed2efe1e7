"""Environments made from one snapshot share the state of Python's own generator: none of ours draws from it."""

from __future__ import annotations

import random
import re
from pathlib import Path

from hector.agents.retries import Retries
from hector.concurrency import jitter
from hector.errors import ModelError

LAYERS = Path(__file__).parents[2] / "layers"
LAPTOPS = {"cli", "emulator", "testing"}


def test_environments_made_from_one_snapshot_do_not_try_a_model_again_in_step() -> None:
    busy = ModelError("model_overloaded", "busy", retry=True)
    pauses = set()
    for _ in range(3):
        random.seed(1)
        pauses.add(Retries().pause(busy, 3))
    assert len(pauses) == 3


def test_jitter_is_in_between() -> None:
    drawn = [jitter(0.5, 1.0) for _ in range(1000)]
    assert 0.5 <= min(drawn) < 0.6
    assert 0.9 < max(drawn) <= 1.0


def test_nothing_that_is_deployed_draws_from_pythons_own_generator() -> None:
    deployed = [path for path in LAYERS.rglob("*.py") if not LAPTOPS & set(path.relative_to(LAYERS).parts)]
    assert len(deployed) > 100
    drawing = [path for path in deployed if re.search(r"^\s*(import|from) random\b", path.read_text(), re.MULTILINE)]
    assert drawing == [], "hector.concurrency.jitter is for that"
