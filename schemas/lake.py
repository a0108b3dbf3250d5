"""The Arrow schema of each dataset of the lake.

Times are UTC. ``unit`` names the unit of work of a row, ``record`` its number in the unit: ``(unit, record)`` is the
identity of a row without a ``message_id``.
"""

from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.messages import EVENT_SECONDS


class Dataset(StrEnum):
    """The datasets; each is a directory of the lake, beside ``ledger``."""

    POSITIONS = "positions"
    QUALIFIED = "qualified"
    UNQUALIFIED = "unqualified"
    DEAD_LETTERS = "dead_letters"
    STATS = "stats"
    IMAGES = "images"
    DRONE_EVENTS = "drone_events"


DERIVED = (Dataset.STATS, Dataset.DRONE_EVENTS)
"""The datasets whose rows are made of input rows: they are not part of rows in = rows out."""

BRANCHES = (Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.UNQUALIFIED)
"""The datasets of valid rows; each such row is in exactly one."""
ANSWERS = "answers"
"""What statistics count officers' answers as."""


class Source(StrEnum):
    """Where rows come from: the first partition of every dataset."""

    HISTORY = "history"
    DRONES = "drones"
    IMAGES = "images"
    HEALTH = "health"
    """Events of drones: no input, but made of the rows of drones."""


LEDGER = "ledger"
CHANGES = "changes"
"""The partition of the ledger with changes of files, not units."""
MERGED_LEDGER = "merged_ledger"
"""The Delta table with the ledger's rows of published units and of changes that all tables have."""
ROWS_IN = "rows_in"
"""The ledger's column with the rows of a unit's input."""
DUPLICATES = "duplicates"
"""The count of a unit's rows that are copies of other rows."""
ROWS_OUT = (*(str(d) for d in Dataset if d not in DERIVED), DUPLICATES)
"""The ledger's columns that sum up to :data:`ROWS_IN`."""
HEALTH = "health"
"""The folder with what is remembered of drones."""

ENUM = pa.dictionary(pa.int32(), pa.string())
"""A string with few distinct values."""
UTC = pa.timestamp("us", "UTC")
MICROSECONDS = 1_000_000
"""Microseconds per second."""
EXTRA = pa.map_(pa.string(), pa.string())
"""Fields of a message that this version does not know: name -> JSON text."""

ORIGIN = [pa.field("unit", ENUM, nullable=False), pa.field("record", pa.int64(), nullable=False)]

DRONE_FIELDS = [
    pa.field("message_id", pa.string()),
    pa.field("drone_id", ENUM),
    pa.field("sequence", pa.int64()),
    pa.field("latitude", pa.float64()),
    pa.field("longitude", pa.float64()),
    pa.field("altitude_m", pa.float64()),
    pa.field("battery_pct", pa.float64()),
    pa.field("status", ENUM),
    pa.field("extra", EXTRA),
]

CONTENT = ("event_time", *(field.name for field in DRONE_FIELDS), "violation_code", "plate_id", "image_id", "answers",
           "officer_id")  # fmt: skip
"""The content of a message, which is its identity: two rows of one dataset are copies of one message where all of these
are equal. Where one is not, they are two messages, even with one message_id."""

PUBLISHED = pa.field("published_at", UTC)
"""When a message was published to its topic; null for recordings."""

POSITION = pa.schema(
    [*ORIGIN, pa.field("event_time", UTC, nullable=False), *DRONE_FIELDS, pa.field("area", ENUM), PUBLISHED],
)

VIOLATION = pa.schema(
    [
        *ORIGIN,
        pa.field("event_time", UTC, nullable=False),
        pa.field("violation_code", pa.int16(), nullable=False),
        pa.field("area", ENUM),
        pa.field("plate_id", pa.string()),
        pa.field("repairs", pa.list_(pa.field("element", pa.string(), nullable=False))),
        # of a drone
        *DRONE_FIELDS,
        pa.field("image_id", pa.string()),
        pa.field("answers", pa.string()),
        pa.field("officer_id", ENUM),
        PUBLISHED,
        # of the history
        pa.field("summons_number", pa.int64()),
        pa.field("issue_date_text", ENUM),
        pa.field("violation_time_text", ENUM),
        pa.field("county", ENUM),
        pa.field("precinct", pa.int16()),
        pa.field("street", pa.string()),
        pa.field("house_number", pa.string()),
        pa.field("agency", ENUM),
        pa.field("registration_state", ENUM),
        pa.field("plate_type", ENUM),
        pa.field("vehicle_body", ENUM),
        pa.field("vehicle_make", ENUM),
        pa.field("vehicle_color", ENUM),
        pa.field("vehicle_year", pa.int16()),
    ],
)
"""Qualified and unqualified violations of both sources; a column that a source does not have is null."""

REFUSED = pa.schema(
    [
        *ORIGIN,
        pa.field("reason", ENUM, nullable=False),
        pa.field("detail", pa.string()),
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("path", ENUM, nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        PUBLISHED,
        pa.field("source_id", pa.string()),
    ],
)
"""``payload`` is the row or message as received, ``offset`` its first byte in ``path``, or its offset in a topic.
``source_id`` is the message_id of Pub/Sub: redeliveries have the same one."""

DEAD_LETTER = pa.schema([*REFUSED, pa.field("payload_bytes", pa.int64()), pa.field("payload_object", pa.string())])
"""A dead letter. Where the payload is too long for a row, ``payload`` is its beginning, ``payload_bytes`` its length
and ``payload_object`` the path of the whole in the lake, named by its SHA-256; else both are null."""

STATS = pa.schema(
    [
        pa.field("unit", ENUM, nullable=False),
        pa.field("dataset", ENUM, nullable=False),
        pa.field("window_start", UTC, nullable=False),
        pa.field("window_seconds", pa.int32(), nullable=False),
        pa.field("violation_code", pa.int16()),
        pa.field("part_of_day", ENUM, nullable=False),
        pa.field("area", ENUM),
        pa.field("n", pa.int64(), nullable=False),
    ],
)
"""One unit's counts. They are additive: SUM(n) over units is the count of the lake's rows. ``dataset`` is positions,
qualified, unqualified, or answers: the rows of qualified/ that are an officer's (earlier versions: qualified)."""

IMAGE = pa.schema(
    [
        *ORIGIN,
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("event_time", UTC, nullable=False),
        pa.field("object", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        PUBLISHED,
    ],
)
"""``object`` is the picture's path in the lake, named by its content."""

DRONE_EVENT = pa.schema(
    [
        *ORIGIN,
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("kind", ENUM, nullable=False),
        pa.field("drone_id", ENUM, nullable=False),
        pa.field("event_time", UTC, nullable=False),
        pa.field("latitude", pa.float64()),
        pa.field("longitude", pa.float64()),
        pa.field("battery_pct", pa.float64()),
        pa.field("value", pa.float64()),
        pa.field("image_id", pa.string()),
    ]
)
"""An event of a drone (:mod:`schemas.drone_health`), which is a unit of its own, named by ``event_id``. ``event_time``
is when it began."""

FILES = pa.list_(
    pa.struct([("dataset", pa.string()), ("path", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64())]),
)

MOVES = pa.list_(
    pa.struct([("unit", pa.string()), ("out_of", pa.string()), ("into", pa.string()), ("rows", pa.int64())])
)
"""Rows of a unit that a change moved from one count of the ledger's row to another: from ``qualified`` into
``duplicates``, from ``dead_letters`` into ``qualified``, from each into :data:`UNDONE` or :data:`ERASED`. A unit's own
row has one from ``rows_in`` into :data:`ERASED` where rows of it were dropped, as they had been erased before."""

UNDONE = "undone"
"""The target of the moves of an undone unit, in place of a count; a move from UNDONE to UNDONE lets its input be read
again."""
ERASED = "erased"
"""The target of the moves of rows that ``prestacop forget`` has erased, in place of a count: their unit has fewer rows
in."""

LEDGER_ROW = pa.schema(
    [
        pa.field("unit", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("range_start", pa.int64(), nullable=False),
        pa.field("range_end", pa.int64(), nullable=False),
        pa.field("rows_in", pa.int64(), nullable=False),
        pa.field("positions", pa.int64(), nullable=False),
        pa.field("qualified", pa.int64(), nullable=False),
        pa.field("unqualified", pa.int64(), nullable=False),
        pa.field("dead_letters", pa.int64(), nullable=False),
        pa.field("images", pa.int64(), nullable=False),
        pa.field("duplicates", pa.int64(), nullable=False),
        pa.field("counted", pa.int64(), nullable=False),
        pa.field("files", FILES, nullable=False),
        pa.field("committed_at", UTC, nullable=False),
        pa.field("columns", pa.list_(pa.string())),
        pa.field("replaces", pa.list_(pa.string())),
        pa.field("moves", MOVES),
        pa.field("sha256", pa.list_(pa.string())),
        pa.field("separator", pa.string()),
        pa.field("units", pa.list_(pa.string())),
    ],
)
"""One row per unit, one file per row: creating it commits the unit. The source counts ``rows_in``, the writers the
other counts; ``counted`` is the sum of the unit's statistics; ``columns`` is the header of a CSV file, ``separator``
its field separator. ``sha256`` are the checksums of ``files``, in their order. Columns that an earlier version did not
have are null. A change (:mod:`lake.changes`) is a row without counts: its ``files`` replace those in ``replaces``, and
that of a publication names in ``units`` those whose rows the tables have from then on."""

SCHEMAS: dict[Dataset, pa.Schema] = {
    Dataset.POSITIONS: POSITION,
    Dataset.QUALIFIED: VIOLATION,
    Dataset.UNQUALIFIED: VIOLATION,
    Dataset.DEAD_LETTERS: DEAD_LETTER,
    Dataset.STATS: STATS,
    Dataset.IMAGES: IMAGE,
    Dataset.DRONE_EVENTS: DRONE_EVENT,
}


def empty(schema: pa.Schema) -> pa.RecordBatch:
    """A batch without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def with_all_columns(rows: pa.RecordBatch | pa.Table, schema: pa.Schema) -> pa.RecordBatch | pa.Table:
    """Rows with the columns of the schema; those of earlier versions have fewer, which are null."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.schema.names else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return type(rows).from_arrays(columns, schema=schema)


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema with strings in place of dictionaries."""
    return pa.schema([f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f for f in schema])


def value_counts(column: pa.Array | pa.ChunkedArray) -> dict[Any, int]:
    """How often each value is there."""
    found = column.value_counts()
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def constant(text: str, n: int) -> pa.DictionaryArray:
    """``n`` times the same text."""
    return pa.DictionaryArray.from_arrays(pa.nulls(n, pa.int32()).fill_null(0), pa.array([text]))


def timestamps(values: npt.NDArray[np.int64], per_second: int) -> pa.TimestampArray:
    """External times as :data:`UTC`; null where one is not within :data:`schemas.messages.EVENT_SECONDS`, which is
    checked first, since larger numbers would overflow.

    Args:
        values: since the epoch.
        per_second: how many of them a second has: 1,000 of milliseconds; a divisor of a million.
    """
    first, end = (second * per_second for second in EVENT_SECONDS)
    inside = (values >= first) & (values < end)
    micros = np.where(inside, values, 0) * (MICROSECONDS // per_second)
    return pa.array(micros, mask=~inside).cast(UTC)
