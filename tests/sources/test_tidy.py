"""What streams needed only until their units were committed is removed, by whoever comes, and nothing else."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lake.ledger import commit
from lake.storage import LocalStorage, storage
from schemas.errors import LakeDamaged
from sources.loaded.notes import remembered
from sources.loaded.notes import tidy as merge_remembered
from sources.loaded.topic import remember
from sources.streams.segments import vouch
from sources.tidy import tidy
from tests.sources.loaded.test_forgetting import row

SPOOL = "spool/drones-pubsub-p-s"


def segment(n: int) -> str:
    """The name of a unit of the subscription."""
    return f"drones-pubsub-p-s-{n:020d}-0123456789ab-1"


def files_of(root: Path) -> set[str]:
    """What is in the spool, and the vouchers."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if "spool" in path.parts and path.is_file()}


def test_segments_and_vouchers_of_committed_units_are_removed(tmp_path: Path) -> None:
    root, store = str(tmp_path), storage(str(tmp_path))
    for n in range(6):
        if n % 3 != 1:  # a bucket's rule has removed the others
            store.put(f"{SPOOL}/{segment(n)}.arrow", b"")
        if n % 3 != 2:  # a run was killed between the two deletions
            vouch(root, f"{SPOOL}/{segment(n)}.arrow")
    loaded = "spool/history-pubsub-p-s/history-pubsub-p-s-1-ab-1.arrow"
    store.put(loaded, b"")
    before = files_of(tmp_path)
    assert tidy(root) == 0
    assert files_of(tmp_path) == before
    commit(root, [row(segment(n)) for n in range(3)])
    assert tidy(root) == 4
    assert files_of(tmp_path) == {path for path in before if any(segment(n) in path for n in (3, 4, 5))} | {loaded}


def remember_files(root: str, *fingerprints: str) -> None:
    """As at the end of a run that has read these files."""
    files: list[Any] = [SimpleNamespace(fingerprint=fingerprint * 32) for fingerprint in fingerprints]
    remember(files, root)


def test_what_is_remembered_of_loaded_files_becomes_one_object(tmp_path: Path) -> None:
    root = str(tmp_path)
    for fingerprints in ("abc", "d", "ef"):
        remember_files(root, *fingerprints)
        merge_remembered(root)
        assert len(list(tmp_path.glob("plans/loaded*/*"))) == 1
    assert remembered(root) == {letter * 32 for letter in "abcdef"}
    assert merge_remembered(root) == 0
    (path,) = tmp_path.glob("plans/loaded_lists/*")
    path.write_text("a" * 32)
    with pytest.raises(LakeDamaged, match=path.name):
        remembered(root)


@pytest.mark.parametrize("before", ["put", "delete"])
def test_nothing_is_forgotten_while_another_process_merges_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    root = str(tmp_path)
    remember_files(root, "a")
    merge_remembered(root)
    remember_files(root, "b")
    original = getattr(LocalStorage, before)
    once = iter("x")

    def interrupted(self: LocalStorage, *arguments: Any) -> None:
        if next(once, None):
            remember_files(root, "c")
            merge_remembered(root)
        assert {"a" * 32, "b" * 32} <= remembered(root)
        original(self, *arguments)

    monkeypatch.setattr(LocalStorage, before, interrupted)
    merge_remembered(root)
    assert remembered(root) == {letter * 32 for letter in "abc"}


def test_a_list_that_is_merged_while_it_is_read_is_found_in_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    remember_files(root, "a")
    merge_remembered(root)
    original = LocalStorage.read
    once = iter("x")

    def late(self: LocalStorage, path: str) -> bytes:
        if next(once, None):
            remember_files(root, "b")
            merge_remembered(root)
        return original(self, path)

    monkeypatch.setattr(LocalStorage, "read", late)
    assert remembered(root) == {letter * 32 for letter in "ab"}
