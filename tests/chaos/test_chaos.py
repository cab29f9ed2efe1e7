"""A short storm on every backend that several processes can share; `make chaos` has the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends import OUTLIVING, FreshURL
from tests.chaos.storm import Storm

SHORT = Storm(workers=4, sessions=6, seconds=6.0, kills=5)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("backend", OUTLIVING)
def test_no_promise_is_broken_when_workers_are_killed(backend: str, fresh_store_url: FreshURL, tmp_path: Path) -> None:
    found, killed = SHORT.run(fresh_store_url(backend), tmp_path)
    assert killed == SHORT.kills
    assert found.counts["accepted"] > 5
    assert found.counts["model"] > 5
    assert found.counts["blunder refused"] > 0
    assert not found.violations, "\n".join(found.examples)
