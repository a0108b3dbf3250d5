"""Publications: each message is in the tables once, whenever its copy arrives and however many processes publish."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lake import lake
from lake.files import in_ledger, write_unit
from lake.ledger import commit
from lake.publication import publish
from pipelines.maintenance.reconcile import reconcile
from pipelines.maintenance.undo_unit import put_back, undo
from schemas.lake import BRANCHES, IMAGE, Dataset, Source
from sources.payloads import PAYLOADS
from sources.units import Unit
from tests.lakes import Said, compacted, write
from transforms.messages.payload import Refusal
from transforms.messages.rows import dead_letters

AT = 1_420_000_000
MONTHS = 200 * 86_400
M = Said("m", AT, published=AT)


def in_table(root: str, dataset: Dataset) -> list[str]:
    """The places of the rows that a reader of the table sees."""
    rows = DeltaTable(f"{root}/{dataset}").to_pyarrow_table(columns=["unit", "record"]).to_pylist()
    return sorted(f"{row['unit']}/{row['record']}" for row in rows)


COPIES: dict[str, tuple[list[list[Said] | None], list[str]]] = {
    "in one unit": ([[M, M]], ["a/0"]),
    "in two units of the tail": ([[M], [M]], ["a/0"]),
    "the copy is published first": ([[M], [M._replace(published=AT - 1)]], ["b/0"]),
    "in the table already": ([[M], None, [M]], ["a/0"]),
    "in the table already, and published later": ([[M], None, [M._replace(published=AT - 1)]], ["a/0"]),
    "in a table with months since": (
        [[M], None, [Said("x", AT + MONTHS)], None, [M, Said("y", AT + 2 * MONTHS)]], ["a/0", "b/0", "c/1"],
    ),
    "a whole unit again": ([[M, Said("n", AT + 1)], None, [M, Said("n", AT + 1)]], ["a/0", "a/1"]),
    "in the table, in one unit and in the tail": ([[M], None, [M, M], [M]], ["a/0"]),
    "another message with this id at the same time": ([[M], None, [M._replace(drone="x")]], ["a/0", "b/0"]),
    "another message with this id at another time": ([[M], None, [M._replace(second=AT + MONTHS)]], ["a/0", "b/0"]),
    "another message with this id twice": (
        [[M], None, [M._replace(drone="x")], None, [M._replace(drone="x"), M]], ["a/0", "b/0"],
    ),
    "without an id": ([[M._replace(id=None)], None, [M._replace(id=None)]], ["a/0", "b/0"]),
}  # fmt: skip
"""By case: units, None for a publication between them, and the places of the rows that the table has in the end."""


def rounds(name: str) -> list[list[list[Said]]]:
    """The units of a case before each publication, with messages that no other case has."""
    found: list[list[list[Said]]] = [[]]
    for said in COPIES[name][0]:
        if said is None:
            found.append([])
        else:
            found[-1].append([m._replace(id=m.id and f"{m.id} {name}", drone=f"{m.drone} {name}") for m in said])
    return found


@pytest.mark.parametrize("step", [publish, compacted])
def test_a_copy_of_a_message_is_never_in_a_table(tmp_path: Path, step: Callable[[str], object]) -> None:
    root, cases = str(tmp_path), {name: rounds(name) for name in COPIES}
    letters = {name: iter("abcdef") for name in COPIES}
    units: dict[str, list[str]] = {name: [] for name in COPIES}
    for number in range(longest := max(map(len, cases.values()))):
        for case, (name, of) in enumerate(cases.items()):
            for said in of[number] if number < len(of) else []:
                unit = f"{case:02d}{next(letters[name])}"
                commit(root, [write(root, unit, said)])
                units[name].append(unit)
        (step if number < longest - 1 else publish)(root)
    found = in_table(root, Dataset.QUALIFIED)
    of_case = {
        name: [place[2:] for place in found if place.startswith(f"{case:02d}")] for case, name in enumerate(cases)
    }
    assert of_case == {name: expected for name, (_, expected) in COPIES.items()}
    lk = lake(root)
    duplicates = dict(zip(lk.ledger["unit"].to_pylist(), lk.ledger["duplicates"].to_pylist(), strict=True))
    for name, (steps, expected) in COPIES.items():
        rows = sum(len(said) for said in steps if said is not None)
        assert sum(duplicates[unit] for unit in units[name]) == rows - len(expected), name
    assert lk.sql("SELECT sum(n)::INT AS n FROM stats").to_pylist() == [{"n": len(found)}]
    assert reconcile(root) == []


def refused(root: str, unit: str, ids: list[str | None]) -> dict[str, Any]:
    """A unit of messages of Pub/Sub that are refused, with the ids that the service gave them."""
    n = len(ids)
    payloads = pa.RecordBatch.from_pylist(
        [
            {"record": i, "offset": i, "payload": b"?", "source_id": name, "published_at": AT * 1_000_000}
            for i, name in enumerate(ids)
        ],
        schema=PAYLOADS,
    )
    letters = dead_letters(Unit(Source.DRONES, "pubsub:s", 0, n, unit), payloads, [(i, Refusal("x")) for i in range(n)])
    files = write_unit(root, Dataset.DEAD_LETTERS, Source.DRONES, unit, [letters])
    counts = dict.fromkeys(("positions", "qualified", "unqualified", "images", "duplicates", "counted"), 0)
    place = {"unit": unit, "source": "drones", "path": "pubsub:s", "range_start": 0, "range_end": n, "rows_in": n}
    return {**place, **counts, "dead_letters": n, **in_ledger(files)}


def test_a_dead_letter_that_is_delivered_again_is_there_once(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [refused(root, "a", ["1", "2", None])])
    publish(root)
    commit(root, [refused(root, "b", ["2", "3", None]), refused(root, "c", ["3"])])
    assert lake(root).sql("FROM dead_letters").num_rows == 5
    publish(root)
    assert in_table(root, Dataset.DEAD_LETTERS) == ["a/0", "a/1", "a/2", "b/1", "b/2"]
    assert lake(root).ledger["duplicates"].to_pylist() == [0, 1, 1]
    assert reconcile(root) == []


def pictures(root: str, unit: str, ids: list[str]) -> dict[str, Any]:
    """A unit of pictures, whose objects nobody looks at here."""
    rows = [
        {
            "unit": unit,
            "record": n,
            "image_id": name,
            "event_time": AT * 1_000_000,
            "object": f"pictures/{name}",
            "bytes": 4,
        }
        for n, name in enumerate(ids)
    ]
    batch = pa.RecordBatch.from_pylist([row | {"published_at": None} for row in rows], schema=IMAGE)
    files = write_unit(root, Dataset.IMAGES, Source.IMAGES, unit, [batch])
    counts = dict.fromkeys(("positions", "qualified", "unqualified", "dead_letters", "duplicates", "counted"), 0)
    place = {"unit": unit, "source": "images", "path": "i.jsonl", "range_start": 0, "range_end": 1}
    return {**place, **counts, "rows_in": len(ids), "images": len(ids), **in_ledger(files)}


def test_a_picture_that_is_sent_again_is_there_once(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [pictures(root, "images-a", ["i", "j"])])
    publish(root)
    commit(root, [pictures(root, "images-b", ["j", "k", "k"])])
    assert lake(root).sql("FROM images").num_rows == 3
    publish(root)
    assert in_table(root, Dataset.IMAGES) == ["images-a/0", "images-a/1", "images-b/1"]
    assert lake(root).ledger["duplicates"].to_pylist() == [0, 2]


@pytest.mark.embedded
def test_an_undo_restores_what_was_dropped_as_a_copy_of_rows_of_every_dataset(tmp_path: Path) -> None:
    root = str(tmp_path)
    first, second = [M, Said("p", code=None)], [M, M._replace(drone="x"), Said("p", code=None)]
    commit(root, [write(root, "a", first), refused(root, "b", ["1"]), pictures(root, "images-a", ["i"])])
    publish(root)
    commit(root, [write(root, "c", second), refused(root, "d", ["1"]), pictures(root, "images-b", ["i"])])
    commit(root, [write(root, "e", second)])
    assert undo(root, ["a", "b", "images-a"], "undo")
    places = {dataset: in_table(root, dataset) for dataset in (*BRANCHES, Dataset.DEAD_LETTERS, Dataset.IMAGES)}
    assert places == {
        "qualified": ["c/0", "c/1"], "positions": ["c/2"], "unqualified": [], "dead_letters": ["d/0"],
        "images": ["images-b/0"],
    }  # fmt: skip
    assert lake(root).sql("SELECT sum(n)::INT AS n FROM stats").to_pylist() == [{"n": 3}]
    assert put_back(root, ["a", "b", "images-a"], "back")
    assert {dataset: in_table(root, dataset) for dataset in places} == places
    assert undo(root, ["c", "d", "images-b"], "undo")
    assert in_table(root, Dataset.QUALIFIED) == ["e/0", "e/1"]
    assert in_table(root, Dataset.POSITIONS) == ["e/2"]
    assert in_table(root, Dataset.DEAD_LETTERS) == ["b/0"]
    assert in_table(root, Dataset.IMAGES) == ["images-a/0"]
    assert lake(root).sql("SELECT sum(n)::INT AS n FROM stats").to_pylist() == [{"n": 3}]


def test_publications_at_once_publish_each_unit_once(tmp_path: Path) -> None:
    root = str(tmp_path)
    for name in "abcd":
        commit(root, [write(root, name, [M, Said(name, AT + 1, code=None)])])
    failed: list[BaseException] = []

    def published() -> None:
        try:
            publish(root)
        except BaseException as error:  # noqa: BLE001  # asserted on below
            failed.append(error)

    threads = [threading.Thread(target=published) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    publish(root)
    assert in_table(root, Dataset.QUALIFIED) == ["a/0"]
    assert in_table(root, Dataset.POSITIONS) == [f"{name}/1" for name in "abcd"]
    units = [unit for units in lake(root).changes["units"].to_pylist() for unit in units]
    assert sorted(units) == list("abcd")
    assert reconcile(root) == []


def test_nothing_new_is_no_publication(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [write(root, "a", [M])])
    assert (publish(root), publish(root), publish(root)) == (1, 0, 0)
    assert lake(root).number == 1
