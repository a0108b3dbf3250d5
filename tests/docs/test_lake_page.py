"""The queries and Python examples of docs/lake.md run over a lake and find rows."""

import re
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from apps.simulator.command import main as simulate
from lake import lake
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph

PAGE = (Path(__file__).parents[2] / "docs" / "lake.md").read_text(encoding="utf-8")
SQL = re.findall(r"```sql\n-- (\w+)(.*?)```", PAGE, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake with rows in every dataset."""
    folder = tmp_path_factory.mktemp("docs")
    history, messages, images = (str(folder / name) for name in ("h.csv", "m.jsonl", "i.jsonl"))
    simulate(["history", "--rows", "6000", "--seed", "1", "--output", history, "--quiet"])
    fleet = ["--drones", "40", "--seconds", "300", "--seed", "1", "--corrupt", "0.01", "--unqualified-share", "0.1"]
    simulate(["drones", *fleet, "--output", f"file:{messages}", "--images", f"file:{images}", "--quiet"])
    _lose_some(Path(images))
    root = str(folder / "lake")
    run_graph(ReadOptions(history, messages, images), Settings(root, 3600), PipelineOptions([]))
    return root


def _lose_some(recording: Path) -> None:
    """Drop every hundredth picture; of some others the message is corrupted already."""
    lines = recording.read_bytes().splitlines(keepends=True)
    recording.write_bytes(b"".join(line for n, line in enumerate(lines) if n % 100))


@pytest.mark.parametrize(("dataset", "query"), SQL, ids=[name for name, _ in SQL])
def test_each_dataset_has_a_query_that_answers(small_lake: str, dataset: str, query: str) -> None:
    assert lake(small_lake).sql(query.partition("\n")[2]).num_rows, f"the query of {dataset} finds nothing"


def test_the_page_queries_every_dataset() -> None:
    named = {name for name, _ in SQL}
    assert named == {"positions", "qualified", "unqualified", "dead_letters", "stats", "images", "ledger"}


def test_the_python_example_runs(small_lake: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = PYTHON
    exec(code, {"LAKE": small_lake})
    assert capsys.readouterr().out
