"""Private servers that tests and benchmarks start for themselves, and may kill."""

from tests.servers.nginx import Nginx
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgresql import Databases, PostgreSQL, Standby
from tests.servers.process import ServerError, ServerProcess, free_port
from tests.servers.rabbitmq import Broker, RabbitMQ

__all__ = [
    "Broker",
    "Databases",
    "Nginx",
    "PgBouncer",
    "PostgreSQL",
    "RabbitMQ",
    "ServerError",
    "ServerProcess",
    "Standby",
    "free_port",
]
