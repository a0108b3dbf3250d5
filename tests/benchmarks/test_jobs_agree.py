"""Every job of the bench sends the rows of a small file where the truth says that they belong."""

from pathlib import Path

import pytest

from apps.simulator.command import main as simulator
from tests.benchmarks import engines, inputs
from tests.benchmarks.agreement import disagreements, outcome, truth
from tests.benchmarks.engines import Engine
from tests.benchmarks.measure import run

ROWS = 20_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "history.csv"
    assert simulator(["history", "--rows", str(ROWS), "--seed", "1", "--output", str(path), "--quiet"]) == 0
    return path


@pytest.mark.embedded
@pytest.mark.parametrize("engine", [*engines.ALL, engines.FLOOR], ids=lambda engine: engine.name)
def test_the_rows_of_each_branch_are_those_of_the_truth(engine: Engine, source: Path, tmp_path: Path) -> None:
    usage = run(engine.command(source, tmp_path / "output"), ROOT, tmp_path / "log")
    assert disagreements(outcome(tmp_path / "output"), truth(inputs.truth_of(source)), engine.exact) == []
    assert usage.cpu_s > 0
