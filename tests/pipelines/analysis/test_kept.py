"""A report's answers are used again only where nothing that they depend on has changed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lake.ledger import commit
from lake.publication import publish
from pipelines.analysis import kept
from pipelines.analysis.kept import keep_answers, kept_answers, key_of
from pipelines.analysis.results import Answers, Officers
from tests.lakes import Said, compacted, write

ANSWERS = Answers("lake", "2026-11-30T12:00:00+00:00", (), (), Officers(), ())


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A lake with a published unit, and one that is not."""
    lake = str(tmp_path / "lake")
    commit(lake, [write(lake, "a", [Said("1"), Said("2")])])
    publish(lake)
    commit(lake, [write(lake, "b", [Said("3")])])
    return lake


@pytest.fixture
def report(tmp_path: Path, root: str) -> Path:
    """A page whose answers are kept."""
    page = tmp_path / "report.html"
    page.write_text("page")
    keep_answers(page, key_of(root), ANSWERS)
    return page


def add_unit(root: str) -> None:
    commit(root, [write(root, "c", [Said("4")])])


def other_unit_in_the_place_of_one(root: str) -> None:
    """As many units, rows and files as before."""
    next(Path(root, "ledger").rglob("b.parquet")).unlink()
    commit(root, [write(root, "d", [Said("3")])])


def test_they_are_given_out_while_nothing_changes(root: str, report: Path) -> None:
    assert kept_answers(report, key_of(root)) == ANSWERS


@pytest.mark.parametrize("change", [add_unit, publish, compacted, other_unit_in_the_place_of_one])
def test_a_change_of_the_lake_makes_them_old(root: str, report: Path, change: Callable[[str], None]) -> None:
    change(root)
    assert kept_answers(report, key_of(root)) is None


def test_another_question_another_lake_or_another_program_has_other_answers(
    root: str, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    assert kept_answers(report, key_of(root, "--show-plates")) is None
    assert kept_answers(report, key_of(str(copy))) is None
    keys = [key_of(root)]
    for number in (1, 2):
        package = tmp_path / f"program-{number}" / "pipelines" / "analysis"
        package.mkdir(parents=True)
        (package / "kept.py").write_text(f"a = {number}")
        monkeypatch.setattr(kept, "__file__", str(package / "kept.py"))
        keys.append(key_of(root))
        assert kept_answers(report, keys[-1]) is None
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("damage", [Path.unlink, lambda page: page.write_text("another page")])
def test_they_belong_to_the_page_that_was_made_of_them(
    root: str, report: Path, damage: Callable[[Path], object]
) -> None:
    damage(report)
    assert kept_answers(report, key_of(root)) is None


def test_a_file_that_was_cut_off_counts_as_none(root: str, report: Path) -> None:
    place = report.with_name(".report.html.answers")
    place.write_bytes(place.read_bytes()[:-1])
    assert kept_answers(report, key_of(root)) is None
