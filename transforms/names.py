"""The branches of the graph, by name."""

from typing import NamedTuple

import pyarrow as pa

from sources.units import TALLIES

ROWS = "rows"
DEAD_LETTERS = "dead_letters"

__all__ = ["DEAD_LETTERS", "ROWS", "TALLIES", "Parsed"]


class Parsed(NamedTuple):
    """What a parser makes of a batch: every row that came in is in one of the two."""

    rows: pa.RecordBatch
    dead_letters: pa.RecordBatch
