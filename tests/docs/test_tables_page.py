"""The Python examples of docs/tables.md run, and polars and pyarrow see what lake() shows."""

from collections.abc import Iterable
from typing import Any

import duckdb
import polars as pl
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from deltalake import DeltaTable

from pipelines.analysis.command import answers as analyze
from schemas.lake import Dataset
from tests.support import together
from tests.tables import EXAMPLE, LAKE, Filled, answers, examples, fill, text_of


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A lake with rows in every dataset."""
    return fill(tmp_path_factory.mktemp("tables"))


@pytest.mark.parametrize("title", ["polars", "pyarrow", "Four questions"])
def test_the_python_examples_run(filled: Filled, title: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = examples(title, "python")
    exec(code.replace(EXAMPLE, filled.root), {})
    assert capsys.readouterr().out


def test_the_four_questions_have_the_answers_of_the_analysis(filled: Filled) -> None:
    (code,) = examples("Four questions", "python")
    scope: dict[str, Any] = {}
    exec(code.replace(EXAMPLE, filled.root), scope)
    found, violations = analyze(filled.root, PipelineOptions([])), scope["violations"]
    parts = dict(violations.group_by(scope["part"]).len().rows())
    assert parts == together(v.parts_of_day for v in found.sources)
    weekends = dict(violations.group_by("weekend").len().rows())
    assert weekends == together({False: v.working_days, True: v.weekends} for v in found.sources)
    quarters = {f"Q{quarter}": n for quarter, n in violations.group_by("quarter").len().rows()}
    assert quarters == together(v.quarters for v in found.sources)
    codes = dict(scope["codes"].collect().rows())
    assert codes == together(v.ranked_codes for v in found.sources)


def test_pyarrow_reads_the_tables(filled: Filled) -> None:
    expected = filled.expected()
    (was,) = expected.pop("an earlier version")
    old = DeltaTable(f"{filled.root}/qualified", version=filled.version).to_pyarrow_dataset()
    assert text_of([[old.count_rows()]]) == [was]
    with duckdb.connect() as connection:
        for name in Dataset:
            connection.register(name, DeltaTable(f"{filled.root}/{name}").to_pyarrow_dataset())

        def ask(queries: list[str]) -> Iterable[Iterable[Any]]:
            return [row for query in queries for row in connection.sql(query).fetchall()]

        assert answers(filled, LAKE, ask) == expected


def test_polars_reads_the_tables(filled: Filled) -> None:
    tables = {name: pl.scan_delta(f"{filled.root}/{name}") for name in Dataset}
    qualified, positions = tables[Dataset.QUALIFIED], tables[Dataset.POSITIONS]
    repair = qualified.group_by(pl.col("repairs").list.get(0, null_on_oob=True)).len()
    speed = pl.col("extra").map.get("speed")
    micros = pl.col("event_time").dt.epoch("us")
    payload = pl.col("payload").bin.encode("hex").str.to_uppercase()
    old = pl.scan_delta(f"{filled.root}/qualified", version=filled.version)
    frames = {f"rows of {name}": table.select(pl.len()) for name, table in tables.items() if name != Dataset.STATS} | {
        "months": qualified.group_by("source", "month").agg(pl.len(), pl.col("violation_code").cast(pl.Int64).sum()),
        "nulls": qualified.select(pl.col("plate_id", "message_id", "county", "published_at").count()),
        "statistics": tables[Dataset.STATS].group_by("dataset").agg(pl.col("n").sum()),
        "elements of lists": repair,
        "values of maps": positions.group_by(speed).len(),
        "times in UTC": positions.select(micros.min().alias("first"), micros.max().alias("last")),
        "bytes": tables[Dataset.DEAD_LETTERS]
        .group_by("reason")
        .agg(payload.min(), payload.str.len_bytes().sum().alias("n")),
        "pictures": tables[Dataset.IMAGES].select(pl.col("object").n_unique(), pl.col("bytes").sum()),
        "an earlier version": old.select(pl.len()),
    }
    expected = filled.expected()
    del expected["the last microsecond"]  # a comparison of SQL's literals
    assert {name: text_of(frame.collect().rows()) for name, frame in frames.items()} == expected
