"""The truth beside a file of drone messages: the expected output of the graph for each line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from apps.simulator.fleet.mishaps import Published

SCHEMA: Final = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),
        pa.field("message_id", pa.string()),
        pa.field("branch", pa.string(), nullable=False),
        pa.field("battery_capacity", pa.float32(), nullable=False),
    ]
)
"""One row a line, counted from 0.

``branch`` is ``positions``, ``qualified``, ``unqualified``, ``dead_letters``, or ``duplicates`` for the second and
later lines of the same message; a dead letter has no ``message_id``, and its duplicates are dead letters too.
``battery_capacity`` is that of the drone's battery at the event, relative to a new one.
"""

_BATCH_LINES: Final = 100_000


class DroneTruth:
    """Writes the truth a batch at a time."""

    def __init__(self, path: Path) -> None:
        # Without the Arrow schema in it, every reader sees the plain types.
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd", store_schema=False)
        self._ids: list[str | None] = []
        self._branches: list[str] = []
        self._capacities: list[float] = []
        self._lines = 0

    def add(self, messages: Sequence[Published]) -> None:
        """The next lines of the file. Raises OSError."""
        self._ids += [message.message_id for message in messages]
        self._branches += [message.branch for message in messages]
        self._capacities += [message.capacity for message in messages]
        if len(self._ids) >= _BATCH_LINES:
            self._flush()

    def _flush(self) -> None:
        lines = np.arange(self._lines, self._lines + len(self._ids))
        self._writer.write_table(pa.table([lines, self._ids, self._branches, self._capacities], schema=SCHEMA))
        self._lines += len(self._ids)
        self._ids, self._branches, self._capacities = [], [], []

    def __enter__(self) -> "DroneTruth":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._flush()
        self._writer.close()
