"""RabbitMQ for tests: a private broker, and virtual hosts that no other test sees."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import aiohttp

from tests.servers.process import ServerError, ServerProcess, accepts, find_program, free_port


class Broker:
    """A running RabbitMQ with its management plug-in."""

    def __init__(self, url: str, api_url: str) -> None:
        self.url = url
        self.api_url = api_url.rstrip("/")
        parts = urlsplit(url)
        self.user = unquote(parts.username or "guest")
        self._authorization = aiohttp.encode_basic_auth(self.user, unquote(parts.password or "guest"))

    async def api(self, method: str, path: str, body: object = None) -> object:
        """Call the management API, such as `PUT`, `/policies/{vhost}/{name}`. Returns the decoded answer."""
        try:
            async with (
                aiohttp.ClientSession(headers={"Authorization": self._authorization}) as session,
                session.request(method, f"{self.api_url}/api{path}", json=body) as answer,
            ):
                if not answer.ok:
                    raise ServerError(f"{method} {path}: {answer.status} {await answer.text()}")
                return await answer.json() if answer.content_type == "application/json" else None
        except aiohttp.ClientConnectionError as error:
            raise ServerError(f"RabbitMQ's management plug-in does not answer at {self.api_url}") from error

    async def create_vhost(self) -> str:
        """Create an empty virtual host and return its AMQP address."""
        name = f"test-{uuid.uuid4().hex}"
        await self.api("PUT", f"/vhosts/{name}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        await self.api("PUT", f"/permissions/{name}/{quote(self.user)}", everything)
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    async def delete_vhost(self, url: str) -> None:
        """Delete a virtual host of `create_vhost`, with its queues and connections."""
        await self.api("DELETE", f"/vhosts{urlsplit(url).path}")


class RabbitMQ(ServerProcess, Broker):
    """A private RabbitMQ, with these plug-ins beside those that all tests have."""

    def __init__(self, log: Path | None = None, plugins: Sequence[str] = ()) -> None:
        self._plugins = ("rabbitmq_management", "rabbitmq_consistent_hash_exchange", *plugins)
        self._server = find_program("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server").resolve()
        ServerProcess.__init__(self, "rabbitmq", log)
        self.port = free_port()
        self._api_port = free_port()
        Broker.__init__(
            self, f"amqp://guest:guest@127.0.0.1:{self.port}/", f"http://127.0.0.1:{self._api_port}"
        )
        self._epmd = _PortMapper(self.directory)
        self._distribution_port = free_port()
        self._write_configuration()
        self._scripts = self._make_home()

    def command(self) -> Sequence[str | Path]:
        """Return RabbitMQ's own script: Debian's wrapper around it would use the system's user and data."""
        return [self._scripts / "rabbitmq-server"]

    def environment(self) -> Mapping[str, str]:
        """Return RabbitMQ's settings. Everything that it writes is in our directory."""
        home = self.directory
        return {
            **self._epmd.environment(),
            "HOME": str(home),  # for Erlang's cookie
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the server, instead of waiting beside it
            "RABBITMQ_SCRIPTS_DIR": str(self._scripts),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_NODENAME": f"dispatcher-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            # No busy waiting: the tests need the cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def prepare(self) -> None:
        """Start the port mapper first, which stays until the end."""
        if not self._epmd.running:
            self._epmd.start()

    def answers(self) -> bool:
        """Tell whether both AMQP and the management API answer."""
        return accepts(self.port) and accepts(self._api_port)

    async def remembers(self, url: str, queue: str) -> None:
        """Wait until RabbitMQ would find a quorum queue of the virtual host again after `kill`.

        It writes the name of a new queue to the disk up to three seconds later, and does not wait for that.
        Without the name the queue comes back empty and without a leader, and what was confirmed is lost.
        """
        name = f"{urlsplit(url).path.lstrip('/')}_{queue}".encode()
        (names,) = self.directory.glob("data/*/quorum/*/names.dets")
        while name not in names.read_bytes():  # noqa: ASYNC110 - another process writes the file
            await asyncio.sleep(0.05)

    def close(self) -> None:
        """End RabbitMQ and its port mapper and remove the data."""
        self.kill()
        self._epmd.close()
        super().close()

    def _write_configuration(self) -> None:
        (self.directory / "enabled_plugins").write_text(f"[{', '.join(self._plugins)}].\n")
        (self.directory / "rabbitmq.conf").write_text(
            "log.console = true\n"
            "log.file = false\n"
            "management.tcp.ip = 127.0.0.1\n"
            f"management.tcp.port = {self._api_port}\n"
        )

    def _make_home(self) -> Path:
        """Make an installation of links that leaves out the plug-ins we do not use, and return its scripts.

        Erlang looks for each module in each directory of its code path, which has all plug-ins. With a few of
        them the start takes two thirds of the time.
        """
        real, home = self._server.parents[1], self.directory / "home"
        (home / "plugins").mkdir(parents=True)
        (home / "sbin").symlink_to(real / "sbin")
        (home / "escript").symlink_to(real / "escript")
        for plugin in (real / "plugins").iterdir():
            wanted = ("rabbitmq_web_dispatch", "rabbitmq_prelaunch", *self._plugins)
            if not plugin.name.startswith("rabbitmq_") or plugin.name.startswith(wanted):
                (home / "plugins" / plugin.name).symlink_to(plugin)
        return home / "sbin"


class _PortMapper(ServerProcess):
    """Erlang's port mapper. A node that finds none starts one that stays when the node ends."""

    def __init__(self, parent: Path) -> None:
        super().__init__("epmd", parent=parent)
        self._port = free_port()

    def prepare(self) -> None:
        pass

    def command(self) -> Sequence[str | Path]:
        return [find_program("epmd", "/usr/lib/erlang/erts-*/bin/epmd")]

    def environment(self) -> Mapping[str, str]:
        return {"ERL_EPMD_PORT": str(self._port), "ERL_EPMD_ADDRESS": "127.0.0.1"}

    def answers(self) -> bool:
        return accepts(self._port)
