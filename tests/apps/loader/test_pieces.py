"""A file is cut into pieces of whole records, whatever stands in it; joined they are the file."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.loader.pieces import Place
from apps.loader.source import look_at
from schemas.errors import InputUnusable
from schemas.loaded import Piece, decode, encode
from sources.files.csv_records import odd_records
from tests.apps.loader.loads import COLUMNS, HEADER, ROWS, Collected, Interrupted, assembled, pieces_of, to
from tests.schemas.files.test_kinds import PACK

FIELD = st.one_of(
    st.sampled_from(["", "7", '"x\ny"', '"x\r\ny"', '"a,b"', 'a"b', '"', '""', "é", "a\rb", '"a"b"', "\x00"]),
    st.text('ab",\r\n', max_size=6),
)
BODY = st.tuples(
    st.lists(st.lists(FIELD, min_size=1, max_size=6).map(",".join), max_size=30),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
).map(lambda parts: parts[1].join([*parts[0], ""] if parts[2] else parts[0]).encode())


def starts_of(body: bytes, separator: bytes) -> list[int]:
    """Where each record begins, as the graph sees it."""
    inside = {place for odd in odd_records(body, COLUMNS, separator) for place in range(odd.start + 1, odd.end)}
    lines = [0] + [place + 1 for place, byte in enumerate(body) if byte == ord("\n")]
    return [place for place in lines if place < len(body) and place not in inside]


@given(BODY, st.integers(1, 7), st.integers(1, 50), st.sampled_from([b",", b"\t", b";"]))
def test_pieces_are_the_file_and_begin_at_the_records_that_the_graph_sees(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, rows: int, block: int, separator: bytes
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "tickets.csv"
    header, body = (text.translate(bytes.maketrans(b"," + separator, separator + b",")) for text in (HEADER, body))
    path.write_bytes(header + body)
    source = look_at(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apps.loader.pieces.BLOCK_BYTES", block)
        found = pieces_of(source, rows, Place(0))
        again = [pieces_of(source, rows, Place(piece.offset, piece.record)) for piece in found[::3]]
    assert b"".join(piece.data for piece in found) == body
    assert [a.end for a in found[:-1]] == [b.offset for b in found[1:]]
    starts = starts_of(body, separator)
    assert [piece.offset - len(header) for piece in found[:-1]] == [starts[piece.record] for piece in found[:-1]]
    assert found[-1] == Piece(
        source.fingerprint, path.name, header, path.stat().st_size, len(starts), b"", len(header + body)
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
        patch.setattr("schemas.files.ticket_csv.MAX_ODD_BYTES", 100)
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


@pytest.mark.parametrize("packing", PACK)
def test_the_decompressed_text_is_cut_into_pieces_under_the_fingerprint_of_the_compressed_file(
    tmp_path: Path, packing: str
) -> None:
    plain, packed = tmp_path / "tickets.csv", tmp_path / "tickets.csv.packed"
    plain.write_bytes(HEADER + ROWS)
    packed.write_bytes(PACK[packing](HEADER + ROWS[:30]) + PACK[packing](ROWS[30:]))
    pairs = zip(pieces_of(look_at(plain), 3, Place(0)), pieces_of(look_at(packed), 3, Place(0)), strict=True)
    for a, b in pairs:
        assert a._replace(file="", name="") == b._replace(file="", name="")
        assert a.file != b.file


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.usefixtures("small_steps")
def test_a_load_of_a_compressed_file_resumes(tmp_path: Path, packing: str) -> None:
    packed, text = tmp_path / "tickets.csv.packed", HEADER + ROWS * 10
    packed.write_bytes(PACK[packing](text))
    topic: list[bytes] = []
    for most in (3, 2):
        with pytest.raises(Interrupted):
            to(Collected(topic, rows=7, most=most), tmp_path / "journals", packed)
    to(Collected(topic, rows=7), tmp_path / "journals", packed)
    assert assembled(topic, len(text)) == text
    assert len(topic) == 7  # 40 rows in 6 messages and the end: nothing was sent twice


@pytest.mark.parametrize("packing", PACK)
def test_a_damaged_compressed_file_is_named(tmp_path: Path, packing: str) -> None:
    packed = tmp_path / "tickets.csv.packed"
    packed.write_bytes(PACK[packing](HEADER + ROWS * 9_000)[:-20])
    topic: list[bytes] = []
    with pytest.raises(InputUnusable, match=rf"tickets\.csv\.packed: the {packing} file is damaged"):
        to(Collected(topic, rows=500), tmp_path / "journals", packed)
    assert all(decode(message).size is None for message in topic)  # no reader takes it for a file


@pytest.mark.parametrize(
    "message", [b"", b"{}", b"{}\n1,2", b"[]\n", b"7\n", b'{"v": 2}\n', b"\xff\n", b"40.7;-74;10\n"]
)
def test_a_foreign_message_is_refused_with_a_reason(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whichever the JSON parser has
        decode(message)
