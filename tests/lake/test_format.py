"""The version of a lake's format is written with its first unit, and a lake of a newer version is refused."""

import json
import re
from pathlib import Path

import pytest

from lake import Lake
from lake.format import FILE, FORMAT, check, mark, mark_new
from lake.ledger import commit, is_committed, unit_paths
from lake.storage import Storage
from schemas.errors import LakeDamaged, LakeTooNew
from schemas.lake import Source
from tests.lakes import Said, write

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


@pytest.fixture(autouse=True)
def new_process() -> None:
    """A process looks once at each root."""
    check.cache_clear()
    mark_new.cache_clear()


def test_the_first_commit_of_a_lake_writes_the_version(store: Storage) -> None:
    check(store.root)
    row = write(store.root, "aa", [Said("m")])
    assert FILE not in store.names()
    commit(store.root, [row])
    assert json.loads(store.read(FILE)) == {"format": FORMAT}
    assert Lake(store.root).ledger.num_rows == 1


def test_a_commit_into_an_older_lake_does_not_write_the_version(store: Storage) -> None:
    row = write(store.root, "aa", [Said("m")])
    commit(store.root, [row])
    store.delete(FILE)
    mark_new.cache_clear()
    commit(store.root, [write(store.root, "bb", [Said("n")])])
    assert FILE not in store.names()
    mark(store.root)
    mark(store.root)
    check(store.root)
    assert json.loads(store.read(FILE)) == {"format": FORMAT}


def test_a_lake_of_an_earlier_format_is_upgraded(store: Storage) -> None:
    commit(store.root, [write(store.root, "aa", [Said("m")])])
    store.put(FILE, b'{"format": 6}')
    mark_new.cache_clear()
    commit(store.root, [write(store.root, "bb", [Said("n")])])
    assert json.loads(store.read(FILE)) == {"format": 6}  # an older program reads it as before
    mark(store.root)
    assert json.loads(store.read(FILE)) == {"format": FORMAT}
    assert FORMAT > 6


def test_a_newer_lake_is_neither_read_nor_written(store: Storage) -> None:
    store.put(FILE, b'{"format": %d, "needs": ["a feature"]}' % (FORMAT + 1))
    row = write(store.root, "aa", [Said("m")])
    for opened in (
        lambda: Lake(store.root),
        lambda: commit(store.root, [row]),
        lambda: is_committed(store.root, Source.DRONES, "aa"),
        lambda: unit_paths(store.root),
    ):
        with pytest.raises(LakeTooNew, match=rf"format {FORMAT + 1}; this version reads up to {FORMAT}"):
            opened()
    assert "ledger" not in store.names()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"format": "6"}', b'{"format": 0}', b"\xff"])
def test_a_damaged_version_is_not_taken_for_an_older_lake(store: Storage, data: bytes) -> None:
    store.put(FILE, data)
    with pytest.raises(LakeDamaged, match=FILE):
        check(store.root)


def test_the_version_is_in_the_changelog() -> None:
    assert str(FORMAT) in re.findall(r"^## v(\d+),", CHANGELOG.read_text("utf-8"), re.MULTILINE)
