"""Pages for recipients of e-mail, who have a link and no key: to unsubscribe, and to confirm an address.

A GET shows a page and changes nothing, because scanners and previews follow links; the button, and a mail client's
one-click (RFC 8058), POST.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web
from jinja2 import Environment, StrictUndefined

from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription
from dispatcher.targets.email.consent import ConsentService
from dispatcher.targets.email.links import PATHS, Purpose
from dispatcher.targets.email.recipients import ResolvedRecipient

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_STYLE = "/mail.css"

_environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)

_Handler = Callable[[web.Request], Awaitable[web.Response]]


def pages(consent: ConsentService | None, wake: Callable[[], None]) -> list[web.RouteDef]:
    """The pages that links in mails lead to. `wake` is called after a confirmation."""
    static = files(__package__).joinpath("static")
    made = _Pages(consent, wake, static.joinpath("mail.html").read_text())
    style = static.joinpath("mail.css").read_bytes()

    async def styled(request: web.Request) -> web.Response:
        return web.Response(body=style, content_type="text/css", charset="utf-8")

    routes = [web.get(_STYLE, styled)]
    for purpose, path in PATHS.items():
        routes.append(web.get(f"{path}/{{token}}", made.shown(purpose)))
        routes.append(web.post(f"{path}/{{token}}", made.done(purpose)))
    return routes


class _Pages:
    def __init__(self, consent: ConsentService | None, wake: Callable[[], None], template: str) -> None:
        self._consent = consent
        self._wake = wake
        self._template = _environment.from_string(template)

    def shown(self, purpose: Purpose) -> _Handler:
        """What asks."""

        async def show(request: web.Request) -> web.Response:
            found = await self._named(purpose, request)
            if found is None:
                return self._gone()
            return self._page(purpose, *found, done=await self._is_done(purpose, found[1]))

        return show

    def done(self, purpose: Purpose) -> _Handler:
        """What does it, and says so."""

        async def act(request: web.Request) -> web.Response:
            found = await self._named(purpose, request)
            consent = self._consent
            if found is None or consent is None:
                return self._gone()
            if purpose == "confirm":
                await consent.repository.confirm(found[1].recipient)
                self._wake()
            else:
                await consent.repository.unsubscribe(found[1].recipient)
            return self._page(purpose, *found, done=True)

        return act

    async def _named(
        self, purpose: Purpose, request: web.Request
    ) -> tuple[Subscription, ResolvedRecipient] | None:
        consent = self._consent
        return None if consent is None else await consent.named(purpose, request.match_info["token"])

    async def _is_done(self, purpose: Purpose, addressee: ResolvedRecipient) -> bool:
        """Whether what the page asks for holds already: somebody may open the link again."""
        consent = self._consent
        if consent is None:
            return False
        [standing] = await consent.repository.standings([addressee.recipient])
        left = standing.unsubscribed_at is not None
        return left if purpose == "unsubscribe" else standing.confirmed_at is not None and not left

    def _page(
        self, purpose: Purpose, subscription: Subscription, addressee: ResolvedRecipient, *, done: bool
    ) -> web.Response:
        owner = "an administrator" if subscription.subscriber == EVERY_OWNER else subscription.subscriber
        return self._answer(200, purpose=purpose, done=done, address=addressee.address.key, owner=owner)

    def _gone(self) -> web.Response:
        return self._answer(404, purpose="gone", done=False, address="", owner="")

    def _answer(self, status: int, **values: object) -> web.Response:
        return web.Response(
            status=status,
            text=self._template.render(values),
            content_type="text/html",
            headers={
                "Cache-Control": "no-store",
                "Content-Security-Policy": _POLICY,
                "X-Robots-Tag": "noindex",
            },
        )
