"""v0 messages: text lines, read in columns by the CSV parser."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from schemas.lake import UTC
from schemas.messages import MAX_BYTES, MAX_CODE, Reason, v0_message_id
from transforms.clock import MICROSECONDS
from transforms.message_rows import Decoded, Ints, message_batch
from transforms.payloads import Refusal, read_payload

_LINE_FIELDS = ("latitude", "longitude", "altitude_m", "epoch", "drone_id", "status", "violation_code", "image_id")
_LINE_TYPES = {"violation_code": pa.int16(), "drone_id": pa.string(), "status": pa.string(), "image_id": pa.string()}


def decode_lines(payload: pa.BinaryArray, places: Ints, done: Decoded) -> None:
    """Decode the payloads at these places of the batch, and put them into ``done``."""
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
    done.rows.append(message_batch(columns, len(lines)))
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
