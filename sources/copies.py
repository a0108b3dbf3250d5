"""Files whose content is given twice, under two names or packed and not: it is read once.

The lake would have it once anyway, since a unit is named by its content; live statistics would count it twice.
"""

import gzip
import logging
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import IO, cast

from lake.storage import open_file
from sources.cells import Cell
from sources.files import Format, units_of

_HEAD_BYTES = 1 << 16
"""Only files that begin alike are compared as a whole, which reads them."""

_log = logging.getLogger(__name__)


def once(cells: Iterable[Cell], form: Format) -> list[Cell]:
    """The cells without those that hold the same units as ones before; what is left out is logged.

    Raises InputUnusable, NotPermitted, ServiceUnavailable.
    """
    cells = list(cells)
    packed = {cell.path: cell.compressed for cell in cells}
    if len(packed) < 2:
        return cells
    heads = {path: _head(path, is_packed) for path, is_packed in packed.items()}
    alike = {head for head, times in Counter(heads.values()).items() if times > 1}
    kept: list[Cell] = []
    known: dict[str, str] = {}
    for cell in cells:
        if (head := heads[cell.path]) is not None and head in alike:
            names = [unit.name for _, _, unit, _ in units_of(cell, form)]
            if names and known.keys() >= set(names):
                _log.warning(
                    "%s: bytes %d to %d are in %s too and are read once",
                    cell.path,
                    cell.start,
                    cell.end,
                    known[names[0]],
                )
                continue
            known |= dict.fromkeys(names, cell.path)
        kept.append(cell)
    return kept


def _head(path: str, is_packed: bool) -> bytes | None:
    """How the text of a file begins; None of a damaged one, which is named when it is read."""
    with open_file(path) as file:
        try:
            return (cast(IO[bytes], gzip.open(file)) if is_packed else file).read(_HEAD_BYTES)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return None
