"""The same message published twice: the first one in the unit stays, the others are counted."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sources.units import DUPLICATES, TALLIES, Tally, UnitBatch
from transforms.names import ROWS
from transforms.per_unit import PerUnit


def first_seen(ids: pa.StringArray, seen: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which rows have an id that stands neither in ``seen`` nor in a row before."""
    # An id that was not there before gets the next number.
    numbers = ids.dictionary_encode().indices.to_numpy()
    first = np.diff(np.maximum.accumulate(numbers), prepend=-1) > 0
    # The table to look up in is made of the new ids: those of a unit so far would be put into one again for each batch.
    first[pc.index_in(seen, value_set=ids).drop_null().to_numpy()] = False
    return first


def _in_order(rows: pa.RecordBatch) -> pa.RecordBatch:
    record = rows["record"].to_numpy()
    if (record[1:] >= record[:-1]).all():
        return rows
    return rows.take(pa.array(np.argsort(record, kind="stable")))


class _Seen:
    def __init__(self) -> None:
        self.ids: list[pa.StringArray] = []
        self.duplicates = 0


class _DropDuplicates(PerUnit[_Seen]):
    def process(self, batch: UnitBatch) -> Iterator[Any]:
        seen = self.kept(batch, _Seen())
        # Rows that were read with care stand behind the others: put them back in order first.
        rows = _in_order(batch.rows)
        first = first_seen(rows["message_id"], pa.chunked_array(seen.ids, pa.string()))
        fresh = rows if first.all() else rows.filter(pa.array(first))
        seen.ids.append(fresh["message_id"])
        seen.duplicates += len(first) - fresh.num_rows
        yield batch.with_rows(fresh)
        if batch.last:
            yield beam.pvalue.TaggedOutput(TALLIES, (batch.unit.name, Tally(DUPLICATES, seen.duplicates)))


class DropDuplicates(beam.PTransform):  # type: ignore[misc]
    """Decoded messages -> ``rows`` without those whose message_id the unit had before, and ``tallies``."""

    def expand(self, rows: beam.PCollection) -> Any:
        return rows | "By message_id" >> beam.ParDo(_DropDuplicates()).with_outputs(TALLIES, main=ROWS)
