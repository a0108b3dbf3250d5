"""Readers see units atomically, messages exactly once, and statistics that match."""

import tempfile
from collections import Counter as Tally
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from lake import lake
from lake.layout import partitions
from lake.ledger import commit
from lake.publication import publish
from lake.vacuum import vacuum
from pipelines.maintenance.reconcile import reconcile
from schemas.lake import BRANCHES, SCHEMAS, Dataset
from tests.lakes import Said, all_views, compacted, ids, write

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


def test_a_unit_is_seen_when_it_is_committed_and_entirely(tmp_path: Path) -> None:
    root = str(tmp_path)
    first = write(root, "a", [Said("1"), Said("2", code=None), Said("3", code=0)])
    second = write(root, "b", [Said("4"), Said("5", code=None), Said("6", code=0)])
    assert ids(lake(root), "qualified") == []
    commit(root, [first])
    before = lake(root)
    for _ in range(2):  # an open lake stays as it was
        assert [ids(before, str(d)) for d in BRANCHES] == [["2"], ["1"], ["3"]]
        assert before.sql("SELECT sum(n)::INT AS n FROM stats").to_pylist() == [{"n": 3}]
        assert sum(before.dataset(d).count_rows() for d in BRANCHES) == 3
        commit(root, [second])
    after = lake(root)
    assert [ids(after, str(d)) for d in BRANCHES] == [["2", "5"], ["1", "4"], ["3", "6"]]
    assert after.sql("SELECT sum(n)::INT AS n FROM stats").to_pylist() == [{"n": 6}]


def test_a_bare_glob_sees_files_of_a_unit_that_is_not_committed_and_the_lake_does_not(tmp_path: Path) -> None:
    commit(str(tmp_path), [write(str(tmp_path), "a", [Said("1")])])
    write(str(tmp_path), "b", [Said("2")])
    with lake(str(tmp_path)).connect() as connection:
        bare = f"SELECT count(*) FROM '{tmp_path}/qualified/**/*.parquet'"
        assert connection.sql(bare).fetchall() == [(2,)]
        assert connection.sql("SELECT count(*) FROM qualified").fetchall() == [(1,)]


def test_an_empty_lake_has_every_view_with_its_columns(tmp_path: Path) -> None:
    lk = lake(str(tmp_path / "nothing"))
    for dataset in Dataset:
        assert lk.files(dataset) == []
        assert lk.dataset(dataset).count_rows() == 0
        found = lk.sql(f"FROM {dataset}")
        assert found.num_rows == 0
        if dataset != Dataset.STATS:  # whose units are summed up
            assert found.schema.names == [*SCHEMAS[dataset].names, *partitions(dataset)]
    for view in ("ledger", "duplicates", "conflicts", "repeated_summons"):
        assert lk.sql(f"FROM {view}").num_rows == 0


@pytest.mark.parametrize(
    "names",
    [
        ["it's", "ü %20#", "{a}", ".x.parquet", 'q"$HOME\n'],
        ["a*b", "[x]", "wh?t"],  # DuckDB takes these for patterns
        ["source=other", "month=1999-01", "unit=x"],  # and these for partitions
    ],
)
def test_a_lake_may_have_any_name(tmp_path: Path, names: list[str]) -> None:
    messages = [Said("1"), Said("2", code=None), Said("3", code=0), Said("1")]
    found = []
    for root in (str(tmp_path / "plain"), str(tmp_path.joinpath(*names, "lake")), str(tmp_path.joinpath(*names))):
        commit(root, [write(root, "a", messages[:2])])
        commit(root, [write(root, "b", messages[2:])])
        found.append(all_views(lake(root)))
    assert found[0] == found[1] == found[2]
    assert [len(found[0][name]) for name in ("qualified", "duplicates", "stats")] == [1, 1, 3]


def test_the_partitions_are_columns_for_duckdb_and_for_pyarrow(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [write(root, "a", [Said("1", 1_420_088_399), Said("2", 1_420_088_400)])])
    lk = lake(root)
    expected = [{"month": "2014-12", "source": "drones"}, {"month": "2015-01", "source": "drones"}]
    assert lk.sql("SELECT month, source FROM qualified ORDER BY record").to_pylist() == expected
    table = lk.dataset(Dataset.QUALIFIED).to_table().sort_by("record")
    assert table.select(["month", "source"]).to_pylist() == expected
    assert lk.sql("SELECT record FROM qualified WHERE month = '2015-01'").to_pylist() == [{"record": 1}]


def test_on_s3_the_views_are_the_same(tmp_path: Path, s3: str) -> None:
    found = []
    for root in (str(tmp_path), f"{s3}/some/lake", s3):
        commit(root, [write(root, "a", [Said("1"), Said("2", code=None)])])
        commit(root, [write(root, "b", [Said("1"), Said("3", code=0)])])
        write(root, "c", [Said("4")])
        found.append(all_views(lake(root)))
    assert found[0] == found[1] == found[2]


def test_a_repeated_summons_is_kept_and_flagged(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [write(root, "a", [Said(None), Said("x"), Said(None)])])
    commit(root, [write(root, "b", [Said(None)])])
    lk = lake(root)
    assert lk.sql("FROM qualified").num_rows == 4
    (row,) = lk.sql("FROM repeated_summons").to_pylist()
    assert (row["summons_number"], row["times"]) == (7, 3)
    assert sorted((place["unit"], place["record"]) for place in row["rows"]) == [("a", 0), ("a", 2), ("b", 0)]


SECONDS = st.sampled_from([1_425_797_999, 1_425_798_000, 1_414_907_999, 1_414_911_600, 2_893_226_400]) | st.integers(
    1_420_080_000, 1_420_100_000
)
IDS = st.none() | st.sampled_from("abcde")
MESSAGES = st.lists(
    st.builds(
        Said,
        IDS,
        SECONDS,
        st.sampled_from([None, 0, 21, 99]),
        st.sampled_from([None, "K", "40.71,-74.01"]),
        st.sampled_from([None, None, "asked"]),
        st.sampled_from([None, 1_420_000_000, 1_420_000_001]),
        st.none(),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda m: m.id or object(),
)
CLAIMS = st.lists(
    st.builds(
        Said,
        st.sampled_from("ab"),
        st.sampled_from([1_420_000_000, 1_420_000_001]),
        st.sampled_from([None, 0, 21]),
        st.just("K"),
        st.sampled_from([None, None, "asked"]),
        st.sampled_from([None, 1_420_000_000, 1_420_000_001]),
        st.sampled_from([None, "d1"]),
    ),
    min_size=1,
    max_size=6,
)
"""Few ids, so that several messages have the same one, also within a unit."""
WINDOWS = st.sampled_from([60, 900, 3600, 21_600, 86_400])
STEPS = st.sampled_from([None, None, publish, compacted])
"""What happens after a unit's commit."""
LAKES = st.lists(st.tuples(MESSAGES | CLAIMS, WINDOWS, STEPS), min_size=1, max_size=4)


@pytest.mark.embedded
@settings(max_examples=settings().max_examples // 4)
@given(LAKES)
def test_each_message_is_shown_and_counted_once_whatever_units_it_is_in_and_whenever_they_are_published(
    units: list[tuple[list[Said], int, Callable[[str], object] | None]],
) -> None:
    published: list[list[Row]] = []
    tail: list[Row] = []
    with tempfile.TemporaryDirectory() as root:
        for number, (messages, window, step) in enumerate(units):
            commit(root, [write(root, f"u{number}", messages, window)])
            tail += [Row(f"u{number}", n, message, window) for n, message in enumerate(messages)]
            expected = judged([*published, tail])
            assert seen(root) == expected
            if step := step or (publish if number == len(units) - 1 else None):
                step(root)
                vacuum(root, timedelta(0))
                published.append(tail)
                tail = []
                assert seen(root) == expected._replace(duplicates=[])
                assert in_tables(root) == expected.shown
        assert reconcile(root) == []


class Row(NamedTuple):
    """A message and where it is."""

    unit: str
    record: int
    said: Said
    window: int

    @property
    def place(self) -> tuple[str, int]:
        return self.unit, self.record

    @property
    def order(self) -> tuple[object, ...]:
        """Of copies that are published together the one with the smallest stays."""
        published = self.said.published
        return published is None, published or 0, self.unit, self.record

    @property
    def content(self) -> Said:
        """What makes two rows copies."""
        return self.said._replace(area=None, published=None)


class Seen(NamedTuple):
    """What readers see."""

    shown: dict[str, list[tuple[str, int]]]
    duplicates: list[tuple[str, int]]
    conflicts: list[tuple[str, int]]
    stats: Tally[tuple[object, ...]]


def judged(publications: list[list[Row]]) -> Seen:
    """What is shown and counted, and what is a copy, in plain words.

    Args:
        publications: the rows of each, in their order; the last ones may be the tail.
    """
    shown: list[Row] = []
    copies: list[Row] = []
    contents = set()
    for rows in publications:
        for row in sorted(rows, key=lambda row: row.order):
            is_copy = row.said.id is not None and row.content in contents
            (copies if is_copy else shown).append(row)
            contents.add(row.content)
    ids = Tally(row.said.id for row in shown if row.said.id)
    found = Seen({str(d): [] for d in BRANCHES}, [], [], Tally())
    for row in shown:
        m = row.said
        found.shown[str(m.dataset)].append(row.place)
        start = EPOCH + timedelta(seconds=m.second - m.second % row.window)
        found.stats[m.counted, start, row.window, m.code, part_of_day(m.second), m.area] += 1
        if m.id and ids[m.id] > 1:
            found.conflicts.append(row.place)
    if copies:  # those that earlier publications dropped are gone
        last = {row.place for row in publications[-1]}
        found.duplicates.extend(row.place for row in copies if row.place in last)
    for places in (*found.shown.values(), found.duplicates, found.conflicts):
        places.sort()
    return found


def seen(root: str) -> Seen:
    """The same as the views say."""
    with lake(root).connect() as connection:

        def places(view: str) -> list[Any]:
            return connection.sql(f"SELECT unit, record FROM {view} ORDER BY ALL").fetchall()

        key = "dataset, window_start, window_seconds, violation_code, part_of_day, area"
        stats = connection.sql(f"SELECT {key}, sum(n) AS n FROM stats GROUP BY {key}").to_arrow_table().to_pylist()
        counts = Tally({tuple(row.values())[:-1]: row["n"] for row in stats})
        assert connection.sql(f"SELECT 1 FROM stats GROUP BY unit, {key} HAVING count(*) > 1").fetchall() == []
        shown = {str(d): places(str(d)) for d in BRANCHES}
        return Seen(shown, places("duplicates"), places("conflicts"), counts)


def in_tables(root: str) -> dict[str, list[tuple[str, int]]]:
    """The same as a reader of the Delta tables sees it, who knows nothing of the ledger."""
    rows = {d: DeltaTable(f"{root}/{d}").to_pyarrow_table(columns=["unit", "record"]).to_pylist() for d in BRANCHES}
    return {str(d): sorted((row["unit"], row["record"]) for row in of) for d, of in rows.items()}


def part_of_day(second: int) -> str:
    """As the city counts it."""
    hour = datetime.fromtimestamp(second, NEW_YORK).hour
    return "morning" if 6 <= hour <= 12 else "afternoon" if 13 <= hour <= 19 else "other"


def test_the_files_are_plain_parquet_for_other_readers(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [write(root, "a", [Said("1")])])
    (path,) = lake(root).files(Dataset.QUALIFIED)
    schema = pq.ParquetFile(tmp_path / path).schema_arrow
    assert {f.name: f.type for f in schema} == {f.name: f.type for f in SCHEMAS[Dataset.QUALIFIED]}


def test_the_first_answer_counts_and_the_second_is_kept(tmp_path: Path) -> None:
    root, at = str(tmp_path), 1_420_000_000
    asked = [Said("open", at, 0), Said("coded", at, 0), Said("nothing", at, 0), Said("drone's", at, 14)]
    answers = [
        Said("late", at + 100, 38, answers="coded"),
        Said("b", at + 20, 21, answers="coded"),
        Said("a", at + 20, 14, answers="coded"),
        Said("c", at + 40, 0, answers="nothing"),
        Said("lost", at + 10, 7, answers="an alert that nobody knows"),
    ]
    commit(root, [write(root, "one", asked), write(root, "two", answers), write(root, "twice", answers[:3])])
    lk = lake(root)
    marks = lk.sql("SELECT message_id, counts_as FROM answers WHERE alert_id = 'coded' ORDER BY ALL").to_pylist()
    assert [tuple(mark.values()) for mark in marks] == [("a", "first"), ("b", "second"), ("late", "second")]
    columns = "message_id, answered, answer_id, answered_code, officer_id, seconds_to_answer"
    assert [tuple(row.values()) for row in lk.sql(f"SELECT {columns} FROM alerts ORDER BY 1").to_pylist()] == [
        ("coded", True, "a", 14, "kelly", 20.0),
        ("nothing", True, "c", 0, "kelly", 40.0),
        ("open", False, None, None, None, None),
    ]
    columns = "day::VARCHAR, violation_code, violations, needed_officer, share, open, p50_seconds, p95_seconds"
    work = lk.sql(f"SELECT {columns} FROM human_work ORDER BY violation_code NULLS LAST").to_pylist()
    assert [tuple(row.values()) for row in work] == [
        ("2014-12-30", 0, 1, 1, 1.0, 0, 40.0, 40.0),
        ("2014-12-30", 14, 2, 1, 0.5, 0, 20.0, 20.0),
        ("2014-12-30", None, 1, 1, 1.0, 1, None, None),
    ]
