"""Repair of whole columns: each distinct text once, each byte at most once."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.history import BLANK_PLATES, PLACEHOLDERS, Reason, Repair
from sources.files.csv_block import Ints, Note
from transforms.history.repair import PLATE_LETTERS, Text, clean_text, number_spelling, repair_county, whole_number


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


def clean_dictionary(
    column: pa.DictionaryArray, clean: Callable[[str], Text] = clean_text
) -> tuple[pa.DictionaryArray, list[Note]]:
    """:func:`transforms.history.repair.clean_text` of a column with a dictionary."""
    doubtful = _to_clean(column.dictionary)
    if not len(doubtful):
        return column, []
    cleaned = [clean(text) for text in column.dictionary.take(pa.array(doubtful)).to_pylist()]
    if not any(text.repairs for text in cleaned):
        return column, []
    texts = column.dictionary.to_pylist()
    repairs: list[tuple[str, ...]] = [()] * len(texts)
    for place, text in zip(doubtful.tolist(), cleaned, strict=True):
        texts[place], repairs[place] = text
    values = pa.array(texts, pa.string()).dictionary_encode()
    indices = values.indices.take(column.indices)
    return pa.DictionaryArray.from_arrays(indices, values.dictionary), _notes(repairs, indices_of(column, len(texts)))


def clean_strings(
    column: pa.StringArray, except_for: frozenset[str] = frozenset()
) -> tuple[pa.StringArray, list[Note]]:
    """:func:`transforms.history.repair.clean_text` of a column without a dictionary.

    Args:
        except_for: placeholders, in capitals, of which the column has a rule of its own.
    """
    rows = _to_clean(column)
    if not len(rows):
        return column, []
    distinct = column.take(pa.array(rows)).dictionary_encode()
    texts = distinct.dictionary.to_pylist()
    cleaned = [Text(text) if text.upper() in except_for else clean_text(text) for text in texts]
    index = distinct.indices.to_numpy().astype(np.int64)
    changed = np.array([bool(text.repairs) for text in cleaned])[index]
    if not changed.any():
        return column, []
    mask = np.zeros(len(column), bool)
    mask[rows[changed]] = True
    values = pa.array([text.value for text in cleaned], pa.string()).take(pa.array(index[changed]))
    notes = [(name, rows[found]) for name, found in _notes([text.repairs for text in cleaned], index)]
    return pc.replace_with_mask(column, pa.array(mask), values), notes


def _notes(repairs: Sequence[tuple[str, ...]], index: Ints) -> list[Note]:
    """The repairs of distinct texts, each with its rows; a row without a text has the number behind the last."""
    names = sorted({name for made in repairs for name in made})
    return [(name, np.flatnonzero(np.array([*(name in made for made in repairs), False])[index])) for name in names]


_PLACEHOLDER_BEGINS = bytes(any(byte in (ord(p[0]), ord(p[0].lower())) for p in PLACEHOLDERS) for byte in range(256))
_LONGEST_PLACEHOLDER = max(map(len, PLACEHOLDERS))


def _to_clean(column: pa.StringArray) -> Ints:
    """The rows whose text may have to be cleaned, by its length and the bytes at its ends."""
    text, offsets = _bytes_of(column)
    if not len(text):
        return np.empty(0, np.int64)
    sizes = offsets[1:] - offsets[:-1]
    ends = offsets[1:]
    first, last = text.take(offsets[:-1], mode="clip"), text.take(ends - 1, mode="clip")
    doubtful = np.frombuffer(first.tobytes().translate(_PLACEHOLDER_BEGINS), bool) & (sizes <= _LONGEST_PLACEHOLDER)
    doubtful |= (first - np.uint8(0x21) > 0x5D) | (last - np.uint8(0x21) > 0x5D)  # a blank, or no ASCII
    zeros = np.flatnonzero(last == ord("0"))  # a number with a decimal point ends with zeros
    for back in (2, 3):
        before = text.take(ends[zeros] - back, mode="clip")
        doubtful[zeros[before == ord(".")]] = True
        zeros = zeros[before == ord("0")]
    doubtful[zeros] = True
    rows = np.flatnonzero(doubtful)
    return rows[sizes[rows] > 0]


_NO_PLATE_LETTER = ~np.isin(np.arange(256), list(PLATE_LETTERS))
_BLANK_PLATES = pa.array(sorted({variant for b in BLANK_PLATES for variant in (b, b.lower(), b.title())}))
_SUMMONS_REASONS = [None, Reason.SUMMONS_MISSING, Reason.SUMMONS_UNREADABLE]


def summons_numbers(column: pa.StringArray) -> tuple[pa.Int64Array, list[str | None], Ints, Ints]:
    """The numbers; for each row which of the reasons it has; the rows whose number begins with a zero."""
    index = np.where(column.is_null().to_numpy(zero_copy_only=False), 1, 0)
    text, offsets = _bytes_of(column)
    index[_rows_of(text - np.uint8(ord("0")) > 9, offsets)] = 2  # unsigned: what is below 0 is far above 9
    index[pc.fill_null(pc.greater(pc.binary_length(column), 18), False).to_numpy(zero_copy_only=False)] = 2
    if index.any():
        column = pc.if_else(pa.array(index == 0), column, None)
    # A row without a text has no byte of its own: the one at its offset is another row's.
    padded = np.flatnonzero(text.take(offsets[:-1], mode="clip") == ord("0")) if len(text) else np.empty(0, np.int64)
    padded = padded[np.diff(offsets)[padded] > 1]
    return column.cast(pa.int64()), _SUMMONS_REASONS, index, padded


def counties(column: pa.DictionaryArray) -> tuple[pa.DictionaryArray, list[str | None], Ints]:
    """The counties, and for each row which of the repairs it has."""
    repaired = [repair_county(text) for text in column.dictionary.to_pylist()]
    codes = pa.array([code for code, _ in repaired], pa.string()).dictionary_encode()
    county = pa.DictionaryArray.from_arrays(codes.indices.take(column.indices), codes.dictionary)
    return county, [*(repair for _, repair in repaired), None], indices_of(column, len(repaired))


def optional_numbers(column: pa.DictionaryArray) -> tuple[pa.Int16Array, list[Note]]:
    """The numbers, and the repairs of those that are spelled another way or are none."""
    texts = column.dictionary.to_pylist()
    numbers = [whole_number(text) for text in texts]
    fits = [n if n is not None and -(1 << 15) <= n < 1 << 15 else None for n in numbers]
    repairs = [
        Repair.NUMBER_UNREADABLE if n is None else number_spelling(text, n) for text, n in zip(texts, fits, strict=True)
    ]
    made = [(name,) if name else () for name in repairs]
    notes = _notes(made, indices_of(column, len(texts))) if any(made) else []
    return pa.array(fits, pa.int16()).take(column.indices), notes


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
