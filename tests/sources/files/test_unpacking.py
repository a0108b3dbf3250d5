"""A packed file of foreign origin cannot fill the disk."""

import gzip
import io
from pathlib import Path
from typing import IO, cast

import pytest

from schemas.errors import InputUnusable
from schemas.lake import Source
from sources.files import unpacking
from sources.files.read import plan, read_cell
from sources.files.recordings import RecordedMessages
from sources.files.unpacking import unpack
from tests.schemas.files.test_kinds import PACK


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 2 MiB on the ratio matters."""
    monkeypatch.setattr(unpacking, "ANY_RATIO_BYTES", 2 << 20)


@pytest.mark.parametrize("packing", PACK)
def test_a_decompression_bomb_stops_early(tmp_path: Path, packing: str) -> None:
    bomb = tmp_path / "bomb.jsonl"
    bomb.write_bytes(PACK[packing](bytes(16 << 20)))
    form = RecordedMessages(Source.DRONES)
    (cell,) = plan(str(bomb), form)
    with pytest.raises(InputUnusable, match=r"bomb\.jsonl: .* over 64 times as many.*unpack it yourself"):
        list(read_cell(cell, form, str(tmp_path / "lake")))


def test_no_more_than_the_bound_is_written(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(64 << 20), 6)
    text = io.BytesIO()
    with gzip.open(io.BytesIO(packed)) as source, pytest.raises(InputUnusable):
        unpack(cast(IO[bytes], source), text, len(packed), "bomb")
    assert text.tell() <= max(2 << 20, 64 * len(packed))


def test_short_files_and_usual_ratios_are_unpacked_whole() -> None:
    for size, packed_bytes in ((2 << 20, 1), (64 * 50_000, 50_000)):
        text = io.BytesIO()
        unpack(io.BytesIO(bytes(size)), text, packed_bytes, "honest")
        assert text.tell() == size
