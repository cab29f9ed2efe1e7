"""What workers did and saw, line by line, in one file that outlives every kill."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Journal:
    """Appends with O_APPEND, one write for each entry: whole lines, whoever else writes, whenever one is killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, what: str, **details: Any) -> None:
        entry = {"what": what, "at": time.time_ns() // 1_000_000, "pid": os.getpid(), **details}
        os.write(self._file, (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


def entries(path: Path) -> Iterator[Entry]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
