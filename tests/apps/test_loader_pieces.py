"""A file is cut into pieces of whole records, whatever stands in it; joined they are the file."""

import gzip
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.loader.pieces import Place
from apps.loader.source import look_at
from schemas.errors import InputUnusable
from schemas.loaded import Piece, decode, encode
from sources.records import odd_records
from tests.apps.loads import COLUMNS, HEADER, ROWS, pieces_of

FIELD = st.one_of(
    st.sampled_from(["", "7", '"x\ny"', '"x\r\ny"', '"a,b"', 'a"b', '"', '""', "é", "a\rb", '"a"b"', "\x00"]),
    st.text('ab",\r\n', max_size=6),
)
BODY = st.tuples(
    st.lists(st.lists(FIELD, min_size=1, max_size=6).map(",".join), max_size=30),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
).map(lambda parts: parts[1].join([*parts[0], ""] if parts[2] else parts[0]).encode())


def starts_of(body: bytes) -> list[int]:
    """Where each record begins, as the graph sees it."""
    inside = {place for odd in odd_records(body, COLUMNS) for place in range(odd.start + 1, odd.end)}
    lines = [0] + [place + 1 for place, byte in enumerate(body) if byte == ord("\n")]
    return [place for place in lines if place < len(body) and place not in inside]


@given(BODY, st.integers(1, 7), st.integers(1, 50))
def test_pieces_are_the_file_and_begin_at_the_records_that_the_graph_sees(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, rows: int, block: int
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "tickets.csv"
    path.write_bytes(HEADER + body)
    source = look_at(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apps.loader.pieces.BLOCK_BYTES", block)
        found = pieces_of(source, rows, Place(0))
        again = [pieces_of(source, rows, Place(piece.offset, piece.record)) for piece in found[::3]]
    assert b"".join(piece.data for piece in found) == body
    assert [a.end for a in found[:-1]] == [b.offset for b in found[1:]]
    starts = starts_of(body)
    assert [piece.offset - len(HEADER) for piece in found[:-1]] == [starts[piece.record] for piece in found[:-1]]
    assert found[-1] == Piece(
        source.fingerprint, path.name, HEADER, path.stat().st_size, len(starts), b"", len(HEADER + body)
    )
    assert again == [found[n:] for n in range(0, len(found), 3)]
    assert [decode(encode(piece)) for piece in found] == found


@given(BODY, st.integers(1, 40), st.integers(1, 7))
def test_records_that_are_larger_than_a_piece_are_cut(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, most: int, rows: int
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "tickets.csv"
    path.write_bytes(HEADER + body)
    source = look_at(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apps.loader.pieces.MAX_PIECE_BYTES", most)
        patch.setattr("apps.loader.pieces.MAX_ODD_BYTES", 100)
        patch.setattr("schemas.records.MAX_ODD_BYTES", 100)
        found = pieces_of(source, rows, Place(0))
    assert b"".join(piece.data for piece in found) == body
    assert all(a.record <= b.record for a, b in pairwise(found))
    assert all(len(piece.data) <= most + 100 for piece in found)


def test_a_record_number_counts_a_quoted_newline_once_where_it_crosses_a_pieces_end(tmp_path: Path) -> None:
    path = tmp_path / "tickets.csv"
    path.write_bytes(HEADER + b'1,2,3,"a\nb\nc"\n' + ROWS)
    found = pieces_of(look_at(path), 1, Place(0))
    assert [(piece.record, piece.data) for piece in found[:2]] == [
        (0, b'1,2,3,"a\nb\nc"\n'),
        (1, ROWS[: len(ROWS) // 4]),
    ]


def test_the_text_of_a_gzip_file_is_cut_and_its_file_is_known_apart(tmp_path: Path) -> None:
    plain, packed = tmp_path / "tickets.csv", tmp_path / "tickets.csv.gz"
    plain.write_bytes(HEADER + ROWS)
    packed.write_bytes(gzip.compress(HEADER + ROWS))
    pairs = zip(pieces_of(look_at(plain), 3, Place(0)), pieces_of(look_at(packed), 3, Place(0)), strict=True)
    for a, b in pairs:
        assert a._replace(file="", name="") == b._replace(file="", name="")
        assert a.file != b.file


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    packed = tmp_path / "tickets.csv.gz"
    packed.write_bytes(gzip.compress(HEADER + ROWS * 9_000)[:-20])
    with pytest.raises(InputUnusable, match=r"tickets\.csv\.gz: the gzip file is damaged"):
        pieces_of(look_at(packed), 3, Place(0))


@pytest.mark.parametrize(
    "message", [b"", b"{}", b"{}\n1,2", b"[]\n", b"7\n", b'{"v": 2}\n', b"\xff\n", b"40.7;-74;10\n"]
)
def test_what_is_no_message_of_the_loader_is_told(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whichever the JSON parser has
        decode(message)
