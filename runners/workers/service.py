"""The pool of Python workers beside a cluster, as a service."""

import os
import sys
from pathlib import Path

from runners.services.ports import is_open
from runners.services.service import Service

_ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = ("AWS_", "KAFKA_", "PUBSUB_", "GOOGLE_", "ALERT_", "SMTP_")
"""Variables with servers and keys for the workers. They are not job options, because runners log those."""


class Workers(Service):
    """Starts a Python process for each worker that the cluster requests."""

    name = "workers"
    usual_port = 50_000

    def command(self, program: Path) -> list[str]:
        return [sys.executable, "-m", "runners.workers.pool", "--port", str(self.port)]

    def secrets(self, program: Path) -> dict[str, str]:
        passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        return {"PYTHONPATH": str(_ROOT), **passed}

    def is_ready(self) -> bool:
        return is_open(self.port)

    def environment(self) -> dict[str, str]:
        return {"BEAM_WORKER_POOL": self.address}
