"""The tables of docs/sizing.md are those that the figures give."""

from pathlib import Path

from tests.benchmarks.sizing import Assumed, Measured, kept_less, tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sizing.md"


def test_the_page_has_the_tables_that_are_computed() -> None:
    for table in (tables, kept_less):
        assert "\n".join(table(Measured(), Assumed())) in PAGE.read_text()
