"""Files in a topic: found when they are whole, looked through once, given up by the stream with all their units."""

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator

from lake.ledger import commit
from schemas.errors import InputUnusable
from schemas.lake import LEDGER_ROW, Source
from schemas.loaded import Piece, encode
from sources.follow_loaded import _Find
from sources.history import HistoryCsv
from sources.loaded import LoadedCell, LoadedTopic, remember, remembered, spent
from sources.payloads import payload_batch
from sources.pieced import read_loaded
from sources.streams import Planner, Stream
from sources.units import Unit, UnitBatch
from tests.sources.ticks import tracker

HEADER = b"Summons Number,Issue Date,Violation Time,Violation Code\n"
ROWS = b"1,06/20/2015,0143A,21\n2,06/21/2015,0144A,46\n"
SIZE = len(HEADER) + len(ROWS)


def begin(file: str) -> Piece:
    """All rows of a file."""
    return Piece(file, f"{file}.csv", HEADER, len(HEADER), 0, ROWS)


def end(file: str) -> Piece:
    """Its last message."""
    return Piece(file, f"{file}.csv", HEADER, SIZE, 2, b"", SIZE)


class Topic(Stream):
    """Units of pieces in memory; remembers which were looked through."""

    source = Source.HISTORY
    path = "topic"

    def __init__(self, *units: list[Piece]) -> None:
        self.units: dict[int, list[Piece]] = {}
        self.looked_through: list[int] = []
        self._numbers = count()
        self.add(*units)

    def add(self, *units: list[Piece]) -> None:
        """More of them."""
        self.units |= {next(self._numbers): unit for unit in units}

    def everything(self, root: str) -> list[Unit]:
        return [unit(n) for n in self.units]

    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        self.looked_through.append(unit.start)
        if unit.start not in self.units:
            raise FileNotFoundError(unit.name)
        messages = [encode(piece) for piece in self.units[unit.start]]
        yield payload_batch(messages, range(len(messages)), range(len(messages)), [0] * len(messages))

    def planner(self, root: str) -> Planner:
        raise NotImplementedError

    def waiting(self, root: str) -> str:
        raise NotImplementedError

    def forget(self, units: Iterable[Unit], root: str) -> None:
        for unit in units:
            del self.units[unit.start]


def unit(n: int) -> Unit:
    """The n-th one."""
    return Unit(Source.HISTORY, "topic", n, n + 1, f"{n}")


def whole(topic: LoadedTopic) -> list[str]:
    """The files that are there to their end."""
    return [file.fingerprint for file in topic.look() if file.is_complete]


def test_a_unit_is_looked_through_once_and_a_file_is_there_when_its_end_is() -> None:
    stream = Topic([begin("a")])
    topic = LoadedTopic(stream, "")
    assert whole(topic) == []
    stream.add([end("a"), begin("b")], [end("b")])
    assert whole(topic) == ["a", "b"]
    assert stream.looked_through == [0, 1, 2]


def test_the_end_of_a_file_may_be_there_twice() -> None:
    assert whole(LoadedTopic(Topic([begin("a")], [end("a")], [end("a")]), "")) == ["a"]


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([[begin("a"), end("a")], [begin("b"), end("b")]], {0, 1}),
        ([[begin("a"), end("a")], [begin("b")]], {0}),
        ([[begin("a"), end("a")], [begin("b")], [begin("c"), end("c")]], {0}),
        ([[begin("b")], [begin("a"), end("a")]], set()),
    ],
)
def test_what_is_behind_a_file_that_is_to_come_is_not_given_up(units: list[list[Piece]], expected: set[int]) -> None:
    files = LoadedTopic(Topic(*units), "").look()
    assert spent(files, [file for file in files if not file.is_complete]) == {unit(n) for n in expected}


class Following:
    """A run without end over a topic."""

    def __init__(self, stream: Topic, root: Path) -> None:
        self.stream = stream
        self.root = str(root)
        self._find = _Find(stream, HistoryCsv(), self.root)
        self._ticks = 0

    def tick(self, at: int | None = None) -> list[LoadedCell]:
        """What is given out at the next tick, or at this one."""
        self._ticks = self._ticks if at is None else at
        values = list(self._find.process(b"", tracker(self._ticks), ManualWatermarkEstimator(None)))
        self._ticks += 1
        return [value.value for value in values]

    def files(self, at: int | None = None) -> list[str]:
        """The files whose cells these are."""
        return [cell.file.fingerprint for cell in self.tick(at)]

    def read(self, cell: LoadedCell) -> list[Unit]:
        """Read a cell as a reader does; the units that are to be committed."""
        read = read_loaded(cell, self.stream, HistoryCsv(), self.root, noted=True)
        return [item.unit for item in read if isinstance(item, UnitBatch)]

    def commit(self, units: list[Unit]) -> None:
        """All their rows are in the lake."""
        counts = {field.name: 0 for field in LEDGER_ROW if pa.types.is_int64(field.type)}
        rows: list[dict[str, Any]] = [
            counts | {"unit": unit.name, "source": str(unit.source), "path": unit.path, "files": []} for unit in units
        ]
        commit(self.root, rows)

    def notes(self) -> list[str]:
        """The cells whose units are written down."""
        return [path.name for path in Path(self.root).glob("plans/loaded_cells/*")]


def test_a_file_that_is_followed_is_given_out_once_and_again_where_a_runner_has_forgotten(tmp_path: Path) -> None:
    following = Following(Topic([begin("a"), end("a")], [begin("b")]), tmp_path)
    assert following.files() == ["a"]
    assert following.files() == []
    following.stream.add([end("b")])
    assert following.files() == ["b"]
    assert following.files() == []
    assert following.files(at=1) == ["a", "b"]


def test_a_file_that_is_followed_is_forgotten_when_all_its_cells_are_committed_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sources.cells.CELL_BYTES", len(HEADER) + 5)
    following = Following(Topic([begin("a")], [end("a")]), tmp_path)
    first, second = following.tick()
    units = following.read(first)
    following.commit(units)
    following.tick()
    assert set(following.stream.units) == {0, 1}
    units = following.read(second)
    following.tick()
    assert set(following.stream.units) == {0, 1}
    assert remembered(following.root) == set()
    following.commit(units)
    assert following.files() == []
    assert following.stream.units == {}
    assert remembered(following.root) == {"a"}
    assert following.notes() == []


def test_a_cell_in_which_no_record_begins_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.cells.CELL_BYTES", len(HEADER) + len(ROWS) - 1)
    following = Following(Topic([begin("a"), end("a")]), tmp_path)
    units = [following.read(cell) for cell in following.tick()]
    assert [len(some) for some in units] == [1, 0]
    following.commit(units[0])
    following.tick()
    assert following.stream.units == {}


def test_a_unit_of_the_topic_that_two_files_share_stays_until_both_are_in_the_lake(tmp_path: Path) -> None:
    following = Following(Topic([begin("a")], [end("a"), begin("b")]), tmp_path)
    (a,) = following.tick()
    following.commit(following.read(a))
    following.tick()
    assert set(following.stream.units) == {1}
    following.stream.add([end("b")])
    (b,) = following.tick()
    following.tick()
    assert set(following.stream.units) == {1, 2}
    following.commit(following.read(b))
    following.tick()
    assert following.stream.units == {}


def test_other_bytes_under_the_fingerprint_of_a_file_that_was_read_are_not_forgotten_unread(tmp_path: Path) -> None:
    following = Following(Topic([begin("a"), end("a")]), tmp_path)
    (cell,) = following.tick()
    before = following.read(cell)
    following.commit(before)
    following.tick()
    following.stream.add([begin("a")._replace(data=ROWS.replace(b"21", b"38")), end("a")])
    (cell,) = following.tick()
    following.tick()
    assert 1 in following.stream.units
    units = following.read(cell)
    assert units != before
    following.commit(units)
    following.tick()
    assert 1 not in following.stream.units


def test_a_unit_of_the_topic_that_another_run_has_forgotten_since_it_was_listed_is_not_there(tmp_path: Path) -> None:
    stream = Topic([begin("a"), end("a")], [begin("b"), end("b")])
    everything = stream.everything(str(tmp_path))
    stream.everything = lambda root: everything  # type: ignore[method-assign]
    stream.forget([unit(0)], str(tmp_path))
    assert whole(LoadedTopic(stream, str(tmp_path))) == ["b"]


def test_a_cell_whose_file_another_run_has_read_and_forgotten_is_done(tmp_path: Path) -> None:
    following = Following(Topic([begin("a"), end("a")]), tmp_path)
    (cell,) = following.tick()
    following.stream.forget([unit(0)], following.root)
    with pytest.raises(InputUnusable, match=r"a\.csv: segments .* are gone .* not in the lake"):
        following.read(cell)
    remember([cell.file], following.root)
    assert following.read(cell) == []
