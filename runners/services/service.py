"""What every server has in common."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from runners.services.ports import HOST
from runners.services.programs import Program


class Service(ABC):
    """One server on one port of this machine, its state in one folder."""

    name: ClassVar[str]
    program: ClassVar[Program]
    tools: ClassVar[tuple[str, ...]] = ()
    """What it needs to run, beside what installs it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"{HOST}:{self.port}"

    @abstractmethod
    def command(self, program: Path) -> list[str]:
        """Prepare the folder, and say how the server is started."""

    def secrets(self) -> dict[str, str]:
        """What only the server's environment tells it."""
        return {}

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether clients can use it now; asked until they can."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """What clients find it by."""
