"""Exit code 1 is said of rows that do not add up and of nothing else; one line says what to do."""

import os
from pathlib import Path

import pytest

from apps.loader.__main__ import main as load
from lake.storage import storage
from pipelines.command import run
from pipelines.compact import main as compact
from pipelines.reconcile import main as reconcile
from pipelines.run import main as violations
from schemas.errors import BUG, NotReconciled
from schemas.exits import exit_with
from tests.endings import ending
from tests.support import make_messages

pytestmark = pytest.mark.usefixtures("leaving")


def history(path: Path) -> str:
    """A file of one row."""
    path.write_text(
        "Summons Number,Plate ID,Issue Date,Violation Code,Violation Time\n7000000001,A,01/02/2015,21,0825A\n"
    )
    return str(path)


BAD_OUTPUTS = {
    "empty part": ("s3://b//lake", {}, 2),
    "no bucket named": ("s3://", {}, 2),
    "no such scheme": ("gs://b/lake", {}, 2),
    "endpoint without scheme": ("s3://b/lake", {"AWS_ENDPOINT_URL": "127.0.0.1:9"}, 2),
    "unknown profile": ("s3://b/lake", {"AWS_PROFILE": "nobody"}, 7),
    "no UTF-8": ("/tmp/\udcff", {}, 2),
    "too long": (f"/tmp/{'x' * 300}/lake", {}, 2),
    "no directory": ("/dev/null/lake", {}, 2),
    "not writable": ("/proc/lake", {}, 2),
}


@pytest.mark.parametrize("kind", BAD_OUTPUTS)
def test_an_output_that_cannot_be_used_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    output, environment, wanted = BAD_OUTPUTS[kind]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pipelines.run.run_graph", lambda *_: pytest.fail("it began to work"))
    code, said = ending(capsys, violations, "--history", history(tmp_path / "h.csv"), "--output", output, "--quiet")
    assert code == wanted
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_no_hard_links_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr("pipelines.run.run_graph", lambda *_: pytest.fail("it began to work"))
    argv = ["--history", history(tmp_path / "h.csv"), "--output", str(tmp_path / "lake"), "--quiet"]
    code, said = ending(capsys, violations, *argv)
    assert (code, "no hard links" in said) == (2, True)


@pytest.mark.parametrize(("live", "wanted"), [("/proc/live", 2), ("/dev/full", 5)])
def test_live_statistics_that_cannot_be_written_have_their_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], live: str, wanted: int
) -> None:
    messages = make_messages(tmp_path / "m.jsonl", 3, 100)
    argv = ["--messages", f"file:{messages}", "--output", str(tmp_path / "lake"), "--live", f"file:{live}", "--quiet"]
    code, said = ending(capsys, violations, *argv)
    assert code == wanted
    assert [line for line in said.splitlines() if line.startswith(("Traceback", "error"))] == [said.splitlines()[-1]]


@pytest.mark.parametrize("name", ["\udcff.csv", "x" * 300, "missing.csv"])
def test_an_input_that_cannot_be_named_has_one_code_in_pipeline_and_loader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = str(tmp_path / name)
    if name == "\udcff.csv":
        history(Path(path))
    pipeline = ending(capsys, violations, "--history", path, "--output", str(tmp_path / "lake"), "--quiet")
    loader = ending(capsys, load, path, "--to", f"file:{tmp_path / 'to'}", "--journal", str(tmp_path), "--quiet")
    assert (pipeline[0], loader[0]) == (3, 3)
    assert (pipeline[1].count("\n"), loader[1].count("\n")) == (1, 1)


def test_a_bucket_that_is_not_there_has_one_code_everywhere(
    s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, nowhere = history(tmp_path / "h.csv"), "s3://nowhere/lake"
    codes = [
        ending(capsys, violations, "--history", file, "--output", nowhere, "--quiet")[0],
        ending(capsys, violations, "--history", f"{nowhere}/x.csv", "--output", s3, "--quiet")[0],
        ending(capsys, load, file, "--to", nowhere, "--journal", str(tmp_path), "--quiet")[0],
        ending(capsys, reconcile, "--output", nowhere, "--quiet")[0],
        ending(capsys, compact, "--lake", nowhere, "--quiet")[0],
    ]
    storage.cache_clear()
    assert codes == [3, 3, 3, 3, 3]


def test_a_fault_of_the_program_is_70_with_its_traceback_and_how_to_report_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> int:
        raise KeyError("ours")

    for main in (lambda _: run(broken, ""), lambda _: exit_with(broken)):
        code, said = ending(capsys, main)
        assert code == BUG == 70
        assert "Traceback" in said
        assert "report" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (NotReconciled("rows"), 1),
        (RuntimeError("x\nschemas.errors.NotReconciled: unit a [while running 'Commit']"), 1),
        (OSError(28, "No space left on device"), 5),
        (RuntimeError("Traceback\nOSError: [Errno 28] No space left on device: '/x' [while running 'Append']"), 5),
        (RuntimeError("Traceback\nPermissionError: [Errno 13] Permission denied: '/x' [while running 'A']"), 7),
        (RuntimeError("Traceback\nschemas.errors.LakeDamaged: x: damaged"), 3),
        (RuntimeError("Traceback\npyarrow.lib.ArrowInvalid: Parquet magic bytes not found in footer."), 3),
        (ValueError("what"), BUG),
        (RuntimeError("Traceback\nKeyError: 'x'"), BUG),
        (MemoryError(), BUG),
    ],
)
def test_each_error_has_its_code(capsys: pytest.CaptureFixture[str], error: Exception, wanted: int) -> None:
    def fail() -> int:
        raise error

    assert ending(capsys, lambda _: run(fail, ""))[0] == wanted
