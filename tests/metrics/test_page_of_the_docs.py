"""docs/metrics.md has the metrics of all commands, as the code has them."""

from pathlib import Path

import pytest

from apps.console.metrics import METRICS as OF_THE_CONSOLE
from metrics.lake.names import METRICS as OF_THE_LAKE
from metrics.metric import Metric, table

PAGE = Path(__file__).parents[2] / "docs/metrics.md"


@pytest.mark.parametrize("metrics", [OF_THE_LAKE, OF_THE_CONSOLE], ids=["lake", "console"])
def test_the_page_has_the_table_of_the_code(metrics: tuple[Metric, ...]) -> None:
    assert "\n".join(table(metrics)) in PAGE.read_text()
