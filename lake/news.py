"""Which units were committed since an earlier look at a lake; it costs by these units."""

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake.changes import writer_of
from lake.merged_ledger import NUMBER
from lake.reader import Lake, PartOfLake
from schemas.lake import LEDGER_ROW, Dataset


class Mark(NamedTuple):
    """How far a look at the ledger went."""

    number: int = 0
    """The last change whose units were folded."""
    units: frozenset[str] = frozenset()
    """The units that were not folded."""


def mark(lk: Lake) -> Mark:
    """The mark of a lake as it is open."""
    units = [*lk.pending["unit"].to_pylist(), *lk.tail["unit"].to_pylist()]
    return Mark(lk.merged.number, frozenset(units))


def committed_since(lk: Lake, before: Mark) -> pa.Table:
    """The rows of the units that were committed since, as the units wrote them."""
    newer = lk.merged.all_units().to_table(columns=LEDGER_ROW.names, filter=pads.field(NUMBER) > before.number)
    rows = pa.concat_tables([newer, lk.pending, lk.tail])
    return rows.filter(pc.invert(pc.is_in(rows["unit"], pa.array(sorted(before.units), pa.string()))))


def part_since(lk: Lake, units: Iterable[str], number: int) -> Lake:
    """The lake with the files of these units alone, and of changes after the one of this number."""
    names = {*units, *lk.changes_since(number)["unit"].to_pylist()}
    published, tail = (
        [file for file in lk.entries(*Dataset, published=which) if writer_of(file.path) in names]
        for which in (True, False)
    )
    return PartOfLake(lk, published, tail)
