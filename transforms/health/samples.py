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
Bools = npt.NDArray[np.bool_]

BUCKET: Final = 10 * MICROSECONDS
MESSAGE, VIOLATION, PICTURE, JUMPED, LOW, OFF, MISSED, HEARD = range(8)
"""The roles of a row. The first three are what was received; the others are what :mod:`transforms.health.detect` keeps:
when a drone last jumped, had a low battery, a wrong clock, or missed a picture, and how many samples of all drones
there were in a bucket (``sequence``)."""
RECEIVED: Final = PICTURE
"""Roles up to this one are of rows that were received."""

SAMPLE: Final = pa.schema(
    [
        pa.field("role", pa.int8(), nullable=False),
        pa.field("drone_id", pa.string()),
        pa.field("time", pa.int64(), nullable=False),
        pa.field("lag", pa.int64(), nullable=False),
        pa.field("sequence", pa.int64()),
        pa.field("latitude", pa.float64()),
        pa.field("longitude", pa.float64()),
        pa.field("altitude_m", pa.float64()),
        pa.field("battery_pct", pa.float64()),
        pa.field("image_id", pa.string()),
    ]
)
"""Times are microseconds since the epoch. ``time`` is the place of a row on the axis on which events are found: that of
the event; of a row whose times differ too much (:func:`is_off`), that of its publication, which is ``lag`` microseconds
after the event. A picture has no drone."""
NEEDED: Final = frozenset({*SAMPLE.names, "event_time", "published_at", "status"})
"""The columns of messages and pictures that samples are made of."""
NO_SAMPLES: Final = SAMPLE.empty_table()
_TIES: Final = ("battery_pct", "altitude_m", "longitude", "latitude", "sequence", "lag")
"""The columns by which rows of one drone and time are sorted, the last one first."""


def is_off(lag: Ints) -> Bools:
    """Whether the times of rows differ too much."""
    off: Bools = (lag > LATE_SECONDS * MICROSECONDS) | (lag < -CLOCK_AHEAD_SECONDS * MICROSECONDS)
    return off


def published_at(samples: pa.Table) -> Ints:
    """When the rows of messages and pictures were published, in microseconds since the epoch."""
    time, lag = samples["time"].to_numpy(), samples["lag"].to_numpy()
    published: Ints = np.where(is_off(lag) | (samples["role"].to_numpy() == PICTURE), time, time + lag)
    return published


def samples_of(rows: pa.RecordBatch | pa.Table, with_violations: bool = True) -> pa.Table:
    """The samples in decoded messages (:data:`transforms.messages.rows.MESSAGE`), or in rows of the lake.

    Officers' answers are no messages of drones.

    Args:
        with_violations: rows of a violation with a picture are there a second time, as violations.
    """
    event, lag, judged = _times(rows)
    off = is_off(lag)
    keep = judged & _differs(rows, "status", OFFICER)
    time = np.where(off, event + lag, event)
    messages = _take(rows, time, lag, _thin(_codes(rows["drone_id"]), time, off, np.flatnonzero(keep)), MESSAGE)
    if not with_violations or "image_id" not in rows.schema.names:
        return messages
    pictured = keep & ~off & rows["image_id"].is_valid().to_numpy(zero_copy_only=False)
    return pa.concat_tables([messages, _take(rows, time, lag, np.flatnonzero(pictured), VIOLATION)])


def pictures_of(rows: pa.RecordBatch | pa.Table) -> pa.Table:
    """The samples in rows of pictures."""
    event, lag, judged = _times(rows)
    return _take(rows, event + lag, lag, np.flatnonzero(judged), PICTURE)


def thin(samples: pa.Table) -> pa.Table:
    """The samples without messages that are not needed, each message once, by drone and time, those that are off
    apart."""
    role, drone, time = samples["role"].to_numpy(), _codes(samples["drone_id"]), samples["time"].to_numpy()
    places = _thin(drone, time, is_off(samples["lag"].to_numpy()), np.flatnonzero(role == MESSAGE))
    messages = _each_once(samples.take(places), drone[places], time[places])
    return pa.concat_tables([messages, samples.filter(pa.array(role != MESSAGE))])


def _each_once(messages: pa.Table, drone: Ints, time: Ints) -> pa.Table:
    """Sorted rows, those of one drone and time in an order that depends only on what is in them, and each once."""
    follows = (np.diff(drone) == 0) & (np.diff(time) == 0)
    tied = np.flatnonzero(np.append(follows, False) | np.append(False, follows))
    if not len(tied):
        return messages
    rows = messages.take(tied)
    ties = [rows[name].to_numpy() for name in _TIES]
    group = np.cumsum(~np.append(False, follows))[tied]
    order = np.lexsort([*ties, is_off(ties[-1]), group])
    columns = [column[order] for column in (*ties, group)]
    again = np.append(False, np.all([_equal(column[1:], column[:-1]) for column in columns], axis=0))
    places = np.arange(messages.num_rows)
    places[tied] = tied[order]
    return messages.take(np.delete(places, tied[again]))


def _equal(some: npt.NDArray[Any], others: npt.NDArray[Any]) -> Bools:
    """Which numbers are equal; that both are missing counts as equal."""
    equal: Bools = (some == others) | (np.isnan(some) & np.isnan(others))
    return equal


def _thin(drone: Ints, time: Ints, off: Bools, among: Ints) -> Ints:
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


def _times(rows: pa.RecordBatch | pa.Table) -> tuple[Ints, Ints, Bools]:
    """Time of the event, how much later it was published, and whether the row can be judged at all.

    A row of a recording has no time of publication: that of its event takes its place.
    """
    event: Ints = _one(rows["event_time"]).cast(pa.int64()).to_numpy()
    published: Ints = pc.coalesce(_one(rows["published_at"]).cast(pa.int64()), pa.array(event)).to_numpy()
    lag = published - event
    return event, lag, np.abs(lag) <= REPLAY_SECONDS * MICROSECONDS


def _take(rows: pa.RecordBatch | pa.Table, time: Ints, lag: Ints, places: Ints, role: int) -> pa.Table:
    taken = pa.array(places)
    found: dict[str, Any] = {"time": pa.array(time[places]), "lag": pa.array(lag[places])}
    found["role"] = pa.array(np.full(len(places), role, np.int8))
    for name in rows.schema.names:
        if name in SAMPLE.names and not (name == "image_id" and role == MESSAGE):
            found[name] = _one(rows[name]).take(taken).cast(SAMPLE.field(name).type)
    return sample_table(found, len(places))


def sample_table(columns: dict[str, Any], n: int) -> pa.Table:
    """``n`` rows of :data:`SAMPLE`; a column that is not given is null."""
    arrays = [columns[f.name] if f.name in columns else pa.nulls(n, f.type) for f in SAMPLE]
    return pa.table(arrays, schema=SAMPLE)


def _codes(column: pa.Array | pa.ChunkedArray) -> Ints:
    """A number for each distinct text; only equality counts."""
    one = _one(column)
    encoded = one if pa.types.is_dictionary(one.type) else one.dictionary_encode()
    codes: Ints = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _differs(rows: pa.RecordBatch | pa.Table, name: str, value: str) -> Bools:
    column = _one(rows[name])
    if pa.types.is_dictionary(column.type) and value not in column.dictionary.to_pylist():
        return np.ones(len(column), bool)
    differs: Bools = pc.not_equal(column.cast(pa.string()), value).fill_null(True).to_numpy(zero_copy_only=False)
    return differs


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
