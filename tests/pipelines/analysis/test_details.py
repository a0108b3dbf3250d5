"""Questions 6 to 10 against counts in polars over the CSV file and the simulator's truth."""

import gzip
import random
import statistics
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import boto3
import numpy as np
import polars as pl
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from apps.simulator.command import main as simulate
from lake import lake
from lake.views import Parts
from pipelines.analysis.details import MOST_PLACES, STEPS, TOP_GROUPS, TOP_STREETS, details, masked, unusual
from pipelines.analysis.results import GAP_DAYS, HOURS, OTHER, UNUSUAL_FROM, Details, Groups
from pipelines.cli.runner import LOCAL_RUNNER
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.lake import Dataset, Source

ROWS = 4000
SPELLINGS = {
    "BROADWAY": ("BROADWAY", "Broadway", "Broadway Ave", "BROADWAY  "),
    "W 42 ST": ("W 42 ST", "West 42nd Street", "WEST 42 ST."),
    "PARK AVE S": ("Park Ave South", "PARK AVENUE S"),
}


class Filled(NamedTuple):
    """The rows of the file with their local times, and what the analysis says."""

    rows: pl.DataFrame
    found: Details
    shown: Details
    root: str
    parts: dict[Dataset, Parts]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A year of clean tickets, in which some streets are spelled in many ways, vehicles come again, and precinct 17 is
    busy in March."""
    folder = tmp_path_factory.mktemp("details")
    path, changed, rng = folder / "h.csv", folder / "changed.csv", random.Random(3)
    simulate(["history", "--rows", str(ROWS), "--seed", "4", "--dirt", "0", "--output", str(path), "--quiet"])
    rows = pl.read_csv(path, infer_schema=False)
    truth = pl.read_parquet(f"{path}.truth.parquet")
    local = truth["event_time"].dt.convert_time_zone("America/New_York")
    streets, names = rows["Street Name"].to_list(), rows["Street Name"].str.to_uppercase().to_list()
    precincts = rows["Violation Precinct"].to_list()
    for at in range(ROWS):
        if at % 4 == 0:
            names[at] = rng.choice(list(SPELLINGS))
            streets[at] = rng.choice(SPELLINGS[names[at]])
        if at % 3 == 0 and local[at].month == 3:
            precincts[at] = "17"
    plates = [f"AB{min(int(rng.paretovariate(0.7)), 900):03}C" for _ in range(ROWS)]
    rows = rows.with_columns(
        pl.Series("Street Name", streets), pl.Series("Violation Precinct", precincts), pl.Series("Plate ID", plates)
    )
    rows.write_csv(changed)
    root = str(folder / "lake")
    run_graph(ReadOptions(str(changed), None), Settings(root, 3600), PipelineOptions([], runner=LOCAL_RUNNER))
    lk = lake(root)
    parts = {dataset: lk.parts(dataset).of(Source.HISTORY) for dataset in Dataset}
    rows = rows.with_columns(
        pl.Series("name", names), pl.Series("code", truth["violation_code"]), pl.Series("utc", truth["event_time"]),
        hour=local.dt.hour(), month=local.dt.strftime("%Y-%m"), day=local.dt.date(),
        week=(local.dt.weekday().cast(pl.Int32) - 1) * 24 + local.dt.hour(),
    )  # fmt: skip
    return Filled(rows, details(root, "history", parts), details(root, "history", parts, show_plates=True), root, parts)


def test_streets_with_their_hours_and_months(filled: Filled) -> None:
    found = filled.found.streets
    counted = filled.rows.group_by("name", pl.col("Violation County").fill_null("")).len()
    ranked = sorted(counted.rows(), key=lambda row: (-row[2], row[0], row[1] or "~"))[:TOP_STREETS]
    assert [(street.name, street.county, street.n) for street in found.top] == ranked
    assert {name for name, *_ in ranked[:6]} <= set(SPELLINGS)
    for street in found.top:
        rows = filled.rows.filter(name=street.name).filter(pl.col("Violation County").fill_null("") == street.county)
        assert dict(enumerate(street.hours)) == {hour: (rows["hour"] == hour).sum() for hour in range(24)}
        assert street.months == Counter(rows["month"])


def test_what_was_folded_is_counted_by_rule(filled: Filled) -> None:
    found = filled.found.streets
    # The graph takes blanks off both ends of a text, as a repair that it names.
    spelled = filled.rows.select(pl.col("Street Name").str.strip_chars(), "name")
    assert (found.given, found.spellings, found.names) == (
        ROWS, spelled["Street Name"].n_unique(), spelled["name"].n_unique()
    )  # fmt: skip
    by_rule = {rule.rule: rule for rule in found.rules}
    lower = spelled.filter(pl.col("Street Name").str.to_uppercase() != pl.col("Street Name"))
    assert (by_rule["case"].spellings, by_rule["case"].violations) == (lower["Street Name"].n_unique(), len(lower))
    superfluous = spelled.filter(pl.col("Street Name") == "Broadway Ave")
    assert by_rule["superfluous suffix"].violations == len(superfluous)
    assert by_rule["superfluous suffix"].example == "Broadway Ave"
    assert by_rule["superfluous suffix"].street == "BROADWAY"
    assert by_rule["punctuation"].violations == (spelled["Street Name"] == "WEST 42 ST.").sum()
    assert by_rule["ordinal"].violations == (spelled["Street Name"] == "West 42nd Street").sum()


def test_precincts_with_their_hours_and_months(filled: Filled) -> None:
    counted = Counter(filled.rows["Violation Precinct"])
    assert {group.name: group.n for group in filled.found.precincts} == counted
    assert [group.n for group in filled.found.precincts] == sorted(counted.values(), reverse=True)
    for group in filled.found.precincts:
        rows = filled.rows.filter(pl.col("Violation Precinct") == group.name)
        assert sum(group.hours) == group.n
        assert group.hours[10] == (rows["hour"] == 10).sum()
        assert group.months == Counter(rows["month"])


def test_vehicles_that_come_again(filled: Filled) -> None:
    found, keys = filled.found.vehicles, ["Registration State", "Plate ID"]
    counted = filled.rows.group_by(keys).agg(
        pl.len(), days=(pl.col("utc").max() - pl.col("utc").min()) / pl.duration(days=1)
    )
    assert found.tickets == Counter(counted["len"])
    assert (found.vehicles, found.violations, found.without_plate) == (len(counted), ROWS, 0)
    most = counted.sort("len", descending=True)["len"].to_list()
    top = -(-len(most) // 100)
    assert found.of_top(1) == (sum(most[:top]), ROWS)
    assert found.repeaters == (sum(n > 1 for n in most), len(most))
    gaps = filled.rows.sort("utc").select(pl.col("utc").diff().over(keys).dt.total_hours())["utc"].drop_nulls()
    ends = [0, *(24 * days for days in GAP_DAYS), 10**9]
    assert found.again == tuple(((gaps >= a) & (gaps < b)).sum() for a, b in pairwise(ends))
    assert found.p50_gap_days == pytest.approx(sorted(gaps)[(len(gaps) - 1) // 2] / 24)
    ranked = counted.sort(["len", *keys], descending=[True, False, False]).head(10)
    assert [(v.state, v.plate, v.n) for v in filled.shown.vehicles.top] == ranked.select(*keys, "len").rows()
    assert [v.days for v in filled.shown.vehicles.top] == pytest.approx(ranked["days"].to_list())


def test_vehicles_are_counted_in_parts(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.analysis.details.PASS_ROWS", ROWS // 3)
    done: list[float] = []
    found = details(filled.root, "history", filled.parts, show_plates=True, advance=done.append)
    assert found == filled.shown
    steps = STEPS + 4
    assert done == pytest.approx([step / steps for step in range(1, steps + 1)])


def test_temporary_files_may_be_in_a_folder_with_a_quote(
    filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "it's").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "it's"))
    monkeypatch.setattr("pipelines.analysis.details.PASS_ROWS", ROWS // 3)
    assert details(filled.root, "history", filled.parts) == filled.found


@pytest.mark.embedded
def test_a_lake_in_a_bucket(filled: Filled, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("s3")
    for path in Path(filled.root).rglob("*.*"):
        client.upload_file(str(path), s3.removeprefix("s3://"), f"some/{path.relative_to(filled.root)}")
    root = f"{s3}/some"
    parts = {dataset: lake(root).parts(dataset).of(Source.HISTORY) for dataset in Dataset}
    monkeypatch.setattr("pipelines.analysis.details.PASS_ROWS", ROWS // 3)
    assert details(root, "history", parts) == filled.found


def test_the_cube_has_all_violations(filled: Filled) -> None:
    cube = filled.found.cube
    numbers = np.frombuffer(gzip.decompress(cube.counts), "u1").reshape(4, -1)
    counts = (numbers.astype("u8") << np.array([[0], [8], [16], [24]], "u8")).sum(axis=0)
    counts = counts.reshape(len(cube.places), len(cube.codes), len(cube.months), HOURS)
    assert counts.sum() == ROWS
    months = Counter(filled.rows["month"])
    assert dict(zip(cube.months, counts.sum(axis=(0, 1, 3)).tolist(), strict=True)) == {**months, OTHER: 0}
    places = Counter(filled.rows.select(pl.col("Violation County").fill_null(""), "Violation Precinct").rows())
    first = sorted(places.values(), reverse=True)[:MOST_PLACES]
    *listed, rest = counts.sum(axis=(1, 2, 3)).tolist()
    assert {place: places[place] for place in cube.places[:-1]} == dict(zip(cube.places, listed, strict=False))
    assert (listed, rest) == (first, ROWS - sum(first))


def test_a_small_cube_is_folded(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOST_PLACES", "MOST_CODES", "MOST_MONTHS"):
        monkeypatch.setattr(f"pipelines.analysis.details.{name}", 2)
    cube = details(filled.root, "history", filled.parts).cube
    assert (len(cube.places), len(cube.codes)) == (3, 3)
    assert cube.months == (*sorted({month[:4] for month in filled.rows["month"]}), OTHER)
    numbers = np.frombuffer(gzip.decompress(cube.counts), "u1").reshape(4, -1)
    assert numbers.shape[1] == 3 * 3 * len(cube.months) * HOURS
    assert (numbers[0].astype(int) + 256 * numbers[1].astype(int)).sum() == ROWS


def test_plates_are_masked(filled: Filled) -> None:
    assert [v.plate for v in filled.found.vehicles.top] == [f"••••{v.plate[-2:]}" for v in filled.shown.vehicles.top]
    assert masked("AB1") == "•••"


@pytest.mark.parametrize(
    ("what", "column"), [("states", "Registration State"), ("makes", "Vehicle Make"), ("agencies", "Issuing Agency")]
)
def test_states_makes_and_agencies(filled: Filled, what: str, column: str) -> None:
    found: Groups = getattr(filled.found, what)
    counted = Counter(filled.rows[column].drop_nulls())
    assert (found.given, found.distinct) == (counted.total(), len(counted))
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:TOP_GROUPS]
    assert [(group.name, group.n) for group in found.top] == ranked


def test_the_week_of_each_of_the_first_codes(filled: Filled) -> None:
    first = sorted(Counter(filled.rows["code"]).items(), key=lambda item: (-item[1], item[0]))[:10]
    assert list(filled.found.weeks) == [code for code, _ in first]
    for code, week in filled.found.weeks.items():
        hours = Counter(filled.rows.filter(code=code)["week"])
        assert week == tuple(hours[hour] for hour in range(168))


def test_the_busy_month_of_a_precinct_is_unusual(filled: Filled) -> None:
    found = filled.found.unusual
    first = found.months[0]
    assert (first.precinct, first.month, first.past) == ("17", "2015-03", 8)
    months = filled.rows.group_by("month").agg(
        pl.len(), n=(pl.col("Violation Precinct") == "17").sum(), share=(pl.col("Violation Precinct") == "17").mean()
    ).sort("month")  # fmt: skip
    past = months.filter(pl.col("month") < "2015-03")["share"]
    in_march = months.row(by_predicate=pl.col("month") == "2015-03", named=True)
    middle = statistics.median(past)
    expected = middle * in_march["len"]
    spread = 1.4826 * statistics.median(abs(past - middle)) * in_march["len"]
    assert first.n == in_march["n"]
    assert first.expected == pytest.approx(expected)
    assert first.score == pytest.approx((first.n - expected) / max(spread, expected**0.5, 1))
    assert found.compared == 6 * (1 + len(filled.found.precincts))
    assert found.found == len(found.months) < 12
    assert all(abs(month.score) >= UNUSUAL_FROM for month in found.months)


def test_a_month_is_compared_by_the_days_it_has() -> None:
    full = {f"2025-{month:02}-{day:02}": 100 + day % 3 for month in range(1, 8) for day in range(1, 29)}
    half = {day: n for day, n in full.items() if not (day.startswith("2025-07") and day > "2025-07-14")}
    found = unusual(half, {})
    assert (found.compared, found.found) == (1, 0)
    assert found.most is not None
    assert abs(found.most.score) < 1
    wrong = {**half, "1999-01-01": 3, "2031-07-01": 2}
    assert unusual(wrong, {}).left_out == 5
    assert unusual(wrong, {}).covered == found.covered


def test_a_series_without_a_past_is_not_compared() -> None:
    assert unusual({"2025-01-01": 5}, {"1": {"2025-01": 5}}).compared == 0
    assert unusual({}, {}) == unusual({}, {"1": {}})
