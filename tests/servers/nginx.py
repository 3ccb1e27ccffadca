"""nginx as a sink: it answers 204 to everything, as fast as a receiver can."""

import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.servers.process import ServerProcess, accepts, find_program, free_port

CONFIGURATION = """
daemon off;
master_process off;  # one process is the one worker
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096 {options};
        location / {{ return 204; }}
        location = /requests {{ stub_status; }}
    }}
}}
"""


class Nginx(ServerProcess):
    """A private nginx that answers 204 to every request."""

    def __init__(self, log: Path | None = None, options: str = "") -> None:
        """`options` are further parameters of its `listen`, and what follows it."""
        self._nginx = find_program("nginx", "/usr/sbin/nginx")
        super().__init__("nginx", log)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._configuration = self.directory / "nginx.conf"
        self._configuration.write_text(
            CONFIGURATION.format(directory=self.directory, port=self.port, options=options)
        )

    def prepare(self) -> None:
        """Nothing: the configuration is there."""

    def command(self) -> Sequence[str | Path]:
        """Return nginx in the foreground."""
        return [self._nginx, "-p", self.directory, "-e", "stderr", "-c", self._configuration]

    def requests(self) -> int:
        """Return how many requests it has answered since its start, the questions about it included."""
        with urllib.request.urlopen(f"{self.url}/requests", timeout=5) as answer:
            return int(answer.read().split()[9])

    def answers(self) -> bool:
        """Tell whether nginx listens."""
        return accepts(self.port)
