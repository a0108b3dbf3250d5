"""The interface of all servers."""

from abc import ABC, abstractmethod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Self

from runners.processes import Background
from runners.services.ports import HOST
from runners.services.programs import Program
from schemas.errors import ServiceUnavailable


class Service(ABC):
    """One server on one port of this machine, its state in one folder."""

    name: ClassVar[str]
    usual_port: ClassVar[int]
    program: ClassVar[Program | None] = None
    """None for a module of this project."""
    tools: ClassVar[tuple[str, ...]] = ()
    """The tools that it needs to run."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    @property
    def scratch(self) -> Path:
        """A folder for the temporary files of one process: removed before it starts, and after it has ended."""
        return self.folder / "tmp"

    def temporary(self) -> "TemporaryDirectory[str]":
        """A folder for a client of it, while the client runs."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        return TemporaryDirectory(prefix="client-", dir=self.scratch, ignore_cleanup_errors=True)

    @property
    def address(self) -> str:
        """HOST:PORT for clients."""
        return f"{HOST}:{self.port}"

    @classmethod
    def running(cls, data: Path) -> Self:
        """The one that runs with its folder in ``data``. Raises ServiceUnavailable where it does not."""
        folder = data / cls.name
        record = Background(folder).find()
        if record is None:
            raise ServiceUnavailable(f"no {cls.name} runs here ({folder}): start it first")
        return cls(folder, record.port)

    @abstractmethod
    def command(self, program: Path) -> list[str]:
        """Prepare the folder; gives the command line. ``program`` is the installed program, or Python."""

    def secrets(self, program: Path) -> dict[str, str]:
        """Environment variables of the server alone."""
        return {}

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether clients can use it now."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment variables by which clients find it."""
