"""Tables of docs/performance.md are those of the newest files in docs/performance/."""

from pathlib import Path

import pytest

from tests.benchmarks.dated import newest, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


@pytest.mark.parametrize("name", ["floor", "runners", "starts"])
def test_the_page_has_the_table_of_the_newest_result(name: str) -> None:
    result = newest(name)
    page = PAGE.read_text()
    assert "\n".join(table(result)) in page
    assert f"performance/{result['date']}-{name}.json" in page
