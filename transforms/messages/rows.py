"""Decoded drone messages as columns, whichever version they came in."""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.lake import DRONE_FIELDS, ENUM, ORIGIN, PUBLISHED, REFUSED, UTC, VIOLATION, constant
from sources.units import Unit
from transforms.messages.payload import Refusal

Ints = npt.NDArray[np.int64]

CELLS_PER_DEGREE: Final = 100
"""A cell of the city is 0.01 degrees wide: about 1.1 km by 0.85 km."""

REPEATED: Final = "repeated"
MESSAGE: Final = pa.schema(
    [
        *ORIGIN,
        PUBLISHED,
        pa.field("event_time", UTC, nullable=False),
        *DRONE_FIELDS,
        pa.field("kind", ENUM),
        *(VIOLATION.field(name) for name in ("plate_id", "image_id", "answers", "officer_id", "area")),
        pa.field("violation_code", pa.int16()),
        pa.field(REPEATED, pa.bool_()),
    ]
)
"""A decoded message, of whichever kind and version. ``repeated``: an earlier row of the unit has its message_id (with
other content, or published later); null before deduplication. It is not stored."""

RefusedPayload = tuple[int, Refusal]
"""The place of a payload in the batch, and why it is a dead letter."""


class Decoded(NamedTuple):
    """Rows of :data:`MESSAGE`, their places in the batch, and the refused payloads."""

    rows: list[pa.RecordBatch]
    places: list[Ints]
    refused: list[RefusedPayload]


def message_batch(columns: dict[str, Any], n: int) -> pa.RecordBatch:
    """Rows of :data:`MESSAGE` from columns by name, arrays or lists; a column that is not given is null."""
    latitude, longitude = (np.array(columns[name]) for name in ("latitude", "longitude"))
    columns = {**columns, "area": city_cells(latitude, longitude)}
    return pa.RecordBatch.from_arrays([_array(columns.get(f.name), f.type, n) for f in MESSAGE], schema=MESSAGE)


def _array(values: Any, type_: pa.DataType, n: int) -> pa.Array:
    if values is None:
        return pa.nulls(n, type_)
    if isinstance(values, pa.Array):
        return values
    return pa.array(values, pa.string()).dictionary_encode() if type_ == ENUM else pa.array(values, type_)


def without_repeated(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows that are the first of their message_id in their unit; all rows before deduplication."""
    if REPEATED not in rows.schema.names or not pc.any(rows[REPEATED]).as_py():
        return rows
    return rows.filter(pc.invert(rows[REPEATED]).fill_null(True))


def city_cells(latitude: npt.NDArray[np.float64], longitude: npt.NDArray[np.float64]) -> pa.DictionaryArray:
    """The cell of the city of each position, named by its south-west corner: ``40.71,-74.01``."""
    south, west = _cell(latitude), _cell(longitude)
    cells = pa.array(south * 100_000 + west + 50_000).dictionary_encode()
    names = [
        f"{key // 100_000 / CELLS_PER_DEGREE:.2f},{(key % 100_000 - 50_000) / CELLS_PER_DEGREE:.2f}"
        for key in cells.dictionary.to_pylist()
    ]
    return pa.DictionaryArray.from_arrays(cells.indices, pa.array(names, pa.string()))


def _cell(degrees: npt.NDArray[np.float64]) -> Ints:
    """The largest number of cells that is not beyond each position. The border between two cells is the float of two
    decimals (40.73, whose product with 100 is 4072.9999999999995)."""
    found = np.floor(degrees * CELLS_PER_DEGREE)
    found += (found + 1) / CELLS_PER_DEGREE <= degrees
    found -= found / CELLS_PER_DEGREE > degrees
    return found.astype(np.int64)


def _storable(detail: str | None) -> str | None:
    """The text with lone surrogates, which UTF-8 cannot encode, escaped."""
    return None if detail is None else detail.encode(errors="backslashreplace").decode()


def dead_letters(unit: Unit, payloads: pa.RecordBatch, refused: list[RefusedPayload]) -> pa.RecordBatch:
    """The payloads at these places of the batch, with the reasons."""
    places = pa.array([place for place, _ in refused], pa.int64())
    return pa.RecordBatch.from_pydict(
        {
            "unit": constant(unit.name, len(refused)),
            "record": payloads["record"].take(places),
            "reason": pa.array([refusal.reason for _, refusal in refused], pa.string()).dictionary_encode(),
            "detail": pa.array([_storable(refusal.detail) for _, refusal in refused], pa.string()),
            "payload": payloads["payload"].take(places),
            "path": constant(unit.path, len(refused)),
            "offset": payloads["offset"].take(places),
            "published_at": payloads["published_at"].take(places),
            "source_id": payloads["source_id"].take(places),
        },
        schema=REFUSED,
    )
