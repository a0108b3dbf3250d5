"""Repair of whole columns: each distinct text once, each byte at most once."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.history import BLANK_PLATES, Reason, Repair
from transforms.csv_text import Ints, Note
from transforms.repair import PLATE_LETTERS, repair_county, whole_number


def indices_of(column: pa.DictionaryArray, missing: int) -> Ints:
    """For each row the number of its value in the dictionary, ``missing`` where it has none."""
    filled = column.indices.fill_null(missing) if column.null_count else column.indices
    indices: Ints = filled.to_numpy().astype(np.int64)
    return indices


def _bytes_of(column: pa.StringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """All bytes of a column of texts, and where each text begins in them."""
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    text = np.frombuffer(column.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return text, offsets - offsets[0]


def _rows_of(marks: npt.NDArray[np.bool_], offsets: npt.NDArray[np.int32]) -> Ints:
    """The rows in whose texts a byte is marked."""
    if not marks.any():
        return np.empty(0, np.int64)
    return np.unique(np.searchsorted(offsets, np.flatnonzero(marks), side="right") - 1)


_NO_PLATE_LETTER = ~np.isin(np.arange(256), list(PLATE_LETTERS))
_BLANK_PLATES = pa.array(sorted({variant for b in BLANK_PLATES for variant in (b, b.lower(), b.title())}))
_SUMMONS_REASONS = [None, Reason.SUMMONS_MISSING, Reason.SUMMONS_UNREADABLE]


def summons_numbers(column: pa.StringArray) -> tuple[pa.Int64Array, list[str | None], Ints]:
    """The numbers, and for each row which of the reasons it has."""
    index = np.where(column.is_null().to_numpy(zero_copy_only=False), 1, 0)
    text, offsets = _bytes_of(column)
    index[_rows_of(text - np.uint8(ord("0")) > 9, offsets)] = 2  # unsigned: what is below 0 is far above 9
    index[pc.fill_null(pc.greater(pc.binary_length(column), 18), False).to_numpy(zero_copy_only=False)] = 2
    if index.any():
        column = pc.if_else(pa.array(index == 0), column, None)
    return column.cast(pa.int64()), _SUMMONS_REASONS, index


def counties(column: pa.DictionaryArray) -> tuple[pa.DictionaryArray, list[str | None], Ints]:
    """The counties, and for each row which of the repairs it has."""
    repaired = [repair_county(text) for text in column.dictionary.to_pylist()]
    codes = pa.array([code for code, _ in repaired], pa.string()).dictionary_encode()
    county = pa.DictionaryArray.from_arrays(codes.indices.take(column.indices), codes.dictionary)
    return county, [*(repair for _, repair in repaired), None], indices_of(column, len(repaired))


def optional_numbers(column: pa.DictionaryArray) -> tuple[pa.Int16Array, Ints]:
    """The numbers, and the rows whose text is none."""
    numbers = [whole_number(text) for text in column.dictionary.to_pylist()]
    fits = [n if n is not None and -(1 << 15) <= n < 1 << 15 else None for n in numbers]
    unreadable = np.array([*(n is None for n in fits), False])
    rows = np.flatnonzero(unreadable[indices_of(column, len(numbers))]) if unreadable.any() else np.empty(0, np.int64)
    return pa.array(fits, pa.int16()).take(column.indices), rows


def plates(column: pa.StringArray) -> tuple[pa.StringArray, Ints, Ints]:
    """The plates, without those that say there was none; those rows; the rows with odd characters."""
    blank = pc.is_in(column, value_set=_BLANK_PLATES)
    rows = np.flatnonzero(blank.to_numpy(zero_copy_only=False))
    text, offsets = _bytes_of(column)
    odd = np.setdiff1d(_rows_of(_NO_PLATE_LETTER[text], offsets), rows)
    return (pc.if_else(blank, None, column) if len(rows) else column), rows, odd


_RANKS = [value for name, value in vars(Repair).items() if name.isupper()]


def repair_lists(notes: list[Note], n: int) -> pa.ListArray:
    """The names of the repairs of each row, in the order of the rules."""
    keys = [rows * len(_RANKS) + _RANKS.index(name) for name, rows in notes if len(rows)]
    found = np.unique(np.concatenate(keys)) if keys else np.empty(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(found // len(_RANKS), minlength=n))])
    names = pa.array(_RANKS, pa.string()).take(pa.array(found % len(_RANKS)))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names)
