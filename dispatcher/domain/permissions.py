"""Permissions: who else may see what an owner says of a job, by PERMISSION_GRANT and PERMISSION_REVOKE events."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from dispatcher.domain.events import Event, text_in
from dispatcher.domain.names import is_name

CHANGES = frozenset({"PERMISSION_GRANT", "PERMISSION_REVOKE"})
"""The events that change who may see a job."""

MAX_USER = 255


class Permission(Struct, frozen=True):
    """From `at` on, `user` may see what `owner` has of this job, or may not any more.

    `owner` is None when a trusted publisher named none: then it is the job's, if it has one by then.
    """

    tenant: str
    job_id: str
    owner: str | None
    user: str
    granted: bool
    at: datetime


def permission_of(event: Event) -> Permission | None:
    """What an event says about who may see its job; None for all others, and for one that names no user.

    The user stands in the publisher's data as `username` or `user`. It counts from its
    acceptance at the latest: one from the future could not be revoked before its time. A time of whole seconds, as AMQP
    has them, is some time in that second: what is taken back in the second in which it was granted is taken back.
    """
    if event.event not in CHANGES:
        return None
    data = event.data
    if not isinstance(data, dict):
        return None
    own = data.get("data")
    user = text_in(own, "username", "user") if isinstance(own, dict) else None
    user = user or text_in(data, "username", "user")
    if user is None or len(user) > MAX_USER or not is_name(user):
        return None
    granted = event.event == "PERMISSION_GRANT"
    at = event.time if event.time.microsecond else event.time.replace(microsecond=999_999)
    at = min(at, event.accepted_at)
    return Permission(event.tenant, event.job_id, event.owner, user, granted, at)
