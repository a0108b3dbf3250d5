"""The branches of the graph, by name."""

from typing import NamedTuple

import pyarrow as pa

ROWS = "rows"
DEAD_LETTERS = "dead_letters"


class Parsed(NamedTuple):
    """What a parser makes of a batch: every row that came in is in one of the two."""

    rows: pa.RecordBatch
    dead_letters: pa.RecordBatch
