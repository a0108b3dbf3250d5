"""Tombstones: which rows they mean, and that a worker reads them seldom."""

from pathlib import Path

import pyarrow as pa
import pytest

from lake import tombstones as module
from lake.storage import LocalStorage
from lake.tombstones import (
    BEFORE,
    FOLDER,
    IMAGE,
    PLATE,
    Tombstone,
    Tombstones,
    put_tombstones,
    read_tombstones,
    recent_tombstones,
    request_of,
    salted,
)
from schemas.lake import EXTRA, UTC

NONE = Tombstones("lake", b"salt", ())
AT = 1_000


def table(**columns: pa.Array) -> pa.Table:
    n = len(next(iter(columns.values())))
    return pa.table({"event_time": pa.array([AT] * n, pa.int64()).cast(UTC)} | columns)


def texts(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string())


def of(*kinds: tuple[str, str]) -> Tombstones:
    return NONE.with_more(NONE.of(kind, text, AT) for kind, text in kinds)


def test_a_plate_is_known_in_every_spelling_until_the_time_of_the_request() -> None:
    rows = table(plate_id=texts("AB1", "ab-1", " a b 1", "AB12", None, "AB1"))
    times = pa.array([AT, AT, 0, AT, AT, AT + 1], pa.int64()).cast(UTC)
    erased = of((PLATE, "ab 1")).erased(rows.set_column(0, "event_time", times))
    assert erased.tolist() == [True, True, True, False, False, False]


def test_a_plate_in_a_field_without_a_column_is_found() -> None:
    extra = pa.array([None, [("note", '"see AB-1."')], [], [("note", '"AB 12"')]], EXTRA)
    assert of((PLATE, "AB1")).erased(table(extra=extra)).tolist() == [False, True, False, False]
    assert of((PLATE, "AB1")).erased(table(extra=extra).slice(1)).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("payload", "is_erased"),
    [
        (b'{"plate_id": "AB1"', True), (b"1,ab-1,x", True), (b"the car AB 1 there", True), (b"AB12", False),
        (b"XAB1", False), (b"\xff AB1 \xff", True), (b"", False), (b"i.4e6f-11-22-33", True),
    ],
)  # fmt: skip
def test_a_dead_letter_is_known_by_its_words(payload: bytes, is_erased: bool) -> None:
    rows = pa.table({
        "payload": pa.array([payload]), "detail": texts(None), "published_at": pa.array([None], UTC),
    })  # fmt: skip
    assert of((PLATE, "AB1"), (IMAGE, "i.4e6f-11-22-33")).erased(rows).tolist() == [is_erased]
    later = rows.set_column(2, "published_at", pa.array([AT + 1], pa.int64()).cast(UTC))
    assert of((PLATE, "AB1")).erased(later).tolist() == [False]


def test_positions_and_pictures_before_a_day() -> None:
    them = NONE.with_more([Tombstone(BEFORE, str(AT + 1), AT)])
    assert them.erased(table(kind=texts("position", "violation"), plate_id=texts(None, None))).tolist() == [True, False]
    assert them.erased(table(message_id=texts("m"))).tolist() == [True]
    assert them.erased(table(plate_id=texts("AB1"))).tolist() == [False]
    assert them.erased(table(image_id=texts("i"), object=texts("o"))).tolist() == [True]


def test_names_have_all_that_a_worker_needs(tmp_path: Path) -> None:
    root = str(tmp_path)
    them = salted(root)
    one = them.of(PLATE, "AB1", AT)
    put_tombstones(root, [one, Tombstone(BEFORE, "-5", AT)], "kelly", "request 17")
    assert request_of(root, one) == module.Request("kelly", "request 17")
    assert "AB1" not in str(sorted(tmp_path.rglob("*")))
    found = read_tombstones(root)
    assert found.all == sorted({one, Tombstone(BEFORE, "-5", AT)}, key=lambda of: (of.at, of.path))
    assert salted(root).of(PLATE, "ab-1", AT) == one
    assert found.erased(table(plate_id=texts("AB1"))).tolist() == [True]


def test_a_worker_lists_them_once_in_some_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    usual = LocalStorage.list

    def counting(self: LocalStorage, prefix: str) -> list[object]:
        listed.append(prefix)
        return usual(self, prefix)

    monkeypatch.setattr(LocalStorage, "list", counting)
    now = [0.0]
    monkeypatch.setattr("lake.tombstones.time.monotonic", lambda: now[0])
    assert not any(recent_tombstones(str(tmp_path)) for _ in range(3))
    assert listed == [FOLDER]
    now[0] = module.FRESH_SECONDS
    assert not recent_tombstones(str(tmp_path))
    assert listed == [FOLDER] * 2
