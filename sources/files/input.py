"""Files of one format as an input of a run."""

from functools import partial

import apache_beam as beam

from sources.files.copies import once
from sources.files.grid import Cell
from sources.files.read import Format, has_units, plan, read_cell
from sources.input import Input, Preview, Split
from sources.reading import ReadSplit


class Files(Input):
    """Files that a path or a glob, on a disk or in a bucket, names, all of one format."""

    def __init__(self, pattern: str, form: Format) -> None:
        self.source = form.source
        self.path, self._form = pattern, form

    def plan(self, root: str) -> list[Split]:
        cells = once(plan(self.path, self._form), self._form)
        return [Split(cell, cell.end - cell.start) for cell in cells]

    def has_units(self, cell: Cell, root: str) -> bool:
        """Whether the ledger has all units of a planned cell; reads its bytes."""
        return has_units(cell, self._form, root)

    def reader(self, root: str) -> ReadSplit:
        return partial(read_cell, form=self._form, lake_root=root)

    def follow(self, root: str, skew: float) -> beam.PTransform:
        return self.read((split.place for split in self.plan(root)), root)

    def preview(self, root: str) -> Preview:
        splits = self.plan(root)
        return Preview([_line(*split) for split in splits], len(splits), sum(split.size for split in splits))


def _line(cell: Cell, size: int) -> str:
    kind = "packed, cut into cells when unpacked" if cell.compressed else f"cell {cell.number}"
    return f"{cell.source:8} {size / 1e6:9.1f} MB  {cell.path} ({kind})"
