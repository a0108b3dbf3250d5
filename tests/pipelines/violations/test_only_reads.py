"""What only reads a lake writes nothing into it: it may lie on a read-only mount, or in a bucket of somebody else."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import boto3
import pytest

from lake import lake
from lake.storage import LocalStorage, S3Storage, storage
from pipelines.analysis.command import main as analysis
from pipelines.analysis.fines import main as fines
from pipelines.maintenance.reconcile import main as reconcile
from pipelines.maintenance.replay import main as replay
from pipelines.maintenance.trace import main as trace
from tests.endings import Main, code_of
from tests.support import make_history, make_messages, run_graph

READERS: dict[str, tuple[Main, list[str]]] = {
    "analysis": (analysis, ["--lake", "LAKE", "--report", "REPORT", "--codes", "CODES", "--quiet"]),
    "fines": (fines, ["--lake", "LAKE", "--codes", "CODES"]),
    "reconcile": (reconcile, ["--lake", "LAKE", "--quiet"]),
    "trace": (trace, ["1/0", "--lake", "LAKE"]),
    "replay of nothing": (replay, ["--lake", "LAKE", "--reason", "answer_unsigned", "--quiet"]),
}
RATES = "CODE,DEFINITION,Manhattan\u00a0 96th St. & below,All Other Areas\n21,STREET CLEANING,65,45\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a lake, and the city's table of codes."""
    run_graph(tmp_path / "lake", make_history(tmp_path / "h.csv", 200), make_messages(tmp_path / "m.jsonl", 2, 9))
    (tmp_path / "codes.csv").write_text(RATES)
    return tmp_path


def tree(root: Path) -> dict[str, int]:
    """What is in a folder, and when each was changed."""
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}


def read_all(root: str, folder: Path) -> dict[str, int]:
    """Call every reader; gives their exit codes."""
    words = {"LAKE": root, "REPORT": f"{folder}/report.html", "CODES": f"{folder}/codes.csv"}
    unit = lake(root).ledger["unit"][0].as_py()
    with redirect_stdout(io.StringIO()), lake(root).connect() as connection:
        connection.execute("FROM qualified").fetchall()
        return {
            name: code_of(main, *(words.get(word, word).replace("1/0", f"{unit}/0") for word in argv))
            for name, (main, argv) in READERS.items()
        }


def refused(*_: object) -> None:
    """What a read-only place says."""
    raise PermissionError(30, "Read-only file system")


def read_only(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same, which refuses to write where it is a lake."""

    def tried(self: LocalStorage, *of: object) -> Any:
        return refused() if Path(self.root).name == "lake" else method(self, *of)

    return tried


@pytest.mark.embedded
def test_every_reader_works_on_a_read_only_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("put", "put_new", "delete", "flush"):
        monkeypatch.setattr(LocalStorage, name, read_only(getattr(LocalStorage, name)))
    before = tree(folder / "lake")
    assert read_all(str(folder / "lake"), folder) == dict.fromkeys(READERS, 0)
    assert tree(folder / "lake") == before


def test_every_reader_works_in_a_bucket_without_write_permission(
    s3: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3.removeprefix("s3://").partition("/")[0]
    client = boto3.client("s3")
    for path in (folder / "lake").rglob("*.*"):
        client.upload_file(str(path), bucket, f"readonly/{path.relative_to(folder / 'lake')}")
    for method in ("put", "put_new", "delete"):
        monkeypatch.setattr(S3Storage, method, refused)
    storage.cache_clear()
    assert read_all(f"s3://{bucket}/readonly", folder) == dict.fromkeys(READERS, 0)
