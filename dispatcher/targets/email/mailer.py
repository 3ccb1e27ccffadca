"""What mails are made and sent with, for one process."""

from __future__ import annotations

from msgspec import Struct

from dispatcher.targets.email.addresses import Address
from dispatcher.targets.email.links import Links
from dispatcher.targets.email.message import MessageHeaders, Sender, message_bytes
from dispatcher.targets.email.replies import Refused
from dispatcher.targets.email.session import NotReached, Unsure
from dispatcher.targets.email.smtp_pool import Pool
from dispatcher.targets.email.templates import Content, Templates
from dispatcher.telemetry.metrics import MAILS

_ACCEPTED, _DEFERRED, _REFUSED, _UNREACHABLE = (
    MAILS.labels(result) for result in ("accepted", "deferred", "refused", "unreachable")
)


class Mailer(Struct, frozen=True, kw_only=True):
    """The relay's connections, who sends, what is sent, and the links in it."""

    pool: Pool
    sender: Sender
    templates: Templates
    links: Links

    async def send(self, headers: MessageHeaders, content: Content) -> str:
        """Send one message and return what the relay said. Raises Refused, NotReached and Unsure."""
        to: Address = headers.to
        message = message_bytes(self.sender, headers, content)
        try:
            said = await self.pool.send(self.sender.address, to.wire, message, utf8=to.utf8)
        except Refused as error:
            (_REFUSED if error.permanent else _DEFERRED).inc()
            raise
        except NotReached as error:
            if not error.busy:
                _UNREACHABLE.inc()
            raise
        except Unsure:
            _UNREACHABLE.inc()
            raise
        _ACCEPTED.inc()
        return said
