"""However a file is cut into cells and blocks, the same rows come out of it, each once."""

import gzip
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.files import grid as cells
from sources.files.history import HistoryCsv
from sources.files.read import plan, read_cell
from sources.units import Tally, Unit, UnitBlock
from transforms.history.parse import parse_block

HEADER = b"Summons Number,Issue Date,Violation Time,Violation Code,Street Name"
PLAIN = b"17,07/06/2015,0143A,21,MAIN ST"

Record = tuple[object, ...]


class Sizes(NamedTuple):
    """How small the pieces are."""

    cell: int
    block: int = 1 << 20
    look_back: int = 1 << 17
    look_ahead: int = 1 << 18
    odd: int = 1 << 16
    few_quotes: int = 5000


class Found(NamedTuple):
    """What came out of a file."""

    blocks: bytes
    """The bytes of all blocks of all cells, one behind the other."""
    rows_in: int
    """What the cells said of themselves."""
    records: list[Record]
    """The rows and dead letters in the file's order."""
    units: list[Unit]


def read(path: Path, sizes: Sizes) -> Found:
    """Read a file in pieces of these sizes, and parse it."""
    data, rows_in, before, found, units = b"", 0, 0, [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "CELL_BYTES", sizes.cell)
        patch.setattr("sources.files.history._SCANNED_BYTES", sizes.cell)
        patch.setattr(cells, "BLOCK_BYTES", sizes.block)
        patch.setattr(cells, "LOOKBACK_BYTES", sizes.look_back)
        patch.setattr(cells, "_LOOKAHEAD_BYTES", sizes.look_ahead)
        patch.setattr("schemas.files.ticket_csv.MAX_ODD_BYTES", sizes.odd)
        patch.setattr("sources.files.csv_records.MAX_ODD_BYTES", sizes.odd)
        patch.setattr("sources.files.csv_records._FEW", sizes.few_quotes)
        form = HistoryCsv()
        for cell in plan(str(path), form):
            for item in read_cell(cell, form, str(path.parent / "lake")):
                if isinstance(item, UnitBlock):
                    data += item.block.data
                    found += parsed(item, before)
                    if item.last:
                        units.append(item.unit)
                else:
                    assert isinstance(item[1], Tally)
                    assert item[1].unit == units[-1]
                    assert item[0] == units[-1].name
                    rows_in += item[1].rows
                    before = rows_in
    return Found(data, rows_in, sorted(found, key=lambda record: int(str(record[0]))), units)


def parsed(item: UnitBlock, before: int) -> list[Record]:
    """The records of a block, each with its number in the file."""
    rows, dead = (batch.to_pylist() for batch in parse_block(item.unit, item.block))
    kept = ("summons_number", "event_time", "violation_code", "street", "issue_date_text", "violation_time_text")
    return [(before + row["record"], *(row[k] for k in kept), tuple(row["repairs"])) for row in rows] + [
        (before + row["record"], row["reason"], row["payload"], row["offset"]) for row in dead
    ]


def write(folder: Path, data: bytes) -> Path:
    """A file of these bytes."""
    path = folder / "tickets.csv"
    path.write_bytes(data)
    return path


WORD = st.text(st.sampled_from("abcé"), min_size=1, max_size=5).map(str.encode)
DIRT = st.one_of(
    st.tuples(WORD, WORD).map(lambda w: b'"' + w[0] + b"," + w[1] + b'"'),
    st.lists(WORD, min_size=2, max_size=4).map(lambda w: b'"' + b"\n".join(w) + b'"'),
    st.tuples(WORD, WORD).map(lambda w: b'"' + w[0] + b"\r\n" + w[1] + b'"'),
    st.tuples(WORD, WORD).map(lambda w: b'"' + w[0] + b'""' + w[1] + b'"'),
    st.tuples(WORD, WORD).map(lambda w: b'"' + w[0] + b"\n" + PLAIN + b"\n" + w[1] + b'"'),
    WORD.map(lambda w: b'"' + w),
    WORD.map(lambda w: w + b'"'),
    st.just(b'"'),
    st.tuples(WORD, WORD).map(lambda w: w[0] + b'"' + w[1]),
    WORD.map(lambda w: w + b"\xe9\xff"),
    st.tuples(WORD, WORD).map(lambda w: w[0] + b"\r" + w[1]),
    WORD.map(lambda w: b'"' + w + b'"'),
    st.just(b""),
    WORD,
)
VALUES = (
    st.integers(1, 999).map(lambda n: b"%d" % n),
    st.sampled_from([b"07/06/2015", b"7/6/15"]),
    st.sampled_from([b"0143A", b"143P", b"1649A"]),
    st.sampled_from([b"21", b"0", b"14"]),
    DIRT,
)
CLEAN = st.tuples(*VALUES)
DIRTY = st.tuples(*(st.one_of(value, value, DIRT) for value in VALUES))
ROWS = st.one_of(CLEAN, DIRTY, CLEAN, st.lists(WORD, max_size=7).map(tuple)).map(b",".join)
SIZES = st.builds(
    Sizes,
    cell=st.integers(64, 2000),
    block=st.integers(1, 2000),
    look_back=st.sampled_from([600, 1 << 17]),
    look_ahead=st.sampled_from([1, 100, 1 << 18]),
    odd=st.sampled_from([400, 1 << 16]),
    few_quotes=st.sampled_from([0, 5, 5000]),
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A history, dirty in all the ways that are told apart; between two rows there may be a plain one."""
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    rows = draw(st.lists(ROWS, max_size=30))
    lines = [HEADER, PLAIN, *(line for row in rows for line in (row, PLAIN))]
    text = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + end.join(lines)
    return text + draw(st.sampled_from([b"", end, end]))


def check(data: bytes, sizes: Sizes) -> None:
    """Both ways of reading give the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), data)
        whole, pieces = read(path, Sizes(1 << 20)), read(path, sizes)
    assert whole.blocks == pieces.blocks == data[data.index(b"\n") + 1 :]
    assert whole.rows_in == pieces.rows_in == len(whole.records)
    assert whole.records == pieces.records
    ends = [unit.end for unit in pieces.units]
    assert [unit.start for unit in pieces.units] == [data.index(b"\n") + 1, *ends[:-1]]
    for record in whole.records:
        if isinstance(record[2], bytes):
            offset = int(str(record[3]))
            assert data[offset : offset + len(record[2])] == record[2]


@given(files(), SIZES)
def test_rows_and_dead_letters_do_not_depend_on_cells_and_blocks(data: bytes, sizes: Sizes) -> None:
    check(data, sizes)


@pytest.mark.parametrize("field", [b'"a', b'a"', b'a"b', b'"', b'""a', b'a""', b'"a"b', b"a\xff"])
def test_a_stray_quote_loses_no_other_row(tmp_path: Path, field: bytes) -> None:
    bad = PLAIN.replace(b"MAIN ST", field) + b"\n"
    lines = [PLAIN + b"\n"] * 20 + [bad] + [PLAIN + b"\n"] * 20 + [bad] + [PLAIN + b"\n"] * 20
    path = write(tmp_path, HEADER + b"\n" + b"".join(lines))
    for cell in range(64, 400, 74):
        found = read(path, Sizes(cell, block=100))
        assert found.rows_in == 62
        streets = [record[4] for record in found.records]
        assert [i for i, street in enumerate(streets) if street != "MAIN ST"] == [20, 41]
        assert streets[20] == field.decode("latin-1")
        assert found.records[20][-1] == (("encoding_latin1",) if field == b"a\xff" else ("stray_quote",))


@pytest.mark.parametrize("row", [b'"a,b,c","d,e"', b'"1,2",3,4,5', b'1,2,3,4,5,"6"', b'"1","2","3"'])
def test_why_a_row_is_refused_does_not_depend_on_how_many_quotes_there_are(tmp_path: Path, row: bytes) -> None:
    path = write(tmp_path, b"\n".join([HEADER, PLAIN, row, PLAIN]))
    reason = "row_too_long" if row.endswith(b'"6"') else "row_cut_short"
    for few in (0, 5000):
        assert read(path, Sizes(1 << 20, few_quotes=few)).records[1][1:3] == (reason, row)


@pytest.mark.parametrize("quotes", [b'"', b""])
def test_a_file_of_quoted_fields_alone_is_the_same_file(tmp_path: Path, quotes: bytes) -> None:
    row = b",".join(quotes + field + quotes for field in PLAIN.split(b","))
    path = write(tmp_path, HEADER + b"\n" + (row + b"\n") * 700)  # 7,000 quotes: not few
    found = read(path, Sizes(10_000, block=3_000))
    assert found.records == read(path, Sizes(1 << 20)).records
    assert {record[1:] for record in found.records} == {
        read(write(tmp_path, HEADER + b"\n" + PLAIN), Sizes(99)).records[0][1:]
    }


def names(path: Path) -> list[str]:
    """Of a file's units."""
    return [unit.name for unit in read(path, Sizes(1000)).units]


def numbered(n: int) -> bytes:
    """A file of so many different rows."""
    return HEADER + b"\n" + b"".join(b"%06d,07/06/2015,0143A,21,MAIN ST\n" % i for i in range(n))


def test_a_file_under_another_name_or_packed_has_the_same_units(tmp_path: Path) -> None:
    path = write(tmp_path, numbered(200))
    (tmp_path / "copy.csv").write_bytes(path.read_bytes())
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert len(set(names(path))) == 8
    assert names(tmp_path / "copy.csv") == names(path)
    assert names(tmp_path / "packed.csv.gz") == names(path)
    whole, packed = read(path, Sizes(1000)), read(tmp_path / "packed.csv.gz", Sizes(1000))
    assert (whole.blocks, whole.rows_in, whole.records) == (packed.blocks, packed.rows_in, packed.records)


def test_a_changed_byte_makes_another_unit_of_its_cell_alone(tmp_path: Path) -> None:
    data = numbered(200)
    before = names(write(tmp_path, data))
    changed = data.replace(b"000100", b"900100")
    after = names(write(tmp_path, changed))
    different = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert different == [data.index(b"000100") // 1000]


def test_rows_that_are_added_at_the_end_leave_the_whole_cells_as_they_are(tmp_path: Path) -> None:
    before, after = names(write(tmp_path, numbered(200))), names(write(tmp_path, numbered(300)))
    assert after[: len(before) - 1] == before[:-1]
    assert not set(before[-1:]) & set(after)


def test_the_same_rows_below_another_header_are_other_units(tmp_path: Path) -> None:
    before = names(write(tmp_path, numbered(200)))
    after = names(write(tmp_path, numbered(200).replace(b"Street Name", b"House Nr., ", 1)))
    assert not set(before) & set(after)


def test_a_record_longer_than_a_cell_belongs_to_the_one_in_which_it_begins(tmp_path: Path) -> None:
    long_street = PLAIN.replace(b"MAIN ST", b'"' + b"x" * 5000 + b'"')
    data = b"\n".join([HEADER, PLAIN, long_street, PLAIN, PLAIN])
    check(data, Sizes(100, block=50))
    names = [unit.name for unit in read(write(tmp_path, data), Sizes(100)).units]
    assert [name[:13] for name in names] == ["history-00000", "history-00051"]


OTHER = b"Issue Date,Summons Number,Violation Time,Violation Code,Street Name"


@pytest.mark.parametrize("cell", [64, 100, 333, 1 << 20])
@pytest.mark.parametrize("block", [50, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_rows_behind_a_header_in_another_order_are_never_read_by_the_first(
    tmp_path: Path, cell: int, block: int, end: bytes
) -> None:
    part = [PLAIN] * 9
    lines = [HEADER, *part, HEADER, *part, OTHER, *part, b"\xef\xbb\xbf" + HEADER.lower(), *part, OTHER, *part]
    found = read(write(tmp_path, end.join(lines)), Sizes(cell, block))
    expected = [*[17] * 9, "header_line", *[17] * 9, "header_line", *["columns_in_another_order"] * 9]
    expected += ["header_line", *[17] * 9, "header_line", *["columns_in_another_order"] * 9]
    assert [record[1] for record in found.records] == expected
    assert found.rows_in == len(lines) - 1


def test_a_cell_behind_another_header_is_another_unit(tmp_path: Path) -> None:
    rows = [PLAIN] * 40
    same = names(write(tmp_path, b"\n".join([HEADER, PLAIN, HEADER, *rows])))
    other = names(write(tmp_path, b"\n".join([HEADER, PLAIN, OTHER, *rows])))
    assert len(same) == len(other) == 2
    assert not set(same) & set(other)
