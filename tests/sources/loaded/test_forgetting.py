"""Nothing that a unit was made from is forgotten before the unit's row of the ledger was read back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lake.ledger import commit, is_committed, read_back
from lake.storage import storage
from messaging.urls import PubSubUrl
from schemas.errors import NotReconciled
from schemas.lake import LEDGER_ROW, Source
from sources.files.history import HistoryCsv
from sources.loaded.input import LoadedFiles
from sources.loaded.notes import remembered
from sources.loaded.topic import landed
from sources.streams.plans import Chain, Plan
from sources.streams.pubsub import PubSubStream
from tests.sources.loaded.test_topic import Following, Topic, begin, end

NAME = "drones-kafka-ab-00000-0000000000000000000"


def row(unit: str) -> dict[str, Any]:
    """A row of the ledger."""
    zero = {field.name: 0 for field in LEDGER_ROW if field.type == "int64"}
    return {**zero, "unit": unit, "source": "drones", "path": "x", "files": []}


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def of_another(path: Path) -> None:
    lake = path.parents[2]
    commit(str(lake), [row("another")])
    path.write_bytes((path.parent / "another.parquet").read_bytes())


DAMAGES = pytest.mark.parametrize("damage", [empty, cut, of_another])


def damaged(root: Path, unit: str, damage: Callable[[Path], None]) -> None:
    """Commit the unit, and spoil its row."""
    commit(str(root), [row(unit)])
    damage(root / "ledger" / "source=drones" / f"{unit}.parquet")
    assert is_committed(str(root), Source.DRONES, unit)


def test_a_row_is_read_back_when_it_is_there(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert not read_back(root, Source.DRONES, NAME)
    commit(root, [row(NAME)])
    assert read_back(root, Source.DRONES, NAME)


@DAMAGES
def test_a_floor_stays_before_a_unit_whose_row_cannot_be_read(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    chain = Chain(str(tmp_path), Source.DRONES, "drones-kafka-ab", 0, "kafka:fleet/0", 0)
    unit, _ = chain.extend(Plan(10, 0))
    damaged(tmp_path, unit.name, damage)
    with pytest.raises(NotReconciled, match=f"{unit.name}.* the unit's input is not acknowledged"):
        chain.settle()
    assert chain.floor == 0


@DAMAGES
def test_a_segment_stays_in_the_spool_until_its_row_is_read(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    stream = PubSubStream(PubSubUrl("project", "drones"), Source.DRONES)
    name = f"{stream.spool.removeprefix('spool/')}-1-ab-3"
    storage(str(tmp_path)).put(f"{stream.spool}/{name}.arrow", b"segment")
    damaged(tmp_path, name, damage)
    with pytest.raises(NotReconciled, match=name):
        stream.finish(str(tmp_path))
    assert (tmp_path / stream.spool / f"{name}.arrow").read_bytes() == b"segment"


def test_a_loaded_file_is_not_forgotten_before_the_ledger_has_all_of_it(tmp_path: Path) -> None:
    root = str(tmp_path)
    following = Following(Topic([begin("a"), end("a")]), tmp_path)
    files = LoadedFiles(following.stream, HistoryCsv())
    (split,) = files.plan(root)
    for is_read in (False, True):
        units = following.read(split.place) if is_read else []
        with pytest.raises(NotReconciled, match=r"a\.csv: .*the topic keeps the messages: run again"):
            files.finish(root)
        assert (len(following.stream.units), remembered(root)) == (1, set())
    following.commit(units)
    assert landed([split.place], root) == {split.place.key}
    files.finish(root)
    assert following.stream.units == {}
    assert remembered(root) == {"a" * 32}
