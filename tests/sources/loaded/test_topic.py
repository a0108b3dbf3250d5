"""Files in a topic: found when they are whole, looked through once, given up by the stream with all their units."""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from hypothesis import given
from hypothesis import strategies as st

from lake.ledger import commit
from schemas.errors import InputUnusable
from schemas.lake import LEDGER_ROW, Source
from schemas.loaded import Piece, decode, encode
from sources.files import grid as cells
from sources.files.history import HistoryCsv
from sources.loaded import topic as loaded
from sources.loaded.file import PiecedFile, read_loaded
from sources.loaded.follow import TICK_SECONDS, LoadedTicks
from sources.loaded.notes import remembered
from sources.loaded.topic import Loaded, LoadedCell, LoadedTopic, Span, remember, spent
from sources.payloads import payload_batch
from sources.streams.base import Planner, Stream
from sources.ticks import PlanTicks
from sources.units import Unit, UnitBlock
from tests.sources.ticks import tracker

HEADER = b"Summons Number,Issue Date,Violation Time,Violation Code\n"
ROWS = b"1,06/20/2015,0143A,21\n2,06/21/2015,0144A,46\n"
SIZE = len(HEADER) + len(ROWS)


def begin(file: str) -> Piece:
    """All rows of a file, whose fingerprint is this digit 32 times."""
    return Piece(file * 32, f"{file}.csv", HEADER, len(HEADER), 0, ROWS)


def end(file: str) -> Piece:
    """Its last message."""
    return Piece(file * 32, f"{file}.csv", HEADER, SIZE, 2, b"", SIZE)


class Topic(Stream):
    """Units of pieces, and of messages that are none, in memory; remembers which were looked through."""

    source = Source.HISTORY
    path = "topic"

    def __init__(self, *units: Sequence[Piece | bytes]) -> None:
        self.units: dict[int, Sequence[Piece | bytes]] = {}
        self.looked_through: list[int] = []
        self._numbers = count()
        self.add(*units)

    def add(self, *units: Sequence[Piece | bytes]) -> None:
        """More of them."""
        self.units |= {next(self._numbers): unit for unit in units}

    def everything(self, root: str) -> list[Unit]:
        return [unit(n) for n in self.units]

    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        self.looked_through.append(unit.start)
        if unit.start not in self.units:
            raise FileNotFoundError(unit.name)
        messages = [piece if isinstance(piece, bytes) else encode(piece) for piece in self.units[unit.start]]
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
    return [file.fingerprint[0] for file in topic.read_files() if file.is_complete]


def test_a_unit_is_read_once_and_a_file_is_complete_with_its_last_piece() -> None:
    stream = Topic([begin("a")])
    topic = LoadedTopic(stream, "")
    assert whole(topic) == []
    stream.add([end("a"), begin("b")], [end("b")])
    assert whole(topic) == ["a", "b"]
    assert stream.looked_through == [0, 1, 2]


def test_the_last_piece_of_a_file_may_be_redelivered() -> None:
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
def test_units_behind_an_incomplete_file_are_not_forgotten(
    units: list[list[Piece | bytes]], expected: set[int]
) -> None:
    files = LoadedTopic(Topic(*units), "").read_files()
    assert spent(files, [file for file in files if not file.is_complete]) == {unit(n) for n in expected}


class Following:
    """An unbounded run over a topic."""

    def __init__(self, stream: Topic, root: Path) -> None:
        self.stream = stream
        self.root = str(root)
        self._plan = PlanTicks(partial(LoadedTicks, stream, HistoryCsv(), self.root), TICK_SECONDS)
        self._ticks = 0

    def tick(self, at: int | None = None) -> list[LoadedCell]:
        """What is given out at the next tick, or at this one."""
        self._ticks = self._ticks if at is None else at
        values = list(self._plan.process(b"", tracker(self._ticks), ManualWatermarkEstimator(None)))
        self._ticks += 1
        return [value.value for value in values]

    def files(self, at: int | None = None) -> list[str]:
        """The files whose cells these are."""
        return [cell.file.fingerprint[0] for cell in self.tick(at)]

    def read(self, cell: LoadedCell) -> list[Unit]:
        """Read a cell as a reader does; the units that are to be committed."""
        read = read_loaded(cell, self.stream, HistoryCsv(), self.root)
        return [item.unit for item in read if isinstance(item, UnitBlock)]

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


def test_an_unbounded_run_plans_a_file_once_and_again_after_a_checkpoint(tmp_path: Path) -> None:
    following = Following(Topic([begin("a"), end("a")], [begin("b")]), tmp_path)
    assert following.files() == ["a"]
    assert following.files() == []
    following.stream.add([end("b")])
    assert following.files() == ["b"]
    assert following.files() == []
    assert following.files(at=1) == ["a", "b"]


def test_a_file_is_forgotten_when_all_its_cells_are_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.files.grid.CELL_BYTES", len(HEADER) + 5)
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
    assert remembered(following.root) == {"a" * 32}
    assert following.notes() == []


def test_a_cell_in_which_no_record_begins_blocks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.files.grid.CELL_BYTES", len(HEADER) + len(ROWS) - 1)
    following = Following(Topic([begin("a"), end("a")]), tmp_path)
    units = [following.read(cell) for cell in following.tick()]
    assert [len(some) for some in units] == [1, 0]
    following.commit(units[0])
    following.tick()
    assert following.stream.units == {}


def test_a_unit_of_two_files_is_forgotten_when_both_are_committed(tmp_path: Path) -> None:
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


def test_other_bytes_under_a_known_fingerprint_are_read(tmp_path: Path) -> None:
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


def test_a_unit_that_another_run_forgot_since_it_was_listed_is_empty(tmp_path: Path) -> None:
    stream = Topic([begin("a"), end("a")], [begin("b"), end("b")])
    everything = stream.everything(str(tmp_path))
    stream.everything = lambda root: everything  # type: ignore[method-assign]
    stream.forget([unit(0)], str(tmp_path))
    assert whole(LoadedTopic(stream, str(tmp_path))) == ["b"]


def test_a_cell_of_a_file_that_another_run_committed_and_forgot_is_done(tmp_path: Path) -> None:
    following = Following(Topic([begin("a"), end("a")]), tmp_path)
    (cell,) = following.tick()
    following.stream.forget([unit(0)], following.root)
    with pytest.raises(InputUnusable, match=r"a\.csv: segments .* are gone .* not in the lake"):
        following.read(cell)
    remember([cell.file], following.root)
    assert following.read(cell) == []


HOSTILE_NAMES = [
    "../../../victim.txt",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/b",
    "A" * 32,
    "a" * 33,
    "a" * 31 + "\n",
    "\0" * 32,
]


def planted(tmp_path: Path) -> tuple[Path, Path]:
    """A lake in a folder of its own, and a file beside it that nobody may touch."""
    (tmp_path / "deep" / "in" / "a" / "lake").mkdir(parents=True, exist_ok=True)
    victim = tmp_path / "deep" / "victim.txt"
    victim.write_text("keep me")
    return tmp_path / "deep" / "in" / "a" / "lake", victim


def outside(lake: Path, top: Path) -> dict[str, bytes]:
    """All files that are not in the lake."""
    return {str(path): path.read_bytes() for path in top.rglob("*") if path.is_file() and lake not in path.parents}


def as_message(fields: dict[str, Any], data: bytes = b"") -> bytes:
    """A message with these fields, whatever they are."""
    return json.dumps(fields).encode() + b"\n" + data


def fields_of(piece: Piece) -> dict[str, Any]:
    """What is in the JSON of a piece."""
    fields: dict[str, Any] = json.loads(encode(piece).partition(b"\n")[0])
    return fields


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_from_a_message_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    lake, _ = planted(tmp_path)
    before = outside(lake, tmp_path)
    hostile = [begin("a")._replace(file=name), end("a")._replace(file=name)]
    following = Following(Topic([begin("b"), *hostile, end("b")]), lake)
    while cells := following.tick():
        for cell in cells:
            following.commit(following.read(cell))
    assert outside(lake, tmp_path) == before
    assert remembered(str(lake)) == {"b" * 32}
    kept = {path.read_bytes() for path in lake.glob("plans/loaded_refused/*")}
    assert kept == {encode(piece) for piece in hostile}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(HOSTILE_NAMES) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)
MUTATED = st.dictionaries(st.sampled_from([*fields_of(begin("a")), "else"]), JSON_VALUES, min_size=1, max_size=3)
NO_MESSAGES = [
    b"",
    b"\n",
    b"\xff\n",
    b'"\xff"',
    b"[" * 5_000,
    b'{"v":1,"x":' + b"[" * 5_000,
    b'{"name":' + b'{"a":' * 5_000,
    b"9" * 5_000,
    b'{"v": 1e400}',
    encode(begin("a")).replace(b'"v": 1', b'"v": 1, "v": 1'),
    encode(begin("a"))[:-1].replace(b"\n", b""),
    encode(begin("a")) + b"x" * (1 << 20),
]


@given(st.lists(st.tuples(MUTATED, st.binary(max_size=20)), max_size=4), st.lists(st.binary(max_size=200), max_size=3))
def test_hostile_messages_neither_stop_a_file_nor_write_outside_the_lake(
    tmp_path: Path, mutated: list[tuple[dict[str, Any], bytes]], rubbish: list[bytes]
) -> None:
    lake, _ = planted(tmp_path)
    before = outside(lake, tmp_path)
    # Pieces of other files alone: those that contradict this one's are another matter.
    other = fields_of(end("c")) | {"file": "d" * 32}
    messages = [as_message(other | fields, data) for fields, data in mutated if fields.get("file") != "b" * 32]
    stream = Topic([begin("b"), *messages, *rubbish, *NO_MESSAGES, end("b")])
    topic = LoadedTopic(stream, str(lake))
    files = topic.read_files()
    assert "b" * 32 in [file.fingerprint for file in files if file.is_complete]
    (refusals,) = topic.refusals
    assert refusals.messages >= len(NO_MESSAGES)
    assert str(refusals).isprintable()
    remember(files, str(lake))
    topic.forget(spent(files, [], topic.refusals))
    assert outside(lake, tmp_path) == before
    assert all(re.fullmatch("[0-9a-f]{32}", path.name) for path in (lake / "plans").rglob("*") if path.is_file())


@pytest.mark.parametrize("message", NO_MESSAGES)
def test_a_message_that_the_loader_did_not_send_has_a_reason(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(message)


def shifted(piece: Piece, by: int) -> Piece:
    """What stands there from some bytes further on."""
    return piece._replace(offset=piece.offset + by, data=piece.data[by:])


@pytest.mark.parametrize(
    "other",
    [
        begin("a")._replace(data=ROWS.replace(b"21", b"38")),
        shifted(begin("a")._replace(data=ROWS[:-3] + b"47\n"), 30),
        begin("a")._replace(data=b"9" + ROWS[1:5]),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_overlapping_pieces_that_disagree_are_refused_whichever_is_first(
    tmp_path: Path, other: Piece, is_first: bool
) -> None:
    pieces = [other, begin("a")] if is_first else [begin("a"), other]
    for units in ([[*pieces, end("a")]], [[pieces[0]], [pieces[1], end("a")]]):
        following = Following(Topic(*units), tmp_path)
        (cell,) = following.tick()
        with pytest.raises(InputUnusable, match=r"different bytes between .* load it to another topic"):
            following.read(cell)


@given(st.lists(st.tuples(st.integers(0, len(ROWS)), st.integers(0, len(ROWS))), max_size=8), st.randoms())
def test_overlapping_pieces_that_agree_are_the_file(cuts: list[tuple[int, int]], random: Any) -> None:
    pieces = [
        shifted(begin("a"), start)._replace(data=ROWS[start : start + size]) for start, size in cuts if ROWS[start:]
    ]
    pieces = [piece for piece in pieces if piece.data] + [begin("a"), end("a")]
    random.shuffle(pieces)
    stream = Topic(pieces)
    (file,) = LoadedTopic(stream, "").read_files()
    with PiecedFile(file, stream, "") as opened:
        assert opened.read(SIZE + 1) == HEADER + ROWS


@pytest.mark.parametrize(
    "other",
    [
        end("a")._replace(offset=SIZE + 1, size=SIZE + 1),
        end("a")._replace(offset=SIZE - 1, size=SIZE - 1),
        begin("a")._replace(header=HEADER.replace(b"Code", b"Kode")),
        begin("a")._replace(offset=SIZE),
    ],
)
def test_pieces_that_disagree_on_the_files_end_or_first_line_are_refused(other: Piece) -> None:
    for pieces in ([begin("a"), end("a"), other], [other, begin("a"), end("a")], [begin("a"), other, end("a")]):
        with pytest.raises(InputUnusable, match=r"topic/a\.csv: pieces of it .* load it to another topic"):
            LoadedTopic(Topic(list(pieces)), "").read_files()


def test_time_is_linear_in_the_number_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is compared with what stands in its place, and with nothing else."""
    moved = 0
    real = tempfile.TemporaryFile

    class File:
        def __init__(self) -> None:
            self._file = real()

        def read(self, size: int) -> bytes:
            nonlocal moved
            moved += size
            return self._file.read(size)

        def write(self, data: bytes) -> int:
            nonlocal moved
            moved += len(data)
            return self._file.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    monkeypatch.setattr(tempfile, "TemporaryFile", File)
    rows = ROWS * 20
    order = [*range(0, len(rows), 2), *range(len(rows) - 1, 0, -2)]
    pieces = [shifted(begin("a"), place)._replace(data=rows[place : place + 1]) for place in order]
    size = len(HEADER) + len(rows)
    stream = Topic([*pieces, *pieces, end("a")._replace(offset=size, size=size)])
    (file,) = LoadedTopic(stream, "").read_files()
    with PiecedFile(file, stream, "") as opened:
        opened.readinto(bytearray(size))
        assert moved == 2 * (len(HEADER) + 4 * len(rows))
        opened.seek(0)
        assert opened.read(size) == HEADER + rows


def test_each_cell_examines_only_the_spans_near_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "CELL_BYTES", 100)
    monkeypatch.setattr(loaded, "LOOKBACK_BYTES", 20)
    monkeypatch.setattr(loaded, "MAX_RECORD_BYTES", 50)
    looked_at = 0

    class Counted(Span):
        def __getitem__(self, place: Any) -> Any:
            nonlocal looked_at
            looked_at += 1
            return super().__getitem__(place)

        @property
        def end(self) -> int:
            return int(self[1])

    n = 2_000
    spans = tuple(Counted(place, place + 15, unit(0)) for place in range(0, 10 * n, 10))
    file = Loaded("a" * 32, "a.csv", b"", 10 * n + 5, spans)
    found = file.cells(cells.grid(Source.HISTORY, file.path, file.size or 0))
    assert looked_at < 10 * n
    assert len(found) == n // 10 + 1
    places = [(place, place + 15) for place in range(0, 10 * n, 10)]
    for cell, _ in found[::20]:
        near = [place for place in places if place[0] < cell.end + 50 and place[1] > cell.start - 20]
        assert [(span.start, span.end) for span in found[cell.number].file.spans] == near


def test_a_unit_of_only_refused_messages_is_deleted_from_the_spool(tmp_path: Path) -> None:
    following = Following(Topic([b"junk"], [begin("a"), end("a")], [b"junk", b"rubbish"]), tmp_path)
    (cell,) = following.tick()
    following.commit(following.read(cell))
    following.tick()
    assert following.stream.units == {}
    assert {path.read_bytes() for path in tmp_path.glob("plans/loaded_refused/*")} == {b"junk", b"rubbish"}
