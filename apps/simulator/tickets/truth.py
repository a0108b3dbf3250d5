"""The truth beside a simulated ticket CSV: the expected output of the graph for each record."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from apps.simulator.tickets.clock import REPAIRS, to_utc
from apps.simulator.tickets.corrupt import Row
from apps.simulator.tickets.rows import Chunk
from schemas.history import Repair

SCHEMA: Final = pa.schema(
    [
        pa.field("record", pa.int64(), nullable=False),
        pa.field("summons_number", pa.int64()),
        pa.field("branch", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("event_time", pa.timestamp("us", tz="UTC")),
        pa.field("violation_code", pa.int16()),
        pa.field("county", pa.string()),
        pa.field("plate_id", pa.string()),
        pa.field("street", pa.string()),
        pa.field("repairs", pa.list_(pa.string()), nullable=False),
        pa.field("dirt", pa.string()),
    ]
)
"""One row a record, in the order of the file.

``record`` counts from 0, the header left out. ``branch`` is ``qualified``, ``unqualified`` or ``dead_letters``; a dead
letter has a ``reason``, its summons number if that can be read, and no other value. ``repairs`` are in the order of
``schemas.history.Repair``. ``dirt`` names what was done to the record on purpose (``dirt.RATES``): hours of the clock
change that happen by chance have their repair, and no dirt.
"""

_TIME: Final = pa.timestamp("us", tz="UTC")
_NO_TEXT: Final = pa.scalar(None, pa.string())
_MICROSECONDS: Final = 60_000_000
_ORDER: Final = tuple(value for name, value in vars(Repair).items() if name.isupper())


def truth_of(chunk: Chunk, dirty: Mapping[int, tuple[str, Row]]) -> pa.Table:
    """The truth of a chunk, in :data:`SCHEMA`; ``dirty`` are its dirty rows, by their place in it, in order."""
    count = len(chunk.summons)
    mask = np.zeros(count, dtype=np.bool_)
    mask[list(dirty)] = True
    kinds = [kind for kind, _ in dirty.values()]
    rows = [row for _, row in dirty.values()]

    def replaced(clean: pa.Array, value: Callable[[Row], Any]) -> pa.Array:
        """The clean column with the values of the dirty rows; dead letters have none."""
        values = [None if row.reason else value(row) for row in rows]
        return pc.replace_with_mask(clean, mask, pa.array(values, clean.type))

    def sparse(clean: pa.Scalar, values: list[Any]) -> pa.Array:
        return pc.replace_with_mask(pa.repeat(clean, count), mask, pa.array(values, clean.type))

    repairs = {place: [REPAIRS[chunk.dst[place]]] for place in np.flatnonzero(chunk.dst).tolist()}
    for place, (_, row) in dirty.items():
        named = set() if row.reason else {*row.repairs, to_utc(row.day, row.minute)[1]}
        repairs[place] = [repair for repair in _ORDER if repair in named]
    utc = replaced(pa.array(chunk.utc), lambda row: to_utc(row.day, row.minute)[0])
    counties = pc.if_else(pc.equal(chunk.counties, ""), _NO_TEXT, chunk.counties)
    return pa.table(
        [
            pa.array(np.arange(chunk.first, chunk.first + count)),
            pc.replace_with_mask(pa.array(chunk.summons), mask, pa.array([row.summons for row in rows], pa.int64())),
            sparse(pa.scalar("qualified"), [_branch(row) for row in rows]),
            sparse(_NO_TEXT, [row.reason for row in rows]),
            pc.multiply(utc, _MICROSECONDS).cast(_TIME),
            replaced(pa.array(chunk.codes), lambda row: row.code),
            replaced(counties, lambda row: row.county),
            replaced(chunk.plates, lambda row: row.plate),
            replaced(chunk.streets, lambda row: row.street),
            _lists(count, repairs),
            sparse(_NO_TEXT, kinds),
        ],
        schema=SCHEMA,
    )


def _branch(row: Row) -> str:
    if row.reason:
        return "dead_letters"
    return "qualified" if row.code else "unqualified"


def _lists(count: int, lists: Mapping[int, list[str | None]]) -> pa.ListArray:
    """``count`` lists, empty where ``lists`` has none for the place."""
    lengths = np.zeros(count + 1, dtype=np.int32)
    for place, values in lists.items():
        lengths[place + 1] = len(values)
    values = [value for place in sorted(lists) for value in lists[place]]
    return pa.ListArray.from_arrays(pa.array(np.cumsum(lengths, dtype=np.int32)), pa.array(values, pa.string()))
