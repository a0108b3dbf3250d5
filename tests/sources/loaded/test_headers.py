"""Files that were put together give the same rows however they come: as they are, packed, or in the loader's pieces."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.loader.command import main
from schemas.errors import InputUnusable
from schemas.loaded import Piece, decode
from sources.files.history import HistoryCsv
from sources.loaded.file import cells_of, read_loaded
from sources.loaded.topic import Loaded, LoadedTopic, remember
from sources.units import Tally, UnitBlock, UnitItem
from tests.apps.loader.loads import Collected, to
from tests.schemas.files.test_kinds import PACK
from tests.sources.files.test_grid import HEADER, OTHER, PLAIN, Record, Sizes, parsed, read, write
from tests.sources.loaded.test_topic import Following, Topic

PART = [PLAIN] * 12
TABS = HEADER.replace(b",", b"\t")
PUT_TOGETHER = {
    "another order": [HEADER, *PART, OTHER, *PART, *PART],
    "and back": [HEADER, *PART, OTHER, *PART, b"\xef\xbb\xbf" + HEADER, *PART],
    "the same order": [HEADER, *PART, HEADER, *PART],
    "another separator": [HEADER, *PART, TABS, *(row.replace(b",", b"\t") for row in PART)],
    "by tabs": [row.replace(b",", b"\t") for row in [HEADER, *PART, OTHER, *PART]],
    "a header in quotes": [HEADER, *PART, PLAIN.replace(b"MAIN", b'"a\n' + OTHER + b'\nb"'), *PART],
    "a header at the end": [HEADER, *PART, OTHER],
}
CELL = 128


def records(items: Iterable[UnitItem]) -> list[Record]:
    """The rows and dead letters of a file, in its order."""
    found: list[Record] = []
    before = rows_in = 0
    for item in items:
        if isinstance(item, UnitBlock):
            found += parsed(item, before)
        elif isinstance(item[1], Tally):
            rows_in += item[1].rows
            before = rows_in
    return sorted(found, key=lambda record: int(str(record[0])))


def of_topic(folder: Path, *units: Sequence[Piece | bytes]) -> list[Record]:
    """What the graph reads of the one file in a topic."""
    topic, root = Topic(*units), str(folder / "lake")
    (file,) = LoadedTopic(topic, root).read_files()
    assert file.is_complete
    cells = cells_of(file, topic, HistoryCsv(), root)
    return records(item for cell in cells for item in read_loaded(cell, topic, HistoryCsv(), root))


@pytest.fixture
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.files.grid.CELL_BYTES", CELL)


@pytest.mark.parametrize("name", PUT_TOGETHER)
@pytest.mark.usefixtures("small_cells")
def test_a_file_has_the_same_rows_plain_packed_and_loaded(s3: str, tmp_path: Path, name: str) -> None:
    path = write(tmp_path, b"\n".join(PUT_TOGETHER[name]))
    expected = read(path, Sizes(CELL)).records
    assert len(expected) > 12
    for packing, pack in PACK.items():
        packed = tmp_path / f"t.csv.{packing}"
        packed.write_bytes(pack(path.read_bytes()))
        assert read(packed, Sizes(CELL)).records == expected
        messages: list[bytes] = []
        to(Collected(messages, rows=2), tmp_path / f"journals {packing}", packed)
        assert of_topic(tmp_path, messages[::2], messages[1::2]) == expected
    journal = ["--journal", f"{tmp_path}/journals", "--quiet"]
    assert main([str(path), "--to", f"file:{tmp_path}/out", *journal]) == 0
    (there,) = (tmp_path / "out").iterdir()
    assert read(there, Sizes(CELL)).records == expected
    assert main([str(path), "--to", f"{s3}/in", *journal]) == 0
    (found,) = boto3.client("s3").list_objects_v2(Bucket="lake")["Contents"]
    body = boto3.client("s3").get_object(Bucket="lake", Key=found["Key"])["Body"].read()
    assert body == path.read_bytes()


@given(
    st.sampled_from(sorted(PUT_TOGETHER)),
    st.lists(st.integers(0, 10**6), max_size=12),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 400)), max_size=3),
    st.integers(1, 4),
    st.randoms(),
)
def test_a_file_has_the_same_rows_in_any_pieces_with_redelivery(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    cuts: list[int],
    again: list[tuple[int, int]],
    units: int,
    random: Random,
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    data = b"\n".join(PUT_TOGETHER[name])
    first = data.index(b"\n") + 1
    places = sorted({first, len(data), *(first + cut % (len(data) - first) for cut in cuts)})
    spans = list(pairwise(places))
    spans += [(begin := first + at % (len(data) - first), min(begin + size, len(data))) for at, size in again]
    pieces = [Piece("a" * 32, "t.csv", data[:first], start, 0, data[start:end]) for start, end in spans]
    pieces.append(Piece("a" * 32, "t.csv", data[:first], len(data), 0, b"", len(data)))
    random.shuffle(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sources.files.grid.CELL_BYTES", CELL)
        expected = read(write(folder, data), Sizes(CELL)).records
        assert of_topic(folder, *(pieces[unit::units] for unit in range(units))) == expected


def loaded(*pieces: Piece) -> Loaded:
    """The file of these pieces."""
    (file,) = LoadedTopic(Topic(list(pieces)), "").read_files()
    return file


def test_only_a_file_with_a_possible_header_inside_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, b"\n".join([HEADER, *PART]))  # its last line has no newline
    messages: list[bytes] = []
    to(Collected(messages), tmp_path / "journals", path)
    assert not loaded(*map(decode, messages)).headers
    assert loaded(*map(decode, messages[:-2]), *map(decode, messages[-2:])) == loaded(*map(decode, messages))


@pytest.mark.usefixtures("small_cells")
def test_an_unbounded_run_reads_a_file_once_for_headers(tmp_path: Path) -> None:
    path = write(tmp_path, b"\n".join(PUT_TOGETHER["another order"]))
    messages: list[bytes] = []
    to(Collected(messages), tmp_path / "journals", path)
    following = Following(Topic(messages), tmp_path / "lake")
    cells = following.tick()
    assert len({cell.cell.other for cell in cells}) == 2
    looked = len(following.stream.looked_through)
    assert following.tick() == []
    assert len(following.stream.looked_through) == looked


@pytest.mark.usefixtures("small_cells")
def test_a_file_that_another_run_committed_and_forgot_has_no_cells(tmp_path: Path) -> None:
    path = write(tmp_path, b"\n".join(PUT_TOGETHER["another order"]))
    messages: list[bytes] = []
    to(Collected(messages), tmp_path / "journals", path)
    topic, root = Topic(messages), str(tmp_path / "lake")
    (file,) = LoadedTopic(topic, root).read_files()
    topic.units.clear()
    with pytest.raises(InputUnusable, match="load the file again"):
        cells_of(file, topic, HistoryCsv(), root)
    remember([file], root)
    assert cells_of(file, topic, HistoryCsv(), root) == []
