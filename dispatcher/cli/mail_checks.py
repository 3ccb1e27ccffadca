"""What `dispatcher doctor` looks at of e-mails, besides the relay: their links and their templates."""

from __future__ import annotations

from dispatcher.cli.checks import Finding, State
from dispatcher.config.settings import Settings
from dispatcher.domain.errors import SettingsError


def mails(settings: Settings) -> Finding:
    """Whether mails have links, and whether each template can be rendered."""
    from dispatcher.targets.email.preview import faults
    from dispatcher.targets.email.templates import Templates

    if settings.smtp.url is None:
        return Finding("mails", State.OK, "none are sent")
    try:
        found = list(faults(Templates(settings.smtp.templates)))
    except SettingsError as error:
        return Finding("mails", State.FAIL, str(error), "correct DISPATCHER_SMTP_TEMPLATES")
    if found:
        return Finding("mails", State.WARN, found[0], "dispatcher templates check tells all")
    if settings.http.public_url is None:
        problem = "they have no links: no one can unsubscribe, and only trusted domains get any"
        return Finding("mails", State.WARN, problem, "set DISPATCHER_HTTP_PUBLIC_URL")
    return Finding("mails", State.OK, f"their links begin with {settings.http.public_url}")
