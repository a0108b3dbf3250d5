"""Exact statistics: each unit's counts by event-time window, code, part of the day and area.

They are additive: the sum over units is the count of the lake's rows, and a sliding window is a sum of fixed ones.
"""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.lake import ENUM, STATS, UTC, Dataset, constant
from sources.units import Tally, UnitBatch, UnitTally
from transforms.clock import MICROSECONDS, PARTS_OF_DAY, part_of_day
from transforms.per_unit import PerUnit
from transforms.qualify import BRANCHES, branch_of
from transforms.write import write_tally

HOUR = 3600
_NO_CODE = 127
_KEYS = ["dataset", "window", "violation_code", "part_of_day", "area"]


def count(rows: pa.RecordBatch, window_seconds: int) -> pa.Table:
    """Counts of the rows: columns dataset (index in BRANCHES), window (number since the epoch), violation_code,
    part_of_day (index in PARTS_OF_DAY), area, n.

    ``window_seconds`` divides an hour or is a multiple of it.
    """
    code = rows["violation_code"].fill_null(_NO_CODE).to_numpy(zero_copy_only=False).astype(np.int64)
    area = rows["area"]
    areas = len(area.dictionary) + 1
    area_index = area.indices.fill_null(areas - 1).to_numpy().astype(np.int64)
    # Within an hour there is one part of the day, and one window or several of them.
    step = min(window_seconds, HOUR)
    steps = rows["event_time"].cast(pa.int64()).to_numpy() // (step * MICROSECONDS)
    key = ((steps * len(BRANCHES) + branch_of(rows)) * (_NO_CODE + 1) + code) * areas + area_index
    keys, n = np.unique(key, return_counts=True)
    rest, area_index = np.divmod(keys, areas)
    rest, code = np.divmod(rest, _NO_CODE + 1)
    steps, branch = np.divmod(rest, len(BRANCHES))
    start = steps * step
    return pa.table(
        {
            "dataset": pa.array(branch.astype(np.int8)),
            "window": pa.array(start // window_seconds),
            "violation_code": pa.array(code.astype(np.int16), mask=code == _NO_CODE),
            "part_of_day": pa.array(part_of_day(start * MICROSECONDS)),
            "area": area.dictionary.take(pa.array(area_index, mask=area_index == areas - 1)).dictionary_encode(),
            "n": pa.array(n),
        }
    )


def merge(counts: list[pa.Table], unit: str, window_seconds: int) -> pa.RecordBatch:
    """The sum of counts, as rows of :data:`schemas.lake.STATS` sorted by window."""
    total = pa.concat_tables(counts).unify_dictionaries().combine_chunks()
    total = total.group_by(_KEYS, use_threads=False).aggregate([("n", "sum")]).sort_by("window")
    n = total.num_rows
    start = total["window"].combine_chunks().to_numpy() * window_seconds * MICROSECONDS
    columns = [
        constant(unit, n),
        _named(total["dataset"].to_numpy(), [str(b) for b in BRANCHES]),
        pa.array(start).cast(UTC),
        pa.array(np.full(n, window_seconds, np.int32)),
        total["violation_code"].combine_chunks(),
        _named(total["part_of_day"].to_numpy(), list(PARTS_OF_DAY)),
        total["area"].combine_chunks().cast(ENUM),
        total["n_sum"].combine_chunks(),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=STATS)


def _named(index: npt.NDArray[np.int8], names: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(names))


@beam.typehints.with_output_types(tuple[str, Tally])
class _Count(PerUnit[list[pa.Table]]):
    def __init__(self, root: str, window_seconds: int) -> None:
        self._root = root
        self._window_seconds = window_seconds

    def process(self, batch: UnitBatch) -> Iterator[UnitTally]:
        counts = self.kept(batch, [])
        counts.append(count(batch.rows, self._window_seconds))
        if batch.last:
            rows = merge(counts, batch.unit.name, self._window_seconds)
            tally = write_tally(self._root, Dataset.STATS, batch, [rows])
            yield batch.unit.name, tally._replace(rows=int(np.sum(rows["n"].to_numpy())))


class CountByWindow(beam.PTransform):  # type: ignore[misc]
    """Rows -> a :class:`Tally` a unit, whose ``rows`` is the sum of the counts that were written."""

    def __init__(self, root: str, window_seconds: int) -> None:
        super().__init__()
        self._root = root
        self._window_seconds = window_seconds

    def expand(self, rows: beam.PCollection) -> Any:
        return rows | "Counts" >> beam.ParDo(_Count(self._root, self._window_seconds))
