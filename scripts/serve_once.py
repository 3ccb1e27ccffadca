#!/usr/bin/env python3
"""Starts the installed `dispatcher serve` on SQLite, has it deliver one event, verifies that, and stops it."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from dispatcher.client import Client, Retries, Webhook

KEY = "an admin key for one delivery, 32 characters"
PATIENT = Retries(attempts=60, first_delay=0.2, max_delay=0.5)
"""It takes a moment until the service listens."""


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is delivered."""

    arrived: queue.Queue[tuple[bytes, dict[str, str]]] = queue.Queue()

    def do_POST(self) -> None:
        """Take one delivery."""
        self.arrived.put((self.rfile.read(int(self.headers["Content-Length"])), dict(self.headers.items())))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> int:
    """Deliver one event. The exit code is 0 when it arrived and the service ended well."""
    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        service = subprocess.Popen(
            [Path(sys.executable).parent / "dispatcher", "serve"], cwd=folder, env=_settings(folder, port)
        )
        try:
            _deliver(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{receiver.server_port}/")
        finally:
            service.terminate()
            code = service.wait(30)
    if code == 0:
        sys.stdout.write("One event was delivered and verified, and the service ended with 0.\n")
    return code


def _deliver(url: str, target: str) -> None:
    with Client(url, KEY, retries=PATIENT) as client:
        made = client.subscriptions.create(events=["FINISHED"], target={"kind": "webhook", "url": target})
        client.publish({"event": "FINISHED", "job_id": "job-1", "owner": "alice"})
        body, headers = Receiver.arrived.get(timeout=30)
        message = Webhook(made.secret).verify(body, headers)
        ends = time.monotonic() + 30
        while (delivery := client.deliveries.get(message.id)).state != "delivered":
            if time.monotonic() > ends:
                raise TimeoutError(f"the delivery is {delivery.state}: {delivery.reason}")
            time.sleep(0.1)


def _settings(folder: str, port: int) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
    return own | {
        "DISPATCHER_DATABASE_URL": f"sqlite:///{folder}/dispatcher.db",
        "DISPATCHER_HTTP_PORT": str(port),
        "DISPATCHER_AUTH_ADMIN_KEY": KEY,
        "DISPATCHER_NETWORK_ALLOW": "127.0.0.0/8",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
