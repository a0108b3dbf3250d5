"""Files in a topic: found when they are whole, looked through once, given up by the stream with all their units."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator

from schemas.lake import Source
from schemas.loaded import Piece, encode
from sources.follow_loaded import _Find
from sources.history import HistoryCsv
from sources.loaded import LoadedTopic, spent
from sources.payloads import payload_batch
from sources.streams import Planner, Stream
from sources.units import Unit
from tests.sources.ticks import tracker

HEADER = b"Summons Number,Violation Code\n"
ROWS = b"1,21\n2,46\n"
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
        self.units = [*units]
        self.looked_through: list[int] = []

    def everything(self, root: str) -> list[Unit]:
        return [unit(n) for n in range(len(self.units))]

    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        self.looked_through.append(unit.start)
        messages = [encode(piece) for piece in self.units[unit.start]]
        yield payload_batch(messages, range(len(messages)), range(len(messages)), [0] * len(messages))

    def planner(self, root: str) -> Planner:
        raise NotImplementedError

    def waiting(self, root: str) -> str:
        raise NotImplementedError

    def forget(self, units: Iterable[Unit], root: str) -> None:
        raise NotImplementedError


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
    stream.units += [[end("a"), begin("b")], [end("b")]]
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


def test_a_file_that_is_followed_is_given_out_once_and_again_where_a_runner_has_forgotten() -> None:
    stream = Topic([begin("a"), end("a")], [begin("b")])
    find = _Find(stream, HistoryCsv(), "")

    def files(tick: int) -> list[str]:
        values = find.process(b"", tracker(tick), ManualWatermarkEstimator(None))
        return [value.value.file.fingerprint for value in values]

    assert files(0) == ["a"]
    assert files(1) == []
    stream.units.append([end("b")])
    assert files(2) == ["b"]
    assert files(3) == []
    assert files(1) == ["a", "b"]
