"""Start the servers, wait until they answer, end them."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from runners.services.background import Background, Record
from runners.services.kafka.broker import Kafka
from runners.services.lock import locked
from runners.services.ports import is_free
from runners.services.programs import HOME, Program, go_install, missing, need
from runners.services.pubsub.server import PubSub
from runners.services.s3 import S3
from runners.services.service import Service
from schemas.errors import ServiceUnavailable

DATA = HOME / "data"
PORTS = {"kafka": 9092, "pubsub": 8085, "s3": 7070}
PRISM = go_install("prism", "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0")
"""Beam's runner for one machine, of Beam's own version; Beam starts and ends it by itself."""

_KINDS: dict[str, type[Service]] = {kind.name: kind for kind in (Kafka, PubSub, S3)}
NAMES = tuple(_KINDS)

START_SECONDS = 60
_LOCK = "lock"


class State(NamedTuple):
    """How one service is."""

    name: str
    address: str
    log: Path
    pid: int | None
    """None where it does not run."""
    fresh: bool = False
    """Whether this very call started it."""


class Services:
    """The servers whose state is in one folder.

    Any process may start them, and any other use or end them.

    Args:
        home: where programs are installed.
        data: where their state is.
        ports: of those that shall not listen on their usual one.
    """

    def __init__(self, home: Path = HOME, data: Path = DATA, ports: Mapping[str, int] | None = None) -> None:
        self._home = home.resolve()
        self._data = data.resolve()
        self._ports = PORTS | dict(ports or {})

    def up(self, *names: str) -> list[State]:
        """Start those that do not run, install them before if need be, and wait until each answers.

        Raises:
            ServiceUnavailable: a tool is missing, a port is taken, or a server ended or did not answer in time.
        """
        return [self._up(name) for name in names or NAMES]

    def down(self, *names: str, clean: bool = False) -> list[State]:
        """End those that run; ``clean`` removes what they have kept. Gives the state of each before."""
        return [self._down(name, clean) for name in names or NAMES]

    def kill(self, name: str) -> None:
        """End one as a crash does."""
        Background(self._folder(name)).kill()

    def status(self, *names: str) -> list[State]:
        """How each of them is."""
        return [self._state(name) for name in names or NAMES]

    def environment(self, *names: str) -> dict[str, str]:
        """What clients of those that run find them by, as environment variables."""
        found: dict[str, str] = {}
        for name in names or NAMES:
            record = Background(self._folder(name)).find()
            if record:
                found |= self._service(name, record.port).environment()
        return found

    def install(self, *names: str) -> list[Path]:
        """Install the programs of those, and Prism where none is named."""
        return [self._program(name).install(self._home) for name in names or (*NAMES, "prism")]

    def prism(self) -> Path:
        """Prism's binary, installed if need be."""
        return PRISM.install(self._home)

    def missing(self, name: str) -> list[str]:
        """The tools that this machine needs and does not have before it can run a service, or "prism"."""
        tools = _KINDS[name].tools if name in _KINDS else ()
        return [*missing(*tools), *self._program(name).missing(self._home)]

    def is_installed(self, name: str) -> bool:
        """Whether a service's program, or "prism", is there."""
        return self._program(name).is_installed(self._home)

    def _program(self, name: str) -> Program:
        return PRISM if name == "prism" else _KINDS[name].program

    def _folder(self, name: str) -> Path:
        return self._data / name

    def _service(self, name: str, port: int) -> Service:
        return _KINDS[name](self._folder(name), port)

    def _state(self, name: str, fresh: bool = False) -> State:
        background = Background(self._folder(name))
        record = background.find()
        service = self._service(name, record.port if record else self._ports[name])
        return State(name, service.address, background.log, record.pid if record else None, fresh)

    def _up(self, name: str) -> State:
        folder = self._folder(name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        need(*_KINDS[name].tools)
        program = self._program(name).install(self._home)
        with locked(folder / _LOCK):
            background = Background(folder)
            if background.find():
                return self._state(name)
            service = self._service(name, self._ports[name])
            if not is_free(service.port):
                raise ServiceUnavailable(
                    f"{name}: another program listens on {service.address}; end it, or choose --{name}-port"
                )
            command = service.command(program)
            record = background.start(command, _environment() | service.secrets(), service.port)
            try:
                _wait(service, background, record)
            except BaseException:  # Ctrl-C as well: nothing half started stays behind
                background.kill()
                raise
            return self._state(name, fresh=True)

    def _down(self, name: str, clean: bool) -> State:
        before = self._state(name)
        folder = self._folder(name)
        if not (folder / _LOCK).exists():
            return before  # never started; a folder of that name is somebody else's
        with locked(folder / _LOCK):
            Background(folder).stop()
            if clean:
                shutil.rmtree(folder)
        return before


def _wait(service: Service, background: Background, record: Record) -> None:
    """Wait until clients can use it."""
    end = time.monotonic() + START_SECONDS
    while not service.is_ready():
        wrong = None
        if not background.find():
            wrong = "ended while it started"
        elif time.monotonic() > end:
            wrong = f"(pid {record.pid}) did not answer on {service.address} in {START_SECONDS} s"
        if wrong:
            raise ServiceUnavailable(f"{service.name} {wrong}; {background.log} ends so:\n{background.tail()}")
        time.sleep(0.05)


def _environment() -> dict[str, str]:
    """Ours without what servers would take for settings of theirs."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG", "JAVA_HOME") if key in os.environ}
