"""The paths of the lake's files: every row is in its month of New York."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lake.layout import data_path, ledger_path, months, partitions
from schemas.lake import Dataset, Source

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")
FIRST, LAST = -2_208_970_800, 7_258_136_399
"""1900 to 2199 in New York."""


@given(st.lists(st.integers(FIRST, LAST), max_size=40))
@example([FIRST, LAST])
@example([1_420_088_399, 1_420_088_400])  # New Year of 2015
@example([1_396_324_799, 1_396_324_800])  # the 1st of April 2014, daylight time
def test_every_time_is_in_its_month_of_new_york_and_months_are_unique(seconds: list[int]) -> None:
    times = np.array(sorted(seconds), np.int64) * 1_000_000
    found = months(times)
    assert [month for month, start, end in found for _ in range(start, end)] == [
        f"{(EPOCH + timedelta(seconds=t)).astimezone(NEW_YORK):%Y-%m}" for t in sorted(seconds)
    ]
    names = [month for month, _, _ in found]
    assert names == sorted(set(names))


def test_a_microsecond_before_midnight_is_still_last_month() -> None:
    midnight = 1_420_088_400 * 1_000_000
    assert months(np.array([midnight - 1, midnight])) == [("2014-12", 0, 1), ("2015-01", 1, 2)]


@pytest.mark.parametrize("dataset", Dataset)
def test_a_path_says_what_its_partitions_are(dataset: Dataset) -> None:
    month = "2015-01" if "month" in partitions(dataset) else None
    path = data_path(dataset, Source.DRONES, "unit", month)
    name, *hive, file = path.split("/")
    assert (name, file) == (dataset, "unit.parquet")
    assert [part.split("=")[0] for part in hive] == list(partitions(dataset))


def test_the_documented_paths_are_the_paths() -> None:
    unit = "history-00000-0123"
    assert data_path(Dataset.QUALIFIED, Source.HISTORY, unit, "2015-01") == (
        f"qualified/source=history/month=2015-01/{unit}.parquet"
    )
    assert data_path(Dataset.STATS, Source.HISTORY, unit, None) == f"stats/source=history/{unit}.parquet"
    assert ledger_path(Source.HISTORY, unit) == f"ledger/source=history/{unit}.parquet"
