"""The questions to the lake: every answer against a plain count, row by row, and the page that shows them."""

import json
import math
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from apps.simulator.command import main as simulate
from lake import lake
from lake.files import WrittenFile, in_ledger, write_unit
from lake.ledger import commit
from pipelines.analysis.command import answers, print_answers
from pipelines.analysis.graph import SAMPLES, TOP_AREAS, count
from pipelines.analysis.headlines import area_name, areas, covered, duration, percent
from pipelines.analysis.html_report import render, write_report
from pipelines.analysis.results import Answers, Area, DeadLetters, Officers, Sample, Share, Violations
from pipelines.analysis.text_report import lines
from pipelines.cli.runner import LOCAL_RUNNER
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.errors import InputUnusable, OutputUnusable
from schemas.lake import SCHEMAS, Dataset, Source

NEW_YORK = ZoneInfo("America/New_York")
OPTIONS = PipelineOptions([], runner=LOCAL_RUNNER)
REPOSITORY = Path(__file__).parents[3]
COUNTS = ("positions", "qualified", "unqualified", "dead_letters", "images", "duplicates")


class Seen(NamedTuple):
    """A violation as the truth has it."""

    at: datetime
    code: int
    area: str

    @property
    def local(self) -> datetime:
        return self.at.astimezone(NEW_YORK)


class Filled(NamedTuple):
    """A lake, what is truly in it, and what the analysis says."""

    root: str
    truth: dict[str, list[Seen]]
    refused: Counter[tuple[str, str]]
    found: Answers
    history: list[dict[str, Any]]
    """The truth of the history."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A dirty history, and two recordings of a fleet that have a third of their messages in common."""
    folder = tmp_path_factory.mktemp("analysis")
    history, recording = folder / "h.csv", folder / "m.jsonl"
    simulate(["history", "--rows", "5000", "--seed", "5", "--dirt", "20", "--output", str(history), "--quiet"])
    mishaps = ["--corrupt", "0.01", "--unqualified-share", "0.05"]
    fleet = ["--drones", "40", "--seconds", "300", "--seed", "5", "--start", "2026-03-08T06:58:00Z", *mishaps]
    simulate(["drones", *fleet, "--output", f"file:{recording}", "--quiet"])
    payloads = recording.read_bytes().splitlines(keepends=True)
    third = len(payloads) // 3
    first, second = folder / "first.jsonl", folder / "second.jsonl"
    first.write_bytes(b"".join(payloads[: 2 * third]))
    second.write_bytes(b"".join(payloads[third:]))
    root = str(folder / "lake")
    for messages in (first, second):
        run_graph(ReadOptions(str(history), str(messages)), Settings(root, 3600), OPTIONS)
    drones, unreadable = truth_of_drones(payloads, recording)
    refused = truth_of_dead_letters(history)
    parts = range(2 * third), range(third, len(payloads))
    refused["drones", ""] = sum(line in part for line in unreadable for part in parts)
    rows = pq.read_table(f"{history}.truth.parquet").to_pylist()
    return Filled(root, {"history": truth_of_history(history), "drones": drones}, refused, answers(root, OPTIONS), rows)


def truth_of_history(path: Path) -> list[Seen]:
    rows = pq.read_table(f"{path}.truth.parquet").to_pylist()
    return [
        Seen(row["event_time"], row["violation_code"], row["county"] or "")
        for row in rows
        if row["branch"] in ("qualified", "unqualified")
    ]


def truth_of_dead_letters(path: Path) -> Counter[tuple[str, str]]:
    rows = pq.read_table(f"{path}.truth.parquet").to_pylist()
    return Counter(("history", row["reason"]) for row in rows if row["branch"] == "dead_letters")


def truth_of_drones(payloads: list[bytes], path: Path) -> tuple[list[Seen], list[int]]:
    """The violations by message_id, and the lines that cannot be read."""
    seen, unreadable = {}, []
    for row in pq.read_table(f"{path}.truth.parquet").to_pylist():
        if row["branch"] == "dead_letters":
            unreadable.append(row["line"])
        elif row["branch"] != "positions":
            message = json.loads(payloads[row["line"]])
            cell = (math.floor(100 * message[name]) / 100 for name in ("latitude", "longitude"))
            area = ",".join(f"{degrees:.2f}" for degrees in cell)
            seen[row["message_id"]] = Seen(
                datetime.fromisoformat(message["event_time"]), message["violation_code"], area
            )
    return list(seen.values()), unreadable


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own as it ends its process."""
    started = [sys.executable, "-m", "prestacop", "analyze", *arguments]
    return subprocess.run(started, check=False, capture_output=True, text=True, encoding="utf-8", cwd=REPOSITORY)


def of(found: Answers, source: str) -> Violations:
    return next(v for v in found.sources if v.source == source)


def same(one: Answers, other: Answers) -> bool:
    """Whether they differ in nothing but the time."""
    return msgspec.structs.replace(one, asked_at=other.asked_at) == other


# Numbers


@pytest.mark.parametrize("source", ["history", "drones"])
def test_counts_are_those_of_a_plain_count(filled: Filled, source: str) -> None:
    truth, found = filled.truth[source], of(filled.found, source)
    assert found.total == len(truth)
    week = Counter(seen.local.weekday() * 24 + seen.local.hour for seen in truth)
    assert dict(enumerate(found.week)) == {hour: week[hour] for hour in range(168)}
    assert found.months == Counter(f"{seen.local:%Y-%m}" for seen in truth)
    assert found.codes == Counter(seen.code for seen in truth)
    assert found.unqualified == found.codes[0] > 0
    areas = Counter(seen.area for seen in truth)
    assert {area.name: area.n for area in found.areas} == {area.name: areas[area.name] for area in found.areas}
    assert sorted((area.n for area in found.areas), reverse=True) == [n for _, n in areas.most_common(TOP_AREAS)]


def test_the_drones_flew_while_the_clocks_changed(filled: Filled) -> None:
    hours = of(filled.found, "drones").hours
    assert hours[1] > 0
    assert hours[2] == 0
    assert hours[3] > 0


@pytest.mark.parametrize("source", ["history", "drones"])
def test_the_four_questions(filled: Filled, source: str) -> None:
    truth, found = filled.truth[source], of(filled.found, source)
    n = found.total
    assert n == len(truth)
    morning = sum(6 <= seen.local.hour <= 12 for seen in truth)
    afternoon = sum(13 <= seen.local.hour <= 19 for seen in truth)
    other = n - morning - afternoon
    assert found.parts_of_day == {"morning": (morning, n), "afternoon": (afternoon, n), "other": (other, n)}
    weekend = sum(seen.local.weekday() >= 5 for seen in truth)
    assert (found.working_days, found.weekends) == ((n - weekend, n), (weekend, n))
    quarters = Counter((seen.local.month + 2) // 3 for seen in truth)
    assert found.quarters == {f"Q{quarter}": (quarters[quarter], n) for quarter in (1, 2, 3, 4)}
    codes = Counter(seen.code for seen in truth if seen.code)
    assert {code: share.n for code, share in found.ranked_codes.items()} == codes
    ranked = [share.n for share in found.ranked_codes.values()]
    assert ranked == sorted(ranked, reverse=True)


def test_a_source_that_is_too_short_for_a_question_is_not_added_to_another(filled: Filled, page: str) -> None:
    drones = of(filled.found, "drones")
    assert drones.span == ("2026-03-08", "2026-03-08", 1, 0)
    assert "Q1 is the busiest" not in page
    for text in (page, "\n".join(lines(filled.found))):
        plain = text.replace("\u00a0", " ")
        for days in (2, 7, 360, 7):
            question = f"The violations of the drones span 1 day (8 Mar 2026): the question needs {days}."
            assert question in plain
            plain = plain.replace(question, "", 1)
        assert "The violations of the" not in plain, "the history is long enough"


def test_wrong_dates_are_outside_of_the_span(filled: Filled) -> None:
    local = sorted(seen.local.date() for seen in filled.truth["history"])
    span = of(filled.found, "history").span
    first, last = date.fromisoformat(span.first), date.fromisoformat(span.last)
    assert span.outside == sum(not first <= day <= last for day in local) > 0
    assert span.outside <= len(local) / 1000
    assert (span.days, last - first) == ((last - first).days + 1, timedelta(days=span.days - 1))
    assert (local[0], local[-1]) != (first, last)
    assert timedelta(days=355) < last - first < timedelta(days=366)
    year = {f"2015-{month:02}-{day:02}": 3 for month in range(1, 13) for day in range(1, 29)}
    history, week = of(filled.found, "history"), (1009,) + (0,) * 167
    made = msgspec.structs.replace(history, days={"1999-01-01": 1, **year}, week=week)
    assert made.span == ("2015-01-01", "2015-12-28", 362, 1)
    assert covered(made).replace("\u00a0", " ") == "1 Jan 2015 to 28 Dec 2015 (1 are dated outside)"


def test_the_weeks_of_codes_are_those_of_all_violations(filled: Filled) -> None:
    assert [of.source for of in filled.found.details] == [v.source for v in filled.found.sources]
    for of, v in zip(filled.found.details, filled.found.sources, strict=True):
        first = sorted(((code, n) for code, n in v.codes.items() if code), key=lambda item: (-item[1], item[0]))[:10]
        assert {code: sum(week) for code, week in of.weeks.items()} == dict(first)
        assert of.vehicles.violations + of.vehicles.without_plate == v.total


def test_streets_and_plates_of_a_dirty_history(filled: Filled) -> None:
    found = next(of for of in filled.found.details if of.source == "history")
    truth = [row for row in filled.history if row["branch"] != "dead_letters"]
    assert found.streets.given == sum(row["street"] is not None for row in truth)
    assert found.streets.spellings == len({row["street"] for row in truth} - {None})
    assert found.vehicles.without_plate == sum(row["plate_id"] is None for row in truth)


def test_a_message_in_two_recordings_counts_once(filled: Filled) -> None:
    ledger = lake(filled.root).as_committed
    stored = sum(n for name in ("qualified", "unqualified") for n in ledger[name].to_pylist())
    assert stored > filled.found.total, "the lake holds some messages twice"
    assert of(filled.found, "drones").total == len(filled.truth["drones"])


@pytest.mark.embedded
def test_many_workers_find_the_same(filled: Filled) -> None:
    options = PipelineOptions([], runner=LOCAL_RUNNER, direct_running_mode="multi_threading", direct_num_workers=4)
    for _ in range(2):
        assert same(answers(filled.root, options), filled.found)


def test_dead_letters_by_reason(filled: Filled) -> None:
    found = {(letters.source, letters.reason): letters for letters in filled.found.dead_letters}
    history = {key: letters.n for key, letters in found.items() if key[0] == "history"}
    assert history == {key: n for key, n in filled.refused.items() if key[0] == "history"}
    assert sum(letters.n for key, letters in found.items() if key[0] == "drones") == filled.refused["drones", ""]
    for letters in found.values():
        assert len(letters.samples) == min(letters.n, SAMPLES)
        assert list(letters.samples) == sorted(letters.samples)
        assert all(sample.payload.isprintable() for sample in letters.samples)


def test_the_ledgers_totals(filled: Filled) -> None:
    ledger = lake(filled.root).as_committed.to_pylist()
    assert [units.source for units in filled.found.units] == ["drones", "history"]
    for units in filled.found.units:
        rows = [row for row in ledger if row["source"] == units.source]
        assert units.units == len(rows)
        for name in ("rows_in", *COUNTS):
            assert getattr(units, name) == sum(row[name] for row in rows)


@pytest.mark.embedded
def test_the_answers_are_written_for_other_programs(filled: Filled, tmp_path: Path) -> None:
    found = answers(filled.root, OPTIONS, str(tmp_path))
    assert msgspec.json.decode((tmp_path / "answers.json").read_bytes(), type=Answers) == found
    assert not Path(filled.root, "analysis").exists()


@pytest.mark.embedded
def test_a_place_that_the_workers_cannot_reach_is_reported(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.analysis.graph._WriteAnswers.process", lambda *_: None)
    with pytest.raises(OutputUnusable, match="--answers"):
        answers(filled.root, OPTIONS)


@pytest.mark.parametrize("start", ["1900-01-01", "2015-03-08", "2015-11-01", "2024-02-29", "2031-07-01"])
def test_hours_of_new_york(start: str) -> None:
    times = [datetime.fromisoformat(start).replace(tzinfo=UTC) + timedelta(minutes=17 * step) for step in range(170)]
    rows = pa.record_batch(
        {
            "event_time": pa.array(times, pa.timestamp("us", "UTC")),
            "violation_code": pa.array([21] * len(times), pa.int16()),
            "area": pa.nulls(len(times), pa.string()).dictionary_encode(),
        }
    )
    numbers = count(Dataset.QUALIFIED, Source.HISTORY, rows)
    local = [time.astimezone(NEW_YORK) for time in times]
    week = Counter(str(time.weekday() * 24 + time.hour) for time in local)
    assert {key[2]: n for key, n in numbers.items() if key[0] == "week"} == week
    assert {key[2]: n for key, n in numbers.items() if key[0] == "month"} == Counter(f"{t:%Y-%m}" for t in local)
    assert {key[2]: n for key, n in numbers.items() if key[0] == "day"} == Counter(f"{t:%Y-%m-%d}" for t in local)


# Officers


NOON = datetime(2026, 1, 15, 17, tzinfo=UTC)
"""In New York."""


class Recorder:
    """Fills a lake by hand."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)

    def unit(self, name: str, *rows: dict[str, Any]) -> None:
        """Commit a unit of these violations, and the dead letters among them."""
        by_dataset: dict[Dataset, list[dict[str, Any]]] = defaultdict(list)
        for record, row in enumerate(rows):
            code = row.get("violation_code")
            qualified = Dataset.QUALIFIED if code or row.get("answers") else Dataset.UNQUALIFIED
            dataset = Dataset.DEAD_LETTERS if code is None else qualified
            by_dataset[dataset].append({"unit": name, "record": record, **row})
        files: list[WrittenFile] = []
        for dataset, some in by_dataset.items():
            batch = pa.RecordBatch.from_pylist(some, schema=SCHEMAS[dataset])
            files += write_unit(self.root, dataset, Source.DRONES, name, [batch])
        counts = {dataset: len(by_dataset[Dataset(dataset)]) if dataset != "duplicates" else 0 for dataset in COUNTS}
        numbers = {"range_start": 0, "range_end": 0, "rows_in": len(rows), "counted": len(rows), **counts}
        commit(self.root, [{"unit": name, "source": "drones", "path": "m.jsonl", **numbers, **in_ledger(files)}])


def violation(message_id: str, code: int, at: datetime = NOON, answers: str | None = None) -> dict[str, Any]:
    status = "officer" if answers else "raw"
    return {
        "message_id": message_id, "violation_code": code, "event_time": at, "area": "40.75,-73.99", "status": status,
        "answers": answers,
    }  # fmt: skip


def after(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.mark.embedded
def test_officers_answers(tmp_path: Path) -> None:
    lake = Recorder(tmp_path)
    lake.unit("a", violation("asked-1", 0), violation("asked-2", 0), violation("asked-3", 0), violation("raw", 21))
    lake.unit("b", violation("late", 38, after(7200), "asked-1"), violation("first", 14, after(60), "asked-1"))
    lake.unit("c", violation("other", 14, after(120), "asked-2"), violation("to-nothing", 21, after(5), "elsewhere"))
    # An answer and a question once more, in another recording.
    again = violation("other", 14, after(120), "asked-2"), violation("asked-2", 0)
    lake.unit("d", *again, violation("no-code", 0, after(9), "asked-3"))
    found = answers(lake.root, OPTIONS)
    drones = of(found, "drones")
    assert drones.total == 4, "an answer is no violation, and a message that stands twice is one"
    assert drones.unqualified == 3
    assert drones.answers == 5
    assert drones.codes == {0: 1, 14: 2, 21: 1}
    assert found.officers.p95_seconds == pytest.approx(114)
    officers = msgspec.structs.replace(found.officers, p95_seconds=114.0)
    assert officers == Officers(3, 60.0, 114.0, (2, 1, 0, 0, 0, 0, 0), {0: 1, 14: 2}, 1)
    assert found.officers_by_code == {14: Share(2, 2)}
    assert {code: sum(week) for code, week in found.details[0].weeks.items()} == {14: 2, 21: 1}
    assert found.officers_by_day == {"2026-01-15": Share(3, 4)}
    assert found.needing_officer == {"drones": Share(3, 4)}
    printed = "\n".join(lines(found)).replace("\u00a0", " ")
    assert "Officers answered 3 of 3 (100.0 %): half within 1 min, 95 % within 1 min 54 s." in printed
    assert "Still open: 0; no violation: 1; second answers, kept and not counted: 1." in printed
    assert "without a code on 2026-01-15" in printed
    page = render(found)
    assert 'aria-label="Answered violations by time to the answer"' in page
    assert "<desc>1\u00a0min 2, 5\u00a0min 1" in page
    assert '<tr><th scope="row">2026-01-15</th><td>3</td><td>4</td><td>75.0\u00a0%</td></tr>' in page


def test_no_answer_yet(tmp_path: Path) -> None:
    lake = Recorder(tmp_path)
    lake.unit("a", violation("asked", 0), violation("raw", 21))
    found = answers(lake.root, OPTIONS)
    assert found.officers == Officers()
    assert "  No officer has answered yet: all 1 violations without a code wait." in lines(found)


# Lakes with little in them


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_lake_without_a_unit(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    root = tmp_path / name
    with pytest.raises(InputUnusable, match=r"no lake at .* \(the ledger is empty\); fill it first: prestacop run"):
        answers(str(root), OPTIONS)


@pytest.mark.embedded
def test_the_command_reports_that_there_is_no_lake(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    ended = command("--lake", str(tmp_path / "missing"), "--report", str(report))
    assert ended.returncode == InputUnusable.exit_code
    assert "fill it first" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not report.exists()


def test_a_lake_without_a_violation(tmp_path: Path) -> None:
    lake = Recorder(tmp_path)
    hostile = b"\x1b[2J</code><script>alert(1)</script>\xff\x00"
    lake.unit("a", {"reason": "not_json", "detail": "<b>", "payload": hostile, "path": "<m>.jsonl", "offset": 12})
    found = answers(lake.root, OPTIONS)
    assert (found.total, found.sources) == (0, ())
    page = render(found)
    assert "<script" not in page
    assert "<b>" not in page
    assert "\\x1b[2J&lt;/code&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\xff\\x00" in page
    assert "None of" not in page
    assert "0 violations" in "\n".join(lines(found))


# The page


class Page(HTMLParser):
    """What a reader of the page comes upon, and whether its tags are closed."""

    VOID = ("meta", "br", "img", "link", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []
        self.labels: list[list[str]] = []
        self.descriptions: list[str] = []
        self.tables_of_figures: list[int] = []
        self.used: set[str] = set()
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.used |= {tag, *given}
        if tag == "section":
            self.labels.append([])
            self.titles.append("")
        if tag == "svg":
            assert given["role"] == "img"
            self.labels[-1].append(given["aria-label"] or "")
        if tag != "svg" and "svg" in self.open:
            assert "role" not in given, "a part of a drawing with a role and no name"
        if tag == "figure":
            self.tables_of_figures.append(0)
        if tag == "table" and "details" in self.open and "figure" in self.open:
            self.tables_of_figures[-1] += 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.used |= {tag, *dict(attrs)}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self.titles[-1] = data
        if self.open[-2:] == ["svg", "desc"]:
            self.descriptions.append(data)


@pytest.fixture(scope="module")
def page(filled: Filled) -> str:
    return render(filled.found)


def test_the_page_needs_nothing_else(page: str) -> None:
    plain = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r"(?:https?:)?//[a-z]", plain)
    assert not re.search(r"url\((?!#)|@import|javascript:", plain)
    assert not {"link", "img", "iframe", "src", "onclick", "onload", "xmlns"} & Page(page).used
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" in page


def test_a_chart_for_each_question(page: str) -> None:
    read = Page(page)
    *questions, lake, explore = read.titles
    assert lake.endswith("rows were refused")
    assert explore == "Filter the violations"
    assert len(list(filter(None, questions))) == 13
    for title, labels in zip(questions, read.labels, strict=False):
        assert bool(labels) == bool(title), "a section without a chart, or a chart of a source that is too short"
        assert all(labels)
    assert len(read.descriptions) == sum(map(len, read.labels))
    assert all(read.tables_of_figures)


def test_the_page_is_for_the_city_not_for_operators(page: str) -> None:
    texts = re.sub(r"<(style|script)\b.*?</\1>|<details>.*?</details>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert not re.search(r"--[a-z]|prestacop [a-z]", texts)


def test_one_table_of_reasons(filled: Filled, page: str) -> None:
    assert page.count('<th scope="col">reason</th>') == 1
    for reason in {letters.reason for letters in filled.found.dead_letters}:
        assert page.count(f'<th scope="row">{reason.replace("_", " ")}</th>') == 1


def test_headings_say_what_was_found(filled: Filled, page: str) -> None:
    share = max(of(filled.found, "history").parts_of_day.values())
    assert Page(page).titles[0].startswith(f"{share.percent:.0f}\u00a0% of violations happen in the ")
    assert f"{filled.found.total:,} parking violations" in page


def test_both_sizes_and_both_schemes(page: str) -> None:
    assert page.count('<svg class="wide"') == page.count('<svg class="narrow"') >= 7
    assert "prefers-color-scheme: dark" in page
    colors = set(re.findall(r'(?:fill|stroke)="(#[^"]+|white|black)"', page))
    assert colors == set(), "colours that do not follow the scheme"


def test_a_hostile_text_is_escaped(filled: Filled) -> None:
    sample = Sample("u", 0, '<script>"&', "<i>", "<path>", 0)
    history = msgspec.structs.replace(of(filled.found, "history"), areas=(Area("<county>", 100), Area("'\"", 50)))
    found = msgspec.structs.replace(
        filled.found, lake="<lake>", sources=(history,), dead_letters=(DeadLetters("drones", "<reason>", 1, (sample,)),)
    )
    page = render(found)
    Page(page)
    assert page.count("<script") == 2, "the data and the script of the interactive part"
    for text in ("<i>", "<path>", "<reason>", "<lake>", "<county>"):
        assert text not in page
    assert "&lt;script&gt;&#34;&amp;" in page
    assert "&lt;county&gt; 100, &#39;&#34; 50" in page


def test_the_page_is_written_whole_or_not(filled: Filled, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    found = msgspec.structs.replace(filled.found, sources=())
    write_report(found, path)
    assert path.read_text(encoding="utf-8") == render(found)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(OutputUnusable, match="choose another place"):
        write_report(found, path / "below-a-file.html")
    with pytest.raises(OutputUnusable, match="choose another place"):
        write_report(found, path.parent)
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


# Text


@pytest.mark.embedded
def test_the_command_prints_the_answers_and_writes_the_page(
    filled: Filled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    ended = command("--lake", filled.root, "--report", str(path), "--quiet")
    assert ended.returncode == 0, ended.stderr
    printed = ended.stdout
    print_answers(filled.found)
    assert printed == capsys.readouterr().out + f"\nreport  {path}\n"
    assert path.exists()
    working = of(filled.found, "history").working_days.n
    assert re.search(rf"working days +{working:,} .* {working / 5:,.1f} a day\n", printed)
    code, share = next(iter(of(filled.found, "history").ranked_codes.items()))
    assert re.search(rf" {code} · .* {share.n:,} +{percent(share)}", printed)


def _shares() -> Iterator[tuple[Share, str]]:
    yield Share(0, 0), "0.0 %"
    yield Share(1, 3), "33.3 %"
    yield Share(61, 199_937), "0.031 %"
    yield Share(1, 10**9), "<0.0001 %"


@pytest.mark.parametrize(("share", "text"), list(_shares()))
def test_percent(share: Share, text: str) -> None:
    assert percent(share).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (200, "3 min 20 s"), (-5, "-5 s"), (7320, "2 h 2 min"), (90_000, "1 d 1 h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("source", "area", "name"),
    [("history", "K", "Brooklyn"), ("history", "", "not given"), ("history", "ZZ", "ZZ"),
     ("drones", "40.75,-73.99", "Midtown, Manhattan")],
)  # fmt: skip
def test_area_name(source: str, area: str, name: str) -> None:
    assert area_name(source, area) == name


def test_cells_of_one_name_are_told_apart(filled: Filled) -> None:
    cells = tuple(Area(name, 1) for name in ("40.75,-73.99", "40.75,-73.98", "40.80,-73.95"))
    found = areas(msgspec.structs.replace(of(filled.found, "drones"), areas=cells))
    assert [name for name, _ in found] == [
        "Midtown, Manhattan (40.75, -73.99)", "Midtown, Manhattan (40.75, -73.98)", "Harlem, Manhattan",
    ]  # fmt: skip
