"""Dispatcher as one process: the one place where its parts are chosen and joined, started and stopped."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web
from msgspec import Struct

import dispatcher
from dispatcher import compat
from dispatcher.api.auth import ensure_admin_key
from dispatcher.api.first_key import FirstKey
from dispatcher.api.owner_quotas import OwnerQuotas
from dispatcher.api.server import runner
from dispatcher.api.services import Services
from dispatcher.api.waiters import Waiters
from dispatcher.compat.plugin import Plugin
from dispatcher.config.secret_keys import secret_keys
from dispatcher.config.settings import Settings
from dispatcher.delivery.engine import Engine
from dispatcher.domain.errors import SettingsError, StoreUnavailable
from dispatcher.domain.targets import RecipientKind, TargetKind
from dispatcher.intake.batcher import Batcher
from dispatcher.intake.committer import Committer
from dispatcher.intake.delivery_quotas import DeliveryQuotas
from dispatcher.intake.expander import Expander
from dispatcher.intake.ingest_queue import IngestQueue
from dispatcher.intake.matcher import Matcher
from dispatcher.intake.sources import Source, load_sources
from dispatcher.maintenance.retention import retain
from dispatcher.maintenance.sweeper import Sweeper
from dispatcher.parts import make_adapters, make_hooks, make_kinds, make_limits
from dispatcher.process import collect_rarely, on_end, on_signal, patiently
from dispatcher.store.encryption import Sealer
from dispatcher.store.factory import open_store
from dispatcher.store.store import Store
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.telemetry import metrics
from dispatcher.telemetry.background import keep_running
from dispatcher.telemetry.loop_lag import measure_loop_lag
from dispatcher.telemetry.readiness import Readiness
from dispatcher.telemetry.siblings import Siblings
from dispatcher.telemetry.watch import watch

log = structlog.get_logger("dispatcher")


class Share(Struct, frozen=True, kw_only=True):
    """What one of several workers has from the process that started it.

    `listener` is the socket that all accept from, `directory` where they find each other's metrics, `parent` a file
    descriptor that ends when that process does, `serving` is to be called once this one serves.
    """

    number: int
    listener: socket.socket
    directory: Path
    parent: int
    serving: Callable[[], None]


class App:
    """A running process: where it listens, and the parts that are started and stopped."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        kinds: Mapping[str, TargetKind],
        plugins: Sequence[Plugin],
        share: Share | None = None,
    ) -> None:
        self.url = ""
        self._first_key: FirstKey | None = None
        self._settings = settings
        self._share = share
        self._siblings = None if share is None else Siblings(share.directory, share.number)
        self._store = store
        self._kinds = kinds
        self._plugins = plugins
        self._adapters = make_adapters()
        self._engine = Engine(store, kinds, make_limits(settings))
        for kind in kinds.values():
            if isinstance(kind, RecipientKind):
                kind.limit_to(self._engine.trials)
        self._sweeper = Sweeper(store, self._engine.blocked_destinations)
        matcher = Matcher(store)
        self._quotas = DeliveryQuotas(store.quotas, settings.quotas.deliveries_per_minute)
        self._waiters = Waiters(store, settings.http.max_waiters)
        self._queue = IngestQueue(hooks=make_hooks(plugins))
        self._batcher = Batcher(
            self._queue,
            Committer(matcher, self._engine.reservations, store.events, self._quotas, self._waiters.stored),
        )
        self._expander = Expander(store.expansions, matcher, self._engine.wake, self._quotas)
        self._sources = load_sources(settings, self._queue, self._adapters)
        self._readiness = Readiness(store, lambda: self._engine.lease_id, self._parts())
        grace = settings.delivery.grace
        self._runner = runner(self._services(), [plugin.attach for plugin in plugins], grace=grace)

    async def begin(self) -> None:
        """Reach everything that is needed, and listen. SettingsError when something cannot be."""
        url = str(self._settings.database.url)
        await patiently(self._engine.begin, url)
        with suppress(StoreUnavailable):  # it only makes the first deliveries faster
            await self._store.warm_up(self._engine.lease_id)
        if self._siblings is not None:
            await self._siblings.start()
        await patiently(self._name_owner_bound_keys, url)
        await self._readiness.look()
        await self._runner.setup()
        self.url = await self._listen()
        # Last, because it is shown this once: nothing that can still stop the start may come after it.
        await patiently(self._make_first_key, url)

    def launch(self, group: asyncio.TaskGroup) -> None:
        """Start every part. SettingsError of the consumer ends the group, no other error does."""
        self._engine.launch(group)
        keep = self._settings.retention.keep
        purges = [plugin.purge for plugin in self._plugins if plugin.purge is not None]
        look_after = partial(self._sweeper.run, lambda: self._engine.lease_id)
        self._keeping = group.create_task(keep_running("upkeep", look_after))
        self._looking = group.create_task(keep_running("readiness", self._readiness.run))
        self._watching = group.create_task(keep_running("gauges", lambda: watch(self._store.deliveries)))
        self._measuring = group.create_task(keep_running("loop lag", measure_loop_lag))
        self._retaining = group.create_task(
            keep_running("retention", lambda: retain(self._store, keep, purges))
        )
        self._telling = group.create_task(keep_running("waiters", self._waiters.run))
        self._reading_quotas = group.create_task(keep_running("quotas", self._quotas.run))
        group.create_task(keep_running("intake", self._batcher.run))
        expand = partial(self._expander.run, lambda: self._engine.lease_id)
        self._expanding = group.create_task(keep_running("expander", expand))
        for source in self._sources:
            group.create_task(keep_running("consumer", source.run))
        log.info("serving", url=self.url, version=dispatcher.__version__, process=self._engine.lease_id)

    async def stop(self) -> None:
        """Stop taking in, finish what is under way, write it down, leave."""
        log.info("stopping", process=self._engine.lease_id)
        grace = self._settings.delivery.grace
        self._waiters.stop()
        await asyncio.gather(*(source.stop(grace) for source in self._sources))
        self._expanding.cancel()
        self._keeping.cancel()
        await self._batcher.stop(grace)
        await self._runner.cleanup()
        await self._engine.stop()
        self._looking.cancel()
        self._watching.cancel()
        self._measuring.cancel()
        self._reading_quotas.cancel()
        self._telling.cancel()
        if self._siblings is not None:
            self._siblings.close()
        self._retaining.cancel()
        if self._first_key is not None:
            with suppress(StoreUnavailable):
                await self._first_key.close(self._store)

    async def _make_first_key(self) -> None:
        configured = self._settings.auth.admin_key
        key = await ensure_admin_key(self._store, configured.reveal() if configured else None)
        if key is not None:
            self._first_key = FirstKey(key)

    async def _name_owner_bound_keys(self) -> None:
        keys = await self._store.keys.owner_bound()
        if keys:
            log.info("keys publish for their owner only, without the scope publish:any", keys=keys)

    async def _listen(self) -> str:
        http = self._settings.http
        if self._share is not None:
            await web.SockSite(self._runner, self._share.listener).start()
            return _url(self._runner)
        try:
            await web.TCPSite(self._runner, http.host, http.port).start()
        except OSError as error:
            # asyncio's own text for a number says the address once more.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise SettingsError(
                f"http.host and http.port: cannot listen on {http.host}:{http.port} ({reason}); expected an "
                "address of this machine, and a port that is free"
            ) from None
        return _url(self._runner)

    def _services(self) -> Services:
        configured = self._settings.auth.admin_key
        return Services(
            store=self._store,
            intake=self._queue,
            engine=self._engine,
            trials=self._engine.trials,
            kinds=self._kinds,
            admin_key=configured.reveal() if configured else None,
            readiness=self._problems,
            metrics=self._metrics,
            adapters=self._adapters,
            publish_hooks=[hook for plugin in self._plugins for hook in plugin.publish_hooks],
            public_url=self._settings.http.public_url,
            quotas=OwnerQuotas(
                self._store, self._settings.quotas.of_owner, self._settings.quotas.tenant_subscriptions
            ),
            delivery_quotas=self._quotas,
            waiters=self._waiters,
        )

    async def _metrics(self) -> bytes:
        return metrics.render() if self._siblings is None else await self._siblings.render()

    def _parts(self) -> dict[str, Callable[[], str | None]]:
        """What readiness asks for besides the database."""
        parts = {"intake": lambda: self._batcher.problem, "outcomes": lambda: self._engine.problem}
        return parts | {source.name: partial(_error_of, source) for source in self._sources}

    async def _problems(self) -> Mapping[str, str | None]:
        return self._readiness.problems()


@asynccontextmanager
async def running(settings: Settings, share: Share | None = None) -> AsyncIterator[App]:
    """A process that serves while this is entered, and stops cleanly after it.

    Raises SettingsError for what stops the start, and the error of a part that fails later.
    """
    store = open_store(settings.database.url.reveal(), Sealer(secret_keys(settings)), settings.retention.keep)
    proxy = settings.network.proxy
    egress = Egress(
        Guard(settings.network.allow),
        settings.delivery.timeout,
        None if proxy is None else proxy.reveal(),
        settings.delivery.lease / 2,
    )
    plugins = compat.load_plugins(settings, store)
    kinds = make_kinds(Resources(egress, settings, store), plugins)
    await patiently(store.open, str(settings.database.url))
    try:
        app = App(settings, store, kinds, plugins, share)
        await app.begin()
        async with asyncio.TaskGroup() as group:
            app.launch(group)
            try:
                yield app
            finally:
                await app.stop()
    except ExceptionGroup as group:
        raise _plainest(group) from group
    finally:
        for kind in kinds.values():
            await kind.close()
        await store.close()


def _error_of(source: Source) -> str | None:
    return source.error


def _url(listening: web.AppRunner) -> str:
    host, port = listening.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _plainest(group: ExceptionGroup[Exception]) -> Exception:
    """The SettingsError among several errors, because that one can be mended; else all of them."""
    settings = group.subgroup(SettingsError)
    return settings.exceptions[0] if settings is not None else group


async def serve(settings: Settings, share: Share | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then stop cleanly; as one of several workers with `share`.

    Raises what `running` raises.
    """
    collect_rarely()
    stop = asyncio.Event()
    start = asyncio.current_task()
    assert start is not None  # noqa: S101 - a coroutine runs in a task
    try:
        on_signal(lambda: start.cancelling() or start.cancel())  # what still starts is given up
        async with running(settings, share):
            on_signal(stop.set)
            if share is not None:
                share.serving()
                on_end(share.parent, stop.set)
            await stop.wait()
    except asyncio.CancelledError:
        log.info("shut down during startup")
    else:
        log.info("stopped")
