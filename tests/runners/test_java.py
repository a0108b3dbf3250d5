"""The doctor knows which Java this machine has, and Flink, Spark and Kafka are started on none that is too old."""

import re
from pathlib import Path

import pytest

from runners import doctor
from runners.services.java import java
from runners.services.programs import need
from schemas.errors import ServiceUnavailable

pytestmark = pytest.mark.embedded  # a java is a script

OPENJDK_17 = """openjdk version "17.0.15" 2025-04-15
OpenJDK Runtime Environment (build 17.0.15+6-Debian-1deb12u1)"""
SAYS = {
    OPENJDK_17: (True, True, 'openjdk version "17.0.15" 2025-04-15'),
    f"Picked up JAVA_TOOL_OPTIONS: -Dversion=8\n{OPENJDK_17}": (True, True, 'openjdk version "17.0.15" 2025-04-15'),
    'openjdk version "21" 2023-09-19': (True, True, "Java 17 is tested"),
    'java version "17.0.1-ea" 2021-10-19 LTS': (True, True, "17.0.1-ea"),
    'java version "1.8.0_392"': (False, False, "too old, on the PATH; .* apt install openjdk-17-jre-headless"),
    'openjdk version "11.0.21" 2023-10-17': (False, False, "too old"),
    'openjdk version "16-internal" 2021-03-16': (False, False, "too old"),
    'openjdk version "23.0.1" 2024-10-15': (False, True, "too new for Spark 3.5.*Java 17 is tested"),
    'openjdk version "25-ea" 2025-09-16': (False, True, "too new"),
    "The operation couldn't be completed. Unable to locate a Java Runtime.": (False, False, "Unable to locate a Java"),
    "": (False, False, "exit code 0; install Java 17"),
}


def put(folder: Path, says: str, code: int = 0) -> None:
    """A java that says its version so."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "java"
    program.write_text(f"#!/bin/sh\n/bin/cat >&2 <<'END'\n{says}\nEND\nexit {code}\n" if says else "#!/bin/sh\n")
    program.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH, and no JAVA_HOME."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path / "bin"


@pytest.mark.parametrize("says", SAYS)
def test_the_version_is_read_and_checked(says: str, path: Path) -> None:
    put(path, says)
    is_supported, starts, text = SAYS[says]
    found = java()
    assert (found.is_supported, found.starts) == (is_supported, starts), found.text
    assert re.search(text, found.text), found.text
    told = next(finding for finding in doctor.findings() if finding.name == "Java")
    assert (told.good, told.text, told.needed) == (is_supported, found.text, False)


def test_a_missing_or_failing_java_is_reported(path: Path) -> None:
    assert java().text.startswith("no java on the PATH; Flink, Spark and Kafka need Java 17: Debian")
    put(path, OPENJDK_17, code=1)
    assert not java().is_supported
    (path / "java").write_text("no program")  # the kernel does not start it
    assert "does not start" in java().text


def test_a_java_home_without_a_java_is_reported(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, OPENJDK_17)
    for home, so in ((tmp_path / "none", "no program bin/java of JAVA_HOME="), (tmp_path / "old", "too old, of JAVA")):
        put(tmp_path / "old" / "bin", 'java version "1.8.0_392"')
        monkeypatch.setenv("JAVA_HOME", str(home))
        assert not java().is_supported
        assert so in java().text
    put(tmp_path / "new" / "bin", OPENJDK_17)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "new"))
    assert java().is_supported
    monkeypatch.setenv("JAVA_HOME", "")  # as unset
    assert java().is_supported


def test_nothing_is_started_on_a_java_that_is_too_old(path: Path) -> None:
    put(path, 'java version "1.8.0_392"')
    with pytest.raises(ServiceUnavailable, match=r"1\.8\.0_392.*too old"):
        need("java")
    put(path, 'openjdk version "24"')
    need("java")  # Kafka and Flink run there; the doctor tells it of Spark
