"""Deduplication of input files: content under two names, or packed and unpacked, is read once.

The lake would contain it once anyway, since a unit is named by its content; live statistics would count it twice.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext

from lake.storage import open_file
from schemas.files.compression import unpacked
from schemas.files.kinds import FIRST_BYTES, kind_of
from sources.files.grid import Cell
from sources.files.read import Format, units_of
from terminal.logs import about

_HEAD_BYTES = 1 << 16
"""Only files with equal beginnings are compared as a whole, since that reads them."""

_log = logging.getLogger(__name__)


def once(cells: Iterable[Cell], form: Format) -> list[Cell]:
    """The cells without those that have the same units as earlier ones; what is left out is logged.

    Raises InputUnusable, NotPermitted, ServiceUnavailable.
    """
    cells = list(cells)
    paths = {cell.path for cell in cells}
    if len(paths) < 2:
        return cells
    heads = {path: _head(path) for path in paths}
    alike = {head for head, times in Counter(heads.values()).items() if times > 1}
    kept: list[Cell] = []
    known: dict[str, str] = {}
    for cell in cells:
        if heads[cell.path] in alike:
            names = [unit.name for _, _, unit, _ in units_of(cell, form)]
            if names and known.keys() >= set(names):
                _log.warning(
                    "%s: bytes %d to %d are in %s too and are read once",
                    cell.path,
                    cell.start,
                    cell.end,
                    known[names[0]],
                    extra=about(cell.source, names[0], offset=cell.start),
                )
                continue
            known |= dict.fromkeys(names, cell.path)
        kept.append(cell)
    return kept


def _head(path: str) -> bytes:
    """The beginning of the text of a file."""
    with open_file(path) as file:
        packing = kind_of(file.read(FIRST_BYTES)).packing
        file.seek(0)
        with unpacked(file, packing, path) if packing else nullcontext(file) as text:
            return text.read(_HEAD_BYTES)
