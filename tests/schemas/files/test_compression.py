"""Packed files: of one stream or several, whole or damaged, and none of what they hold is lost in silence."""

import bz2
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputUnusable
from schemas.files.compression import unpacked
from schemas.files.kinds import FIRST_BYTES, Packing, kind_of
from tests.schemas.files.test_kinds import PACK

TEXT = b"".join(b"%d,07/06/2015,0143A,%d\n" % (n, n % 97) for n in range(20_000))


def text_of(data: bytes, step: int = 1 << 20) -> bytes:
    """What is read of packed bytes in steps of so many."""
    packing = kind_of(data[:FIRST_BYTES]).packing
    assert packing
    with unpacked(io.BytesIO(data), packing, "t") as text:
        return b"".join(iter(lambda: text.read(step), b""))


@pytest.mark.parametrize("packing", PACK)
def test_streams_behind_one_another_are_one_text(packing: str) -> None:
    pack = PACK[packing]
    assert text_of(pack(TEXT)) == TEXT
    assert text_of(pack(TEXT[:100]) + pack(b"") + pack(TEXT[100:1000]) + pack(TEXT[1000:]), 7777) == TEXT


@pytest.mark.parametrize("packing", PACK)
@given(st.integers(0, 10**6))
def test_cut_short_it_is_an_error_wherever_that_is(packing: str, place: int) -> None:
    data = PACK[packing](TEXT[:500]) + PACK[packing](TEXT[500:2000])
    first = len(PACK[packing](TEXT[:500]))
    cut = 12 + place % (len(data) - 12)
    if cut == first:  # a whole file of one stream
        return
    with pytest.raises(InputUnusable, match=f"t: the {packing} file is damaged .*; get it again"):
        text_of(data[:cut])


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("behind", [b"rubbish", b"\n", bytes(3) + b"x"])
def test_bytes_after_a_packed_file_that_are_not_packed_are_an_error(packing: str, behind: bytes) -> None:
    with pytest.raises(InputUnusable, match="damaged"):
        text_of(PACK[packing](TEXT) + behind)


@pytest.mark.parametrize("packing", [Packing.GZIP, Packing.BZIP2])
def test_any_changed_byte_of_the_data_is_an_error(packing: Packing) -> None:
    data = PACK[packing](TEXT[:3000])
    for place in random.Random(1).sample(range(20, len(data)), 40):
        changed = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        with pytest.raises(InputUnusable, match="damaged"):
            text_of(changed)


def test_the_second_stream_may_not_be_damaged_at_its_start() -> None:
    data = bz2.compress(TEXT) + b"BZ" + bz2.compress(TEXT)[3:]  # bz2.open would give the first one, and no word
    with pytest.raises(InputUnusable, match="damaged"):
        text_of(data)


def test_frames_of_zstd_that_hold_no_text_are_passed_over() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    data = PACK[Packing.ZSTD](TEXT)
    assert text_of(skipped + data + skipped + data) == TEXT * 2


@pytest.mark.parametrize("packing", PACK)
def test_it_can_be_entered_further_on_and_is_left_open(packing: str) -> None:
    file = io.BytesIO(PACK[packing](TEXT))
    with unpacked(file, Packing(packing), "t") as text:
        assert text.read(10) == TEXT[:10]
        assert text.seek(300_000) == 300_000
        assert text.read(50) == TEXT[300_000:300_050]
        text.seek(len(TEXT) - 5)
        assert text.read(50) == TEXT[-5:]
        assert text.read(1) == b""
    assert not file.closed


@pytest.mark.parametrize("packing", PACK)
def test_a_disk_that_fails_is_no_damaged_file(packing: str) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"), unpacked(Failing(), Packing(packing), "t") as text:
        text.read(10)


@pytest.mark.parametrize("packing", PACK)
def test_a_bomb_is_read_in_steps(packing: str) -> None:
    with unpacked(io.BytesIO(PACK[packing](bytes(32 << 20))), Packing(packing), "t") as text:
        assert len(text.read(1 << 16)) == 1 << 16
