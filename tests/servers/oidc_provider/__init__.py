"""A private authorization server: oidc-provider, which is certified for OpenID Connect, in Node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.process import ServerProcess, accepts, find_program, free_port

SOURCES = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "server.mjs")


class OidcProvider(ServerProcess):
    """It knows the `clients`, and issues tokens that are valid for `lifetime` seconds."""

    def __init__(self, clients: Sequence[Mapping[str, object]], lifetime: int) -> None:
        self._node = find_program("node", "/usr/bin/node")
        self._npm = find_program("npm", "/usr/bin/npm")
        super().__init__("oidc-provider")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            "PORT": str(self.port),
            "CLIENTS": json.dumps(clients),
            "LIFETIME": str(lifetime),
        }

    def prepare(self) -> None:
        """Install it, unless that was done."""
        if not (self.directory / "node_modules").exists():
            for name in FILES:
                shutil.copy(SOURCES / name, self.directory)
            self.run([self._npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"])

    def command(self) -> Sequence[str | Path]:
        """Return the server in the foreground."""
        return [self._node, self.directory / "server.mjs"]

    def environment(self) -> Mapping[str, str]:
        """Return its settings."""
        return self._environment

    def answers(self) -> bool:
        """Tell whether it listens."""
        return accepts(self.port)
