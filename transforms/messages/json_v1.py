"""v1 messages: JSON decoded in columns.

A clean chunk takes one C loop for each of decoding, transposing and building the columns. Where that fails, or where
the number of quotes is unexpected (a duplicate key, an escape), the rows that cause it are read one by one.
"""

from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import astuple

from schemas.lake import EXTRA, MICROSECONDS, UTC
from schemas.messages import EVENT_SECONDS, MAX_BYTES, OFFICER, DroneMessage, Reason
from schemas.times import event_time_of
from transforms.messages.payload import FIELDS, Refusal, guarded, read_payload
from transforms.messages.rows import Decoded, Ints, message_batch

CHUNK: Final = 2000
"""Rows decoded at once: their objects stay in the cache (0.9 M rows/s, all at once 0.4 M)."""

_PLACE: Final = {name: place for place, name in enumerate(FIELDS)}
_CODE: Final = _PLACE["violation_code"]
_OPTIONAL: Final = [_PLACE[field.name] for field in msgspec.structs.fields(DroneMessage) if not field.required]
_NUMBERS: Final = ("schema_version", "sequence", "latitude", "longitude", "altitude_m", "battery_pct")
_ALL_QUOTES: Final = 2 * len(FIELDS) + 2 * (len(FIELDS) - len(_NUMBERS))
"""Quotes of a message with all fields if violation_code were a text; each null field has 4 fewer."""
_SIGNED: Final = Refusal(Reason.FIELD_INVALID, "a drone's message has no signature: only an officer's answer is signed")
_decode: Final = msgspec.json.Decoder(DroneMessage).decode


def decode_json(payload: pa.BinaryArray, places: Ints, done: Decoded) -> None:
    """Decode the payloads at these places of the batch; appends the results to ``done``."""
    if len(places) < len(payload):
        payload = payload.take(pa.array(places))
    for start in range(0, len(places), CHUNK):
        _decode_chunk(payload.slice(start, CHUNK).to_pylist(), places[start : start + CHUNK], done)


def _decode_chunk(texts: list[bytes], places: Ints, done: Decoded) -> None:
    rows = _decode_plain(texts)
    extras: dict[int, dict[str, str]] = {}
    kept = np.arange(len(rows))
    columns: list[Any] = [] if None in rows else list(zip(*rows, strict=True))
    if not columns or not _accounted(texts, columns):
        for row in _doubtful(texts, rows):
            message = guarded(read_payload, texts[row])
            if isinstance(message, Refusal):
                done.refused.append((int(places[row]), message))
                rows[row] = None
            else:
                rows[row], extras[row] = message
        kept = np.array([row for row, values in enumerate(rows) if values is not None], np.int64)
        if not len(kept):
            return
        columns = list(zip(*filter(None, rows), strict=True))
    texts_of_time = columns[_PLACE["event_time"]]
    columns[_PLACE["event_time"]] = times = _event_times(texts_of_time)
    signed = _signed_by_drones(columns)
    named = dict(zip(FIELDS, columns, strict=True))
    if extras:
        items = [extras.get(row, {}) for row in kept.tolist()]
        named["extra"] = pa.array([list(extra.items()) or None for extra in items], EXTRA)
    batch = message_batch(named, len(kept))
    refused = dict.fromkeys(signed, _SIGNED)
    if times.null_count:
        unreadable = np.flatnonzero(times.is_null().to_numpy(zero_copy_only=False))
        refused |= {row: Refusal(Reason.EVENT_TIME_UNREADABLE, texts_of_time[row]) for row in unreadable.tolist()}
    if refused:
        done.refused.extend((int(places[kept[row]]), refusal) for row, refusal in refused.items())
        good = np.ones(len(kept), bool)
        good[list(refused)] = False
        batch, kept = batch.filter(pa.array(good)), kept[good]
    done.rows.append(batch)
    done.places.append(places[kept])


def _signed_by_drones(columns: list[Any]) -> list[int]:
    """Messages with a signature that are not officers' answers: nothing verifies it, so they are refused."""
    signatures = columns[_PLACE["signature"]]
    if signatures.count(None) == len(signatures):
        return []
    pairs = zip(columns[_PLACE["status"]], signatures, strict=True)
    return [row for row, (status, signature) in enumerate(pairs) if status != OFFICER and signature is not None]


def _decode_plain(texts: list[bytes]) -> list[tuple[Any, ...] | None]:
    """The fields of each message; None where the fast decoder cannot read it. A clean list takes one C loop; otherwise
    the loop resumes after each failing message, so that none is decoded twice."""
    rows: list[tuple[Any, ...] | None] = []
    waiting = iter(texts)
    while len(rows) < len(texts):
        try:
            rows.extend(map(astuple, map(_decode, waiting)))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            rows.append(None)  # extend has kept those before it
    return rows


def _accounted(texts: list[bytes], columns: list[tuple[Any, ...]]) -> bool:
    """Whether no message is too long and all quotes belong to the fields that were read.

    The sum is enough: no message has fewer quotes than its fields, so that a surplus is not hidden.
    """
    n = len(texts)
    if max(map(len, texts)) > MAX_BYTES:
        return False
    quotes = np.count_nonzero(np.frombuffer(b"".join(texts), np.uint8) == ord('"'))
    nones = sum(columns[place].count(None) for place in _OPTIONAL)
    return bool(quotes == _ALL_QUOTES * n - 4 * nones - 2 * (n - columns[_CODE].count(None)))


def _doubtful(texts: list[bytes], rows: list[tuple[Any, ...] | None]) -> list[int]:
    """The messages for the slow path: not readable, too long, or with unexpected quotes (a duplicate key, an escaped
    quote)."""
    return [
        row
        for row, (text, values) in enumerate(zip(texts, rows, strict=True))
        if values is None or len(text) > MAX_BYTES or text.count(b'"') != _quotes(values)
    ]


def _quotes(values: tuple[Any, ...]) -> int:
    """How many quotes a message of these fields holds: two around each name, two around each text."""
    return _ALL_QUOTES - 4 * values.count(None) - 2 * (values[_CODE] is not None)


_COMMON_TIME: Final = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z$"


def _event_times(texts: tuple[str, ...]) -> pa.Array:
    """The times, null where there is none: those of the common form all at once, the others one by one."""
    array = pa.array(texts, pa.string())
    try:
        # Of what Arrow reads, this is the common form, with a blank for the T too.
        if min(map(len, texts)) >= len("2026-01-15T12:00:00Z") and pc.all(pc.ends_with(array, "Z")).as_py():
            return _within_years(array.cast(UTC))
    except pa.ArrowInvalid:
        pass
    common = pc.match_substring_regex(array, _COMMON_TIME)
    try:
        times = _within_years(pc.if_else(common, array, None).cast(UTC))
    except pa.ArrowInvalid:  # a thirteenth month
        return pa.array(map(event_time_of, texts), pa.int64()).cast(UTC)
    others = [
        None if is_common else event_time_of(text) for text, is_common in zip(texts, common.to_pylist(), strict=True)
    ]
    return pc.coalesce(times, pa.array(others, pa.int64()).cast(UTC))


def _within_years(times: pa.Array) -> pa.Array:
    micros = times.cast(pa.int64())
    first, end = (second * MICROSECONDS for second in EVENT_SECONDS)
    return pc.if_else(pc.and_(pc.greater_equal(micros, first), pc.less(micros, end)), times, None)
