"""The summary of a session's older turns: one row, read beside the hot record."""

from __future__ import annotations

from hector.concurrency import side_by_side
from hector.model import Principal, Summary
from hector.stores.base import Lease
from hector.stores.dynamodb import items
from hector.stores.dynamodb.failures import ConditionFailed
from hector.stores.dynamodb.turns import Turns, lost


class Summaries(Turns):
    async def read_summary(self, principal: Principal, session_id: str) -> Summary | None:
        _, row = await side_by_side(self._hot(principal, session_id), self._table.get(items.summary_key(session_id)))
        return items.summary_of((await self._whole([row]))[0]) if row else None

    async def save_summary(self, lease: Lease, summary: Summary) -> None:
        await self.check_lease(lease)
        try:
            await self._put(
                items.summary_row(lease.session, summary, fence=lease.fence),
                f"{lease.fence}-{summary.through}",
                condition="attribute_not_exists(pk) OR (fence <= :fence AND through < :through)",
                fence=lease.fence,
                through=summary.through,
            )
        except ConditionFailed as met:
            # Between the look at the lease and this write, somebody else may have taken it, and gone on.
            if met.row["fence"] > lease.fence:
                raise lost(lease) from None
