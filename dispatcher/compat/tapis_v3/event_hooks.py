"""What events of Tapis v3 do beside being delivered: one may end its series, and the subscriptions to its subject."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.compat.tapis_v3.event_model import tapis_event
from dispatcher.compat.tapis_v3.repository import TapisRepository
from dispatcher.domain.events import Event


class EndingHook:
    """Ends what an event says is to end. Its publisher's things alone, when it may speak for one owner alone."""

    dots = 2
    # How an event that ends something is written, always by us.
    marks: Sequence[bytes] = (b'"deleteSubscriptionsMatchingSubject":true', b'"endSeries":true')

    def __init__(self, repository: TapisRepository) -> None:
        self._repository = repository

    async def run(self, event: Event) -> None:
        """End it. What has ended already stays so. Raises StoreUnavailable."""
        theirs = tapis_event(event)
        if theirs is None:
            return
        tenant, subject, publisher = theirs.tenant or "", theirs.subject or "", event.published_by
        if theirs.series_id:
            await self._repository.end_series(tenant, theirs.source, subject, theirs.series_id, publisher)
        if theirs.delete_subscriptions_matching_subject is True and subject:
            await self._repository.end_subject(tenant, subject, publisher)
