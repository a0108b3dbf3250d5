"""The branches of the graph, by name."""

from typing import NamedTuple

import pyarrow as pa

ROWS = "rows"
DEAD_LETTERS = "dead_letters"
POSITIONS = "positions"
QUALIFIED = "qualified"
UNQUALIFIED = "unqualified"
RECORDS = "records"
"""What is written to the ledger: small records of files and counts, keyed by unit."""


class Parsed(NamedTuple):
    """What a parser makes of a batch: every row that came in is in one of the two."""

    rows: pa.RecordBatch
    dead_letters: pa.RecordBatch
