"""Exact statistics add up, whatever the window."""

import collections
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.lake import STATS, Source
from sources.units import Unit, UnitBatch
from transforms.clock import PARTS_OF_DAY
from transforms.stats import CountByWindow, WindowCounter, sum_pairs

Row = tuple[int, int | None, str | None]
"""Seconds since the epoch, code, area."""
FIRST, LAST = -2_208_970_800, 7_258_136_399
"""1900 to 2199 in New York."""
ROWS = st.lists(
    st.tuples(
        st.integers(1_400_000_000, 1_440_000_000) | st.integers(FIRST, LAST),
        st.sampled_from([None, 0, 21, 99]),
        st.sampled_from([None, "NY", "K"]),
    ),
    min_size=1,
    max_size=80,
)
SIZES = (1, 60, 900, 3600, 6 * 3600, 24 * 3600, 31 * 24 * 3600)
WINDOWS = st.sampled_from(SIZES)


def batch(rows: list[Row]) -> pa.RecordBatch:
    """Rows as the counter takes them; one without a code is a position."""
    seconds, codes, areas = zip(*rows, strict=True)
    return pa.RecordBatch.from_pydict(
        {
            "event_time": pa.array(np.array(seconds) * 1_000_000).cast(pa.timestamp("us", "UTC")),
            "violation_code": pa.array(codes, pa.int16()),
            "area": pa.array(areas, pa.string()).dictionary_encode(),
            "status": pa.array(["raw"] * len(rows)).dictionary_encode(),
            "kind": pa.array(["position" if c is None else "violation" for c in codes]).dictionary_encode(),
        }
    )


def counted(rows: list[Row], window: int, parts: int = 1) -> list[dict[str, Any]]:
    """The counts of rows that come in several batches."""
    counter = WindowCounter(window)
    for part in np.array_split(np.arange(len(rows)), parts):
        counter.add(batch([rows[i] for i in part]) if len(part) else batch(rows).slice(0, 0))
    found: list[dict[str, Any]] = counter.counts("u").to_pylist()
    return found


@given(ROWS, WINDOWS)
@example([(LAST, 99, "K"), (FIRST, None, None)], 1)
@example([(LAST, 99, "K"), (FIRST, None, None)], 31 * 24 * 3600)
@example([(1_420_041_600, 21, "K"), (1_420_045_200, 21, "K")], 6 * 3600)  # two hours of one window
def test_the_counts_are_those_of_a_plain_count(rows: list[Row], window: int) -> None:
    plain: dict[tuple[object, ...], int] = {}
    for row, part in zip(rows, _parts(rows), strict=True):
        second, code, area = row
        dataset = "positions" if code is None else "unqualified" if code == 0 else "qualified"
        key = (dataset, second - second % window, code, part, area)
        plain[key] = plain.get(key, 0) + 1
    found = {
        (r["dataset"], r["window_start"].timestamp(), r["violation_code"], r["part_of_day"], r["area"]): r["n"]
        for r in counted(rows, window)
    }
    assert len(found) == len(counted(rows, window))  # no key stands twice
    assert found == plain


def _parts(rows: list[Row]) -> list[str]:
    local = pa.array([s for s, _, _ in rows]).cast(pa.timestamp("s", "America/New_York"))
    hours = [t.hour for t in local.to_pylist()]
    return [PARTS_OF_DAY[0] if 6 <= h < 13 else PARTS_OF_DAY[1] if 13 <= h < 20 else PARTS_OF_DAY[2] for h in hours]


def test_officers_answers_are_no_violations() -> None:
    rows = batch([(0, 0, "K"), (0, 21, "K"), (0, 0, "K"), (0, 21, "K")])
    status = pa.array(["raw", "raw", "officer", "officer"]).dictionary_encode()
    counter = WindowCounter(3600)
    counter.add(rows.set_column(rows.schema.get_field_index("status"), "status", status))
    found = [(row["dataset"], row["violation_code"], row["n"]) for row in counter.counts("u").to_pylist()]
    assert found == [("qualified", 21, 1), ("unqualified", 0, 1), ("answers", 0, 1), ("answers", 21, 1)]


@given(ROWS, WINDOWS, st.integers(1, 5))
def test_it_does_not_matter_in_which_batches_rows_come(rows: list[Row], window: int, parts: int) -> None:
    def key(row: dict[str, Any]) -> str:
        return str(row)

    assert sorted(counted(rows, window, parts), key=key) == sorted(counted(rows, window), key=key)


@given(ROWS, st.sampled_from([(fine, coarse) for fine in SIZES for coarse in SIZES if coarse % fine == 0]))
def test_coarse_windows_are_sums_of_finer_ones(rows: list[Row], sizes: tuple[int, int]) -> None:
    fine, coarse = sizes
    assert sums(counted(rows, fine), coarse) == sums(counted(rows, coarse), coarse)
    assert sum(sums(counted(rows, fine), coarse).values()) == len(rows)


def sums(counts: list[dict[str, Any]], window: int) -> dict[tuple[object, ...], int]:
    """Counts summed up to larger windows."""
    found: dict[tuple[object, ...], int] = {}
    for row in counts:
        start = round(row["window_start"].timestamp())
        key = (start - start % window, row["dataset"], row["violation_code"], row["part_of_day"], row["area"])
        found[key] = found.get(key, 0) + row["n"]
    return found


def test_counts_are_sorted_by_window_and_unique() -> None:
    found = counted([(1_420_000_000 - 977 * i, 21, "NY") for i in range(500)], 3600)
    starts = [row["window_start"] for row in found]
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("window", SIZES)
def test_the_last_year_comes_last(window: int) -> None:
    far: list[Row] = [
        (second, code, "NY") for second in (LAST, 0, FIRST, LAST - 366 * 86_400) for code in (None, 0, 21)
    ]
    starts = [row["window_start"] for row in counted(far, window)]
    assert starts == sorted(starts)


def test_the_transform_says_how_many_rows_it_counted_and_writes_the_counts(tmp_path: Path) -> None:
    unit = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")
    rows: list[Row] = [(1_420_000_000 + 10 * i, [None, 0, 21][i % 3], "NY") for i in range(30)]
    batches = [UnitBatch(unit, batch(rows[:10]), last=False), UnitBatch(unit, batch(rows[10:]), last=True)]
    with TestPipeline() as pipeline:
        elements = pipeline | beam.Create([batches]) | beam.FlatMap(lambda b: b)
        tallies = elements | CountByWindow(str(tmp_path), 900) | beam.Map(lambda t: (t[0], t[1].what, t[1].rows))
        assert_that(tallies, equal_to([(unit.name, "stats", 30)]))
    written = pq.ParquetFile(tmp_path / "stats" / "source=drones" / f"{unit.name}.parquet").read()
    assert written.num_rows < 10
    assert written.schema.remove_metadata() == STATS
    assert sums(written.to_pylist(), 900) == sums(counted(rows, 900), 900)


@pytest.mark.embedded
def test_more_areas_than_a_million_stay_with_their_code() -> None:
    n = (1 << 20) + 10
    rows = pa.RecordBatch.from_pydict(
        {
            "event_time": pa.array(np.zeros(n, np.int64)).cast(pa.timestamp("us", "UTC")),
            "violation_code": pa.array(np.full(n, 21, np.int16)),
            "area": pa.DictionaryArray.from_arrays(
                pa.array(np.arange(n, dtype=np.int32)), pa.array(np.arange(n)).cast(pa.string())
            ),
            "status": pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["raw"])),
            "kind": pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["violation"])),
        }
    )
    counter = WindowCounter(3600)
    counter.add(rows)
    found = counter.counts("u")
    assert found["violation_code"].unique().to_pylist() == [21]
    assert found.num_rows == n == len(found["area"].unique())


@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 9)), max_size=20))
def test_sum_pairs_adds_up_those_of_each_pair_whatever_the_range(pairs: list[tuple[int, int]]) -> None:
    high, low = (np.array([pair[place] for pair in pairs], np.int64) for place in (0, 1))
    expected = sorted(collections.Counter(pairs).items())
    for n, factor in ((None, 1), (np.full(len(pairs), 7, np.int64), 7)):
        found = zip(*(column.tolist() for column in sum_pairs(high, low, 10, n)), strict=True)
        assert [((a, b), count) for a, b, count in found] == [(pair, factor * count) for pair, count in expected]


def test_a_code_that_has_no_room_in_the_counts_is_an_error() -> None:
    with pytest.raises(OverflowError, match="0 to 126: 128"):
        WindowCounter(3600).add(batch([(0, 128, "K")]))
