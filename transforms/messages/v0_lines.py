"""v0 messages: text lines, read in columns by the CSV parser."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from schemas.lake import MICROSECONDS, UTC, constant
from schemas.messages import EVENT_SECONDS, MAX_BYTES, MAX_CODE, MAX_ID_CHARS, Reason, v0_message_id
from sources.files.csv_records import is_utf8
from transforms.messages.payload import Refusal, guarded, read_payload
from transforms.messages.rows import Decoded, Ints, message_batch

_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_POSITION = rf"^{_NUMBER};{_NUMBER};{_NUMBER};{_NUMBER};[^;\r\n]{{1,{MAX_ID_CHARS}}};[^;\r\n]{{1,{MAX_ID_CHARS}}}"
_VIOLATION = rf"{_POSITION};\d{{1,4}};[^;\r\n]{{1,{MAX_ID_CHARS}}}"
_FIELDS = ("latitude", "longitude", "altitude_m", "epoch", "drone_id", "status", "violation_code", "image_id")
_TYPES = {"violation_code": pa.int16(), "drone_id": pa.string(), "status": pa.string(), "image_id": pa.string()}
_LIMITS = {
    "latitude": (-90, 90), "longitude": (-180, 180), "altitude_m": (-1e6, 1e6),
    "epoch": (EVENT_SECONDS[0], float(np.nextafter(EVENT_SECONDS[1], 0))), "violation_code": (0, MAX_CODE),
}  # fmt: skip


def decode_lines(payload: pa.BinaryArray, places: Ints, done: Decoded) -> None:
    """Decode the payloads at these places of the batch; appends the results to ``done``."""
    lines = payload.take(pa.array(places))
    readable = [len(line) <= MAX_BYTES and is_utf8(line) for line in lines.to_pylist()]
    text = pc.if_else(pa.array(readable, pa.bool_()), lines, b"").cast(pa.string())
    kinds = {
        "position": pc.match_substring_regex(text, _POSITION + "$").to_numpy(zero_copy_only=False),
        "violation": pc.match_substring_regex(text, _VIOLATION + "$").to_numpy(zero_copy_only=False),
    }
    for kind, chosen in kinds.items():
        _decode_alike(text.filter(pa.array(chosen)), places[chosen], kind, done)
    for row in np.flatnonzero(~kinds["position"] & ~kinds["violation"]).tolist():
        done.refused.append((int(places[row]), _refuse_other(lines[row].as_py())))


def _decode_alike(lines: pa.StringArray, places: Ints, kind: str, done: Decoded) -> None:
    """Decode well-formed lines of one kind at once."""
    if not len(lines):
        return
    columns = _read_lines(lines, 6 if kind == "position" else 8)
    good = np.ones(len(lines), bool)
    for name, (low, high) in _LIMITS.items():
        if name in columns:
            values = columns[name].to_numpy()
            outside = good & ~((values >= low) & (values <= high))
            good &= ~outside
            refusal = Refusal(Reason.V0_MALFORMED, f"{name} is not within {low} to {high}")
            done.refused.extend((place, refusal) for place in places[outside].tolist())
    kept = pa.array(good)
    columns = {name: column.filter(kept) for name, column in columns.items()}
    seconds = columns.pop("epoch").to_numpy()
    columns["event_time"] = pa.array(np.round(seconds * MICROSECONDS).astype(np.int64)).cast(UTC)
    columns["message_id"] = pa.array(
        [v0_message_id(line.encode()) for line in lines.filter(kept).to_pylist()], pa.string()
    )
    columns["kind"] = constant(kind, len(seconds))
    done.rows.append(message_batch(columns, len(seconds)))
    done.places.append(places[good])


def _read_lines(lines: pa.StringArray, width: int) -> dict[str, pa.Array]:
    text = ("\n".join(lines.to_pylist()) + "\n").encode()
    names = _FIELDS[:width]
    table = pacsv.read_csv(
        pa.py_buffer(text),
        read_options=pacsv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
        parse_options=pacsv.ParseOptions(delimiter=";", quote_char=False),
        convert_options=pacsv.ConvertOptions(
            column_types={name: _TYPES.get(name, pa.float64()) for name in names}, null_values=[]
        ),
    )
    columns = {name: table[name].combine_chunks() for name in names}
    for name in ("drone_id", "status"):
        columns[name] = columns[name].dictionary_encode()
    return columns


def _refuse_other(payload: bytes) -> Refusal:
    """The refusal of a payload that is neither an object nor a v0 line."""
    refusal = guarded(read_payload, payload)
    if isinstance(refusal, Refusal) and not (refusal.reason == Reason.NOT_JSON and b";" in payload):
        return refusal
    fields = payload.count(b";") + 1
    return Refusal(
        Reason.V0_MALFORMED,
        "a field is empty, too long or no number" if fields in (6, 8) else f"{fields} fields, not 6 or 8",
    )
