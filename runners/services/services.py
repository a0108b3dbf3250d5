"""Start the servers, wait until they answer, stop them."""

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
from runners.services.programs import HOME, PYTHON, TARGET, Program, go_install, missing, need
from runners.services.pubsub.server import PubSub
from runners.services.s3 import S3
from runners.services.service import Service
from schemas.errors import OutputUnusable, ServiceUnavailable
from schemas.files.marks import Mark, make_folder, mark_of, unmarked

_BUILD = Path(__file__).parent / "prism" / "build.py"
# Without cgo no C compiler is needed.
PRISM = Program("prism", (PYTHON, _BUILD.name, TARGET), "prism", (_BUILD,), {"CGO_ENABLED": "0"}, tool="go")
"""Beam's runner for one machine, of Beam's own version; the pipeline starts and stops it."""
FAKE_GCS = go_install("fake-gcs-server", "github.com/fsouza/fake-gcs-server@v1.56.1")
"""A server of Google Cloud Storage's API, for tests."""

S = TypeVar("S", bound=Service)


class Group(NamedTuple):
    """Services that are started and stopped together."""

    kinds: tuple[type[Service], ...]
    """In the order in which they start."""
    programs: tuple[Program, ...]
    """Programs that are installed with them, and started by other commands."""
    data: Path
    """The default folder of their state."""


SERVERS = Group((Kafka, PubSub, S3), (PRISM, FAKE_GCS), HOME / "data")
DATA = SERVERS.data
PORTS = {kind.name: kind.usual_port for kind in SERVERS.kinds}
NAMES = tuple(PORTS)

START_SECONDS = 180
_LOCK = "lock"


class State(NamedTuple):
    """The state of one service."""

    name: str
    address: str
    log: Path
    pid: int | None
    """None where it does not run."""
    is_new: bool = False
    """Whether this call started it."""


class Services:
    """The servers whose state is in one folder.

    Any process may start them, and any other process use or stop them.

    Args:
        home: where programs are installed.
        data: where their state is.
        ports: by service, where it is not the default one.
        group: the services.
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
        """Install and start those that do not run, and wait until each answers.

        Raises:
            ServiceUnavailable: a tool is missing, a port is taken, or a server ended or did not answer in time.
        """
        return [self._up(name) for name in names or self._kinds]

    def down(self, *names: str, clean: bool = False) -> list[State]:
        """Stop those that run; ``clean`` removes their data. Gives the state of each before."""
        return [self._down(name, clean) for name in names or self._kinds]

    def kill(self, name: str) -> None:
        """Kill one, as in a crash."""
        Background(self._folder(name)).kill()

    def status(self, *names: str) -> list[State]:
        """The state of each."""
        return [self._state(name) for name in names or self._kinds]

    def running(self, kind: type[S]) -> S:
        """A running one. Raises ServiceUnavailable where it does not."""
        return kind.running(self._data)

    def environment(self, *names: str) -> dict[str, str]:
        """The environment variables by which clients find those that run."""
        found: dict[str, str] = {}
        for name in names or self._kinds:
            record = Background(self._folder(name)).find()
            if record:
                found |= self._service(name, record.port).environment()
        return found

    def install(self, *names: str) -> list[Path]:
        """Install the programs of the named services; without names all programs of the group."""
        to_install = [self._program(name) for name in names or (*self._kinds, *self._programs)]
        return list(dict.fromkeys(program.install(self._home) for program in to_install if program))

    def prism(self) -> Path:
        """Prism's binary, installed if need be."""
        return PRISM.install(self._home)

    def missing(self, name: str) -> list[str]:
        """The tools that a service or a program needs and this machine does not have."""
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

    def _state(self, name: str, is_new: bool = False) -> State:
        background = Background(self._folder(name))
        record = background.find()
        service = self._service(name, record.port if record else self._ports[name])
        return State(name, service.address, background.log, record.pid if record else None, is_new)

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
                    f"{name}: another program listens on {service.address}; stop it, or choose --{name}-port"
                )
            _remove_scratch(service)
            command = service.command(path)
            record = background.start(command, _environment() | service.secrets(path), service.port)
            try:
                _wait(service, background, record)
            except BaseException:  # also for Ctrl-C: leave no service that is not ready
                background.kill()
                raise
            return self._state(name, is_new=True)

    def _down(self, name: str, clean: bool) -> State:
        before = self._state(name)
        folder = self._folder(name)
        if not (folder / _LOCK).exists():
            return before  # never started: a folder of that name is not ours
        with locked(folder / _LOCK):
            Background(folder).stop()
            _remove_scratch(self._service(name, self._ports[name]))
            if clean and mark_of(folder) is None:
                raise OutputUnusable(unmarked(folder))
            if clean:
                shutil.rmtree(folder)
        return before


def _remove_scratch(service: Service) -> None:
    """Remove the files of its last process; those that a child of it writes while it ends are removed the next time."""
    shutil.rmtree(service.scratch, ignore_errors=True)


def _wait(service: Service, background: Background, record: Record) -> None:
    """Wait until clients can use it."""
    end = time.monotonic() + START_SECONDS
    while not service.is_ready():
        fault = None
        if not background.find():
            fault = "ended while it started"
        elif time.monotonic() > end:
            fault = f"(pid {record.pid}) did not answer on {service.address} in {START_SECONDS} s"
        if fault:
            raise ServiceUnavailable(
                f"{service.name} {fault}; the last lines of {background.log}:\n{background.tail()}"
            )
        time.sleep(0.05)
    open_to_all = reachable(record.pid)
    if open_to_all:
        raise ServiceUnavailable(
            f"{service.name} would be open to the network, at {', '.join(open_to_all)}, and was stopped: "
            f"its settings must name {HOST} only"
        )


def _environment() -> dict[str, str]:
    """The variables that servers need, without those that they would take for settings."""
    names = ("PATH", "HOME", "TMPDIR", "LANG", "JAVA_HOME", "JDK_JAVA_OPTIONS")
    known = {key: os.environ[key] for key in names if key in os.environ}
    return known | ({"TMPDIR": outside(known["TMPDIR"])} if "TMPDIR" in known else {})
