"""Find the events of drones in their samples: a plain function of the set of samples, and of how far they are complete.

Every kind is local: whether an event begins at a sample depends on the samples around it, at most :data:`SETTLE_US`
after it and :data:`CONTEXT_US` before it, and on two samples of its drone that are kept for longer: the last one with a
right time, and the last one on the ground. So the events do not depend on where the stream is cut, and the state that
goes from one call to the next is small.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import drone_health as limits
from schemas.drone_health import EventKind
from schemas.lake import DRONE_EVENT, MICROSECONDS, UTC
from transforms.health.samples import BUCKET, MESSAGE, PICTURE, VIOLATION, thin

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NEVER: Final = -(2**62)
"""Before all times."""
_SILENT_US: Final = limits.SILENT_SECONDS * MICROSECONDS
_REGULAR_US: Final = limits.REGULAR_SECONDS * MICROSECONDS
_LATE_US: Final = limits.LATE_SECONDS * MICROSECONDS
_PICTURE_US: Final = limits.PICTURE_SECONDS * MICROSECONDS
_AGAIN_US: Final = limits.AGAIN_SECONDS * MICROSECONDS
_MINUTE: Final = 60 * MICROSECONDS
SETTLE_US: Final = _SILENT_US + _LATE_US
"""How long after a message all that decides about it has come."""
_PICTURE_SETTLE_US: Final = _PICTURE_US + _LATE_US
CONTEXT_US: Final = 2 * max(_AGAIN_US, _MINUTE) + BUCKET
"""How far back the samples of a drone matter."""
_MILLISECOND: Final = 1000
_METRES_A_DEGREE: Final = 111_320.0
_DAY: Final = 1 << 60


class Found(NamedTuple):
    """What a call of :func:`detect` gives."""

    events: pa.RecordBatch
    """Rows of :data:`schemas.lake.DRONE_EVENT`, without ``unit``."""
    kept: pa.Table
    """The samples that later calls need."""


def settled_before(samples: pa.Table, frontier: int) -> pa.Table:
    """The samples without those whose events were found before, by a call with this ``frontier``."""
    settle = np.where(samples["role"].to_numpy() == MESSAGE, SETTLE_US, _PICTURE_SETTLE_US)
    return samples.filter(pa.array(samples["time"].to_numpy() + settle > frontier))


def detect(samples: pa.Table, before: int, until: int) -> Found:
    """The events that begin at samples which became settled between two moments.

    Args:
        samples: of :data:`transforms.health.samples.SAMPLE`: those that the last call kept, and those that came since.
        before: the moment of the last call; :data:`NEVER` at the first.
        until: all messages that were published until then are among the samples; microseconds since the epoch.
    """
    samples = thin(samples)
    role = samples["role"].to_numpy()
    messages = samples.filter(pa.array(role == MESSAGE))
    rows = [*_of_messages(messages, before - SETTLE_US, until - SETTLE_US)]
    if (role == VIOLATION).any():
        rows += _pictures(samples.filter(pa.array(role != MESSAGE)), before, until)
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in _COLUMNS}
    columns["record"] = [0] * len(rows)
    columns["event_time"] = pa.array(columns["event_time"], pa.int64()).cast(UTC)
    events = pa.RecordBatch.from_pydict(
        {name: columns[name] for name in DRONE_EVENT.names if name != "unit"},
        schema=pa.schema([field for field in DRONE_EVENT if field.name != "unit"]),
    )
    return Found(events, pa.concat_tables([_kept(messages, until), _kept_pictures(samples, role, until)]))


_COLUMNS: Final = (
    "event_id", "kind", "drone_id", "event_time", "latitude", "longitude", "battery_pct", "value", "image_id",
)  # fmt: skip


class _Drones:
    """The messages of all drones as arrays, by drone and time; right and wrong times apart."""

    def __init__(self, messages: pa.Table) -> None:
        self.table = messages
        names = messages["drone_id"].combine_chunks().dictionary_encode()
        self.names = names.dictionary.to_pylist()
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self.drone: Ints = names.indices.to_numpy().astype(np.int64)
        self.time: Ints = messages["time"].to_numpy()
        self.event: Ints = messages["event_us"].to_numpy()
        self.lag: Ints = messages["published_us"].to_numpy() - self.event
        self.latitude, self.longitude, self.altitude, self.battery = (
            messages[name].to_numpy() for name in ("latitude", "longitude", "altitude_m", "battery_pct")
        )
        self.sequence: Ints = messages["sequence"].fill_null(-1).to_numpy()
        self._since = int(self.time.min()) // _MILLISECOND if len(self.time) else 0

    def window(self, us: int) -> Ints:
        """For each row the place of the first row of its drone that is at most so much older, in milliseconds."""
        found: Ints = np.searchsorted(self._keys(self.time), self._keys(self.time - us))
        return found

    def _keys(self, time: Ints) -> Ints:
        """Numbers that sort as drone and time; there is room for 30 years and eight million drones."""
        return self.drone * (1 << 40) + np.maximum(time // _MILLISECOND - self._since, 0)

    def of(self, name: str) -> slice:
        """The places of a drone's rows."""
        number = self._numbers.get(name, len(self.names))
        return slice(*np.searchsorted(self.drone, (number, number + 1)).tolist())

    def row(self, place: int, kind: EventKind, value: float | None, time: int | None = None) -> dict[str, Any]:
        """The event that begins at a row."""
        event_time = int(self.time[place]) if time is None else time
        name = self.names[self.drone[place]]
        battery = self.battery[place]
        return {
            "event_id": event_id(name, kind, event_time),
            "kind": str(kind),
            "drone_id": name,
            "event_time": event_time,
            "latitude": float(self.latitude[place]),
            "longitude": float(self.longitude[place]),
            "battery_pct": None if np.isnan(battery) else float(battery),
            "value": value,
            "image_id": None,
        }


def event_id(drone_id: str, kind: EventKind, event_us: int) -> str:
    """The identity of an event: 32 hexadecimal digits."""
    return blake2b(f"{drone_id}\0{kind}\0{event_us}".encode(), digest_size=16).hexdigest()


def _of_messages(messages: pa.Table, after: int, until: int) -> Iterator[dict[str, Any]]:
    if not messages.num_rows:
        return
    is_off = messages["off"].to_numpy()
    right, wrong = _Drones(messages.filter(pa.array(~is_off))), _Drones(messages.filter(pa.array(is_off)))
    if len(right.time):
        due = (right.time > after) & (right.time <= until)
        yield from _silent(right, wrong, due)
        yield from _jumps(right, due)
        yield from _batteries(right, due)
    if len(wrong.time):
        yield from _clocks(right, wrong, after, until)


def _silent(right: _Drones, wrong: _Drones, due: Bools) -> Iterator[dict[str, Any]]:
    """Drones that were heard regularly and of which the next message comes later than :data:`limits.SILENT_SECONDS`, or
    never, while others are heard at the end of that time: else the topic is silent. A drone whose clock went wrong is
    heard."""
    following = np.append(right.time[1:], _DAY)
    following[np.append(right.drone[1:] != right.drone[:-1], True)] = _DAY
    is_regular = right.time[right.window(_REGULAR_US)] < right.time
    at = np.flatnonzero(due & is_regular & (following - right.time > _SILENT_US))
    everyone, last = np.sort(right.time), right.time[at]
    heard, before = (
        np.searchsorted(everyone, end, "right") - np.searchsorted(everyone, end - BUCKET)
        for end in (last + _SILENT_US, last)
    )
    for place in at[heard >= limits.HEARD_SHARE * before].tolist():
        if not _is_heard(wrong, right, place):
            yield right.row(place, EventKind.SILENT, float(limits.SILENT_SECONDS))


def _is_heard(wrong: _Drones, right: _Drones, place: int) -> bool:
    """Whether newer messages than this one came from the drone after it, with a wrong time."""
    rows = wrong.of(right.names[right.drone[place]])
    since = int(right.time[place])
    first, end = rows.start + np.searchsorted(wrong.time[rows], (since + 1, since + _SILENT_US + 1))
    where = np.arange(first, end)
    newer = where[_is_newer(wrong, where, int(right.sequence[place]), int(right.event[place]))]
    return len(np.unique(wrong.event[newer])) >= limits.CLOCK_MESSAGES


def _is_newer(wrong: _Drones, where: Ints, sequence: int, event: int) -> Bools:
    """Which rows are newer than a message with this number, by their own numbers; v0 has none, so by their time."""
    numbered = (wrong.sequence[where] >= 0) & (sequence >= 0)
    newer: Bools = np.where(numbered, wrong.sequence[where] > sequence, wrong.event[where] > event)
    return newer


def _jumps(right: _Drones, due: Bools) -> Iterator[dict[str, Any]]:
    """Positions that are too far from the one before."""
    seconds = np.diff(right.time) / MICROSECONDS
    metres = _distance(right.latitude[1:], right.longitude[1:], right.latitude[:-1], right.longitude[:-1])
    pairs = (np.diff(right.drone) == 0) & (seconds <= limits.SILENT_SECONDS)
    jumped = np.append(False, pairs & (metres > limits.JUMP_METRES + limits.JUMP_M_S * seconds))
    for place in _onsets(right, jumped, due).tolist():
        yield right.row(place, EventKind.POSITION_JUMP, float(metres[place - 1]))


def _batteries(right: _Drones, due: Bools) -> Iterator[dict[str, Any]]:
    """Drones in the air whose battery does not last for the way to where they last stood, at their present drain."""
    flies = right.altitude > limits.GROUND_METRES
    place = np.arange(len(right.time))
    begin = np.append(True, np.diff(right.drone) != 0)
    ground = np.maximum.accumulate(np.where(~flies | begin, place, 0))  # of the drone; its first row if it never stood
    stood = ~flies[ground]
    metres = np.where(
        stood,
        _distance(right.latitude, right.longitude, right.latitude[ground], right.longitude[ground]),
        0.0,
    )
    before = np.maximum(right.window(_AGAIN_US), np.where(stood, ground + 1, 0))
    before = np.minimum(before, place)
    seconds = (right.time - right.time[before]) / MICROSECONDS
    known = seconds >= limits.AGAIN_SECONDS / 2
    lost = right.battery[before] - right.battery
    drain = np.divide(lost, seconds, out=np.full(len(seconds), limits.DRAIN_PCT_S), where=known)
    needed = metres / limits.RETURN_M_S * np.maximum(drain, limits.DRAIN_PCT_S)
    low = flies & (right.battery < needed + limits.RESERVE_PCT)  # false where a drone (v0) reports no battery
    for at in _onsets(right, low, due).tolist():
        yield right.row(at, EventKind.BATTERY_LOW, float(needed[at]))


def _onsets(right: _Drones, flagged: Bools, due: Bools) -> Ints:
    """Where a condition begins: it did not hold for the drone within :data:`limits.AGAIN_SECONDS` before."""
    before: Ints = np.cumsum(flagged) - flagged
    first = right.window(_AGAIN_US)
    return np.flatnonzero(flagged & due & (before == before[first]))


def _clocks(right: _Drones, wrong: _Drones, after: int, until: int) -> Iterator[dict[str, Any]]:
    """Drones of which all messages of a minute have a wrong time, unlike those of the minute before.

    Messages that are older than the last one with a right time are a backlog, and are left out.
    """
    for name in wrong.names:
        rows, others = wrong.of(name), right.of(name)
        minutes = wrong.time[rows] // _MINUTE
        flagged: dict[int, Ints] = {}
        for minute in np.unique(minutes[(minutes + 2) * _MINUTE > after]).tolist():
            where = rows.start + np.flatnonzero(minutes == minute)
            if len(where := _off_in(wrong, where, right, others, minute)):
                flagged[minute] = where
        for minute, where in flagged.items():
            if minute - 1 not in flagged and after < (minute + 1) * _MINUTE <= until:
                offset = -float(wrong.lag[where].min()) / MICROSECONDS
                yield wrong.row(int(where[0]), EventKind.CLOCK_OFF, offset)


def _off_in(wrong: _Drones, where: Ints, right: _Drones, others: slice, minute: int) -> Ints:
    """The messages of a drone and minute that show a wrong clock; none where that is not certain.

    Args:
        where: places of all messages of the drone and minute with a wrong time.
        others: of all of the drone's messages with a right time.
    """
    begin = minute * _MINUTE
    last, next_minute = np.searchsorted(right.time[others], (begin, begin + _MINUTE)).tolist()
    if last < next_minute:
        return where[:0]
    place = others.start + last - 1
    if last and right.time[place] > begin - limits.CLOCK_MEMORY_SECONDS * MICROSECONDS:
        where = where[_is_newer(wrong, where, int(right.sequence[place]), int(right.event[place]))]
    enough = len(np.unique(wrong.event[where])) >= limits.CLOCK_MESSAGES
    span = limits.CLOCK_SPAN_SECONDS * MICROSECONDS
    return where if enough and wrong.time[where[-1]] - wrong.time[where[0]] >= span else where[:0]


def _pictures(samples: pa.Table, before: int, until: int) -> list[dict[str, Any]]:
    """Violations whose picture has not come in time; of those of a drone within a minute the first."""
    is_picture = samples["role"].to_numpy() == PICTURE
    came = pa.TableGroupBy(samples.filter(pa.array(is_picture)), "image_id").aggregate([("time", "min")])
    violations = samples.filter(pa.array(~is_picture))
    place = pc.index_in(violations["image_id"], value_set=came["image_id"]).fill_null(-1).to_numpy()
    first = np.append(came["time_min"].to_numpy(), _DAY)[place]
    drones = _Drones(violations)
    missing = first > drones.time + _PICTURE_US
    settled = drones.time + _PICTURE_SETTLE_US
    found = _onsets(drones, missing & (settled <= until), (settled > before) & (settled <= until))
    images = violations["image_id"].to_pylist()
    rows = [drones.row(at, EventKind.PICTURE_MISSING, float(limits.PICTURE_SECONDS)) for at in found.tolist()]
    return [{**row, "image_id": images[at]} for row, at in zip(rows, found.tolist(), strict=True)]


def _kept(messages: pa.Table, until: int) -> pa.Table:
    """Those that are not settled, those around them, and of each drone the last one with a right time, and the last one
    on the ground."""
    if not messages.num_rows:
        return messages
    time, off = messages["time"].to_numpy(), messages["off"].to_numpy()
    keep = time > until - SETTLE_US - CONTEXT_US
    drone = messages["drone_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    ground = (messages["altitude_m"].to_numpy() <= limits.GROUND_METRES) & ~off
    recent = ~off & (time > until - SETTLE_US - limits.CLOCK_MEMORY_SECONDS * MICROSECONDS - 2 * _MINUTE)
    for which in (ground, recent):
        places = np.flatnonzero(which & ~keep)
        last = np.append(np.diff(drone[places]) != 0, True)[: len(places)]
        keep[places[last]] = True
    return messages.filter(pa.array(keep))


def _kept_pictures(samples: pa.Table, role: npt.NDArray[np.int8], until: int) -> pa.Table:
    since = until - _PICTURE_SETTLE_US - CONTEXT_US
    keep = (role != MESSAGE) & (samples["time"].to_numpy() > since - np.where(role == PICTURE, _PICTURE_US, 0))
    return samples.filter(pa.array(keep))


def _distance(latitude: Floats, longitude: Floats, other_latitude: Floats, other_longitude: Floats) -> Floats:
    """In metres; good enough within a city."""
    north = (latitude - other_latitude) * _METRES_A_DEGREE
    east = (longitude - other_longitude) * _METRES_A_DEGREE * np.cos(np.radians(latitude))
    return np.hypot(north, east)
