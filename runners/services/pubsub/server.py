"""A Pub/Sub server that keeps its messages in memory."""

from pathlib import Path

from runners.services.ports import is_open
from runners.services.programs import TARGET, Program
from runners.services.service import Service

_GO = Path(__file__).parent


class PubSub(Service):
    """The server. It keeps all messages in memory, and does not deliver those that are older than 10 minutes."""

    name = "pubsub"
    usual_port = 8085
    program = Program(
        "pubsub",
        ("go", "build", "-trimpath", "-ldflags=-s -w", "-o", f"{TARGET}/pubsub-server", "."),
        "pubsub-server",
        sources=tuple(_GO / file for file in ("go.mod", "go.sum", "main.go", "subscriber.go")),
        environment={"CGO_ENABLED": "0"},
    )

    def command(self, program: Path) -> list[str]:
        return [str(program), "-listen", self.address]

    def is_ready(self) -> bool:
        return is_open(self.port)  # it listens when all else is done

    def environment(self) -> dict[str, str]:
        return {"PUBSUB_EMULATOR_HOST": self.address}
