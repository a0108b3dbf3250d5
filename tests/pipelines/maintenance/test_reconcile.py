"""Reconcile finds units that do not add up and names them."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import transforms.stats
from lake import lake
from lake.checksums import sha256, with_checksum
from lake.ledger import commit
from pipelines.maintenance.compact import compact
from pipelines.maintenance.reconcile import reconcile
from schemas.errors import InputUnusable
from schemas.lake import LEDGER_ROW
from tests.lakes import Said, write
from tests.support import LOCAL, make_history, make_messages, run_graph
from transforms.qualify import branch_of


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two units that add up."""
    folder = tmp_path_factory.mktemp("sound")
    history = make_history(folder / "h.csv", 5_000, "--dirt", "10")
    messages = make_messages(folder / "m.jsonl", 10, 100, "--duplicates", "0.1", "--corrupt", "0.02")
    run_graph(folder / "lake", history, messages)
    assert reconcile(str(folder / "lake")) == []
    return folder / "lake"


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(sound, tmp_path / "lake"))


def change_ledger(root: Path, **changes: Any) -> str:
    """Change the history's row of the ledger; gives the unit's name."""
    (path,) = (root / "ledger" / "source=history").iterdir()
    row = pq.ParquetFile(path).read().to_pylist()[0]
    path.write_bytes(with_checksum(pa.Table.from_pylist([row | changes], schema=LEDGER_ROW)))
    return str(row["unit"])


@pytest.mark.parametrize("column", ["rows_in", "qualified", "unqualified", "dead_letters", "duplicates", "counted"])
def test_a_wrong_count_is_found(root: Path, column: str) -> None:
    ledger = lake(str(root)).ledger.to_pylist()
    row = next(row for row in ledger if row["source"] == "history")
    unit = change_ledger(root, **{column: row[column] + 1})
    faults = reconcile(str(root))
    assert faults
    assert all(unit in fault for fault in faults)


def test_a_lost_file_is_found(root: Path) -> None:
    lost = next((root / "qualified" / "source=history").rglob("*.parquet"))
    lost.unlink()
    (fault, *_) = reconcile(str(root))
    assert lost.stem in fault
    assert "is missing" in fault


def test_a_file_with_a_row_less_is_found(root: Path) -> None:
    path = max((root / "qualified" / "source=history").rglob("*.parquet"), key=lambda p: p.stat().st_size)
    pq.write_table(pq.ParquetFile(path).read().slice(1), path)
    assert any("the ledger says" in fault for fault in reconcile(str(root)))


def test_statistics_that_do_not_match_the_rows_are_found(root: Path) -> None:
    (path,) = (root / "stats" / "source=history").iterdir()
    table = pq.ParquetFile(path).read()
    counts = table["n"].to_pylist()
    changed = table.set_column(
        table.schema.get_field_index("n"), table.schema.field("n"), [[counts[0] + 1, *counts[1:]]]
    )
    pq.write_table(changed, path)
    (fault,) = reconcile(str(root))
    assert "was changed" in fault
    files = lake(str(root)).ledger.filter(pc.equal(lake(str(root)).ledger["source"], "history"))["files"][0].as_py()
    size = {str(path.relative_to(root)): path.stat().st_size}
    unit = change_ledger(
        root,
        files=[f | {"bytes": size.get(f["path"], f["bytes"])} for f in files],
        sha256=[sha256((root / f["path"]).read_bytes()) for f in files],
    )
    (fault,) = reconcile(str(root))
    assert f"unit {unit}: " in fault
    assert "the statistics count" in fault


@pytest.mark.embedded
def test_a_lake_of_a_version_that_counted_answers_as_qualified_adds_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    answer = Said("answer", answers="asked")
    with monkeypatch.context() as earlier:
        earlier.setattr(transforms.stats, "counted_as", branch_of)
        commit(root, [write(root, "a", [Said("asked", code=0), Said("seen"), answer])])
        commit(root, [write(root, "b", [answer, Said("also seen")])])
    commit(root, [write(root, "c", [answer, Said("another", answers="elsewhere")])])
    for _ in range(2):
        assert reconcile(root) == []
        found = lake(root).sql("SELECT dataset, sum(n)::INT AS n FROM stats GROUP BY ALL ORDER BY ALL").to_pylist()
        assert [tuple(row.values()) for row in found] == [("answers", 1), ("qualified", 3), ("unqualified", 1)]
        compact(root, 1 << 20, LOCAL)
    assert lake(root).sql("FROM duplicates").num_rows == 0


@pytest.mark.embedded
def test_the_command_ends_with_1_and_names_the_unit(root: Path) -> None:
    unit = change_ledger(root, rows_in=1)
    line = [sys.executable, "-m", "prestacop", "reconcile", "--lake", str(root), "--quiet"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert unit in done.stdout


def test_no_lake_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="prestacop run"):
        reconcile(str(tmp_path))
