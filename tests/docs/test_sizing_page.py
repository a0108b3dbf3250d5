"""The tables of docs/sizing.md are those that the figures give."""

from pathlib import Path

from tests.benchmarks.sizing import Assumed, Measured, tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sizing.md"


def test_the_page_has_the_tables_that_are_computed() -> None:
    assert "\n".join(tables(Measured(), Assumed())) in PAGE.read_text()
