"""Builds what the kind `email` consists of from the settings and the store."""

from __future__ import annotations

from dispatcher.config.secret_keys import secret_keys
from dispatcher.config.settings import Settings
from dispatcher.domain.recipients import RecipientRepository
from dispatcher.targets.email.consent import ConsentService, MailPolicy
from dispatcher.targets.email.links import Links
from dispatcher.targets.email.mailer import Mailer
from dispatcher.targets.email.message import sender_of
from dispatcher.targets.email.smtp import Timeouts, relay_at
from dispatcher.targets.email.smtp_pool import Pool
from dispatcher.targets.email.templates import Templates


def make_consent_service(settings: Settings, repository: RecipientRepository) -> ConsentService | None:
    """What decides about mails and sends them; None without a relay.

    SettingsError when the templates cannot be read.
    """
    smtp = settings.smtp
    if smtp.url is None:
        return None
    mailer = Mailer(
        pool=Pool(relay_at(smtp.url.reveal(), Timeouts(connect=smtp.timeout), smtp.connections, smtp.hello)),
        sender=sender_of(smtp.sender),
        templates=Templates(smtp.templates),
        links=Links(settings.http.public_url, secret_keys(settings)),
    )
    rules = MailPolicy(
        trusted_domains=frozenset(smtp.trusted_domains),
        max_per_hour=smtp.max_per_hour,
        max_per_domain=smtp.max_per_domain,
        confirmations_per_key=smtp.confirmations_per_key,
        confirmations_per_address=smtp.confirmations_per_address,
    )
    return ConsentService(mailer, repository, rules)
