"""Deduplication within a unit: of equal messages the first one stays, the others are counted.

Content is identity (:data:`schemas.lake.CONTENT`): the same message_id with other content is another message, which
stays and is counted as a conflict. Copies in other units are found when the unit is published (:mod:`lake.copies`).
Rows with a message_id that the unit had before are marked ``repeated``: they raise no alert, and live statistics do not
count them.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics

from schemas.lake import CONTENT, DUPLICATES
from sources.units import TALLIES, Tally, UnitBatch
from transforms.messages.rows import REPEATED
from transforms.outputs import ROWS
from transforms.per_unit import PerUnit

_COLUMNS = ("message_id", "kind", *(name for name in CONTENT if name != "message_id"))


def first_seen(ids: pa.StringArray, seen: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which rows have an id that is neither in ``seen`` nor in an earlier row."""
    # An id that was not there before gets the next number.
    numbers = ids.dictionary_encode().indices.to_numpy()
    first = np.diff(np.maximum.accumulate(numbers), prepend=-1) > 0
    # The hash table is built of the new ids; one of all ids of the unit would be rebuilt for each batch.
    first[pc.index_in(seen, value_set=ids).drop_null().to_numpy()] = False
    return first


def _in_order(rows: pa.RecordBatch) -> pa.RecordBatch:
    record = rows["record"].to_numpy()
    if (record[1:] >= record[:-1]).all():
        return rows
    return rows.take(pa.array(np.argsort(record, kind="stable")))


class _Seen:
    """The first row of each message_id of a unit, and the contents seen of the ids that occur several times."""

    def __init__(self) -> None:
        self.ids: list[pa.StringArray] = []
        self.firsts: list[pa.RecordBatch] = []
        self.contents: dict[str, set[bytes]] = {}
        """By id, the hashes of the contents."""
        self.duplicates = 0

    def keep(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, int]:
        """Those of the unit's next rows that stay, with ``repeated``, and how many of them are conflicts."""
        kept = first = first_seen(rows["message_id"], pa.chunked_array(self.ids, pa.string()))
        firsts = rows.select(_COLUMNS)
        conflicts = 0
        if not first.all():
            again = firsts.filter(pa.array(~first))
            firsts = firsts.filter(pa.array(first))
        self.ids.append(firsts["message_id"])
        self.firsts.append(firsts)
        if not first.all():
            self._look_up(again["message_id"])
            kept = first.copy()
            kept[~first] = stays = [self._is_new(*message) for message in _contents(again)]
            conflicts = sum(stays)
            self.duplicates += len(stays) - conflicts
        place = rows.schema.get_field_index(REPEATED)
        rows = rows.set_column(place, rows.schema.field(place), pa.array(~first))
        return rows if kept.all() else rows.filter(pa.array(kept)), conflicts

    def _look_up(self, ids: pa.StringArray) -> None:
        """Load the first rows of the ids that occur a second time now."""
        new = pa.array([name for name in ids.unique().to_pylist() if name not in self.contents], pa.string())
        for firsts in self.firsts if len(new) else ():
            there = pc.index_in(firsts["message_id"], value_set=new).is_valid()
            for name, content in _contents(firsts.filter(there)):
                self.contents[name] = {content}

    def _is_new(self, name: str, content: bytes) -> bool:
        """Whether the unit had no message with this id and content before."""
        known = self.contents[name]
        is_new = content not in known
        known.add(content)
        return is_new


def _contents(rows: pa.RecordBatch) -> Iterator[tuple[str, bytes]]:
    """Message_id and hash of the content of each row; row by row, as few are repeated."""
    content = zip(*(_comparable(rows[name]).to_pylist() for name in _COLUMNS[1:]), strict=True)
    for name, values in zip(rows["message_id"].to_pylist(), content, strict=True):
        yield name, blake2b(repr(values).encode(), digest_size=16).digest()


def _comparable(column: pa.Array) -> pa.Array:
    """The column, equal numbers alike: -0.0 is 0.0, as SQL has it."""
    return pc.add(column, 0.0) if pa.types.is_floating(column.type) else column


class _DropDuplicates(PerUnit[_Seen]):
    def __init__(self) -> None:
        self._conflicts = Metrics.counter("messages", "conflicts")

    def process(self, batch: UnitBatch) -> Iterator[Any]:
        seen = self.state_of(batch, _Seen())
        # Rows of the slow path come after the others: restore the order first.
        rows, conflicts = seen.keep(_in_order(batch.rows))
        if conflicts:
            self._conflicts.inc(conflicts)
        yield batch.with_rows(rows)
        if batch.last:
            yield beam.pvalue.TaggedOutput(TALLIES, (batch.unit.name, Tally(DUPLICATES, seen.duplicates)))


class DropDuplicates(beam.PTransform):  # type: ignore[misc]
    """Decoded messages -> ``rows`` without duplicates within the unit, and ``tallies``. Counts messages with the
    message_id of another one of their unit and other content as the metric ``conflicts`` of ``messages``."""

    def expand(self, rows: beam.PCollection) -> Any:
        return rows | "By message_id" >> beam.ParDo(_DropDuplicates()).with_outputs(TALLIES, main=ROWS)
