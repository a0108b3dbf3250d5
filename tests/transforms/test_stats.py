"""Exact statistics add up, whatever the window."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clock import PARTS_OF_DAY
from transforms.stats import Counter

Row = tuple[int, int | None, str | None]
"""Seconds since the epoch, code, area."""
ROWS = st.lists(
    st.tuples(
        st.integers(1_400_000_000, 1_440_000_000),
        st.sampled_from([None, 0, 21, 99]),
        st.sampled_from([None, "NY", "K"]),
    ),
    min_size=1,
    max_size=80,
)
WINDOWS = st.sampled_from([60, 900, 3600, 6 * 3600, 24 * 3600])


def batch(rows: list[Row]) -> pa.RecordBatch:
    """Rows as the counter takes them; one without a code is a position."""
    seconds, codes, areas = zip(*rows, strict=True)
    return pa.RecordBatch.from_pydict(
        {
            "event_time": pa.array(np.array(seconds) * 1_000_000).cast(pa.timestamp("us", "UTC")),
            "violation_code": pa.array(codes, pa.int16()),
            "area": pa.array(areas, pa.string()).dictionary_encode(),
            "kind": pa.array(["position" if c is None else "violation" for c in codes]).dictionary_encode(),
        }
    )


def counted(rows: list[Row], window: int, parts: int = 1) -> list[dict[str, object]]:
    """The counts of rows that come in several batches."""
    counter = Counter(window)
    for part in np.array_split(np.arange(len(rows)), parts):
        counter.add(batch([rows[i] for i in part]) if len(part) else batch(rows).slice(0, 0))
    found: list[dict[str, object]] = counter.counts("u").to_pylist()
    return found


@given(ROWS, WINDOWS)
def test_the_counts_are_those_of_a_plain_count(rows: list[Row], window: int) -> None:
    plain: dict[tuple[object, ...], int] = {}
    for row, part in zip(rows, _parts(rows), strict=True):
        second, code, area = row
        dataset = "positions" if code is None else "unqualified" if code == 0 else "qualified"
        key = (dataset, second - second % window, code, part, area)
        plain[key] = plain.get(key, 0) + 1
    found = {
        (r["dataset"], r["window_start"].timestamp(), r["violation_code"], r["part_of_day"], r["area"]): r["n"]  # type: ignore[attr-defined]
        for r in counted(rows, window)
    }
    assert found == plain


def _parts(rows: list[Row]) -> list[str]:
    local = pa.array([s for s, _, _ in rows]).cast(pa.timestamp("s", "America/New_York"))
    hours = [t.hour for t in local.to_pylist()]
    return [PARTS_OF_DAY[0] if 6 <= h < 13 else PARTS_OF_DAY[1] if 13 <= h < 20 else PARTS_OF_DAY[2] for h in hours]


@given(ROWS, WINDOWS, st.integers(1, 5))
def test_it_does_not_matter_in_which_batches_rows_come(rows: list[Row], window: int, parts: int) -> None:
    def key(row: dict[str, object]) -> str:
        return str(row)

    assert sorted(counted(rows, window, parts), key=key) == sorted(counted(rows, window), key=key)


@pytest.mark.parametrize("window", [900, 3600])
def test_windows_of_a_day_are_sums_of_smaller_ones(window: int) -> None:
    rows: list[Row] = [(1_420_000_000 + 977 * i, 21, "NY") for i in range(500)]
    days: dict[float, int] = {}
    for row in counted(rows, window):
        start = row["window_start"].timestamp()  # type: ignore[attr-defined]
        day = start - start % 86_400
        days[day] = days.get(day, 0) + int(str(row["n"]))
    whole: dict[float, int] = {}
    for row in counted(rows, 86_400):
        start = row["window_start"].timestamp()  # type: ignore[attr-defined]
        whole[start] = whole.get(start, 0) + int(str(row["n"]))
    assert days == whole
