"""Decode drone payloads in columns: v1 JSON and v0 lines to typed rows, what is neither to dead letters.

A clean chunk of v1 messages takes one C loop for each of decoding, transposing and building the columns. Where that
fails, or where the quotes in the bytes do not add up (a key twice, an escape), the chunk's rows
are looked at one by one. v0 lines are read by the CSV parser.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from msgspec.structs import astuple

from schemas.lake import DEAD_LETTER, ENUM, EXTRA, UTC, constant, empty
from schemas.messages import MAX_BYTES, MAX_CODE, DroneMessage, Reason, v0_message_id
from sources.units import Unit, UnitBatch
from transforms.clock import MICROSECONDS
from transforms.names import DEAD_LETTERS, ROWS, Parsed
from transforms.payloads import FIELDS, Refusal, event_time_of, read_payload

Ints = npt.NDArray[np.int64]

CHUNK: Final = 2000
"""Rows decoded at once: their objects stay in the cache (0.9 M rows/s, all at once 0.4 M)."""
CELLS_PER_DEGREE: Final = 100
"""A cell of the city is 0.01 degrees wide: about 1.1 km by 0.85 km."""

MESSAGE: Final = pa.schema(
    [
        pa.field("unit", ENUM),
        pa.field("record", pa.int64()),
        pa.field("event_time", UTC),
        pa.field("message_id", pa.string()),
        pa.field("drone_id", ENUM),
        pa.field("sequence", pa.int64()),
        pa.field("latitude", pa.float64()),
        pa.field("longitude", pa.float64()),
        pa.field("altitude_m", pa.float64()),
        pa.field("battery_pct", pa.float64()),
        pa.field("kind", ENUM),
        pa.field("status", ENUM),
        pa.field("violation_code", pa.int16()),
        pa.field("plate_id", pa.string()),
        pa.field("image_id", pa.string()),
        pa.field("answers", pa.string()),
        pa.field("officer_id", ENUM),
        pa.field("extra", EXTRA),
        pa.field("area", ENUM),
    ]
)
"""A decoded message, of whichever kind and version."""

_TYPES: Final = {
    "schema_version": pa.int64(), "sequence": pa.int64(), "violation_code": pa.int16(), "latitude": pa.float64(),
    "longitude": pa.float64(), "altitude_m": pa.float64(), "battery_pct": pa.float64(),
}  # fmt: skip
_PLACE: Final = {name: place for place, name in enumerate(FIELDS)}
_CODE: Final = _PLACE["violation_code"]
_ALL_QUOTES: Final = 2 * len(FIELDS) + 2 * (len(FIELDS) - len(_TYPES) + 1)
"""Of a message with all fields, were its violation_code a text: any field that is null has 4 quotes less."""
_decode: Final = msgspec.json.Decoder(DroneMessage).decode


Refused = tuple[int, Refusal]
"""Where in the batch a payload stood, and why it is a dead letter."""


class Decoded(NamedTuple):
    """Rows of :data:`MESSAGE`, where in the batch each stood, and the refused payloads."""

    rows: list[pa.RecordBatch]
    places: list[Ints]
    refused: list[Refused]


def decode_payloads(unit: Unit, payloads: pa.RecordBatch) -> Parsed:
    """Decode a batch of payloads (:data:`sources.recorded.PAYLOADS`).

    Returns:
        Rows of :data:`MESSAGE` and dead letters; every payload is in one of the two.
    """
    done = Decoded([], [], [])
    is_json = _first_bytes(payloads["payload"]) == ord("{")
    _decode_json(payloads["payload"], np.flatnonzero(is_json), done)
    _decode_lines(payloads["payload"], np.flatnonzero(~is_json), done)
    rows = pa.Table.from_batches(done.rows, schema=MESSAGE).unify_dictionaries().combine_chunks()
    places = np.concatenate(done.places) if done.places else np.empty(0, np.int64)
    misfit = _misfits(rows)
    refused = [*done.refused, *((int(places[row]), refusal) for row, refusal in misfit)]
    kept = np.ones(len(places), bool)
    kept[[row for row, _ in misfit]] = False
    rows = rows.set_column(0, MESSAGE.field("unit"), constant(unit.name, rows.num_rows))
    rows = rows.set_column(1, MESSAGE.field("record"), payloads["record"].take(pa.array(places)))
    rows = rows.filter(pa.array(kept)).combine_chunks()
    batch = rows.to_batches()[0] if rows.num_rows else empty(MESSAGE)
    return Parsed(batch, dead_letters(unit, payloads, sorted(refused)))


def _decode_json(payload: pa.BinaryArray, places: Ints, done: Decoded) -> None:
    for start in range(0, len(places), CHUNK):
        chunk = places[start : start + CHUNK]
        _decode_chunk(payload.take(pa.array(chunk)).to_pylist(), chunk, done)


def _decode_chunk(texts: list[bytes], places: Ints, done: Decoded) -> None:
    rows = _decode_plain(texts)
    extras: dict[int, dict[str, str]] = {}
    for row in _doubtful(texts, rows):
        message = read_payload(texts[row])
        if isinstance(message, Refusal):
            done.refused.append((int(places[row]), message))
            rows[row] = None
        else:
            rows[row], extras[row] = message
    kept = np.array([row for row, values in enumerate(rows) if values is not None], np.int64)
    if not len(kept):
        return
    columns: list[Any] = list(zip(*filter(None, rows), strict=True))
    texts_of_time = columns[_PLACE["event_time"]]
    columns[_PLACE["event_time"]] = times = _event_times(texts_of_time)
    batch = _build(columns, [extras.get(row) for row in kept.tolist()] if extras else [])
    if times.null_count:
        unreadable = np.flatnonzero(times.is_null().to_numpy(zero_copy_only=False))
        refusals = [Refusal(Reason.EVENT_TIME_UNREADABLE, texts_of_time[row]) for row in unreadable]
        done.refused.extend(zip(places[kept[unreadable]].tolist(), refusals, strict=True))
        batch, kept = batch.filter(times.is_valid()), np.delete(kept, unreadable)
    done.rows.append(batch)
    done.places.append(places[kept])


def _decode_plain(texts: list[bytes]) -> list[tuple[Any, ...] | None]:
    """The fields of each message; None where it cannot be read by the fast decoder. A clean list takes one
    C loop, another one is halved down to the messages that are to blame."""
    try:
        return list(map(astuple, map(_decode, texts)))
    except (msgspec.MsgspecError, UnicodeError):
        if len(texts) == 1:
            return [None]
    half = len(texts) // 2
    return _decode_plain(texts[:half]) + _decode_plain(texts[half:])


def _doubtful(texts: list[bytes], rows: list[tuple[Any, ...] | None]) -> list[int]:
    """The messages that need a closer look: that could not be read, are too long, or hold quotes that their
    fields do not account for, as a key that stands twice and an escaped quote do."""
    if None not in rows and max(map(len, texts)) <= MAX_BYTES:
        quotes = np.count_nonzero(np.frombuffer(b"".join(texts), np.uint8) == ord('"'))
        if quotes == sum(map(_quotes, filter(None, rows))):
            return []
    return [
        row
        for row, (text, values) in enumerate(zip(texts, rows, strict=True))
        if values is None or len(text) > MAX_BYTES or text.count(b'"') != _quotes(values)
    ]


def _quotes(values: tuple[Any, ...]) -> int:
    """How many quotes a message of these fields holds: two around each name, two around each text."""
    return _ALL_QUOTES - 4 * values.count(None) - 2 * (values[_CODE] is not None)


def _event_times(texts: tuple[str, ...]) -> pa.Array:
    """The times, null where there is none: all at once where all have the common forms."""
    if min(map(len, texts)) >= len("2026-01-15T12:00:00Z"):
        try:
            return pa.array(texts, pa.string()).cast(UTC)
        except pa.ArrowInvalid:
            pass
    return pa.array(map(event_time_of, texts), pa.int64()).cast(UTC)


def _build(values: list[Any], extras: list[dict[str, str] | None]) -> pa.RecordBatch:
    columns = dict(zip(FIELDS, values, strict=True))
    n = len(values[0])
    if extras:
        columns["extra"] = pa.array([list(extra.items()) if extra else None for extra in extras], EXTRA)
    columns["area"] = city_cells(np.array(columns["latitude"]), np.array(columns["longitude"]))
    return pa.RecordBatch.from_arrays([_array(columns.get(f.name), f.type, n) for f in MESSAGE], schema=MESSAGE)


def _array(values: Any, type_: pa.DataType, n: int) -> pa.Array:
    if values is None:
        return pa.nulls(n, type_)
    if isinstance(values, pa.Array):
        return values
    return pa.array(values, pa.string()).dictionary_encode() if type_ == ENUM else pa.array(values, type_)


def city_cells(latitude: npt.NDArray[np.float64], longitude: npt.NDArray[np.float64]) -> pa.DictionaryArray:
    """The cell of the city of each position, named by its south-west corner: ``40.71,-74.01``."""
    south = np.floor(latitude * CELLS_PER_DEGREE).astype(np.int64)
    west = np.floor(longitude * CELLS_PER_DEGREE).astype(np.int64)
    keys, index = np.unique(south * 100_000 + west + 50_000, return_inverse=True)
    names = [
        f"{key // 100_000 / CELLS_PER_DEGREE:.2f},{(key % 100_000 - 50_000) / CELLS_PER_DEGREE:.2f}"
        for key in keys.tolist()
    ]
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array(names, pa.string()))


_LINE_FIELDS = ("latitude", "longitude", "altitude_m", "epoch", "drone_id", "status", "violation_code", "image_id")
_LINE_TYPES = {"violation_code": pa.int16(), "drone_id": pa.string(), "status": pa.string(), "image_id": pa.string()}


def _decode_lines(payload: pa.BinaryArray, places: Ints, done: Decoded) -> None:
    if not len(places):
        return
    lines = payload.take(pa.array(places))
    fields = pc.count_substring(lines, ";").to_numpy() + 1
    for width, kind in ((6, "position"), (8, "violation")):
        chosen = np.flatnonzero(fields == width)
        _decode_alike(lines.take(pa.array(chosen)).to_pylist(), places[chosen], kind, done)
    for row in np.flatnonzero((fields != 6) & (fields != 8)):
        done.refused.append((int(places[row]), _refuse_other(lines[int(row)].as_py())))


def _decode_alike(lines: list[bytes], places: Ints, kind: str, done: Decoded) -> None:
    """v0 lines of one width: together, or by halves down to the ones that cannot be read."""
    if not lines:
        return
    try:
        columns = _read_lines(lines, 6 if kind == "position" else 8)
    except (pa.ArrowInvalid, UnicodeError) as error:
        if len(lines) == 1:
            done.refused.append((int(places[0]), Refusal(Reason.V0_MALFORMED, str(error)[:200])))
            return
        half = len(lines) // 2
        _decode_alike(lines[:half], places[:half], kind, done)
        _decode_alike(lines[half:], places[half:], kind, done)
        return
    columns["message_id"] = pa.array([v0_message_id(line) for line in lines])
    columns["kind"] = pa.array([kind] * len(lines)).dictionary_encode()
    columns["area"] = city_cells(columns["latitude"].to_numpy(), columns["longitude"].to_numpy())
    arrays = [_array(columns.get(f.name), f.type, len(lines)) for f in MESSAGE]
    done.rows.append(pa.RecordBatch.from_arrays(arrays, schema=MESSAGE))
    done.places.append(places)


def _read_lines(lines: list[bytes], width: int) -> dict[str, pa.Array]:
    """The columns of v0 lines. Raises ArrowInvalid where one of them has a field that is none."""
    text = b"\n".join(lines) + b"\n"
    names = _LINE_FIELDS[:width]
    if b"\r" in text or text.count(b"\n") != len(lines) or max(map(len, lines)) > MAX_BYTES:
        raise pa.ArrowInvalid("a line break inside a line, or a line that is too long")
    table = pacsv.read_csv(
        pa.py_buffer(text),
        read_options=pacsv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
        parse_options=pacsv.ParseOptions(delimiter=";", quote_char=False, ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(
            column_types={name: _LINE_TYPES.get(name, pa.float64()) for name in names}, null_values=[]
        ),
    )
    columns = {name: table[name].combine_chunks() for name in names}
    _check_lines(columns)
    seconds = columns.pop("epoch").to_numpy()
    columns["event_time"] = pa.array(np.round(seconds * MICROSECONDS).astype(np.int64)).cast(UTC)
    for name in ("drone_id", "status"):
        columns[name] = columns[name].dictionary_encode()
    return columns


_LINE_LIMITS = {
    "latitude": (-90, 90), "longitude": (-180, 180), "altitude_m": (-1e6, 1e6), "epoch": (0, 253_402_300_799),
    "violation_code": (0, MAX_CODE),
}  # fmt: skip


def _check_lines(columns: dict[str, pa.Array]) -> None:
    for name, (low, high) in _LINE_LIMITS.items():
        values = columns[name].to_numpy() if name in columns else np.empty(0)
        if not ((values >= low) & (values <= high)).all():  # also false for NaN
            raise pa.ArrowInvalid(f"{name} is not within {low} to {high}")
    for name in ("drone_id", "status", "image_id"):
        if name in columns and pc.any(pc.equal(pc.binary_length(columns[name]), 0)).as_py():
            raise pa.ArrowInvalid(f"{name} is empty")


def _refuse_other(payload: bytes) -> Refusal:
    """Why a payload that is neither an object nor a v0 line is a dead letter."""
    refusal = read_payload(payload)
    if isinstance(refusal, Refusal) and not (refusal.reason == Reason.NOT_JSON and b";" in payload):
        return refusal
    return Refusal(Reason.V0_MALFORMED, f"{payload.count(b';') + 1} fields, not 6 or 8")


def _misfits(rows: pa.Table) -> list[Refused]:
    """The decoded rows that say something impossible, with their row number."""
    violation = pc.equal(rows["kind"].cast(pa.string()), "violation").to_numpy()
    code = rows["violation_code"].is_valid().to_numpy()
    officer = pc.equal(rows["status"].cast(pa.string()), "officer").to_numpy()
    found = {int(row): Refusal(Reason.FIELD_MISSING, "violation_code") for row in np.flatnonzero(violation & ~code)}
    extra = Refusal(Reason.FIELD_INVALID, "a position has no violation_code")
    found |= {int(row): extra for row in np.flatnonzero(~violation & code)}
    unsigned = Refusal(Reason.ANSWER_UNSIGNED, "only the console's key signs an answer")
    found |= {int(row): unsigned for row in np.flatnonzero(officer)}
    return sorted(found.items())


def dead_letters(unit: Unit, payloads: pa.RecordBatch, refused: list[Refused]) -> pa.RecordBatch:
    """The payloads at these places of the batch, with the reasons."""
    places = pa.array([place for place, _ in refused], pa.int64())
    return pa.RecordBatch.from_pydict(
        {
            "unit": constant(unit.name, len(refused)),
            "record": payloads["record"].take(places),
            "reason": pa.array([refusal.reason for _, refusal in refused], pa.string()).dictionary_encode(),
            "detail": pa.array([refusal.detail for _, refusal in refused], pa.string()),
            "payload": payloads["payload"].take(places),
            "path": constant(unit.path, len(refused)),
            "offset": payloads["offset"].take(places),
        },
        schema=DEAD_LETTER,
    )


def _first_bytes(payload: pa.BinaryArray) -> npt.NDArray[np.uint8]:
    """The first byte of each payload; 0 where it is empty."""
    offsets = np.frombuffer(payload.buffers()[1], np.int32)[payload.offset : payload.offset + len(payload) + 1]
    data = np.append(np.frombuffer(payload.buffers()[2] or b"", np.uint8), np.uint8(0))
    return np.where(np.diff(offsets) > 0, data[offsets[:-1]], 0).astype(np.uint8)


class _Decode(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def process(self, batch: UnitBatch) -> Iterator[Any]:
        parsed = decode_payloads(batch.unit, batch.rows)
        yield batch.with_rows(parsed.rows)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, batch.with_rows(parsed.dead_letters))


class DecodeMessages(beam.PTransform):  # type: ignore[misc]
    """Payloads -> ``rows`` of messages, and ``dead_letters``."""

    def expand(self, batches: beam.PCollection) -> Any:
        return batches | "Decode" >> beam.ParDo(_Decode()).with_outputs(DEAD_LETTERS, main=ROWS)
