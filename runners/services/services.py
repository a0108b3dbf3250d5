"""Start the servers, wait until they answer, end them."""

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from pipelines.cli.loopback import reachable
from pipelines.cli.temporary import outside
from runners.processes import Background, Record
from runners.services.kafka.broker import Kafka
from runners.services.lock import locked
from runners.services.ports import HOST, is_free
from runners.services.programs import HOME, PYTHON, TARGET, Program, missing, need
from runners.services.pubsub.server import PubSub
from runners.services.s3 import S3
from runners.services.service import Service
from schemas.errors import OutputUnusable, ServiceUnavailable
from schemas.files.marks import Mark, make_folder, mark_of, unmarked

_BUILD = Path(__file__).parent / "prism" / "build.py"
# Without cgo no C compiler is needed.
PRISM = Program("prism", (PYTHON, _BUILD.name, TARGET), "prism", (_BUILD,), {"CGO_ENABLED": "0"}, tool="go")
"""Beam's runner for one machine, of Beam's own version; the pipeline starts and ends it."""

S = TypeVar("S", bound=Service)


class Group(NamedTuple):
    """Services that are started and ended together."""

    kinds: tuple[type[Service], ...]
    """In the order in which they start."""
    programs: tuple[Program, ...]
    """What is installed with them, and started by others."""
    data: Path
    """Where their state is, if nothing else is said."""


SERVERS = Group((Kafka, PubSub, S3), (PRISM,), HOME / "data")
DATA = SERVERS.data
PORTS = {kind.name: kind.usual_port for kind in SERVERS.kinds}
NAMES = tuple(PORTS)

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
        group: which services these are.
    """

    def __init__(
        self,
        home: Path = HOME,
        data: Path | None = None,
        ports: Mapping[str, int] | None = None,
        group: Group = SERVERS,
    ) -> None:
        self._home = home.resolve()
        self._data = (data or group.data).resolve()
        self._kinds = {kind.name: kind for kind in group.kinds}
        self._programs = {program.name: program for program in group.programs}
        self._ports = {name: kind.usual_port for name, kind in self._kinds.items()} | dict(ports or {})

    def up(self, *names: str) -> list[State]:
        """Start those that do not run, install them before if need be, and wait until each answers.

        Raises:
            ServiceUnavailable: a tool is missing, a port is taken, or a server ended or did not answer in time.
        """
        return [self._up(name) for name in names or self._kinds]

    def down(self, *names: str, clean: bool = False) -> list[State]:
        """End those that run; ``clean`` removes what they have kept. Gives the state of each before."""
        return [self._down(name, clean) for name in names or self._kinds]

    def kill(self, name: str) -> None:
        """End one as a crash does."""
        Background(self._folder(name)).kill()

    def status(self, *names: str) -> list[State]:
        """How each of them is."""
        return [self._state(name) for name in names or self._kinds]

    def running(self, kind: type[S]) -> S:
        """One of them that runs. Raises ServiceUnavailable where it does not."""
        return kind.running(self._data)

    def environment(self, *names: str) -> dict[str, str]:
        """What clients of those that run find them by, as environment variables."""
        found: dict[str, str] = {}
        for name in names or self._kinds:
            record = Background(self._folder(name)).find()
            if record:
                found |= self._service(name, record.port).environment()
        return found

    def install(self, *names: str) -> list[Path]:
        """Install the programs of those; where none is named, of all, and what else belongs to them."""
        wanted = [self._program(name) for name in names or (*self._kinds, *self._programs)]
        return list(dict.fromkeys(program.install(self._home) for program in wanted if program))

    def prism(self) -> Path:
        """Prism's binary, installed if need be."""
        return PRISM.install(self._home)

    def missing(self, name: str) -> list[str]:
        """The tools that this machine needs and does not have before it can run a service, or a program."""
        tools = self._kinds[name].tools if name in self._kinds else ()
        program = self._program(name)
        return [*missing(*tools), *(program.missing(self._home) if program else ())]

    def is_installed(self, name: str) -> bool:
        """Whether a service's program, or one of the others, is there."""
        program = self._program(name)
        return program is None or program.is_installed(self._home)

    def _program(self, name: str) -> Program | None:
        return self._programs[name] if name in self._programs else self._kinds[name].program

    def _folder(self, name: str) -> Path:
        return self._data / name

    def _service(self, name: str, port: int) -> Service:
        return self._kinds[name](self._folder(name), port)

    def _state(self, name: str, fresh: bool = False) -> State:
        background = Background(self._folder(name))
        record = background.find()
        service = self._service(name, record.port if record else self._ports[name])
        return State(name, service.address, background.log, record.pid if record else None, fresh)

    def _up(self, name: str) -> State:
        folder = self._folder(name)
        make_folder(folder, Mark.KEPT, mode=0o700)
        need(*self._kinds[name].tools)
        program = self._kinds[name].program
        path = program.install(self._home) if program else Path(sys.executable)
        with locked(folder / _LOCK):
            background = Background(folder)
            if background.find():
                return self._state(name)
            service = self._service(name, self._ports[name])
            if not is_free(service.port):
                raise ServiceUnavailable(
                    f"{name}: another program listens on {service.address}; end it, or choose --{name}-port"
                )
            _remove_scratch(service)
            command = service.command(path)
            record = background.start(command, _environment() | service.secrets(path), service.port)
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
            _remove_scratch(self._service(name, self._ports[name]))
            if clean and mark_of(folder) is None:
                raise OutputUnusable(unmarked(folder))
            if clean:
                shutil.rmtree(folder)
        return before


def _remove_scratch(service: Service) -> None:
    """What its last process left behind; what a child of it that still ends writes just now goes the next time."""
    shutil.rmtree(service.scratch, ignore_errors=True)


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
    open_to_all = reachable(record.pid)
    if open_to_all:
        raise ServiceUnavailable(
            f"{service.name} would be open to the network, at {', '.join(open_to_all)}, and was ended: "
            f"its settings must name {HOST} alone"
        )


def _environment() -> dict[str, str]:
    """Ours without what servers would take for settings of theirs."""
    known = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG", "JAVA_HOME") if key in os.environ}
    return known | ({"TMPDIR": outside(known["TMPDIR"])} if "TMPDIR" in known else {})
