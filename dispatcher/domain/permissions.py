"""Permissions: who else may see a job, told by PERMISSION_GRANT and PERMISSION_REVOKE events."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from dispatcher.domain.events import Event, text_in


class Permission(Struct, frozen=True):
    """From `at` on, `user` may see this job, or may not any more."""

    tenant: str
    job_id: str
    user: str
    granted: bool
    at: datetime


def permission_of(event: Event) -> Permission | None:
    """What an event says about who may see its job; None for all others, and for one that names no user.

    The user stands in the publisher's data as `username` or `user` (Tapis: PERMISSION_USERNAME).
    """
    if event.event not in ("PERMISSION_GRANT", "PERMISSION_REVOKE"):
        return None
    data = event.data
    if not isinstance(data, dict):
        return None
    own = data.get("data")
    user = text_in(own, "username", "user") if isinstance(own, dict) else None
    user = user or text_in(data, "username", "user")
    if user is None or len(user) > 255 or not user.isprintable():
        return None
    granted = event.event == "PERMISSION_GRANT"
    return Permission(event.tenant, event.job_id, user, granted, event.time)
