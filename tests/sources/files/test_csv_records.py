"""Where a record ends when its quotes are broken, and which records the CSV parser must not see."""

import csv
import io
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.files import ticket_csv as records
from schemas.files.ticket_csv import OddRecord, _has_stray_quote
from sources.files.csv_records import LineIndex, _stray_quotes, count_records, odd_records, record_end, record_start

PLAIN = b"1,07/06/2015,0143A,21\n"
ODD: dict[str, tuple[bytes, int, list[bytes], bool]] = {
    "a quoted newline": (b'1,"x\ny",c,d\n', 2, [b"1", b"x\ny", b"c", b"d"], False),
    "a quoted carriage return and newline": (b'1,"x\r\ny",c,d\r\n', 2, [b"1", b"x\r\ny", b"c", b"d"], False),
    "a stray quote at the start of a field": (b'1,"x,c,d\n', 1, [b"1", b'"x', b"c", b"d"], True),
    "a stray quote inside a field": (b'1,x"y,c,d\n', 1, [b"1", b'x"y', b"c", b"d"], True),
    "a stray quote at the end of a field": (b'1,x",c,d\n', 1, [b"1", b'x"', b"c", b"d"], True),
    "a lone carriage return": (b"1,x\ry,c,d\n", 1, [b"1", b"x\ry", b"c", b"d"], False),
    "bytes that are no UTF-8": (b"1,x\xe9,c,d\n", 1, [b"1", b"x\xe9", b"c", b"d"], False),
    "few quotes": (b'1,"x,y","a ""b""",d\n', 1, [b"1", b"x,y", b'a "b"', b"d"], False),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("end", [b"", PLAIN, b"\n", b'1,"a,b",c,d\n'])
def test_an_odd_record_is_found_and_its_neighbours_are_not_odd(what: str, end: bytes) -> None:
    record, lines, fields, stray = ODD[what]
    data = PLAIN + record + end + PLAIN
    found = odd_records(data, 4)[0]
    assert found == OddRecord(len(PLAIN), len(PLAIN + record), lines, fields, stray)
    assert count_records(LineIndex(data), odd_records(data, 4)) == 3 + bool(end)


@pytest.mark.parametrize("what", ODD)
def test_a_last_record_without_its_newline_counts_and_is_the_same(what: str) -> None:
    record, lines, fields, stray = ODD[what]
    data = PLAIN + record.rstrip(b"\r\n")
    assert odd_records(data, 4) == [OddRecord(len(PLAIN), len(data), lines, fields, stray)]
    assert count_records(LineIndex(data), odd_records(data, 4)) == 2


@pytest.mark.parametrize(
    ("data", "count"),
    [(b"", 0), (b"\n", 1), (b"\r\n\r\n", 2), (PLAIN, 1), (PLAIN * 3, 3), (PLAIN + b"\n" + PLAIN[:-1], 3), (b"x", 1)],
)
def test_ordinary_lines_are_counted_and_none_is_odd(data: bytes, count: int) -> None:
    assert odd_records(data, 4) == []
    assert count_records(LineIndex(data), []) == count


def test_utf8_is_not_odd() -> None:
    data = ("1,é,c,d\n" + "1,x,c,d\n" * 3000 + "1,日本,c,d\n").encode()
    assert odd_records(data, 4) == []
    assert [record.start for record in odd_records(data + b"1,\xff,c,d", 4)] == [len(data)]


def test_a_file_of_quoted_fields_has_no_odd_records() -> None:
    quoted = b'"1","x,y","a ""b""","d"\n'
    assert odd_records(quoted * 1000, 4) == []
    assert count_records(LineIndex(quoted * 1000), []) == 1000


@pytest.mark.parametrize("what", sorted(set(ODD) - {"few quotes"}))
def test_an_odd_record_is_the_same_among_many_quotes_as_among_few(what: str) -> None:
    record, lines, fields, stray = ODD[what]
    before = b'"1","x,y","c","d"\n' * 1000
    assert odd_records(before + record + before, 4) == [
        OddRecord(len(before), len(before + record), lines, fields, stray)
    ]


def test_a_quoted_field_has_at_most_so_many_lines() -> None:
    for lines, inside in ((records.MAX_ODD_LINES, True), (records.MAX_ODD_LINES + 1, False)):
        data = b'1,"x' + b"\n" * (lines - 1) + b'y",c,d\n' + PLAIN
        first = odd_records(data, 4)[0]
        assert (first.lines == lines) is inside
        assert count_records(LineIndex(data), odd_records(data, 4)) == (2 if inside else lines + 1)


def test_a_quoted_field_of_too_many_bytes_is_a_stray_quote() -> None:
    half = b"x" * (records.MAX_ODD_BYTES // 2)
    data = b'1,"' + half + b"\n" + half + b'",c,d\n'
    assert [record.lines for record in odd_records(data, 4)] == [1, 1]


def test_a_stray_quote_takes_no_other_record_with_it() -> None:
    data = PLAIN + b'1,"x,c,d\n' + PLAIN * 200 + b'2,"y,c,d\n' + PLAIN
    assert [record.lines for record in odd_records(data, 4)] == [1, 1]
    assert count_records(LineIndex(data), odd_records(data, 4)) == 204


def test_lines_between_two_stray_quotes_are_records() -> None:
    data = b'1,"x\n' + PLAIN * 3 + b'y",c,d\n' + PLAIN
    assert [(record.lines, record.stray_quote) for record in odd_records(data, 4)] == [(1, True), (1, True)]
    assert count_records(LineIndex(data), odd_records(data, 4)) == 6


def test_a_record_ends_after_its_quoted_newline() -> None:
    odd = b'1,"x\ny",c,d\n'
    data = PLAIN + odd + PLAIN
    for size in range(1, len(data) + 1):
        ends = [len(PLAIN), len(PLAIN + odd), len(data)]
        assert record_end(data, size, True, 4) == next(end for end in ends if end >= size)


def test_more_bytes_are_requested_where_the_end_of_a_record_is_unknown() -> None:
    assert record_end(b"1,no newline", 4, False, 4) == -1
    assert record_end(b"1,no newline", 4, True, 4) == 12
    assert record_end(PLAIN * 2, 4, False, 4) == -1  # a quote may follow
    assert record_start(PLAIN, 30, False, 4) == -1


@pytest.mark.parametrize("what", ODD)
def test_the_next_record_is_found_from_every_place_of_a_window(what: str) -> None:
    parts = [PLAIN, PLAIN, ODD[what][0], PLAIN, b'1,"a,b",c,d\n', PLAIN]
    starts = [len(b"".join(parts[:i])) for i in range(len(parts) + 1)]
    data = b"".join(parts)
    for cut in range(len(PLAIN)):  # the window begins somewhere in the first record
        for at in range(starts[1], len(data) + 1):
            expected = next(start for start in starts if start >= at)
            assert record_start(data[cut:], at - cut, True, 4) == expected - cut


def test_a_window_that_begins_inside_a_quoted_field_agrees_with_one_that_does_not() -> None:
    data = PLAIN + b'1,"x\nin\nside\ny",c,d\n' + PLAIN + b'1,"x\ny",c,d\n' + PLAIN
    border = data.rindex(b'1,"x') + 5
    for begin in range(data.index(b"side")):
        assert begin + record_start(data[begin:], border - begin, True, 4) == len(data) - len(PLAIN)


@pytest.mark.parametrize("field", [b"", b"ab", b'"ab"', b'a"b', b'"a\r', b"\xff"])
@pytest.mark.parametrize("size", [1_000, 3 << 20])
def test_of_a_line_with_too_many_fields_one_more_than_the_columns_is_kept(field: bytes, size: int) -> None:
    """10 million fields of a line of 32 MiB would take a gigabyte."""
    line = b'x"' + b"," + (field + b",") * (size // (len(field) + 1))
    odd = records.read_odd(line + b"\n", 0, 4)
    assert (len(odd.fields), odd.end, odd.stray_quote) == (5, len(line) + 1, True)


def test_the_quotes_of_a_line_that_is_too_long_are_ordinary_and_reported() -> None:
    line = b'1,"' + b"a" * records.MAX_PARSED_BYTES + b'",c,d'
    odd = records.read_odd(line + b"\n", 0, 4)
    assert (odd.fields, odd.stray_quote) == (line.split(b","), True)


class Counted(bytes):
    """Bytes that count how many of them are looked at one after the other."""

    looked_at = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        found = super().find(sub, start, end)
        Counted.looked_at += (found if found >= 0 else len(self) if end is None else end) - start + 1
        return found

    def rfind(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        found = super().rfind(sub, start, end)
        Counted.looked_at += (len(self) if end is None else end) - max(found, start)
        return found


@pytest.mark.parametrize(
    "odd",
    [
        b'"',
        b"\r",
        b"\xff",
        b'"\xff\r',
        b'a"',
        b'a"b\n',
        b"\xff\n",
        b'"\n',
        b"\xff" * 50 + b"\n",
        b'\r"' * 50 + b"\n",
        b"\n",
    ],
)
def test_time_is_linear_in_the_text_whatever_its_lines(odd: bytes) -> None:
    """A line with n odd places is looked at once: not from each of them to where it begins."""
    looked_at = []
    for times in (1, 2, 4):
        data = Counted((odd * 30_000)[: 30_000 * times])
        Counted.looked_at = 0
        with mock.patch(
            "sources.files.csv_records.read_odd",
            lambda data, start, columns, separator: OddRecord(start, start, 1, [], True),
        ):
            odd_records(data, 4)
        looked_at.append(Counted.looked_at / len(data))
    assert max(looked_at) < 8


@given(st.text(st.sampled_from("ab\n"), max_size=400), st.sampled_from([3, 64, 1 << 16]), st.sampled_from([0, 100]))
def test_lines_are_found_by_number_and_numbered_by_offset(text: str, chunk: int, many: int) -> None:
    class Small(LineIndex):
        _CHUNK = chunk
        _MANY = many

    data = text.encode()
    index = Small(data)
    starts = [0, *(i + 1 for i, byte in enumerate(data) if byte == ord("\n"))]
    assert index.newlines == len(starts) - 1
    assert index.starts(np.arange(len(starts))).tolist() == starts
    assert index.lines(np.array(starts, np.int64)).tolist() == list(range(len(starts)))
    longest = max(map(len, data.split(b"\n")))
    assert index.has_long_lines or longest < 2 * chunk


TEXTS = st.text(st.sampled_from('ab,"\n\r é'), max_size=8).filter(lambda text: text.count(",") < 3)
FIELDS = TEXTS.map(lambda text: f"a{text}b" if "\n" in text else text)
"""No line inside a field, or behind one, looks like a whole record."""


@given(st.lists(st.lists(FIELDS, min_size=4, max_size=4), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_well_formed_csv_is_read_back_record_by_record(rows: list[list[str]], end: str, all_quoted: bool) -> None:
    def written(field: str) -> str:
        doubled = field.replace('"', '""')
        return f'"{doubled}"' if all_quoted or set(field) & set(',"\r\n') else field

    texts = [",".join(map(written, row)) for row in rows]
    # The documented limit: a line of a quoted field that is a whole record by itself is taken for one.
    inner = [line.removesuffix("\r") for text in texts for line in text.split("\n")[1:]]
    assume(not any(len(row) == 4 for line in inner for row in csv.reader(io.StringIO(line, newline=""))))
    data = "".join(text + end for text in texts).encode()
    with pytest.MonkeyPatch.context() as patch:
        for few in (0, 5000):
            patch.setattr("sources.files.csv_records._FEW", few)
            odd = odd_records(data, 4)
            assert count_records(LineIndex(data), odd) == len(rows)
            left = [[field.encode() for field in row] for row in rows]
            for record in odd:
                left.remove(record.fields)
                assert not record.stray_quote
            assert all(b"\n" not in field for row in left for field in row)


@given(st.binary(max_size=200) | st.text(st.sampled_from('a,"\n\r'), max_size=200).map(str.encode))
def test_any_bytes_are_consecutive_records(data: bytes) -> None:
    odd = odd_records(data, 4)
    end = 0
    for record in odd:
        assert record.start >= end
        assert record.start == 0 or data[record.start - 1 : record.start] == b"\n"
        assert record.end == len(data) or data[record.end - 1 : record.end] == b"\n"
        end = record.end
    assert count_records(LineIndex(data), odd) >= len(odd)
    for size in range(1, len(data) + 1):
        cut = record_end(data, size, True, 4)
        assert cut >= size
        assert odd_records(data[:cut], 4) == [record for record in odd if record.start < cut]


@given(st.text('a",\r\n\xe9', max_size=12).map(str.encode))
def test_stray_quotes_of_a_record_are_those_of_a_whole_block(record: bytes) -> None:
    flat = np.frombuffer(record.replace(b"\n", b" ").replace(b"\r", b" "), np.uint8)
    quotes = np.flatnonzero(flat == ord('"'))
    assert _has_stray_quote(record, b",") == bool(len(quotes) and len(_stray_quotes(quotes, flat)))
