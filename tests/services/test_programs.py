"""Programs are installed once, whole, and anew when what decides what they are has changed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runners.services.beam_java.build import listening_here as java_listening_here
from runners.services.prism.build import OURS, THEIRS, listening_here
from runners.services.programs import TARGET, Program
from schemas.errors import ServiceUnavailable
from schemas.files.marks import MARK

pytestmark = pytest.mark.embedded


def program(source: Path, script: str) -> Program:
    """One that a shell script makes."""
    return Program("thing", ("sh", "-c", f"{script}; cp source {TARGET}/thing"), "thing", sources=(source,))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What it is made of."""
    path = tmp_path / "source"
    path.write_text("1")
    return path


def test_of_concurrent_installations_one_builds(tmp_path: Path, source: Path) -> None:
    thing = program(source, "echo built >> log; sleep 0.3")
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: thing.install(tmp_path / "home"), range(8)))
    assert [path.read_text() for path in paths] == ["1"]
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_changed_source_or_command_is_a_new_installation(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "home"
    first = program(source, "true").install(home)
    source.write_text("2")
    assert not program(source, "true").is_installed(home)
    second = program(source, "true").install(home)
    assert (first.read_text(), second.read_text()) == ("1", "2")
    assert not program(source, "false").is_installed(home)


def test_a_failed_installation_reports_why_and_leaves_nothing(tmp_path: Path, source: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(ServiceUnavailable, match=r"(?s)thing could not be installed: sh -c .*no such module"):
        program(source, f"touch {TARGET}/half; echo no such module >&2; exit 1").install(home)
    assert not program(source, "true").is_installed(home)
    assert sorted(path.name for path in program(source, "true").install(home).parent.iterdir()) == [MARK, "thing"]


def test_the_error_of_a_missing_tool_names_the_package(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    thing = Program("thing", ("mvn", "package"), "thing", sources=(source,))
    assert thing.missing(tmp_path) == ["mvn"]
    with pytest.raises(ServiceUnavailable, match=r"mvn is not on the PATH: install Maven .*apt install maven"):
        thing.install(tmp_path / "home")


def test_prism_is_not_built_if_the_line_to_patch_has_changed() -> None:
    assert listening_here(f"a\n{THEIRS}\nb") == f"a\n{OURS}\nb"
    for text in ("", f"{THEIRS}\n{THEIRS}", "net.Listen(other)"):
        with pytest.raises(ValueError, match="no single line"):
            listening_here(text)


def test_a_job_server_is_not_built_if_the_class_to_patch_has_changed() -> None:
    for code in (b"", b"\xca\xfe\xba\xbe"):
        with pytest.raises(ValueError, match=r"is not that of Beam 2\.70\.0"):
            java_listening_here(code)
