"""The benchmark of the lake: the lakes that it makes add up, and each of its jobs runs on them."""

import json
from pathlib import Path

import pytest

from lake import Lake
from pipelines.maintenance.reconcile import reconcile
from tests.benchmarks import lake_maker
from tests.benchmarks.bench_lake import QUERIES
from tests.benchmarks.inputs import DiskTooSmall
from tests.benchmarks.lake_jobs import main as job
from tests.benchmarks.lake_maker import FIRST_NEW, add_unit, check_room, make


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of 500 messages, and 40 rows of units at once."""
    monkeypatch.setattr(lake_maker, "UNIT_MESSAGES", 500)
    monkeypatch.setattr(lake_maker, "FOLDED_UNITS", 40)


@pytest.mark.embedded
@pytest.mark.usefixtures("small_units")
def test_a_made_lake_adds_up_and_its_jobs_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / "lake")
    assert make(root, 1_000, 0) == 2
    assert reconcile(root) == []
    lake_maker.fold_units(root, 2, 100)
    add_unit(root, 102, 10, FIRST_NEW, 10)
    found = {}
    for name, query in [("open", ""), *(("query", query) for query in QUERIES.values()), ("publish", "")]:
        job(name, root, query)
        found[name] = json.loads(capsys.readouterr().out)["rows"]
    job("scan", root, "FROM positions")
    assert json.loads(capsys.readouterr().out)["rows"] == Lake(root).sql("FROM positions").num_rows
    assert found["open"] == found["publish"] == 1  # the unit of the tail
    assert Lake(root).units == 103


def test_a_disk_that_is_too_small_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(DiskTooSmall, match="--messages"):
        check_room(tmp_path, 10**15)
