"""The client for threads and scripts: one server, one key, and the API by resource."""

# Made by scripts/sync_client.py from its namesake in dispatcher/client/aio: change that one.
from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from dispatcher.client import exchange
from dispatcher.client.errors import TransportError
from dispatcher.client.exchange import Request, Response
from dispatcher.client.models import Accepted
from dispatcher.client.outgoing import Event
from dispatcher.client.retries import Retries, may_be_done
from dispatcher.client.settings import checked_url, headers
from dispatcher.client.sync.deliveries import Deliveries
from dispatcher.client.sync.destinations import Destinations
from dispatcher.client.sync.events import Events
from dispatcher.client.sync.jobs import Jobs
from dispatcher.client.sync.service import Keys, Quotas, Service
from dispatcher.client.sync.subscriptions import Subscriptions
from dispatcher.client.sync.transport import Transport, sleep

T = TypeVar("T")


class Client:
    """The API of the server at `url`, called with `key`. Every method raises a ClientError when it fails.

    >>> with Client("https://dispatcher.example.org", "dspk_…") as client:
    ...     client.publish({"event": "FINISHED", "job_id": "0001-007", "owner": "alice"})

    `timeout` is in seconds and for each attempt, from connecting to the last byte; `retries` says how many there are.
    Raises ValueError for a URL or a key that cannot be used.
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout: float = 30.0, retries: Retries | None = None
    ) -> None:
        self._transport = Transport(checked_url(url), headers(key), timeout)
        self._retries = Retries() if retries is None else retries
        self.events = Events(self)
        self.subscriptions = Subscriptions(self)
        self.deliveries = Deliveries(self)
        self.jobs = Jobs(self)
        self.destinations = Destinations(self)
        self.keys = Keys(self)
        self.quotas = Quotas(self)
        self.service = Service(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def publish(self, event: Event) -> Accepted:
        """Publish one event: see `events.publish`."""
        return self.events.publish(event)

    def publish_many(self, events: Iterable[Event]) -> Accepted:
        """Publish any number of events: see `events.publish_many`."""
        return self.events.publish_many(events)

    def request(
        self, method: str, path: str, *, query: dict[str, object] | None = None, document: object = None
    ) -> Any:
        """Any operation, also one that has no method here: the JSON that is answered, None when there is none."""
        body = self.send(exchange.request(method, path, query=query, document=document), bytes)
        return exchange.decoded(body, object) if body else None

    def send(self, request: Request, kind: type[T]) -> T:
        """The answer to a request, sent as often as `retries` allow. Raises ClientError."""
        attempt, repeated = 1, False
        while True:
            outcome = self._attempt(request)
            delay = self._retries.delay(attempt, request, outcome)
            if delay is None:
                break
            attempt, repeated = attempt + 1, repeated or may_be_done(outcome)
            sleep(delay)
        if isinstance(outcome, TransportError):
            raise outcome
        return exchange.result(request, outcome, kind, repeated=repeated)

    def _attempt(self, request: Request) -> Response | TransportError:
        try:
            return self._transport.send(request)
        except TransportError as error:
            return error
