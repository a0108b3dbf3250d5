"""Commits are atomic, and of concurrent ones exactly one wins."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import lake
from lake.layout import ledger_path
from lake.ledger import commit, is_committed, read_rows
from lake.storage import LocalStorage, Storage, storage
from schemas.lake import LEDGER_ROW, Source
from tests.faulty_s3 import FaultyS3


def row(unit: str, rows: int = 3, source: Source = Source.DRONES) -> dict[str, Any]:
    """A unit that adds up."""
    counts = dict.fromkeys(("positions", "unqualified", "dead_letters", "images", "duplicates"), 0)
    files = [{"dataset": "qualified", "path": f"qualified/{unit}.parquet", "rows": rows, "bytes": 9}]
    place = {"unit": unit, "source": str(source), "path": "fleet.jsonl", "range_start": 0, "range_end": 100}
    return place | counts | {"rows_in": rows, "qualified": rows, "counted": rows, "files": files}


def test_what_was_committed_is_read_back_in_the_order_of_names(root: str) -> None:
    assert lake(root).as_committed == LEDGER_ROW.empty_table()
    rows = [row("drones-b"), row("history-a", source=Source.HISTORY), row("drones-a", 5)]
    assert not any(is_committed(root, Source(r["source"]), r["unit"]) for r in rows)
    assert commit(root, rows) == [r["unit"] for r in rows]
    assert all(is_committed(root, Source(r["source"]), r["unit"]) for r in rows)
    ledger = lake(root).as_committed
    assert ledger.schema == LEDGER_ROW
    found = [{k: v for k, v in r.items() if v is not None} for r in ledger.drop_columns("committed_at").to_pylist()]
    assert found == [rows[2], rows[0], rows[1]]


def test_of_many_that_commit_a_unit_one_does_and_its_row_stays(root: str) -> None:
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda n: bool(commit(root, [row("drones-a", n)])), range(16)))
    assert done.count(True) == 1
    assert lake(root).as_committed["rows_in"].to_pylist() == [done.index(True)]
    assert commit(root, [row("drones-a", 99)]) == []
    assert lake(root).as_committed["rows_in"].to_pylist() == [done.index(True)]


def test_a_row_that_is_removed_between_two_requests_of_its_reader_is_not_there(faulty_s3: FaultyS3) -> None:
    root = "s3://lake/removed"
    commit(root, [row("drones-a")])
    path = storage(root).full(ledger_path(Source.DRONES, "drones-a"))
    assert read_rows(root, [path]).num_rows == 1
    faulty_s3.fail("GET", "404 Not Found", "NoSuchKey")  # HEAD finds it
    with pytest.raises(FileNotFoundError):
        read_rows(root, [path])


def test_a_unit_of_one_source_is_none_of_another(root: str) -> None:
    assert commit(root, [row("drones-a")])
    assert not is_committed(root, Source.HISTORY, "drones-a")


def test_files_are_durable_before_the_row_that_speaks_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    put_new = LocalStorage.put_new

    def noted(self: Storage, path: str, data: bytes | memoryview) -> bool:
        order.append(path.partition("/")[0])
        assert isinstance(self, LocalStorage)
        return put_new(self, path, data)

    monkeypatch.setattr(LocalStorage, "flush", lambda self: order.append("files"))
    monkeypatch.setattr(LocalStorage, "put_new", noted)
    commit(str(tmp_path), [row("drones-a")])
    assert order == ["format.json", "files", "ledger"]


def test_a_row_that_is_being_written_and_a_foreign_file_are_not_of_the_ledger(tmp_path: Path) -> None:
    commit(str(tmp_path), [row("drones-a")])
    folder = tmp_path / "ledger" / "source=drones"
    (folder / ".drones-b.parquet.0123").write_bytes(b"half a fi")
    (folder / "README.txt").write_text("what is this?")
    assert lake(str(tmp_path)).as_committed["unit"].to_pylist() == ["drones-a"]


def test_the_ledger_is_plain_parquet_for_other_readers(tmp_path: Path) -> None:
    commit(str(tmp_path), [row("drones-a")])
    (path,) = (tmp_path / "ledger" / "source=drones").iterdir()
    table = pq.ParquetFile(path).read()
    assert table.schema.field("committed_at").type == pa.timestamp("us", "UTC")
    assert table["rows_in"].to_pylist() == [3]
