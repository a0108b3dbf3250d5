"""The outputs of the graph: the names of its branches, and the datasets that rows end in."""

from typing import NamedTuple

import pyarrow as pa

from schemas.lake import Dataset

OUTPUT_DATASETS = (Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.UNQUALIFIED, Dataset.DEAD_LETTERS, Dataset.IMAGES)
"""Every input row ends in exactly one of these, or is counted as a duplicate."""
UPLOADED = pa.field("uploaded", pa.bool_(), nullable=False)
"""A column of rows of images, which is not stored: whether the sender has uploaded the picture (v2)."""
ROWS = "rows"
DEAD_LETTERS = "dead_letters"


class Parsed(NamedTuple):
    """What a parser makes of a batch: every input row is in one of the two."""

    rows: pa.RecordBatch
    dead_letters: pa.RecordBatch
