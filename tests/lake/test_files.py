"""A unit's files: by month of New York, sorted, with the dataset's schema."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from lake.files import time_order, write_unit
from lake.layout import months
from schemas.lake import VIOLATION, Dataset, Source

MOMENTS = st.lists(st.integers(0, 4_000_000_000), max_size=60)


def _micros(when: datetime) -> int:
    return round(when.timestamp() * 1e6)


@given(MOMENTS)
def test_every_row_is_in_the_month_that_new_york_was_in(seconds: list[int]) -> None:
    times = np.sort(np.array(seconds, np.int64) * 1_000_000)
    found = [month for month, start, end in months(times) for _ in range(start, end)]
    expected = [f"{datetime.fromtimestamp(t / 1e6, ZoneInfo('America/New_York')):%Y-%m}" for t in times.tolist()]
    assert found == expected


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1), st.sampled_from([1, 60_000_000]))
def test_rows_are_ordered_by_time_and_rows_of_one_time_stay_as_they_stand(times: list[int], step: int) -> None:
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
    assert [(path, rows) for path, rows, _ in written] == [
        ("qualified/source=history/month=2014-12/u.parquet", 3),
        ("qualified/source=history/month=2015-01/u.parquet", 1),
    ]
    december = pq.ParquetFile(tmp_path / written[0][0]).read()
    assert december["area"].to_pylist() == ["d", "a", "c"]
    assert december.schema.names == VIOLATION.names
    assert (tmp_path / written[0][0]).stat().st_size == written[0][2]


def test_a_small_file_does_not_carry_the_dictionary_of_the_whole_unit(tmp_path: Path) -> None:
    early, late = datetime(2014, 12, 1, tzinfo=UTC), datetime(2015, 3, 1, 12, tzinfo=UTC)
    streets = [f"street {n}" for n in range(5000)]
    written = write_unit(
        str(tmp_path), Dataset.QUALIFIED, Source.HISTORY, "u", [_batch([early] * 4999 + [late], streets)]
    )
    last = pq.ParquetFile(tmp_path / written[-1][0]).read()
    assert last["area"].chunk(0).dictionary.to_pylist() == ["street 4999"]


def test_no_rows_no_file(tmp_path: Path) -> None:
    assert write_unit(str(tmp_path), Dataset.QUALIFIED, Source.HISTORY, "u", [_batch([], [])]) == []
    assert list(tmp_path.iterdir()) == []
