"""docs/metrics.md has the metrics of all commands, as the code has them."""

from pathlib import Path

import pytest

from apps.console.metrics import METRICS as OF_THE_CONSOLE
from apps.loader.metrics import METRICS as OF_THE_LOADER
from metrics.lake.names import METRICS as OF_THE_LAKE
from metrics.metric import Metric, table
from pipelines.violations.metrics import OF_THE_PROCESS

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
ALL = {"lake": OF_THE_LAKE, "run": OF_THE_PROCESS, "console": OF_THE_CONSOLE, "loader": OF_THE_LOADER}


@pytest.mark.parametrize("metrics", ALL.values(), ids=ALL)
def test_the_page_has_the_table_of_the_code(metrics: tuple[Metric, ...]) -> None:
    assert "\n".join(table(metrics)) in PAGE.read_text()


def test_the_page_names_no_metric_that_the_code_does_not_have() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `prestacop_")]
    assert len(rows) == sum(map(len, ALL.values()))
