"""A unit's files: by month of New York, sorted, with the dataset's schema."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.files import time_order, write_unit
from schemas.errors import ServiceUnavailable
from schemas.lake import VIOLATION, Dataset, Source

NEW_YORK = ZoneInfo("America/New_York")


def _micros(when: datetime) -> int:
    return round(when.timestamp() * 1e6)


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1), st.sampled_from([1, 60_000_000]))
def test_rows_are_sorted_by_time_stably(times: list[int], step: int) -> None:
    array = np.array(times, np.int64) * step
    assert time_order(array).tolist() == np.argsort(array, kind="stable").tolist()


def _batch(times: list[datetime], streets: list[str]) -> pa.RecordBatch:
    n = len(times)
    return pa.RecordBatch.from_pydict(
        {
            "unit": pa.array(["u"] * n).dictionary_encode(),
            "record": list(range(n)),
            "event_time": pa.array([_micros(t) for t in times]).cast(pa.timestamp("us", "UTC")),
            "violation_code": pa.array([21] * n, pa.int16()),
            "area": pa.array(streets).dictionary_encode(),
            "not a column of the dataset": ["x"] * n,
        }
    )


def test_a_unit_has_one_sorted_file_a_month_with_all_columns(tmp_path: Path) -> None:
    new_year = datetime(2015, 1, 1, 5, tzinfo=UTC)  # midnight in New York
    times = [new_year, datetime(2014, 12, 31, 23, tzinfo=UTC), datetime(2015, 1, 1, 4, 59, tzinfo=UTC)]
    batches = [_batch(times, ["b", "a", "c"]), _batch([datetime(2014, 12, 1, 12, tzinfo=UTC)], ["d"])]
    written = write_unit(str(tmp_path), Dataset.QUALIFIED, Source.HISTORY, "u", batches)
    assert [(path, rows) for _, path, rows, *_ in written] == [
        ("qualified/source=history/month=2014-12/u.parquet", 3),
        ("qualified/source=history/month=2015-01/u.parquet", 1),
    ]
    december = pq.ParquetFile(tmp_path / written[0].path).read()
    assert december["area"].to_pylist() == ["d", "a", "c"]
    assert december.schema.names == VIOLATION.names
    assert (tmp_path / written[0].path).stat().st_size == written[0].bytes


def test_a_small_file_does_not_carry_the_dictionary_of_the_whole_unit(tmp_path: Path) -> None:
    early, late = datetime(2014, 12, 1, tzinfo=UTC), datetime(2015, 3, 1, 12, tzinfo=UTC)
    streets = [f"street {n}" for n in range(5000)]
    written = write_unit(
        str(tmp_path), Dataset.QUALIFIED, Source.HISTORY, "u", [_batch([early] * 4999 + [late], streets)]
    )
    last = pq.ParquetFile(tmp_path / written[-1].path).read()
    assert last["area"].chunk(0).dictionary.to_pylist() == ["street 4999"]


def test_no_rows_no_file(tmp_path: Path) -> None:
    assert write_unit(str(tmp_path), Dataset.QUALIFIED, Source.HISTORY, "u", [_batch([], [])]) == []
    assert list(tmp_path.iterdir()) == []


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-(10**9), 7 * 10**9), st.none() | st.sampled_from("abc")), max_size=8),
        max_size=4,
    )
)
def test_every_row_is_in_one_file_of_its_month_and_none_is_lost(parts: list[list[tuple[int, str | None]]]) -> None:
    rows = [row for part in parts for row in part]
    first = np.cumsum([0, *map(len, parts)])
    batches = [_rows(part, int(start)) for part, start in zip([*parts, []], first, strict=True)]
    with tempfile.TemporaryDirectory() as root:
        written = write_unit(root, Dataset.QUALIFIED, Source.DRONES, "u", batches)
        again = write_unit(root, Dataset.QUALIFIED, Source.DRONES, "u", batches)
        found = [pq.ParquetFile(f"{root}/{path}").read() for _, path, *_ in written]
        assert sorted(str(p.relative_to(root)) for p in Path(root).rglob("*") if p.is_file()) == sorted(
            path for _, path, *_ in written
        )
    assert written == again
    assert [table.num_rows for table in found] == [file.rows for file in written]
    assert sorted(record for table in found for record in table["record"].to_pylist()) == list(range(len(rows)))
    for (_, path, *_), table in zip(written, found, strict=True):
        times = [when.timestamp() for when in table["event_time"].to_pylist()]
        assert times == sorted(times)
        assert [rows[r] for r in table["record"].to_pylist()] == [*zip(times, table["area"].to_pylist(), strict=True)]
        months = {when.astimezone(NEW_YORK).strftime("month=%Y-%m") for when in table["event_time"].to_pylist()}
        assert months == {path.split("/")[2]}


def _rows(part: list[tuple[int, str | None]], first: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "unit": pa.array(["u"] * len(part), pa.string()).dictionary_encode(),
            "record": pa.array(range(first, first + len(part)), pa.int64()),
            "event_time": pa.array([t * 1_000_000 for t, _ in part], pa.int64()).cast(pa.timestamp("us", "UTC")),
            "violation_code": pa.array([21] * len(part), pa.int16()),
            "area": pa.array([area for _, area in part], pa.string()).dictionary_encode(),
        }
    )


def test_a_retry_of_a_unit_writes_the_same_bytes(tmp_path: Path) -> None:
    when = datetime(2014, 12, 1, 12, tzinfo=UTC)
    batches = [_batch([when] * 3, ["b", "a", "c"])]
    contents = []
    for _ in range(2):
        ((_, path, *_),) = write_unit(str(tmp_path), Dataset.QUALIFIED, Source.HISTORY, "u", batches)
        contents.append((tmp_path / path).read_bytes())
    assert contents[0] == contents[1]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["u.parquet"]


def test_a_file_that_could_not_be_written_leaves_no_buffer_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 and later print "Exception ignored" where an error's traceback keeps the buffer."""
    given: list[memoryview] = []

    def put(self: object, path: str, data: memoryview) -> None:
        given.append(data)
        raise ServiceUnavailable("no storage")

    monkeypatch.setattr("lake.storage.LocalStorage.put", put)
    with pytest.raises(ServiceUnavailable):
        write_unit(
            str(tmp_path), Dataset.QUALIFIED, Source.DRONES, "u", [_batch([datetime(2024, 7, 1, tzinfo=UTC)], ["A"])]
        )
    with pytest.raises(ValueError, match="released"):
        _ = given[0].nbytes
