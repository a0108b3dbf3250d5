"""A block of CSV becomes violations and dead letters: nothing is lost, every repair is named."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

import sources.files.history
from schemas.files.ticket_csv import ColumnNames, Layout, layout
from schemas.history import COLUMNS_34, COLUMNS_43, COLUMNS_51, MANDATORY, Reason, Repair
from schemas.lake import VIOLATION, Source
from sources.files.csv_records import LineIndex
from sources.files.history import HistoryCsv
from sources.files.read import Header
from sources.units import Unit, UnitBatch, UnitBlock
from transforms.history.parse import ParseHistory, parse_block
from transforms.outputs import DEAD_LETTERS, ROWS

OFFSET, FIRST = 1000, 70
"""Where the blocks of these tests stand in their file."""
VALUES = {
    "Summons Number": "1283294138",
    "Plate ID": "GBB9093",
    "Registration State": "NY",
    "Plate Type": "PAS",
    "Issue Date": "08/04/2013",
    "Violation Code": "46",
    "Vehicle Body Type": "SUBN",
    "Vehicle Make": "AUDI",
    "Issuing Agency": "P",
    "Violation Precinct": "33",
    "Violation Time": "0752A",
    "Violation County": "K",
    "House Number": "712",
    "Street Name": "W 175 ST",
    "Vehicle Color": "GY",
    "Vehicle Year": "2013",
}
"""A row of the city."""
EXPECTED = {
    "unit": "history-00002-hash",
    "record": FIRST,
    "event_time": datetime(2013, 8, 4, 11, 52, tzinfo=UTC),
    "violation_code": 46,
    "area": "K",
    "plate_id": "GBB9093",
    "repairs": [],
    "summons_number": 1283294138,
    "issue_date_text": "08/04/2013",
    "violation_time_text": "0752A",
    "county": "K",
    "precinct": 33,
    "street": "W 175 ST",
    "house_number": "712",
    "agency": "P",
    "registration_state": "NY",
    "plate_type": "PAS",
    "vehicle_body": "SUBN",
    "vehicle_make": "AUDI",
    "vehicle_color": "GY",
    "vehicle_year": 2013,
}
"""The same in the lake."""
SHORT = (*MANDATORY, "Plate ID", "Street Name", "Violation County", "Vehicle Year")

Rows = list[dict[str, Any]]


def line(columns: Sequence[str], values: Mapping[str, str] = VALUES) -> bytes:
    """A row of the city in a layout."""
    return ",".join(values.get(name, "") for name in columns).encode()


def parse(columns: Sequence[str], data: bytes) -> tuple[Rows, Rows]:
    """The rows and the dead letters, as the graph finds them."""
    unit = Unit(Source.HISTORY, "tickets.csv", 0, OFFSET + len(data), "history-00002-hash", tuple(columns))
    block = HistoryCsv().content(Header(b"", tuple(columns)), data, OFFSET, FIRST)
    records = block.num_rows
    rows, dead = parse_block(unit, block)
    assert {row["record"] for row in rows.to_pylist() + dead.to_pylist()} == set(range(FIRST, FIRST + records))
    assert rows.num_rows + dead.num_rows == records
    for field in rows.schema:
        assert field.type == VIOLATION.field(field.name).type or field.name == "repairs"
    return rows.to_pylist(), dead.to_pylist()


def changed(**values: str) -> bytes:
    """A short row of the city with other values, its columns named with underscores."""
    others = {name.replace("_", " "): value for name, value in values.items()}
    assert others.keys() <= set(SHORT)
    return line(SHORT, VALUES | others)


@pytest.mark.parametrize("columns", [COLUMNS_34, COLUMNS_43, COLUMNS_51], ids=len)
@pytest.mark.parametrize("spelling", ["as they are", "snake case", "another order", "unknown ones between"])
def test_the_columns_of_every_layout_are_found_by_name(columns: tuple[str, ...], spelling: str) -> None:
    names, cells = list(columns), line(columns).split(b",")
    if spelling == "snake case":
        names = [re.sub(r"\W+", "_", name.lower()) for name in names]
    elif spelling == "another order":
        names, cells = names[::-1], cells[::-1]
    elif spelling == "unknown ones between":
        names = [n for name in names for n in (name, f"New {name}")]
        cells = [c for cell in cells for c in (cell, b"?")]
    rows, dead = parse(names, b",".join(cells) + b"\n")
    assert rows == [EXPECTED | ({} if "Vehicle Year" in columns else {"vehicle_year": None})]
    assert dead == []


def test_a_column_that_a_layout_does_not_have_is_empty() -> None:
    rows, _ = parse(MANDATORY, line(MANDATORY))
    present = ("unit", "record", "event_time", "violation_code", "repairs", "summons_number")
    texts = ("issue_date_text", "violation_time_text")
    assert rows == [{name: EXPECTED[name] if name in present + texts else None for name in EXPECTED}]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"1,2,3", Reason.CUT_SHORT),
        (b"", Reason.SUMMONS_MISSING),
        (b'1,2,"3', Reason.CUT_SHORT),
        (b"1,2,\xff", Reason.CUT_SHORT),
        (line(SHORT) + b",", Reason.TOO_LONG),
        (line(SHORT) + b',"a,b"', Reason.TOO_LONG),
        (changed(Summons_Number=""), Reason.SUMMONS_MISSING),
        (changed(Summons_Number="12A"), Reason.SUMMONS_UNREADABLE),
        (changed(Summons_Number="-12"), Reason.SUMMONS_UNREADABLE),
        (changed(Summons_Number="1" * 19), Reason.SUMMONS_UNREADABLE),
        (changed(Violation_Code=""), Reason.CODE_MISSING),
        (changed(Violation_Code="x"), Reason.CODE_UNREADABLE),
        (changed(Violation_Code="100"), Reason.CODE_OUT_OF_RANGE),
        (changed(Issue_Date=""), Reason.DATE_MISSING),
        (changed(Issue_Date="soon"), Reason.DATE_UNREADABLE),
        (changed(Issue_Date="02/30/2015"), Reason.DATE_OUT_OF_RANGE),
        (changed(Violation_Time=""), Reason.TIME_MISSING),
        (changed(Violation_Time="0  :P"), Reason.TIME_UNREADABLE),
        (changed(Violation_Time="1299A"), Reason.TIME_OUT_OF_RANGE),
        (changed(Violation_Time="1649A"), Reason.TIME_CONTRADICTORY),
        (changed(Violation_Time="1649A", Street_Name='"x\ny"'), Reason.TIME_CONTRADICTORY),
        (changed(Violation_Time="", Issue_Date="", Violation_Code="", Summons_Number=""), Reason.SUMMONS_MISSING),
    ],
)
def test_a_dead_letter_has_its_reason_its_bytes_and_its_place(bad: bytes, reason: str, end: bytes) -> None:
    good = line(SHORT)
    data = (end or b"\n").join([good, changed(Street_Name='"a\nb"'), good, bad]) + end
    if not end and not bad:
        data += b"\n"  # an empty last line is none without it
    rows, dead = parse(SHORT, data)
    assert [row["record"] for row in rows] == [FIRST, FIRST + 2, FIRST + 1]  # the odd one stands last
    (letter,) = dead
    assert (letter["record"], letter["reason"], letter["payload"]) == (FIRST + 3, reason, bad)
    assert (letter["path"], letter["unit"]) == ("tickets.csv", EXPECTED["unit"])
    place = letter["offset"] - OFFSET
    assert data[place : place + len(bad)] == bad
    assert place == len(data) - len(bad) - len(end or (b"" if bad else b"\n"))


def test_the_repairs_of_a_row_are_in_the_order_of_the_rules() -> None:
    values = {
        "Plate_ID": "3%68954N",
        "Violation_County": "Kings",
        "Vehicle_Year": "X",
        "Issue_Date": "3/8/2015",
        "Violation_Time": " 230A",
        "Street_Name": 'Caf\xe9 "x',
    }
    rows, _ = parse(SHORT, changed(**values).decode().encode("latin-1"))
    order = [value for name, value in vars(Repair).items() if name.isupper()]
    assert rows[0]["repairs"] == [
        Repair.ENCODING,
        Repair.STRAY_QUOTE,
        Repair.TIME_BLANK_HOUR,
        Repair.DATE_UNPADDED,
        Repair.DST_GAP,
        Repair.COUNTY_ALIAS,
        Repair.PLATE_ODD,
        Repair.NUMBER_UNREADABLE,
    ]
    assert rows[0]["repairs"] == sorted(rows[0]["repairs"], key=order.index)
    assert rows[0]["street"] == 'Café "x'
    assert rows[0]["event_time"] == datetime(2015, 3, 8, 7, 30, tzinfo=UTC)


def test_a_repair_is_named_on_its_row_alone() -> None:
    data = b"\n".join([line(SHORT), changed(Violation_Time="143A"), line(SHORT), changed(Plate_ID="NONE")])
    assert [row["repairs"] for row in parse(SHORT, data)[0]] == [[], [Repair.TIME_LOST_ZERO], [], [Repair.PLATE_BLANK]]


def test_a_time_that_happens_twice_is_the_first_with_a_repair() -> None:
    rows, _ = parse(SHORT, changed(Issue_Date="11/02/2014", Violation_Time="0130A"))
    assert rows[0]["event_time"] == datetime(2014, 11, 2, 5, 30, tzinfo=UTC)
    assert rows[0]["repairs"] == [Repair.DST_TWICE]


def test_blank_plates_are_none_odd_ones_are_kept_and_missing_ones_are_no_repair() -> None:
    plates = ["BLANKPLATE", "n/a", "3%68954N", "", "GBB 9093"]
    rows, _ = parse(SHORT, b"\n".join(changed(Plate_ID=plate) for plate in plates))
    assert [row["plate_id"] for row in rows] == [None, None, "3%68954N", None, "GBB 9093"]
    assert [row["repairs"] for row in rows] == [[Repair.PLATE_BLANK]] * 2 + [[Repair.PLATE_ODD], [], []]


def test_rows_without_a_code_are_last() -> None:
    codes = ["0", "46", "00", "14"]
    rows, _ = parse(SHORT, b"\n".join(changed(Violation_Code=code) for code in codes))
    assert [(row["violation_code"], row["record"] - FIRST) for row in rows] == [(46, 1), (14, 3), (0, 0), (0, 2)]


def test_text_is_kept_as_written_whether_quoted_or_not() -> None:
    streets = ["W 175 ST", " W 175 ST ", '"A, B"', '"A ""B"""', '"A\r\nB"', '"é\n"', "é", "日本", "NULL", "nan", "0012"]
    rows, _ = parse(SHORT, b"\n".join(changed(Street_Name=street) for street in streets))
    found = [row["street"] for row in sorted(rows, key=lambda row: int(row["record"]))]
    assert found == ["W 175 ST", "W 175 ST", "A, B", 'A "B"', "A\r\nB", "é", "é", "日本", None, None, "0012"]


FULL = (*SHORT, "Vehicle Make", "Violation Precinct", "Registration State")


@pytest.mark.parametrize(
    ("name", "text", "column", "value", "repairs"),
    [
        ("Issue Date", " 08/04/2013 ", "event_time", EXPECTED["event_time"], [Repair.TRIMMED]),
        ("Violation Code", " 46", "violation_code", 46, [Repair.TRIMMED]),
        ("Violation Code", "046", "violation_code", 46, [Repair.NUMBER_SPELLING]),
        ("Violation Code", "-0", "violation_code", 0, [Repair.NUMBER_SPELLING]),
        ("Violation Code", "46.0", "violation_code", 46, [Repair.POINT_ZERO]),
        ("Summons Number", " 17", "summons_number", 17, [Repair.TRIMMED]),
        ("Summons Number", "017", "summons_number", 17, [Repair.NUMBER_SPELLING]),
        ("Summons Number", "7000000001.0", "summons_number", 7000000001, [Repair.POINT_ZERO]),
        ("Violation Precinct", "33.0", "precinct", 33, [Repair.POINT_ZERO]),
        ("Violation Precinct", "033", "precinct", 33, [Repair.NUMBER_SPELLING]),
        ("Vehicle Year", "NULL", "vehicle_year", None, [Repair.PLACEHOLDER]),
        ("Plate ID", " AB1 ", "plate_id", "AB1", [Repair.TRIMMED]),
        ("Plate ID", "NULL", "plate_id", None, [Repair.PLACEHOLDER]),
        ("Plate ID", " n/a ", "plate_id", None, [Repair.TRIMMED, Repair.PLACEHOLDER]),
        ("Street Name", "nan", "street", None, [Repair.PLACEHOLDER]),
        ("Vehicle Make", "NA", "vehicle_make", None, [Repair.PLACEHOLDER]),
        ("Registration State", " NY", "registration_state", "NY", [Repair.TRIMMED]),
        ("Violation County", "\\N", "county", None, [Repair.PLACEHOLDER]),
        ("Violation County", "\\N", "area", None, [Repair.PLACEHOLDER]),
        ("Violation Time", "0752A ", "event_time", EXPECTED["event_time"], [Repair.TIME_TRIMMED]),
    ],
)
def test_cleaning_a_text_is_a_repair_in_every_column(
    name: str, text: str, column: str, value: object, repairs: list[str]
) -> None:
    rows, dead = parse(FULL, b"\n".join([line(FULL), line(FULL, VALUES | {name: text}), line(FULL)]))
    assert dead == []
    rows.sort(key=lambda row: int(row["record"]))
    assert [row["repairs"] for row in rows] == [[], repairs, []]
    assert rows[1][column] == value


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Summons Number", Reason.SUMMONS_MISSING),
        ("Issue Date", Reason.DATE_MISSING),
        ("Violation Time", Reason.TIME_MISSING),
        ("Violation Code", Reason.CODE_MISSING),
    ],
)
@pytest.mark.parametrize("text", ["NULL", "nan", " \\N", "-"])
def test_a_placeholder_where_a_value_must_be_is_a_missing_one(name: str, reason: str, text: str) -> None:
    _, dead = parse(FULL, line(FULL, VALUES | {name: text}))
    assert [letter["reason"] for letter in dead] == [reason]


def test_a_line_longer_than_the_parser_takes_at_once_is_one_row() -> None:
    long = "x" * (3 << 20)
    rows, dead = parse(SHORT, b"\n".join([line(SHORT), changed(Street_Name=long), line(SHORT), b"y" * (2 << 20)]))
    assert [len(row["street"]) for row in rows] == [8, len(long), 8]
    assert [(letter["reason"], len(letter["payload"])) for letter in dead] == [(Reason.CUT_SHORT, 2 << 20)]


def test_a_block_without_a_good_row_is_dead_letters_alone() -> None:
    rows, dead = parse(SHORT, b'\n\xff\n"\n1,2\n')
    assert rows == []
    dead.sort(key=lambda letter: int(letter["record"]))
    assert [letter["payload"] for letter in dead] == [
        b"",
        b"\xff",
        b'"',
        b"1,2",
    ]


DIRT = st.text(st.sampled_from('abA1 é/":%\r\n,'), max_size=8) | st.text(max_size=4)
CELLS = {name: st.sampled_from([VALUES[name], VALUES[name]]) | DIRT for name in SHORT}


@given(st.lists(st.fixed_dictionaries(CELLS), max_size=8), st.sampled_from(["utf-8", "latin-1"]))
def test_every_record_of_a_dirty_block_is_a_row_or_a_dead_letter(values: list[dict[str, str]], encoding: str) -> None:
    data = "\n".join(",".join(row.values()) for row in values).encode(encoding, "replace")
    rows, dead = parse(SHORT, data) if data else ([], [])  # which looks at the numbers of all records
    for row in rows:
        assert 0 <= row["violation_code"] <= 99
    for letter in dead:
        assert letter["reason"] in vars(Reason).values()
        place = letter["offset"] - OFFSET
        assert data[place : place + len(letter["payload"])] == letter["payload"]


def test_the_graph_parses_batches() -> None:
    unit = Unit(Source.HISTORY, "tickets.csv", 0, 500, "history-00002-hash", SHORT)
    data = b"\n".join([line(SHORT), b"1,2", changed(Violation_Code="0")])
    block = HistoryCsv().content(Header(b"", SHORT), data, OFFSET, FIRST)

    def codes(found: UnitBatch) -> list[int]:
        return list(found.rows["violation_code"].to_pylist())

    def payloads(found: UnitBatch) -> tuple[list[bytes], bool]:
        return list(found.rows["payload"].to_pylist()), found.last

    with TestPipeline() as pipeline:
        parsed = pipeline | beam.Create([UnitBlock(unit, block, last=True)], reshuffle=False) | ParseHistory()
        assert_that(parsed[ROWS] | "codes" >> beam.Map(codes), equal_to([[46, 0]]), "rows")
        assert_that(parsed[DEAD_LETTERS] | beam.Map(payloads), equal_to([([b"1,2"], True)]), "dead letters")


@pytest.mark.parametrize("between", [b'1,"x\n', b"\n", b"1,2\n", changed() + b"\n"])
def test_lookups_in_a_block_do_not_grow_with_its_headers_and_dead_letters(
    monkeypatch: pytest.MonkeyPatch, between: bytes
) -> None:
    """Where lines stand is asked for all at once, and the file's own header is looked through once."""
    calls = dict.fromkeys(("lines", "starts"), 0)
    layouts: list[tuple[str, ...]] = []

    def counted(name: str) -> None:
        real = getattr(LineIndex, name)

        def ask(*given: Any) -> Any:
            calls[name] += 1
            return real(*given)

        monkeypatch.setattr(LineIndex, name, ask)

    def looked_through(names: ColumnNames) -> Layout:
        layouts.append(names.columns)
        return layout(names)

    for name in calls:
        counted(name)
    monkeypatch.setattr(sources.files.history, "layout", looked_through)
    first, other = ",".join(SHORT).encode() + b"\n", ",".join(reversed(SHORT)).encode() + b"\n"
    found = []
    for times in (1, 200):
        calls.update(lines=0, starts=0)
        layouts.clear()
        _, dead = parse(SHORT, (other + between + first + between) * times)
        assert len(dead) >= 3 * times
        found.append((sum(calls.values()), layouts.count(SHORT) - times))
    assert found[0] == found[1]
    assert found[0][0] < 10
