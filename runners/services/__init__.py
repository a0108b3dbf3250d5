"""A Kafka broker, a Pub/Sub server, an S3 server and Prism from package registries, without Docker or an account."""

from runners.services.ports import free_port
from runners.services.programs import HOME
from runners.services.services import NAMES, Services

__all__ = ["HOME", "NAMES", "Services", "free_port"]
