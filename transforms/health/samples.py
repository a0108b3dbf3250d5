"""What drone health looks at: few rows of each drone, as columns.

Of the messages of a drone the first and the last of every ten seconds are enough. Which these are depends only on the
set of messages, not on how it is cut into batches and in which order they come: thinning the union of thinned parts
gives the same rows.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.drone_health import CLOCK_AHEAD_SECONDS, LATE_SECONDS, REPLAY_SECONDS
from schemas.lake import MICROSECONDS
from schemas.messages import OFFICER

Ints = npt.NDArray[np.int64]

BUCKET: Final = 10 * MICROSECONDS
MESSAGE, VIOLATION, PICTURE = range(3)
"""The roles of a row."""

SAMPLE: Final = pa.schema(
    [
        pa.field("role", pa.int8(), nullable=False),
        pa.field("drone_id", pa.string()),
        pa.field("time", pa.int64(), nullable=False),
        pa.field("event_us", pa.int64(), nullable=False),
        pa.field("published_us", pa.int64(), nullable=False),
        pa.field("off", pa.bool_(), nullable=False),
        pa.field("sequence", pa.int64()),
        pa.field("latitude", pa.float64()),
        pa.field("longitude", pa.float64()),
        pa.field("altitude_m", pa.float64()),
        pa.field("battery_pct", pa.float64()),
        pa.field("image_id", pa.string()),
    ]
)
"""Times are microseconds since the epoch. ``time`` is the place of a row on the axis on which events are found: that of
the event; of a row whose times differ too much, which is ``off``, that of its publication. A picture has no drone."""
NEEDED: Final = frozenset({*SAMPLE.names, "event_time", "published_at", "status"})
"""The columns of messages and pictures that samples are made of."""
NO_SAMPLES: Final = SAMPLE.empty_table()


def samples_of(rows: pa.RecordBatch | pa.Table, with_violations: bool = True) -> pa.Table:
    """The samples in decoded messages (:data:`transforms.messages.rows.MESSAGE`), or in rows of the lake.

    Officers' answers are no messages of drones.

    Args:
        with_violations: rows of a violation with a picture are there a second time, as violations.
    """
    event, published, off, judged = _times(rows)
    keep = judged & _differs(rows, "status", OFFICER)
    time = np.where(off, published, event)
    places = _thin(_codes(rows["drone_id"]), time, off, np.flatnonzero(keep))
    columns = {"time": time, "event_us": event, "published_us": published, "off": off}
    messages = _take(rows, columns, places, MESSAGE)
    if not with_violations or "image_id" not in rows.schema.names:
        return messages
    pictured = keep & ~off & rows["image_id"].is_valid().to_numpy(zero_copy_only=False)
    return pa.concat_tables([messages, _take(rows, columns, np.flatnonzero(pictured), VIOLATION)])


def pictures_of(rows: pa.RecordBatch | pa.Table) -> pa.Table:
    """The samples in rows of pictures."""
    event, published, off, judged = _times(rows)
    columns = {"time": published, "event_us": event, "published_us": published, "off": off}
    return _take(rows, columns, np.flatnonzero(judged), PICTURE)


def thin(samples: pa.Table) -> pa.Table:
    """The samples without those that are not needed, each once, by drone and time."""
    role, drone = samples["role"].to_numpy(), _codes(samples["drone_id"])
    time, off = samples["time"].to_numpy(), samples["off"].to_numpy()
    parts = [samples.take(_thin(drone, time, off, np.flatnonzero(role == MESSAGE)))]
    others = samples.filter(pa.array(role != MESSAGE))
    if others.num_rows:
        parts.append(others.group_by(SAMPLE.names).aggregate([]).select(SAMPLE.names).cast(SAMPLE))
    found = pa.concat_tables(parts)
    return found.sort_by([(name, "ascending") for name in SAMPLE.names if name != "published_us"])


def _thin(drone: Ints, time: Ints, off: npt.NDArray[np.bool_], among: Ints) -> Ints:
    """The places of the first and the last row of each drone, of right and of wrong times, in each bucket."""
    if not len(among):
        return among
    order = among[np.argsort(time[among], kind="stable")]
    group = drone[order] * 2 + off[order]
    # The stable sort of numbers of 16 bits takes a fraction of the time.
    by_drone = np.argsort(group.astype(np.uint16) if drone.max() < 1 << 15 else group, kind="stable")
    order, group = order[by_drone], group[by_drone]
    bucket = time[order] // BUCKET
    begins = np.ones(len(order), bool)
    begins[1:] = (bucket[1:] != bucket[:-1]) | (group[1:] != group[:-1])
    ends, number, times = np.append(begins[1:], True), np.cumsum(begins) - 1, time[order]
    # Rows of one time stay together, so that no order of the input matters.
    found: Ints = order[(times == times[begins][number]) | (times == times[ends][number])]
    return found


def _times(
    rows: pa.RecordBatch | pa.Table,
) -> tuple[Ints, Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Time of the event and of publication; whether they differ too much, and whether they can be judged at all.

    A row of a recording has no time of publication: that of its event takes its place.
    """
    event: Ints = _one(rows["event_time"]).cast(pa.int64()).to_numpy()
    published: Ints = pc.coalesce(_one(rows["published_at"]).cast(pa.int64()), pa.array(event)).to_numpy()
    lag = published - event
    off = (lag > LATE_SECONDS * MICROSECONDS) | (lag < -CLOCK_AHEAD_SECONDS * MICROSECONDS)
    return event, published, off, np.abs(lag) <= REPLAY_SECONDS * MICROSECONDS


def _take(rows: pa.RecordBatch | pa.Table, columns: dict[str, Any], places: Ints, role: int) -> pa.Table:
    taken = pa.array(places)
    found: dict[str, Any] = {name: pa.array(column[places]) for name, column in columns.items()}
    found["role"] = pa.array(np.full(len(places), role, np.int8))
    for name in rows.schema.names:
        if name in SAMPLE.names and not (name == "image_id" and role == MESSAGE):
            found[name] = _one(rows[name]).take(taken).cast(SAMPLE.field(name).type)
    nothing = {f.name: pa.nulls(len(places), f.type) for f in SAMPLE if f.name not in found}
    return pa.table([{**found, **nothing}[f.name] for f in SAMPLE], schema=SAMPLE)


def _codes(column: pa.Array | pa.ChunkedArray) -> Ints:
    """A number for each distinct text; only equality counts."""
    one = _one(column)
    encoded = one if pa.types.is_dictionary(one.type) else one.dictionary_encode()
    codes: Ints = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _differs(rows: pa.RecordBatch | pa.Table, name: str, value: str) -> npt.NDArray[np.bool_]:
    column = _one(rows[name])
    if pa.types.is_dictionary(column.type) and value not in column.dictionary.to_pylist():
        return np.ones(len(column), bool)
    differs: npt.NDArray[np.bool_] = (
        pc.not_equal(column.cast(pa.string()), value).fill_null(True).to_numpy(zero_copy_only=False)
    )
    return differs


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
