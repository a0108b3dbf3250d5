"""Which files are histories of tickets, and that the blocks of one lose no byte."""

import io
import pickle
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputUnusable
from schemas.files.ticket_csv import MAX_HEADER_BYTES
from schemas.history import COLUMNS_34, COLUMNS_43, COLUMNS_51, MANDATORY, READ_COLUMNS, column_key
from sources.files import grid as cells
from sources.files.history import HistoryCsv
from sources.files.read import Header


def header(first_lines: bytes) -> Header:
    """The header of a file that begins like this."""
    return HistoryCsv().header(io.BytesIO(first_lines), "tickets.csv")


def refusal(first_lines: bytes) -> str:
    """What is said of a file that begins like this."""
    with pytest.raises(InputUnusable, match=r"^tickets\.csv: ") as error:
        header(first_lines)
    return str(error.value)


@pytest.mark.parametrize("columns", [COLUMNS_34, COLUMNS_43, COLUMNS_51], ids=len)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_header_of_every_year_is_read_and_its_bytes_are_known(
    columns: tuple[str, ...], mark: bytes, end: bytes
) -> None:
    text = mark + ",".join(columns).encode() + end
    assert header(text + (b"1,2,3\n" if end else b"")) == Header(text, columns)


def test_names_may_be_quoted_and_spelled_another_way() -> None:
    text = b'"Summons Number",issue_date,"VIOLATION  TIME","Violation Code ","a,b"\n'
    assert header(text).columns == ("Summons Number", "issue_date", "VIOLATION  TIME", "Violation Code ", "a,b")


@pytest.mark.parametrize("name", MANDATORY)
def test_the_error_names_a_missing_mandatory_column(name: str) -> None:
    others = ",".join(column for column in COLUMNS_43 if column != name)
    assert f"does not name {name}." in refusal(others.encode() + b"\n")


@pytest.mark.parametrize("name", READ_COLUMNS)
@pytest.mark.parametrize("again", [str, str.upper, lambda name: name.replace(" ", "_")])
def test_the_error_names_a_duplicated_column_that_is_read(name: str, again: Callable[[str], str]) -> None:
    assert f"names {name} more than once" in refusal(",".join([*COLUMNS_43, again(name)]).encode() + b"\n")


def test_a_column_that_is_not_read_may_be_duplicated() -> None:
    columns = (*COLUMNS_43, "Meter Number", "", "")
    assert header(",".join(columns).encode() + b"\n").columns == columns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "the file is empty"),
        (b"\n", "this is no "),
        (b"\xef\xbb\xbf", "this is no "),
        (b"\xff\xfe\x00S\n", "no CSV file but text in UTF-16"),
        (",".join(MANDATORY).encode("utf-16"), "no CSV file"),
        (b'"Summons Number\n', "no CSV file"),
        (b"{}\n", "no CSV file but JSON"),
        (
            b"sep=;\n",
            "does not name Summons Number, Issue Date, Violation Time, Violation Code. It begins with 'sep=;'.",
        ),
        (",".join(MANDATORY).encode() + b"," * MAX_HEADER_BYTES, "no end within 65536 bytes"),
    ],
)
def test_a_first_line_that_is_not_a_header_is_an_error(text: bytes, expected: str) -> None:
    assert expected in refusal(text)


@given(st.binary(max_size=200))
def test_any_file_has_a_header_or_is_refused(text: bytes) -> None:
    try:
        found = header(text)
    except InputUnusable:
        return
    assert {column_key(name) for name in MANDATORY} <= {column_key(name) for name in found.columns}


@given(st.binary(max_size=300) | st.text(st.sampled_from('1,a"\r\né'), max_size=300).map(str.encode))
def test_a_block_has_the_bytes_of_the_file_and_their_place(data: bytes) -> None:
    block = HistoryCsv().content(Header(b"", ("A", "B", "C")), data, 1000, 70)
    assert (block.data, block.offset, block.first_record) == (data, 1000, 70)
    assert 0 <= block.num_rows <= data.count(b"\n") + 1
    copied = pickle.loads(pickle.dumps(block))
    assert (copied.data, copied.num_rows) == (data, block.num_rows)
    spans = block.spans(np.arange(block.num_rows))
    assert b"".join(data[start:end] for start, end in spans) == data


def test_a_record_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MAX_RECORD_BYTES", 1 << 19)
    data = random.Random(1).randbytes(1 << 21).replace(b"\n", b" ")
    borders = HistoryCsv().borders(Header(b"", ("A", "B")))
    with pytest.raises(InputUnusable, match="no record ends within"):
        cells.border(io.BytesIO(data), 1 << 20, borders)
    monkeypatch.setattr(cells, "BLOCK_BYTES", 100)
    with pytest.raises(InputUnusable, match="no record ends within"):
        list(cells.blocks(io.BytesIO(data), 0, len(data), borders))
