"""The settings: one struct for each section of config/dispatcher.toml, with the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from msgspec import Struct
from msgspec.structs import fields

from dispatcher.config.readers import (
    bindings,
    choice,
    database_url,
    domains,
    exchange_name,
    folder,
    hello_name,
    integer,
    networks,
    number,
    one_secret,
    optional_file,
    optional_url,
    proxy_url,
    public_url,
    queue_name,
    secret_list,
    sender_address,
    switch,
    text,
    users_of_tenants,
    words,
)
from dispatcher.config.types import Network, Secret, Url
from dispatcher.domain.quotas import Quotas
from dispatcher.domain.retention import DAY, Keep

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]
ExchangeType = Literal["topic", "fanout", "direct", "headers"]
AllowedCallers = Literal["none", "loopback"]


class Database(Struct, frozen=True, kw_only=True):
    """Where everything is stored."""

    url: Annotated[Url, database_url] = Url("sqlite:///var/dispatcher.db")


class Amqp(Struct, frozen=True, kw_only=True):
    """The broker; without a URL there is none."""

    url: Annotated[Url | None, optional_url("amqp", "amqps")] = None
    exchange: Annotated[str, exchange_name] = "dispatcher.events"
    exchange_type: Annotated[ExchangeType, choice(*get_args(ExchangeType))] = "topic"
    bindings: Annotated[tuple[str, ...], bindings] = ("#",)
    queue: Annotated[str, queue_name] = "dispatcher.intake"
    prefetch: Annotated[int, integer(1, 65535)] = 1000
    single_active_consumer: Annotated[bool, switch] = False
    declare: Annotated[bool, switch] = True


class Http(Struct, frozen=True, kw_only=True):
    """Where the API listens; port 0 takes one that is free. `public_url` is where people reach it.

    `max_waiters` is how many requests of all owners may wait for a job in one process.
    """

    host: Annotated[str, text("a host name or an address to listen on")] = "127.0.0.1"
    port: Annotated[int, integer(0, 65535)] = 8080
    public_url: Annotated[str | None, public_url] = None
    max_waiters: Annotated[int, integer(1, 1_000_000)] = 10_000


class Smtp(Struct, frozen=True, kw_only=True):
    """The mail relay; without a URL no e-mail is sent. Times are seconds, caps are messages."""

    url: Annotated[Url | None, optional_url("smtp", "smtps", "smtp+starttls")] = None
    sender: Annotated[str, sender_address] = "dispatcher@localhost"
    hello: Annotated[str, hello_name] = ""
    trusted_domains: Annotated[tuple[str, ...], domains] = ()
    templates: Annotated[Path | None, folder] = None
    timeout: Annotated[float, number("seconds", 0.1, 300)] = 15.0
    connections: Annotated[int, integer(1, 1000)] = 8
    max_per_hour: Annotated[int, integer(1, 1_000_000)] = 60
    max_per_domain: Annotated[int, integer(1, 1_000_000)] = 600
    confirmations_per_key: Annotated[int, integer(1, 100_000)] = 20
    confirmations_per_address: Annotated[int, integer(1, 1000)] = 2


class Auth(Struct, frozen=True, kw_only=True):
    """The key that may do everything; without one only stored keys work."""

    admin_key: Annotated[Secret | None, one_secret] = None


class Tapis(Struct, frozen=True, kw_only=True):
    """Whose tokens are accepted as X-Tapis-Token; without keys only API keys are. Without issuers any will do.

    `admins` are users of tenants, such as root@dev, who administer their tenant.
    """

    keys: Annotated[Path | None, optional_file] = None
    issuers: Annotated[tuple[str, ...], words("issuers such as https://dev.tapis.io/v3/tokens")] = ()
    admins: Annotated[tuple[str, ...], users_of_tenants] = ()


class Tethys(Struct, frozen=True, kw_only=True):
    """Who may report a job's status as to a Tethys portal without a token; "loopback" is this machine."""

    allow: Annotated[AllowedCallers, choice(*get_args(AllowedCallers))] = "none"


class Secrets(Struct, frozen=True, kw_only=True):
    """What seals secrets in the store: the first key seals, all open. Without one see `secret_keys`."""

    key: Annotated[tuple[Secret, ...], secret_list] = ()


class NetworkSettings(Struct, frozen=True, kw_only=True):
    """Addresses that deliveries may reach although they are not public, and the egress proxy of HTTP targets."""

    allow: Annotated[tuple[Network, ...], networks] = ()
    proxy: Annotated[Url | None, proxy_url] = None


class Log(Struct, frozen=True, kw_only=True):
    """What is logged, and in which form."""

    level: Annotated[LogLevel, choice(*get_args(LogLevel))] = "info"
    format: Annotated[LogFormat, choice(*get_args(LogFormat))] = "console"


class Delivery(Struct, frozen=True, kw_only=True):
    """Bounds of one process: `concurrency` and `queue` are deliveries per destination, times are seconds."""

    concurrency: Annotated[int, integer(1, 1000)] = 64
    queue: Annotated[int, integer(1, 100_000)] = 1000
    timeout: Annotated[float, number("seconds", 0.1, 300)] = 15.0
    lease: Annotated[float, number("seconds", 5, 3600)] = 60.0
    grace: Annotated[float, number("seconds", 0, 3600)] = 20.0
    max_in_memory: Annotated[int, integer(1, 1_000_000)] = 5000


class QuotaSettings(Struct, frozen=True, kw_only=True):
    """What one owner and one tenant may use; 0 is no limit; see `dispatcher.domain.quotas.Quotas`."""

    subscriptions: Annotated[int, integer(0, 1_000_000_000)] = 10_000
    destinations: Annotated[int, integer(0, 1_000_000_000)] = 1_000
    events_per_minute: Annotated[int, integer(0, 1_000_000_000)] = 600_000
    deliveries_per_minute: Annotated[int, integer(0, 1_000_000_000)] = 3_000_000
    stored_mib: Annotated[int, integer(0, 1_000_000_000)] = 50_000
    waiters: Annotated[int, integer(0, 1_000_000_000)] = 1_000
    tenant_subscriptions: Annotated[int, integer(0, 1_000_000_000)] = 1_000_000

    @property
    def of_owner(self) -> Quotas:
        """The defaults of an owner."""
        return Quotas(
            subscriptions=self.subscriptions,
            destinations=self.destinations,
            events_per_minute=self.events_per_minute,
            deliveries_per_minute=self.deliveries_per_minute,
            stored_mib=self.stored_mib,
            waiters=self.waiters,
        )


class RetentionSettings(Struct, frozen=True, kw_only=True):
    """For how many days, or parts of one, what has ended is kept; see `dispatcher.domain.retention.Keep`."""

    delivered: Annotated[float, number("days", 0.003, 36_500)] = 30
    exhausted: Annotated[float, number("days", 0.003, 36_500)] = 90

    @property
    def keep(self) -> Keep:
        """The same as times."""
        return Keep(delivered=self.delivered * DAY, exhausted=self.exhausted * DAY)


class Settings(Struct, frozen=True, kw_only=True):
    """All settings, checked."""

    database: Database = Database()
    amqp: Amqp = Amqp()
    http: Http = Http()
    smtp: Smtp = Smtp()
    auth: Auth = Auth()
    tapis: Tapis = Tapis()
    tethys: Tethys = Tethys()
    secrets: Secrets = Secrets()
    network: NetworkSettings = NetworkSettings()
    log: Log = Log()
    delivery: Delivery = Delivery()
    retention: RetentionSettings = RetentionSettings()
    quotas: QuotaSettings = QuotaSettings()


SECTIONS: Mapping[str, type[Struct]] = {f.name: f.type for f in fields(Settings)}
"""The sections of the file, and what is in each."""
