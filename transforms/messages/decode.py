"""Decode drone payloads: v1 JSON and v0 lines to typed rows, everything else to dead letters."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.lake import EXTRA, constant, empty
from schemas.messages import OFFICER, Reason
from sources.units import Unit, UnitBatch
from transforms.messages.json_v1 import decode_json
from transforms.messages.officer_answers import refuse_answer
from transforms.messages.payload import Refusal, failed, field_text, guarded
from transforms.messages.rows import MESSAGE, Decoded, Ints, dead_letters
from transforms.messages.v0_lines import decode_lines
from transforms.outputs import DEAD_LETTERS, ROWS, Parsed, joined
from transforms.refusals import ANY_NUMBER, MaxDeadLetters, Parser


def decode_payloads(unit: Unit, payloads: pa.RecordBatch, officer_keys: Sequence[bytes] = ()) -> Parsed:
    """Decode a batch of payloads (:data:`sources.payloads.PAYLOADS`).

    Args:
        unit: of the payloads.
        officer_keys: public keys (32 bytes each), one of which must have signed an officer's answer.

    Returns:
        Rows of :data:`MESSAGE` and dead letters; every payload is in one of the two. Where a decoder raises an
        unexpected error, a bisection finds the payload that causes it, which becomes a dead letter.
    """
    try:
        return _decode_batch(unit, payloads, officer_keys)
    except MemoryError:  # not the fault of a payload
        raise
    except Exception as error:  # bisect: the payload that causes it becomes a dead letter
        if not payloads.num_rows:
            raise
        if payloads.num_rows == 1:
            return Parsed(empty(MESSAGE), dead_letters(unit, payloads, [(0, failed(error))]))
    half = payloads.num_rows // 2
    halves = payloads.slice(0, half), payloads.slice(half)
    return joined(decode_payloads(unit, part, officer_keys) for part in halves)


def _decode_batch(unit: Unit, payloads: pa.RecordBatch, officer_keys: Sequence[bytes]) -> Parsed:
    done = Decoded([], [], [])
    # No v0 line begins with a blank, a JSON object may.
    is_json = np.isin(_first_bytes(payloads["payload"]), np.frombuffer(b"{ \t\r", np.uint8))
    decode_json(payloads["payload"], np.flatnonzero(is_json), done)
    decode_lines(payloads["payload"], np.flatnonzero(~is_json), done)
    rows = _move_violation_fields(
        pa.Table.from_batches(done.rows, schema=MESSAGE).unify_dictionaries().combine_chunks()
    )
    places = np.concatenate(done.places) if done.places else np.empty(0, np.int64)
    misfit = _misfits(rows) | _bad_answers(rows, payloads["payload"], places, officer_keys)
    refused = [*done.refused, *((int(places[row]), refusal) for row, refusal in misfit.items())]
    kept = np.ones(len(places), bool)
    kept[list(misfit)] = False
    rows = rows.set_column(0, MESSAGE.field("unit"), constant(unit.name, rows.num_rows))
    for at, name in ((1, "record"), (2, "published_at")):
        rows = rows.set_column(at, MESSAGE.field(name), payloads[name].take(pa.array(places)))
    if misfit:
        rows = rows.filter(pa.array(kept)).combine_chunks()
    batch = rows.to_batches()[0] if rows.num_rows else empty(MESSAGE)
    return Parsed(batch, dead_letters(unit, payloads, sorted(refused)))


def _move_violation_fields(rows: pa.Table) -> pa.Table:
    """Move plate and picture of positions to their unknown fields: ``positions`` has no such columns, and content that
    is not stored could not be compared across units."""
    position = pc.equal(rows["kind"].cast(pa.string()), "position")
    of_violations = {name: pc.and_(position, rows[name].is_valid()) for name in ("image_id", "plate_id")}
    moved = np.flatnonzero(pc.or_(*of_violations.values()).to_numpy())
    if not len(moved):
        return rows
    items = rows.select(["extra", *of_violations]).take(pa.array(moved)).to_pylist()
    fields = [
        dict(row["extra"] or ()) | {n: field_text(row[n]) for n in of_violations if row[n] is not None} for row in items
    ]
    extra = pa.chunked_array([*rows["extra"].chunks, pa.array([sorted(one.items()) for one in fields], EXTRA)])
    place = np.arange(rows.num_rows)
    place[moved] = rows.num_rows + np.arange(len(moved))
    columns = {"extra": extra.take(pa.array(place)).combine_chunks()}
    columns |= {name: pc.if_else(here, None, rows[name]) for name, here in of_violations.items()}
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), MESSAGE.field(name), column)
    return rows


def _misfits(rows: pa.Table) -> dict[int, Refusal]:
    """The decoded rows that contradict themselves, by row number."""
    violation = pc.equal(rows["kind"].cast(pa.string()), "violation").to_numpy()
    code = rows["violation_code"].is_valid().to_numpy()
    found = {int(row): Refusal(Reason.FIELD_MISSING, "violation_code") for row in np.flatnonzero(violation & ~code)}
    extra = Refusal(Reason.FIELD_INVALID, "a position has no violation_code")
    found |= {int(row): extra for row in np.flatnonzero(~violation & code)}
    claims = Refusal(Reason.FIELD_INVALID, "a drone's message answers nothing: it has no answers and no officer_id")
    unsigned = pc.not_equal(rows["status"].cast(pa.string()), OFFICER).to_numpy()
    claimed = pc.or_(rows["answers"].is_valid(), rows["officer_id"].is_valid()).to_numpy()
    return found | {int(row): claims for row in np.flatnonzero(unsigned & claimed)}


def _bad_answers(rows: pa.Table, payload: pa.BinaryArray, places: Ints, keys: Sequence[bytes]) -> dict[int, Refusal]:
    """The decoded rows with status ``officer`` that are not valid answers, by row number."""
    officer = np.flatnonzero(pc.equal(rows["status"].cast(pa.string()), OFFICER).to_numpy()).tolist()
    refuse = partial(refuse_answer, officer_keys=keys)
    found = {row: guarded(refuse, payload[int(places[row])].as_py()) for row in officer}
    return {row: refusal for row, refusal in found.items() if refusal}


def _first_bytes(payload: pa.BinaryArray) -> npt.NDArray[np.uint8]:
    """The first byte of each payload; 0 where it is empty."""
    offsets = np.frombuffer(payload.buffers()[1], np.int32)[payload.offset : payload.offset + len(payload) + 1]
    data = np.append(np.frombuffer(payload.buffers()[2] or b"", np.uint8), np.uint8(0))
    return np.where(np.diff(offsets) > 0, data[offsets[:-1]], 0).astype(np.uint8)


class _Decode(Parser):
    def __init__(self, officer_keys: tuple[bytes, ...], limit: MaxDeadLetters, root: str | None) -> None:
        super().__init__(limit, root)
        self._officer_keys = officer_keys

    def parse(self, batch: UnitBatch) -> Parsed:
        return decode_payloads(batch.unit, batch.rows, self._officer_keys)


class DecodeMessages(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Payloads -> ``rows`` of messages, and ``dead_letters``; an answer must be signed with one of the keys.

    Args:
        root: of the lake whose tombstones apply, if any.
    """

    def __init__(
        self, officer_keys: tuple[bytes, ...] = (), limit: MaxDeadLetters = ANY_NUMBER, root: str | None = None
    ) -> None:
        super().__init__()
        self._decode = _Decode(officer_keys, limit, root)

    def expand(self, batches: beam.PCollection) -> Any:
        return batches | "Decode" >> beam.ParDo(self._decode).with_outputs(DEAD_LETTERS, main=ROWS)
