"""The Java of this machine, and whether Flink, Spark and Kafka run on it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

NEEDED = 17
TOO_NEW = 23
"""There ``Subject.getSubject`` always raises, which Hadoop, and so Spark 3.5, calls at its start."""
QUICK_START = "-XX:TieredStopAtLevel=1"
"""The flag of a process that runs for seconds: without the second compiler it starts with half of the CPU time."""
INSTALL = "Debian, Ubuntu: apt install openjdk-17-jre-headless"
_VERSION = re.compile(r'\bversion "(?:1\.)?(\d+)[^"]*"')
_SECONDS = 30


def empty_jar(folder: str | Path) -> str:
    """Write a jar without classes into the folder, for a job whose classes the cluster has already; gives its path.

    Beam's job servers send their own jar, 100 MB and more, to the cluster unless a job names another one.
    """
    path = Path(folder) / "empty.jar"
    with ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    return str(path)


class Java(NamedTuple):
    """What was found."""

    text: str
    """Its version, or the fault and what to do."""
    is_supported: bool = False
    """Whether Flink, Kafka and Spark run on it."""
    starts: bool = False
    """Whether Flink and Kafka run on it."""


def java() -> Java:
    """The Java on the PATH; that of JAVA_HOME, which Maven and Spark use, if only that one is not supported."""
    found = [_check(*place) for place in _places()]
    return next((one for one in found if not one.is_supported), found[0])


def _places() -> Iterator[tuple[str, str | None]]:
    yield "on the PATH", shutil.which("java")
    if home := os.environ.get("JAVA_HOME"):
        program = Path(home) / "bin" / "java"
        yield f"of JAVA_HOME={home}", str(program) if os.access(program, os.X_OK) and program.is_file() else None


def _check(where: str, program: str | None) -> Java:
    if program is None and where.startswith("of JAVA_HOME"):
        return Java(f"no program bin/java {where}: set it to a Java {NEEDED}, or unset it")
    if program is None:
        return Java(f"no java {where}; Flink, Spark and Kafka need Java {NEEDED}: {INSTALL}")
    try:
        done = subprocess.run(
            [program, "-version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Java(f"{program}, {where}, does not start: {error}; install Java {NEEDED}: {INSTALL}")
    lines = done.stdout.splitlines()
    line = next((line for line in lines if _VERSION.search(line)), None)  # the others are about JAVA_TOOL_OPTIONS
    found = _VERSION.search(line) if line else None
    if done.returncode or line is None or found is None:
        output = lines[-1] if lines else f"exit code {done.returncode}"
        return Java(f"{program}, {where}, does not print its version: {output}; install Java {NEEDED}: {INSTALL}")
    version = int(found[1])
    if version < NEEDED:
        return Java(f"{line}: too old, {where}; Flink, Spark and Kafka need Java {NEEDED}: {INSTALL}")
    if version >= TOO_NEW:
        return Java(f"{line}: too new for Spark 3.5, {where}; Java {NEEDED} is tested: {INSTALL}", False, True)
    return Java(line if version == NEEDED else f"{line}; Java {NEEDED} is tested", True, True)
