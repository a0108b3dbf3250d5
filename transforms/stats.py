"""Exact statistics: each unit's counts by event-time window, code, part of the day and area.

They are additive: the sum over units is the count of the lake's rows, and a sliding window is a sum of fixed ones. The
rows of qualified/ are the violations counted as ``qualified`` and officers' answers, counted as ``answers``.
"""

from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.lake import MICROSECONDS, STATS, UTC, Dataset, constant
from sources.units import Tally, UnitBatch, UnitTally
from transforms.clock import PARTS_OF_DAY, part_of_day
from transforms.per_unit import PerUnit
from transforms.qualify import COUNTED, counted_as
from transforms.write import write_tally

HOUR = 3600
_CODES = 128
_NO_CODE = _CODES - 1
_MOST = 1 << 62

Ints = npt.NDArray[np.int64]


class WindowCounter:
    """Counts rows by window, dataset, code, part of the day and area, packed into one integer per row.

    ``window_seconds`` divides an hour or is a multiple of it.
    """

    def __init__(self, window_seconds: int) -> None:
        self._window_seconds = window_seconds
        # An hour is in one part of the day, and in one window or has several.
        self._step = min(window_seconds, HOUR)
        self._areas: dict[str | None, int] = {}
        self._keys: list[Ints] = []
        self._places: list[Ints] = []
        """The number of each row's area."""

    def add(self, rows: pa.RecordBatch) -> None:
        """Add these rows."""
        area, code = rows["area"], rows["violation_code"]
        numbers = [self._areas.setdefault(name, len(self._areas)) for name in [*area.dictionary.to_pylist(), None]]
        places = area.indices.fill_null(len(numbers) - 1).to_numpy()
        key = rows["event_time"].cast(pa.int64()).to_numpy() // (self._step * MICROSECONDS)
        key = (key * len(COUNTED) + counted_as(rows)) * _CODES
        codes = code.fill_null(_NO_CODE).to_numpy() if code.null_count else code.to_numpy()
        if len(codes) and not 0 <= codes.min() <= codes.max() < _CODES:
            raise OverflowError(f"a violation code is not within 0 to {_NO_CODE - 1}: {codes.min()}, {codes.max()}")
        self._keys.append(key + codes)
        self._places.append(np.array(numbers, np.int64)[places])

    def counts(self, unit: str) -> pa.RecordBatch:
        """The sums, as rows of :data:`schemas.lake.STATS` sorted by window."""
        keys, area, n = sum_pairs(np.concatenate(self._keys), np.concatenate(self._places), len(self._areas))
        rest, code = np.divmod(keys, _CODES)
        step, dataset = np.divmod(rest, len(COUNTED))
        start = step * self._step
        part = part_of_day(start * MICROSECONDS).astype(np.int64)
        window = start // self._window_seconds
        start = window * self._window_seconds
        if self._window_seconds > HOUR:  # several steps are one window
            high = ((window * len(COUNTED) + dataset) * _CODES + code) * len(PARTS_OF_DAY) + part
            high, area, n = sum_pairs(high, area, len(self._areas), n)
            rest, part = np.divmod(high, len(PARTS_OF_DAY))
            rest, code = np.divmod(rest, _CODES)
            window, dataset = np.divmod(rest, len(COUNTED))
            start = window * self._window_seconds
        areas = pa.array(list(self._areas), pa.string())
        columns = [
            constant(unit, len(n)),
            _named(dataset, list(COUNTED)),
            pa.array(start * MICROSECONDS).cast(UTC),
            pa.array(np.full(len(n), self._window_seconds, np.int32)),
            pa.array(code.astype(np.int16), mask=code == _NO_CODE),
            _named(part, list(PARTS_OF_DAY)),
            areas.take(pa.array(area)).dictionary_encode(),
            pa.array(n),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=STATS)


def sum_pairs(high: Ints, low: Ints, size: int, n: Ints | None = None) -> tuple[Ints, Ints, Ints]:
    """The distinct pairs of numbers in order, whatever their range, and the sum of ``n``, or the count, of each.

    Args:
        low: from 0 to below ``size``.
    """
    ranks = None
    if len(high) and max(int(high.max()), -int(high.min())) >= _MOST // max(size, 1):
        ranks, high = np.unique(high, return_inverse=True)  # as many as there are rows at most
    pairs = high * size + low
    if n is None:
        pairs, n = np.unique(pairs, return_counts=True)  # without indices, it is a sort of integers, 10 times faster
    else:
        pairs, group = np.unique(pairs, return_inverse=True)
        n = np.bincount(group, weights=n).astype(np.int64)
    high, low = np.divmod(pairs, max(size, 1))
    return high if ranks is None else ranks[high], low, n


def _named(index: npt.NDArray[np.integer], names: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(names))


@beam.typehints.with_output_types(tuple[str, Tally])
class _Count(PerUnit[WindowCounter]):
    def __init__(self, root: str, window_seconds: int) -> None:
        self._root = root
        self._window_seconds = window_seconds

    def process(self, batch: UnitBatch) -> Iterator[UnitTally]:
        counter = self.state_of(batch, WindowCounter(self._window_seconds))
        counter.add(batch.rows)
        if batch.last:
            rows = counter.counts(batch.unit.name)
            tally = write_tally(self._root, Dataset.STATS, batch._replace(part=0), [rows])
            yield batch.unit.name, tally._replace(rows=int(np.sum(rows["n"].to_numpy())))


class CountByWindow(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Rows -> a :class:`Tally` a unit, whose ``rows`` is the sum of the counts that were written."""

    def __init__(self, root: str, window_seconds: int) -> None:
        super().__init__()
        self._root = root
        self._window_seconds = window_seconds

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "Counts" >> beam.ParDo(_Count(self._root, self._window_seconds))
