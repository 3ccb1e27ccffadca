"""Publishes by AMQP 1.0 with Qpid Proton, in an environment of the client: `qpid.py HOST:PORT EXCHANGE`.

Each line of standard input is a message: `data`, `value` or `sequence` is its body, what else there is its properties.
Each line of standard output is "sent", or the error.
"""

# mypy: ignore-errors
# ruff: noqa: BLE001, T201 - whatever it is, the test shows it

import json
import sys
from typing import Any
from uuid import UUID

from proton import Message, symbol, timestamp
from proton.utils import BlockingConnection

# Values that JSON has no type for.
TYPES = {
    "bytes": lambda text: text.encode(),
    "symbol": symbol,
    "timestamp": timestamp,
    "uuid": UUID,
}


def typed(value: Any) -> Any:
    """`{"$timestamp": 1767323045000}` is a timestamp, and so on."""
    if isinstance(value, list):
        return [typed(one) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (name := next(iter(value)))[0] == "$":
        return TYPES[name[1:]](value[name])
    return {name: typed(child) for name, child in value.items()}


def message(found: dict[str, Any]) -> Message:
    """The message that a line describes."""
    if "data" in found:
        return Message(body=found.pop("data").encode(), inferred=True, **typed(found))
    if "sequence" in found:
        return Message(body=typed(found.pop("sequence")), inferred=True, **typed(found))
    return Message(body=typed(found.pop("value")), inferred=False, **typed(found))


def main(address: str, exchange: str) -> None:
    """Send what stands on each line."""
    connection = BlockingConnection(
        address, user="guest", password="guest", allowed_mechs="PLAIN", timeout=10
    )
    sender = connection.create_sender(f"/exchange/{exchange}/job.event")
    for line in sys.stdin:
        try:
            sender.send(message(json.loads(line)))
        except Exception as error:
            print(repr(error), flush=True)
        else:
            print("sent", flush=True)
    connection.close()


main(sys.argv[1], sys.argv[2])
