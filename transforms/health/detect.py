"""Find the events of drones in their samples: a plain function of the set of samples, and of how far they are complete.

The messages are gone through in the order of their times, up to the last moment of which all messages have come. Later
messages need little of those before: of each drone at most five, and when its last event began. So the events do not
depend on where the stream is cut, and the state that goes from one call to the next is small.
"""

from collections.abc import Iterator
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import drone_health as limits
from schemas.drone_health import EventKind
from schemas.lake import DRONE_EVENT, MICROSECONDS, UTC
from transforms.health.samples import (
    BUCKET,
    HEARD,
    JUMPED,
    LOW,
    MESSAGE,
    MISSED,
    OFF,
    PICTURE,
    RECEIVED,
    SAMPLE,
    VIOLATION,
    is_off,
    sample_table,
    thin,
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Marks = dict[int, dict[str, int]]
"""When an event of a kind was last there, by role and drone: while it lasts it is not reported again."""

NEVER: Final = -(2**62)
"""Before all times."""
_SILENT_US: Final = limits.SILENT_SECONDS * MICROSECONDS
_REGULAR_US: Final = limits.REGULAR_SECONDS * MICROSECONDS
_LATE_US: Final = limits.LATE_SECONDS * MICROSECONDS
_PICTURE_US: Final = limits.PICTURE_SECONDS * MICROSECONDS
_AGAIN_US: Final = limits.AGAIN_SECONDS * MICROSECONDS
_GONE_US: Final = limits.GONE_SECONDS * MICROSECONDS
_MINUTE: Final = 60 * MICROSECONDS
_PICTURE_SETTLE_US: Final = _PICTURE_US + _LATE_US
_SLOT_US: Final = _AGAIN_US // 2
"""The drain of a battery is that since the first message of the last half minute but one."""
_METRES_A_DEGREE: Final = 111_320.0
_DAY: Final = 1 << 60


class Found(NamedTuple):
    """What a call of :func:`detect` gives."""

    events: pa.RecordBatch
    """Rows of :data:`schemas.lake.DRONE_EVENT`, without ``unit``."""
    kept: pa.Table
    """The samples that later calls need."""


def complete_before(until: int) -> int:
    """All messages with right times before this one have come, when all that were published until then have: a bucket
    is complete as a whole."""
    return (until - _LATE_US) // BUCKET * BUCKET


def settled_before(samples: pa.Table, frontier: int) -> pa.Table:
    """The received samples without those that a call with this ``frontier`` has in what it kept."""
    role, time, end = samples["role"].to_numpy(), samples["time"].to_numpy(), complete_before(frontier)
    since = np.select(
        [role == VIOLATION, role == PICTURE, is_off(samples["lag"].to_numpy())],
        [frontier - _PICTURE_SETTLE_US + 1, frontier - _PICTURE_SETTLE_US - _PICTURE_US, end - _MINUTE],
        end,
    )
    return samples.filter(pa.array((time >= since) & (role <= RECEIVED)))


def is_pending(kept: pa.Table, until: int) -> bool:
    """Whether an event may be found after this moment without a further message."""
    received = kept["time"].to_numpy()[kept["role"].to_numpy() <= RECEIVED]
    return int(received.max(initial=NEVER)) > until - max(_PICTURE_SETTLE_US, _SILENT_US + _LATE_US + _MINUTE)


def detect(samples: pa.Table, before: int, until: int) -> Found:
    """The events that are decided between two moments.

    Args:
        samples: of :data:`transforms.health.samples.SAMPLE`: those that the last call kept, and those that came since.
        before: the moment of the last call; :data:`NEVER` at the first.
        until: all messages that were published until then are among the samples; microseconds since the epoch.
    """
    samples = thin(samples)
    role = samples["role"].to_numpy()
    messages, marks = samples.filter(pa.array(role == MESSAGE)), _marks(samples, role)
    begin, end = complete_before(before), complete_before(until)
    off = is_off(messages["lag"].to_numpy())
    is_complete = ~off & (messages["time"].to_numpy() < end)
    right, wrong = _Drones(messages.filter(pa.array(is_complete)), begin), _Drones(messages.filter(pa.array(off)))
    heard = _Heard(samples.filter(pa.array(role == HEARD)), right, begin)
    pictures, violations = samples.filter(pa.array(role == PICTURE)), samples.filter(pa.array(role == VIOLATION))
    violations = violations.filter(pa.array(~_has_picture(violations, pictures)))
    rows = [
        *_silent(right, wrong, heard, begin, end),
        *_jumps(right, marks[JUMPED], begin),
        *_batteries(right, marks[LOW], begin),
        *_clocks(right, wrong, marks[OFF], begin, end),
        *_missing(violations, marks[MISSED], before, until),
    ]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in _COLUMNS}
    columns["record"] = [0] * len(rows)
    columns["event_time"] = pa.array(columns["event_time"], pa.int64()).cast(UTC)
    events = pa.RecordBatch.from_pydict(
        {name: columns[name] for name in DRONE_EVENT.names if name != "unit"},
        schema=pa.schema([field for field in DRONE_EVENT if field.name != "unit"]),
    )
    since_off = {OFF: end - 2 * _MINUTE, MISSED: until - _PICTURE_SETTLE_US - _AGAIN_US}
    kept = [
        right.table.filter(pa.array(right.needed_after(end))),
        settled_before(messages, until),
        settled_before(violations, until),
        settled_before(pictures, until),
        heard.kept(end),
        _marked(marks, since_off, end - _AGAIN_US),
    ]
    return Found(events, pa.concat_tables(kept))


_COLUMNS: Final = (
    "event_id", "kind", "drone_id", "event_time", "latitude", "longitude", "battery_pct", "value", "image_id",
)  # fmt: skip


def _marks(samples: pa.Table, role: npt.NDArray[np.int8]) -> Marks:
    marks: Marks = {kind: {} for kind in (JUMPED, LOW, OFF, MISSED)}
    for row in (
        samples.filter(pa.array((role > RECEIVED) & (role != HEARD))).select(["role", "drone_id", "time"]).to_pylist()
    ):
        marks[row["role"]][row["drone_id"]] = row["time"]
    return marks


def _marked(marks: Marks, since: dict[int, int], otherwise: int) -> pa.Table:
    """The marks as samples, but for old ones."""
    rows = [
        {"role": role, "drone_id": drone, "time": time, "lag": 0}
        for role, of in marks.items()
        for drone, time in of.items()
        if time >= since.get(role, otherwise)
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLE)


class _Drones:
    """Messages of drones as arrays, by drone and time.

    Args:
        messages: sorted.
        begin: those before that moment were kept by earlier calls: there are gaps between them.
    """

    def __init__(self, messages: pa.Table, begin: int = NEVER) -> None:
        self.table = messages
        names = messages["drone_id"].combine_chunks().dictionary_encode()
        self.names: list[str] = names.dictionary.to_pylist()
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self.drone: Ints = names.indices.to_numpy().astype(np.int64)
        self.time: Ints = messages["time"].to_numpy()
        self.lag: Ints = messages["lag"].to_numpy()
        self.event: Ints = np.where(is_off(self.lag), self.time - self.lag, self.time)
        self.latitude, self.longitude, self.altitude, self.battery = (
            messages[name].to_numpy() for name in ("latitude", "longitude", "altitude_m", "battery_pct")
        )
        self.sequence: Ints = messages["sequence"].fill_null(-1).to_numpy()
        self.place: Ints = np.arange(len(self.time))
        self.pause: Ints = np.append(_DAY, np.diff(self.time))[: len(self.time)]
        """The time since the message before of the drone."""
        self.pause[1:][np.diff(self.drone) != 0] = _DAY
        self.begin: Ints = self._last((self.pause == _DAY) | ((self.pause > _GONE_US) & (self.time >= begin)))
        """The place of the first message of the drone, or of the first after it was gone."""
        self.earlier: Ints = self._last(self.pause > 0) - 1
        """The place of the last message with an earlier time; before :attr:`begin` where there is none."""
        self.is_last = np.append(self.begin[1:] == self.place[1:], True)[: len(self.time)]
        flies = self.altitude > limits.GROUND_METRES
        self.flies: Bools = flies
        self.ground: Ints = self._last(~flies | (self.begin == self.place))
        """The place where the drone last stood; its first message if it never did."""

    def _last(self, which: Bools) -> Ints:
        """The place of the last row up to each one of which this is true."""
        found: Ints = np.maximum.accumulate(np.where(which, self.place, 0))
        return found

    @cached_property
    def slot(self) -> Ints:
        """A number of the drone and half minute of each row, in order; those of two drones do not follow each other."""
        slot = self.time // _SLOT_US
        since, end = int(slot.min(initial=_DAY)) - 1, int(slot.max(initial=0)) + 1
        return self.begin * max(end - since, 1) + slot - since

    def needed_after(self, end: int) -> Bools:
        """Which rows matter for those from a moment on: of each drone the last one and the one before it, where it last
        stood, and the first ones of the last two half minutes; none of those that are gone."""
        last = np.flatnonzero(self.is_last & (self.time >= end - _GONE_US))
        needed = np.zeros(len(self.time), bool)
        needed[last] = True
        earlier = self.earlier[last]
        needed[earlier[earlier >= self.begin[last]]] = True
        ground = self.ground[last]
        needed[ground[~self.flies[ground]]] = True
        opens_slot = np.append(True, np.diff(self.slot) != 0)[: len(self.slot)]
        return needed | (opens_slot & (self.time // _SLOT_US >= end // _SLOT_US - 1))

    def of(self, name: str) -> slice:
        """The places of a drone's rows."""
        number = self._numbers.get(name, len(self.names))
        return slice(*np.searchsorted(self.drone, (number, number + 1)).tolist())

    def row(self, place: int, kind: EventKind, value: float | None) -> dict[str, Any]:
        """The event that begins at a row."""
        event_time, name = int(self.time[place]), self.names[self.drone[place]]
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


class _Heard:
    """How many samples of all drones there are in each bucket; copies count once."""

    def __init__(self, counted: pa.Table, right: _Drones, begin: int) -> None:
        new = right.time[(right.time >= begin) & (right.pause > 0)] // BUCKET
        buckets, counts = np.unique(new, return_counts=True)
        # A bucket is complete when it is counted, so that none is counted twice.
        self._buckets: Ints = np.append(counted["time"].to_numpy() // BUCKET, buckets)
        self._counts: Ints = np.append(counted["sequence"].to_numpy(), counts).astype(np.int64)
        order = np.argsort(self._buckets)
        self._buckets, self._counts = self._buckets[order], self._counts[order]

    def within(self, buckets: Ints) -> Ints:
        """The samples of each of these buckets and of the one after it."""
        total = np.append(0, np.cumsum(self._counts))
        first, end = (np.searchsorted(self._buckets, buckets + n) for n in (0, 2))
        found: Ints = total[end] - total[first]
        return found

    def kept(self, end: int) -> pa.Table:
        """Those that later silences are compared with, as samples."""
        recent = self._buckets * BUCKET >= end - _SILENT_US - 2 * BUCKET
        n = int(recent.sum())
        columns = {
            "role": np.full(n, HEARD, np.int8),
            "time": self._buckets[recent] * BUCKET,
            "lag": np.zeros(n, np.int64),
            "sequence": self._counts[recent],
        }
        return sample_table(columns, n)


def event_id(drone_id: str, kind: EventKind, event_us: int) -> str:
    """The identity of an event: 32 hexadecimal digits."""
    return blake2b(f"{drone_id}\0{kind}\0{event_us}".encode(), digest_size=16).hexdigest()


def _silent(right: _Drones, wrong: _Drones, heard: _Heard, begin: int, end: int) -> Iterator[dict[str, Any]]:
    """Drones that were heard regularly and of which the next message comes later than :data:`limits.SILENT_SECONDS`, or
    never, while others are heard at the end of that time: else the topic is silent. A drone whose clock went wrong is
    heard."""
    following = np.append(right.pause[1:], _DAY)[: len(right.time)]
    decided = (right.time + _SILENT_US >= begin) & (right.time + _SILENT_US < end)
    # Of the messages of earlier calls only the last one is followed by what really followed it.
    decided &= (right.time >= begin) | np.append(right.time[1:] >= begin, True)[: len(right.time)] | right.is_last
    is_regular = (right.earlier >= right.begin) & (right.time - right.time[right.earlier] <= _REGULAR_US)
    at = np.flatnonzero(decided & is_regular & (following > _SILENT_US))
    last = right.time[at]
    before, after = (heard.within(time // BUCKET + n) for time, n in ((last, -1), (last + _SILENT_US, -2)))
    for place in at[after >= limits.HEARD_SHARE * before].tolist():
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


def _jumps(right: _Drones, marks: dict[str, int], begin: int) -> Iterator[dict[str, Any]]:
    """Positions that are too far from the one before."""
    seconds = right.pause[1:] / MICROSECONDS
    metres = _distance(right.latitude[1:], right.longitude[1:], right.latitude[:-1], right.longitude[:-1])
    jumped = (seconds <= limits.SILENT_SECONDS) & (metres > limits.JUMP_METRES + limits.JUMP_M_S * seconds)
    jumped = np.append(False, jumped)[: len(right.time)] & (right.time >= begin)
    for place in _onsets(right, jumped, marks):
        yield right.row(place, EventKind.POSITION_JUMP, float(metres[place - 1]))


def _batteries(right: _Drones, marks: dict[str, int], begin: int) -> Iterator[dict[str, Any]]:
    """Drones in the air whose battery does not last for the way to where they last stood, at their present drain."""
    ground, has_stood = right.ground, ~right.flies[right.ground]
    away = _distance(right.latitude, right.longitude, right.latitude[ground], right.longitude[ground])
    metres = np.where(has_stood, away, 0.0)
    slot = right.slot
    since = np.searchsorted(slot, slot - 1)
    seconds = (right.time - right.time[since]) / MICROSECONDS
    known = (slot[since] == slot - 1) & ((since > ground) | ~has_stood) & (seconds >= limits.AGAIN_SECONDS / 2)
    lost = right.battery[since] - right.battery
    drain = np.divide(lost, seconds, out=np.full(len(seconds), limits.DRAIN_PCT_S), where=known)
    needed = metres / limits.RETURN_M_S * np.maximum(drain, limits.DRAIN_PCT_S)
    # False where a drone (v0) reports no battery.
    low = right.flies & (right.battery < needed + limits.RESERVE_PCT) & (right.time >= begin)
    for at in _onsets(right, low, marks):
        yield right.row(at, EventKind.BATTERY_LOW, float(needed[at]))


def _onsets(drones: _Drones, flagged: Bools, marks: dict[str, int]) -> list[int]:
    """Where a condition begins: it did not hold for the drone within :data:`limits.AGAIN_SECONDS` before."""
    at = np.flatnonzero(flagged)
    drone, time = drones.drone[at], drones.time[at]
    before = np.append(NEVER, time[:-1])[: len(at)]
    first = np.flatnonzero(np.append(True, np.diff(drone) != 0)[: len(at)])
    before[first] = [marks.get(drones.names[number], NEVER) for number in drone[first]]
    last = np.append(first[1:], len(at)) - 1 if len(at) else first
    marks.update((drones.names[drone[place]], int(time[place])) for place in last)
    found: list[int] = at[time - before > _AGAIN_US].tolist()
    return found


def _clocks(right: _Drones, wrong: _Drones, marks: dict[str, int], begin: int, end: int) -> Iterator[dict[str, Any]]:
    """Drones of which all messages of a minute have a wrong time, unlike those of the minute before.

    Messages that are older than the last one with a right time are a backlog, and are left out.
    """
    minutes = wrong.time // _MINUTE
    ends = (minutes + 1) * _MINUTE
    due = np.flatnonzero((ends > begin) & (ends <= end))
    cuts = np.flatnonzero((np.diff(wrong.drone[due]) != 0) | (np.diff(minutes[due]) != 0)) + 1
    for places in np.split(due, cuts) if len(due) else ():
        name, minute = wrong.names[wrong.drone[places[0]]], int(minutes[places[0]])
        if len(where := _off_in(wrong, places, right, right.of(name), minute)):
            if marks.get(name) != (minute - 1) * _MINUTE:
                offset = -float(wrong.lag[where].min()) / MICROSECONDS
                yield wrong.row(int(where[0]), EventKind.CLOCK_OFF, offset)
            marks[name] = minute * _MINUTE


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


def _has_picture(violations: pa.Table, pictures: pa.Table) -> Bools:
    """Whether the picture of a violation came at most :data:`limits.PICTURE_SECONDS` before or after it."""
    wanted = pictures.filter(pc.is_in(pictures["image_id"], value_set=violations["image_id"].combine_chunks()))
    times: dict[str, list[int]] = {}
    for image, time in zip(wanted["image_id"].to_pylist(), wanted["time"].to_pylist(), strict=True):
        times.setdefault(image, []).append(time)
    pairs = zip(violations["image_id"].to_pylist(), violations["time"].to_pylist(), strict=True)
    came = (any(abs(time - at) <= _PICTURE_US for at in times.get(image, ())) for image, time in pairs)
    return np.fromiter(came, bool, violations.num_rows)


def _missing(violations: pa.Table, marks: dict[str, int], before: int, until: int) -> Iterator[dict[str, Any]]:
    """Violations whose picture has not come in time, out of those without; of those of a drone within a minute the
    first."""
    violations = violations.sort_by([(name, "ascending") for name in ("drone_id", "time", "image_id", "lag")])
    drones = _Drones(violations)
    settled = drones.time + _PICTURE_SETTLE_US
    for at in _onsets(drones, (settled > before) & (settled <= until), marks):
        image = violations["image_id"][at].as_py()
        yield drones.row(at, EventKind.PICTURE_MISSING, float(limits.PICTURE_SECONDS)) | {"image_id": image}


def _distance(latitude: Floats, longitude: Floats, other_latitude: Floats, other_longitude: Floats) -> Floats:
    """In metres; good enough within a city."""
    north = (latitude - other_latitude) * _METRES_A_DEGREE
    east = (longitude - other_longitude) * _METRES_A_DEGREE * np.cos(np.radians(latitude))
    return np.hypot(north, east)
