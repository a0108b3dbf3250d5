"""Reconcile names everything that is missing, damaged or changed in a lake, and ends with 1."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import lake
from lake.changes import PUBLICATION, Change, put_change, replaced_by
from lake.checksums import sha256, with_checksum
from lake.files import in_ledger, write_unit
from lake.format import FILE
from lake.large_payloads import MAX_INLINE_BYTES
from lake.layout import change_path, unit_of
from lake.ledger import commit
from lake.storage import storage
from lake.tables import LOG, Table, form_of
from messaging.urls import PubSubUrl, kafka_url
from pipelines.cli.worker_errors import known
from pipelines.maintenance.compact import compact
from pipelines.maintenance.integrity import read_state
from pipelines.maintenance.reconcile import main, reconcile
from pipelines.maintenance.stream_integrity import notices
from schemas.errors import InputUnusable
from schemas.files.marks import MARK
from schemas.lake import IMAGE, LEDGER_ROW, Dataset, Source
from sources.loaded.topic import note
from sources.payloads import payload_batch
from sources.streams.base import Stream
from sources.streams.kafka import KafkaStream
from sources.streams.plans import Plan, agree, write_floors
from sources.streams.pubsub import PubSubStream
from sources.streams.segments import segment_of, vouch
from sources.units import Unit
from tests.lakes import Said, refuse, write
from tests.support import LOCAL

PICTURE = f"pictures/aa/{sha256(b'jpeg')}.jpg"
STREAM = "drones-kafka-cluster-topic"


def stream_unit(start: int) -> str:
    """The name of a unit of the stream."""
    return f"{STREAM}-00000-{start:019d}"


def unit(root: str, name: str, start: int = 0) -> dict[str, Any]:
    """A unit of every dataset of messages, in two months."""
    said = [
        Said(f"{name}-1"), Said(f"{name}-2", code=0), Said(f"{name}-3", code=None),
        Said(f"{name}-4", area="Q", code=22),
        Said(f"{name}-5", second=1_425_000_000), Said(f"{name}-6", second=1_420_030_000),
    ]  # fmt: skip
    return write(root, name, said) | {"range_start": start, "range_end": start + 10}


def picture(root: str) -> dict[str, Any]:
    """A unit of one picture."""
    storage(root).put(PICTURE, b"jpeg")
    row = [{"unit": "images-a", "record": 0, "image_id": "i", "event_time": 0, "object": PICTURE, "bytes": 4}]
    batch = pa.RecordBatch.from_pylist([r | {"published_at": None} for r in row], schema=IMAGE)
    files = write_unit(root, Dataset.IMAGES, Source.IMAGES, "images-a", [batch])
    counts = dict.fromkeys(("positions", "qualified", "unqualified", "dead_letters", "duplicates", "counted"), 0)
    place = {"unit": "images-a", "source": "images", "path": "i.jsonl", "range_start": 0, "range_end": 1}
    return {**place, **counts, "rows_in": 1, "images": 1, **in_ledger(files)}


LARGE = b"x" * (MAX_INLINE_BYTES + 1)
FINGERPRINT = "0f" * 16
LIST = b"\n".join([b"1e" * 16, b"2d" * 16])
CELL = f"{FINGERPRINT}-{'1a' * 16}"
SPOOL = "spool/drones-pubsub-p-s"
SEGMENT = f"drones-pubsub-p-s-{1:020d}-0123456789ab-1"


def remembered(root: str) -> None:
    """What a lake remembers of loaded files, and segments that wait in the spool."""
    store = storage(root)
    store.put(f"plans/loaded/{FINGERPRINT}", b"")
    store.put(f"plans/loaded_lists/{hashlib.blake2b(LIST, digest_size=16).hexdigest()}", LIST)
    for place, of in enumerate(("history-00000-" + "2b" * 16, "history-00001-" + "3c" * 16, None)):
        cell: Any = SimpleNamespace(key=CELL[:-1] + str(place))
        note(cell, Unit(Source.HISTORY, "h.csv", 0, 1, of) if of else None, root)
    for message in (b"no piece", b"nor this"):
        store.put(f"plans/loaded_refused/{hashlib.blake2b(message, digest_size=16).hexdigest()}", message)
    for number in range(2):
        name = f"drones-pubsub-p-s-{number:020d}-0123456789ab-1.arrow"
        store.put(f"{SPOOL}/{name}", segment_of(payload_batch([b"%d" % number], [0], [0]), name))
        vouch(root, f"{SPOOL}/{name}")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of units that were compacted, two changes, and others, of files, a stream and pictures."""
    root = tmp_path_factory.mktemp("sound") / "lake"
    for names in (("drones-a", "drones-b"), ("drones-c",)):
        commit(str(root), [unit(str(root), name) for name in names])
        assert compact(str(root), 1 << 20, LOCAL)
    commit(str(root), [unit(str(root), "drones-d"), picture(str(root))])
    for start in (0, 10, 20, 30, 40):
        row = unit(str(root), stream_unit(start), start)
        if start < 30:  # and no plan any more
            commit(str(root), [row])
        else:
            agree(str(root), STREAM, 0, start, Plan(start + 10, 0))
    write_floors(str(root), STREAM, {0: 30})
    commit(str(root), [refuse(str(root), "drones-e", [b"small", LARGE])])
    remembered(str(root))
    for name in ("drones-d", "images-a"):  # publications that were killed after they were committed
        assert put_change(str(root), Change(lake(str(root)).number + 1, "ab", PUBLICATION, units=[name]))
    assert reconcile(str(root)) == []
    return root


Damage = Callable[[Path], object]
LEDGER_D = "ledger/source=drones/drones-d.parquet"
QUALIFIED_D = "qualified/source=drones/month=2014-12/drones-d.parquet"
UNQUALIFIED_D = "unqualified/source=drones/month=2014-12/drones-d.parquet"
STATS_D = "stats/source=drones/drones-d.parquet"
MERGED = "merged_ledger/chain=others/*.parquet"
CHANGE = "ledger/source=changes/*.parquet"
CHANGED = "qualified/source=drones/month=2014-12/change-*.parquet"
PLANS = f"plans/{STREAM}/00000"
FLOORS = f"plans/{STREAM}/floors.json"


def newest(root: Path, pattern: str) -> Path:
    """The file of a name or pattern."""
    return max(root.glob(pattern))


def removed(pattern: str) -> Damage:
    """It is gone."""
    return lambda root: newest(root, pattern).unlink()


def directory(name: str) -> Damage:
    """A directory stands there."""

    def damage(root: Path) -> None:
        (root / name).unlink()
        (root / name).mkdir()

    return damage


def holding(pattern: str, data: bytes) -> Damage:
    """It holds other bytes."""
    return lambda root: newest(root, pattern).write_bytes(data)


def halved(pattern: str) -> Damage:
    """Half of it is gone."""
    return lambda root: (path := newest(root, pattern)).write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(pattern: str, column: str) -> Damage:
    """A bit is another one in a data page of a column."""

    def damage(root: Path) -> None:
        path = newest(root, pattern)
        with pq.ParquetFile(path) as file:
            group = file.metadata.row_group(0)
            found = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == column)
            end = found.data_page_offset + found.total_compressed_size
            if found.dictionary_page_offset:
                end = found.dictionary_page_offset + found.total_compressed_size
        data = bytearray(path.read_bytes())
        data[end - 1] ^= 1
        path.write_bytes(data)

    return damage


def swapped(one: str, other: str) -> Damage:
    """Two files have changed their places."""

    def damage(root: Path) -> None:
        a, b = newest(root, one), newest(root, other)
        data = a.read_bytes()
        a.write_bytes(b.read_bytes())
        b.write_bytes(data)

    return damage


def rewritten(pattern: str, change: Callable[[pa.Table], pa.Table]) -> Damage:
    """Its rows are others."""

    def damage(root: Path) -> None:
        path = newest(root, pattern)
        pq.write_table(change(pq.ParquetFile(path).read()), path)

    return damage


def column(name: str, change: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """The first row has another value there."""

    def changed(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        place = table.schema.get_field_index(name)
        return table.set_column(
            place, table.schema.field(name), pa.array([change(values[0]), *values[1:]], table[name].type)
        )

    return changed


def consistently(pattern: str, unit_row: str, change: Callable[[pa.Table], pa.Table]) -> Damage:
    """Its rows are others, and the ledger has the new size: only the statistics can tell."""

    def damage(root: Path) -> None:
        path = newest(root, pattern)
        rewritten(pattern, change)(root)
        row = pq.ParquetFile(root / unit_row).read().to_pylist()[0]
        name = str(path.relative_to(root))
        (place,) = (n for n, file in enumerate(row["files"]) if file["path"] == name)
        row["files"][place]["bytes"] = path.stat().st_size
        row["sha256"][place] = sha256(path.read_bytes())
        (root / unit_row).write_bytes(with_checksum(pa.Table.from_pylist([row], LEDGER_ROW)))

    return damage


def row_with(pattern: str, **changes: Any) -> Damage:
    """A row of the ledger says something else."""

    def damage(root: Path) -> None:
        path = newest(root, pattern)
        row = pq.ParquetFile(path).read().to_pylist()[0]
        path.write_bytes(with_checksum(pa.Table.from_pylist([row | changes], LEDGER_ROW)))

    return damage


def copied(one: str, other: str) -> Damage:
    """A file stands there a second time, under another name."""
    return lambda root: shutil.copy(newest(root, one), root / other)


def moved_paths(name: str) -> Damage:
    """The ledger's row leads elsewhere."""

    def damage(root: Path) -> None:
        row = pq.ParquetFile(root / LEDGER_D).read().to_pylist()[0]
        row_with(LEDGER_D, files=[f | {"path": name} for f in row["files"]])(root)

    return damage


def without_a_file(root: Path) -> None:
    """A dataset's table has a file less than the lake."""
    table = Table(str(root), form_of(Dataset.QUALIFIED))
    assert table.commit(table.number, [], [table.files()["path"][0].as_py()], moves_rows=True)


STREAM_ROW = f"ledger/source=drones/{stream_unit(10)}.parquet"
KINDS: dict[str, tuple[Damage, str]] = {
    "row removed": (removed(LEDGER_D), "drones-d"),
    "rows of merged units removed": (removed(MERGED), "merged_ledger/chain=others/"),
    "row of a stream removed": (removed(STREAM_ROW), stream_unit(10)),
    "last row of a stream removed": (removed(f"ledger/source=drones/{stream_unit(20)}.parquet"), stream_unit(20)),
    "row empty": (holding(LEDGER_D, b""), "drones-d"),
    "row halved": (halved(LEDGER_D), "drones-d"),
    "row of noise": (holding(LEDGER_D, b"PAR1 noise PAR1"), "drones-d"),
    "row flipped": (flipped(LEDGER_D, "rows_in"), "drones-d"),
    "row without rows": (rewritten(LEDGER_D, lambda t: t.slice(0, 0)), "drones-d"),
    "row twice": (rewritten(LEDGER_D, lambda t: pa.concat_tables([t, t])), "drones-d"),
    "row of another schema": (rewritten(LEDGER_D, lambda t: pa.table({"x": [1]})), "drones-d"),
    "row under another name": (copied(LEDGER_D, "ledger/source=drones/drones-x.parquet"), "drones-x"),
    "row of another source": (row_with(LEDGER_D, source="history"), "drones-d"),
    "rows swapped": (swapped(LEDGER_D, STREAM_ROW), "drones-d"),
    "stranger in the ledger": (lambda root: (root / "ledger/source=drones/notes.txt").write_text("x"), "notes.txt"),
    "wrong count": (row_with(LEDGER_D, rows_in=7), "drones-d"),
    "negative count": (row_with(LEDGER_D, duplicates=-1), "drones-d"),
    "range turned": (row_with(LEDGER_D, range_start=10, range_end=5), "drones-d"),
    "path out of the lake": (moved_paths("../../etc/passwd"), "drones-d"),
    "path of no dataset": (moved_paths(PICTURE), "drones-d"),
    "plan removed": (removed(f"{PLANS}/{30:019d}.json"), stream_unit(20)),
    "last plan removed": (removed(f"{PLANS}/{40:019d}.json"), stream_unit(40)),
    "all plans removed": (lambda root: shutil.rmtree(root / "plans"), stream_unit(20)),
    "plan empty": (holding(f"{PLANS}/{30:019d}.json", b""), stream_unit(30)),
    "plan of noise": (holding(f"{PLANS}/{30:019d}.json", b"\xff\x00"), stream_unit(30)),
    "plan deeply nested": (holding(f"{PLANS}/{30:019d}.json", b"[" * 100_000), stream_unit(30)),
    "plan with another end": (holding(f"{PLANS}/{30:019d}.json", b'{"end": 39, "since": 0}'), stream_unit(30)),
    "plan with a later end": (holding(f"{PLANS}/{30:019d}.json", b'{"end": 41, "since": 0}'), stream_unit(30)),
    "plan without end": (holding(f"{PLANS}/{30:019d}.json", b'{"since": 0}'), stream_unit(30)),
    "plan that ends before": (holding(f"{PLANS}/{30:019d}.json", b'{"end": 3, "since": 0}'), stream_unit(30)),
    "unit of a stream removed": (removed(f"ledger/source=drones/{stream_unit(10)}.parquet"), stream_unit(0)),
    "last unit of a stream removed": (removed(f"ledger/source=drones/{stream_unit(20)}.parquet"), f"{STREAM}, part"),
    "floors of noise": (holding(FLOORS, b"noise"), "floors.json"),
    "floors of another kind": (holding(FLOORS, b'{"0": "x"}'), "floors.json"),
    "floor too high": (holding(FLOORS, b'{"0": 40}'), f"{STREAM}, partition 0: the floor is 40"),
    "offsets missing": (row_with(STREAM_ROW, range_end=15), stream_unit(10)),
    "file removed": (removed(QUALIFIED_D), "drones-d"),
    "file halved": (halved(QUALIFIED_D), "drones-d"),
    "file empty": (holding(QUALIFIED_D, b""), "drones-d"),
    "file of noise": (holding(QUALIFIED_D, bytes(2000)), "drones-d"),
    "file flipped in a time": (flipped(QUALIFIED_D, "event_time"), "drones-d"),
    "file flipped in a text": (flipped(QUALIFIED_D, "message_id"), "drones-d"),
    "file flipped in a code": (flipped(QUALIFIED_D, "violation_code"), "drones-d"),
    "file a directory": (directory(QUALIFIED_D), "drones-d"),
    "files of datasets swapped": (swapped(QUALIFIED_D, UNQUALIFIED_D), "drones-d"),
    "files of units swapped": (swapped(QUALIFIED_D, QUALIFIED_D.replace("drones-d", stream_unit(0))), "drones-d"),
    "files of months swapped": (swapped(QUALIFIED_D, QUALIFIED_D.replace("2014-12", "2015-02")), "drones-d"),
    "orphan": (copied(QUALIFIED_D, "qualified/source=drones/month=2014-12/drones-x.parquet"), "drones-x"),
    "row less": (rewritten(QUALIFIED_D, lambda t: t.slice(1)), "drones-d"),
    "row more": (rewritten(QUALIFIED_D, lambda t: pa.concat_tables([t, t.slice(0, 1)])), "drones-d"),
    "column gone": (rewritten(QUALIFIED_D, lambda t: t.drop_columns(["event_time"])), "drones-d"),
    "code changed": (consistently(QUALIFIED_D, LEDGER_D, column("violation_code", lambda c: c + 1)), "drones-d"),
    "area changed": (consistently(QUALIFIED_D, LEDGER_D, column("area", lambda _: "Q")), "drones-d"),
    "window changed": (
        consistently(QUALIFIED_D, LEDGER_D, lambda t: t.set_column(
            2, t.schema.field(2), pc.add(t["event_time"], pa.scalar(3_600_000_000, pa.duration("us"))))), "drones-d"),
    "statistics changed": (consistently(STATS_D, LEDGER_D, column("n", lambda n: n + 1)), "drones-d"),
    "statistics of another part of the day": (
        consistently(STATS_D, LEDGER_D, column("part_of_day", lambda _: "morning")), "drones-d"),
    "statistics removed": (removed(STATS_D), "drones-d"),
    "merged changes removed": (removed("merged_ledger/chain=changes/*.parquet"), "merged_ledger/chain=changes/"),
    "change in the middle removed": (
        lambda root: min(root.glob(CHANGE)).unlink(), "its row of the ledger, ledger/source=changes/"),
    "change damaged": (halved(CHANGE), "ledger/source=changes/"),
    "file of a change removed": (removed(CHANGED), "change-0"),
    "file of a change flipped": (flipped(CHANGED, "event_time"), "change-0"),
    "merged ledger damaged": (halved(MERGED), "merged_ledger/chain=others/"),
    "merged ledger flipped": (flipped(MERGED, "rows_in"), "merged_ledger/chain=others/"),
    "merged ledger changed": (rewritten(MERGED, column("rows_in", lambda n: n + 1)), "merged_ledger/chain=others/"),
    "log of a table damaged": (holding("qualified/_delta_log/*.json", b"noise"), "table qualified: "),
    "log of a table removed": (lambda root: shutil.rmtree(root / "qualified/_delta_log"), "table qualified: "),
    "log of the ledger removed": (lambda root: shutil.rmtree(root / "merged_ledger/_delta_log"), "merged_ledger/"),
    "log of the ledger damaged": (holding("merged_ledger/_delta_log/*.json", b"{"), "merged_ledger/_delta_log"),
    "table without a file": (without_a_file, "table qualified: of the files of change"),
    "floors removed": (removed(FLOORS), f"{STREAM}/floors.json"),
    "floors of another stream": (holding(FLOORS, b'{"0": 30, "crc32": 1}'), "floors.json"),
    "ledger removed": (lambda root: shutil.rmtree(root / "ledger"), "drones-d"),
    "a file that its unit's row does not name": (
        copied(QUALIFIED_D, "qualified/source=drones/month=2015-02/drones-b.parquet"), "drones-b"),
    "note of a cell emptied": (holding(f"plans/loaded_cells/{CELL[:-1]}0", b""), CELL[:-1]),
    "stranger among the plans": (lambda root: (root / "plans/loaded/x").write_bytes(b""), "plans/loaded/x"),
    "list of loaded files emptied": (holding("plans/loaded_lists/*", b""), "plans/loaded_lists/"),
    "payload removed": (removed("payloads/*/*"), "drones-e"),
    "stranger among the payloads": (lambda root: (root / "payloads/x").write_bytes(b""), "payloads/x"),
    "stranger in the spool": (lambda root: (root / SPOOL / "x").write_bytes(b""), f"{SPOOL}/x"),
    "segment removed": (removed(f"{SPOOL}/*"), SEGMENT),
    "spool removed": (lambda root: shutil.rmtree(root / "spool"), SEGMENT),
    "note of a segment that is no note": (holding(f"plans/{SPOOL}/*", b"x"), SEGMENT),
    "stranger among the notes of segments": (
        lambda root: (root / f"plans/{SPOOL}/x").write_bytes(b""), f"plans/{SPOOL}/x"),
    "stranger in a dataset": (lambda root: (root / "qualified/notes.txt").write_text("x"), "qualified/notes.txt"),
    "stranger in a month": (
        lambda root: (root / "qualified/source=drones/month=2014-12/a.csv").write_text("x"), "month=2014-12/a.csv"),
    "stranger among the ledger's copies": (
        lambda root: (root / "merged_ledger/notes").write_text("x"), "merged_ledger/notes"),
    "picture removed": (removed(PICTURE), "images-a"),
    "picture halved": (halved(PICTURE), "images-a"),
}  # fmt: skip


@pytest.mark.embedded
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_named_and_ends_with_1(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    damage, name = KINDS[kind]
    root = Path(shutil.copytree(sound, tmp_path / "lake"))
    damage(root)
    ended: list[int] = []
    monkeypatch.setattr("pipelines.maintenance.reconcile.run", lambda command, _: ended.append(command()))
    main(["--lake", str(root), "--quiet"])
    lines = capsys.readouterr().out.splitlines()
    assert ended == [1]
    assert any(name in line for line in lines[:-1]), lines
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize(
    "kind", ["row halved", "row of noise", "row flipped", "file halved", "file of noise", "merged ledger damaged"]
)
def test_other_commands_say_in_a_line_that_a_file_is_damaged(sound: Path, tmp_path: Path, kind: str) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "lake"))
    KINDS[kind][0](root)
    with pytest.raises(Exception) as raised:  # noqa: PT011  # pyarrow and DuckDB have several
        lake(str(root)).sql("SELECT sum(violation_code), (SELECT sum(rows_in) FROM ledger) FROM qualified")
    found = known(raised.value)
    assert isinstance(found, InputUnusable)
    assert "prestacop reconcile" in str(found)


def a_bit_flips(path: Path, data: st.DataObject) -> list[Path]:
    """Gives, as those below do, the files that are damaged by that, if any is."""
    content = bytearray(path.read_bytes())
    if content:
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
    return [path] if content else []


def its_end_is_gone(path: Path, data: st.DataObject) -> list[Path]:
    content = path.read_bytes()
    if content:
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    return [path] if content else []


def something_is_behind_it(path: Path, data: st.DataObject) -> list[Path]:
    with path.open("ab") as file:
        file.write(data.draw(st.binary(min_size=1, max_size=9)))
    return [path]


def two_change_places(path: Path, data: st.DataObject) -> list[Path]:
    other = data.draw(st.sampled_from(files_in(root_of(path))))
    one, another = path.read_bytes(), other.read_bytes()
    path.write_bytes(another)
    other.write_bytes(one)
    return [path, other] if one != another else []


def another_lies_in_its_place(path: Path, data: st.DataObject) -> list[Path]:
    before = path.read_bytes()
    path.write_bytes(data.draw(st.sampled_from(files_in(root_of(path)))).read_bytes())
    return [path] if path.read_bytes() != before else []


def it_is_there_twice(path: Path, data: st.DataObject) -> list[Path]:
    shutil.copy(path, path.with_name(f"x{path.name}"))
    return [path]


def it_is_gone(path: Path, data: st.DataObject) -> list[Path]:
    path.unlink()
    # The program itself removes what it remembers of files, and what it remembers of segments before these.
    return [] if any(part in path.as_posix() for part in ("/plans/loaded", "/plans/spool/")) else [path]


def told(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """How the command ends, and its notices."""
    ended: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.maintenance.reconcile.run", lambda command, _: ended.append(command()))
        main(["--lake", str(root), "--quiet"])
    lines = capsys.readouterr().out.splitlines()
    return ended[0], [line.removeprefix("notice: ") for line in lines if line.startswith("notice: ")]


def test_what_is_not_of_the_lake_at_its_root_is_named_and_no_fault(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "lake"))
    for own in (MARK, ".probe-0123"):
        (root / own).write_text("")
    (root / "analysis").mkdir()  # of versions before decision 110
    assert list(notices(read_state(str(root))[0])) == []
    (root / "report.html").write_text("")
    (root / "qualified_old").mkdir()
    (root / "again").mkdir()
    (root / "again" / "drones-x").write_text("")
    code, (strangers, again, *behind) = told(root, capsys)
    assert code == 0
    assert "qualified_old, report.html" in strangers
    assert "again/drones-x" in again
    assert behind
    assert all("the next publication brings it up" in notice for notice in behind)
    for number in range(8):
        (root / f"a{number}").write_text("")
    assert "a4 and 5 others" in next(notices(read_state(str(root))[0]))


def loaded_lake(root: Path, path_of_unit: str, ended_at: int) -> None:
    """A lake with a file of a topic that was forgotten up to an offset, and is remembered."""
    row = unit(str(root), "drones-a")
    commit(str(root), [row | {"path": path_of_unit}])
    shutil.move(root / "ledger/source=drones", root / "ledger/source=history")
    path = root / "ledger/source=history/drones-a.parquet"
    table = pq.ParquetFile(path).read().to_pylist()[0] | {"source": "history"}
    path.write_bytes(with_checksum(pa.Table.from_pylist([table], LEDGER_ROW)))
    agree(str(root), "history-kafka-cluster-topic", 0, 0, Plan(10, 0))
    write_floors(str(root), "history-kafka-cluster-topic", {0: ended_at})
    storage(str(root)).put(f"plans/loaded/{FINGERPRINT}", b"")


TOPICS = [
    KafkaStream(kafka_url("kafka://broker:9092/tickets"), Source.HISTORY),
    PubSubStream(PubSubUrl("project", "tickets"), Source.HISTORY),
]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.path)
@pytest.mark.parametrize(("ended_at", "is_known"), [(10, True), (5, False)])
def test_missing_notes_of_loaded_files_are_reported_once_their_topics_are_empty(
    tmp_path: Path, topic: Stream, ended_at: int, is_known: bool
) -> None:
    root = tmp_path / "lake"
    loaded_lake(root, f"{topic.path}/2015.csv", ended_at)
    assert list(notices(read_state(str(root))[0])) == []
    (root / f"plans/loaded/{FINGERPRINT}").unlink()
    found = list(notices(read_state(str(root))[0]))
    assert len(found) == is_known
    if is_known:
        assert "plans/loaded remembers 0 files" in found[0]
        (root / "spool/history-pubsub-p-s").mkdir(parents=True)
        (root / "spool/history-pubsub-p-s/x").write_text("")
        assert list(notices(read_state(str(root))[0])) == []


def test_a_missing_segment_that_is_committed_is_no_fault(sound: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(sound, tmp_path / "lake"))
    commit(str(root), [unit(str(root), SEGMENT)])
    (root / SPOOL / f"{SEGMENT}.arrow").unlink()  # as a bucket's rule does after a week
    assert reconcile(str(root)) == []


def test_a_lake_with_only_a_missing_segment_reports_it(tmp_path: Path) -> None:
    vouch(str(tmp_path), f"{SPOOL}/{SEGMENT}.arrow")
    assert [SEGMENT in fault for fault in reconcile(str(tmp_path))] == [True]


def root_of(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == "lake")


def files_in(root: Path) -> list[Path]:
    """All of a lake in order, but the logs of tables, which have tests of their own, and files of units
    that are planned and not committed, which are written again."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != FILE and path.parent.name != LOG)
    return sorted(path for path in files if unit_of(path.name) not in (stream_unit(30), stream_unit(40)))


FOLDERS = (
    "ledger/source=drones", "ledger/source=changes", "merged_ledger/chain=", "qualified", "unqualified", "dead_letters",
    "positions", "stats", "pictures", "payloads", f"plans/{STREAM}", "plans/loaded", "plans/spool", "spool",
)  # fmt: skip
WAYS = (
    a_bit_flips, its_end_is_gone, something_is_behind_it, two_change_places, another_lies_in_its_place,
    it_is_there_twice, it_is_gone,
)  # fmt: skip


@pytest.mark.embedded
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=settings().max_examples // 5)
@given(st.data())
def test_whatever_happens_to_any_file_is_found_and_named(
    sound: Path, way: Callable[[Path, st.DataObject], list[Path]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(shutil.copytree(sound, Path(place) / "lake"))
        folder = data.draw(st.sampled_from(FOLDERS))
        path = data.draw(st.sampled_from([p for p in files_in(root) if f"{p.relative_to(root)}".startswith(folder)]))
        place_in_lake = f"{path.relative_to(root)}"
        replaced = replaced_by(lake(str(root)).changes).to_pylist()  # a vacuum removes them
        # Without the row of the last change, which no table has yet, its units are those of the next publication.
        may_be_gone = way == it_is_gone and place_in_lake in (*replaced, change_path(lake(str(root)).number))
        if (damaged := way(path, data)) and not may_be_gone:
            faults = reconcile(str(root))
            names = {name for one in damaged for name in (f"{one.relative_to(root)}", one.stem)}
            assert any(name in fault for name in names for fault in faults), (names, faults)
