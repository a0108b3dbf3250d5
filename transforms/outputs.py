"""The outputs of the graph: the names of its branches, and the datasets that rows end in."""

from collections.abc import Iterable
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


def joined(parts: Iterable[Parsed]) -> Parsed:
    """What a parser made of several batches, one at least, as one."""
    return Parsed(*(_one_batch(batches) for batches in zip(*parts, strict=True)))


def _one_batch(batches: tuple[pa.RecordBatch, ...]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
    return table.to_batches()[0] if table.num_rows else batches[0]
