"""The officers' console of a live run."""

import time
from pathlib import Path

from runners.live.children import Child
from runners.live.topics import Urls
from runners.provision.spec import CONSOLE
from runners.services.ports import HOST
from schemas.errors import ServiceUnavailable

START_SECONDS = 60
_READY = "console: http"
_PASSWORD = "one-time password"


def public_key(folder: Path) -> Path:
    """What the graph verifies answers with; the console makes it when it starts for the first time."""
    return folder / "console" / "console-key.pub.pem"


class Officers:
    """The console: there before the graph, which needs its key, and until after it."""

    def __init__(self, folder: Path, port: int, topics: dict[str, Urls], panes: Path) -> None:
        flags = [
            "console",
            "--data",
            str(folder / "console"),
            "--host",
            HOST,
            "--port",
            str(port),
            "--panes",
            str(panes),
        ]
        flags += ["--answers", topics["drones"].publish, "--commands", topics["commands"].publish]
        for name in ("alerts", "images", "confirmations"):
            flags += [f"--{name}", topics[name].read(CONSOLE)]
        self.child = Child("console", "prestacop", flags, folder / "console.log")

    def start(self) -> str:
        """Start it and wait until it answers; gives its address, and the password where there is one to tell.

        Raises:
            ServiceUnavailable: it ended, or did not answer in time.
        """
        self.child.start()
        end = time.monotonic() + START_SECONDS
        while _READY not in self.child.said():
            self.child.check()
            if time.monotonic() > end:
                raise ServiceUnavailable(f"the console did not answer in {START_SECONDS} s; see {self.child.log}")
            time.sleep(0.1)
        told = [line for line in self.child.said().splitlines() if line.startswith((_READY[:8], _PASSWORD))]
        return "\n".join(told)

    def away(self) -> list[str]:
        """Its name, where it does not run any more."""
        return [] if self.child.runs() else [self.child.name]
