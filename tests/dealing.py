"""How the tests are dealt out to two processes (`make test` passes `-n 2`)."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling


class ModulesTogether(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """A module's tests stay in one process, with the servers that they share.

    The contract suite is one module and half of the tests: each of its tests goes where there is time. They come last,
    because the largest units go first, and so even out what the modules before them took.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return nodeid if module.endswith("test_contract.py") else module
