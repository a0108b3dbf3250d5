"""The analysis as a graph: files in, one small object out.

files of violations ──► Reshuffle ─► Count ─┬─► Sum ─┬─► few numbers ──────┐
all drones' units ────► Across units ───────┘        └─► areas ─► the most ┤
                         └─► officers ─────────────────────────────────────┼─► Together ─► Write: answers.json
each source's files ──► Reshuffle ─► Details ──────────────────────────────┤
files of dead letters ► Reshuffle ─► Read ────► Sum by reason ─────────────┤
ledger's totals ───────────────────────────────────────────────────────────┘

An element is a file, and of each file a few columns are read, batch by batch; only counts travel on. Streets and
vehicles are too many to travel: for them an element is all files of a source (:mod:`pipelines.analysis.details`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake import Lake
from lake.reader import LakeFile
from lake.storage import storage
from lake.views import Parts
from pipelines.analysis.cross_unit import VIOLATIONS, units_together
from pipelines.analysis.details import details
from pipelines.analysis.results import (
    HOURS,
    WEEKDAYS,
    Answers,
    Area,
    DeadLetters,
    Details,
    Officers,
    Sample,
    Units,
    Violations,
)
from pipelines.violations.summary import visible
from schemas.history import TIME_ZONE
from schemas.lake import MICROSECONDS, Dataset, Source, value_counts
from sources.progress import progress
from transforms.stats import HOUR

RESULT = "answers.json"
"""The file name of the answers."""

WEEK, MONTH, CODE, AREA, KIND = "week", "month", "code", "area", "kind"
DAY, UNQUALIFIED_DAY = "day", "unqualified day"
"""What is counted: violations by hour of the week, month (YYYY-MM), day (YYYY-MM-DD), code and area; rows by kind."""
UNQUALIFIED_ROWS, ANSWERS, CONFLICTS = "unqualified", "answers", "conflicts"
COUNTS, AREAS, OFFICERS, DETAILS, LEDGER, LETTERS = "counts", "areas", "officers", "details", "ledger", "letters"

DRONES = str(Source.DRONES)
TOP_AREAS = 12
SAMPLES = 3
BATCH_ROWS = 1 << 20
LETTERS_AT_ONCE = 256
"""Rows per batch: a payload can be megabytes long."""

Key = tuple[str, str, str]
"""What is counted, the source, and the value."""
LettersKey = tuple[str, str]
"""The source and the reason."""
Letters = tuple[int, tuple[Sample, ...]]
"""Their number, and the first of them."""


def count(dataset: str, source: str, rows: pa.RecordBatch) -> Counter[Key]:
    """Count rows of qualified or unqualified violations.

    Args:
        rows: columns event_time, violation_code, area and, of drones, status.
    """
    numbers: Counter[Key] = Counter()
    if "status" in rows.schema.names:
        officer = pc.equal(rows["status"].cast(pa.string()), "officer").fill_null(False)
        rows, answers = rows.filter(pc.invert(officer)), pc.sum(officer).as_py() or 0
        numbers[KIND, source, ANSWERS] = answers
    if dataset == Dataset.UNQUALIFIED:
        numbers[KIND, source, UNQUALIFIED_ROWS] = rows.num_rows
    # New York's clock differs from UTC by whole hours, so that only the few distinct hours need its rules.
    hours = pa.array(rows["event_time"].cast(pa.int64()).to_numpy() // (HOUR * MICROSECONDS))
    seen = hours.value_counts()
    for week, day, n in zip(*_local(seen.field("values")), seen.field("counts").to_pylist(), strict=True):
        numbers[WEEK, source, week] += n
        numbers[MONTH, source, day[: len("YYYY-MM")]] += n
        numbers[DAY, source, day] += n
        if source == DRONES:
            numbers[UNQUALIFIED_DAY, source, day] += n if dataset == Dataset.UNQUALIFIED else 0
    numbers.update({(CODE, source, str(code)): n for code, n in value_counts(rows["violation_code"]).items()})
    numbers.update({(AREA, source, area or ""): n for area, n in value_counts(rows["area"]).items()})
    return numbers


def _local(hours: pa.Array) -> tuple[list[str], list[str]]:
    """Hours since the epoch, UTC, as hours of New York's week and as its days."""
    utc = pa.array(hours.to_numpy() * HOUR * MICROSECONDS, pa.timestamp("us", TIME_ZONE))
    local = pc.local_timestamp(utc)
    week = pc.day_of_week(local).to_numpy() * HOURS + pc.hour(local).to_numpy()
    days = local.to_numpy().astype("datetime64[D]")
    return week.astype(str).tolist(), np.datetime_as_string(days).tolist()


# The types choose the coders, and a key needs one encoding: a StrEnum equals its text in Python but not when pickled,
# and would be grouped apart.
@beam.typehints.with_output_types(tuple[Key, int])
class _CountFile(beam.DoFn):  # type: ignore[misc]
    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, file: LakeFile) -> Iterator[tuple[Key, int]]:
        columns = ["event_time", "violation_code", "area", *(["status"] if file.source == Source.DRONES else [])]
        found: Counter[Key] = Counter()
        for rows in _batches(self._root, file, columns, BATCH_ROWS):
            found.update(count(file.dataset, file.source, rows))
        progress.advance(file.bytes)
        yield from found.items()


@beam.typehints.with_output_types(tuple[Key, int])
class _CountAcrossUnits(beam.DoFn):  # type: ignore[misc]
    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, parts: dict[Dataset, Parts]) -> Iterator[Any]:
        found: Counter[Key] = Counter()
        with units_together(self._root, parts) as together:
            for dataset in VIOLATIONS:
                for rows in together.repeated(dataset):
                    found.subtract(count(dataset, DRONES, rows))
            across = together.answers()
            found[KIND, DRONES, CONFLICTS] = together.conflicts()
        found.update({(CODE, DRONES, str(code)): n for code, n in across.codes.items()})
        yield beam.pvalue.TaggedOutput(OFFICERS, across.officers)
        yield from found.items()


@beam.typehints.with_output_types(tuple[LettersKey, Letters])
class _ReadLetters(beam.DoFn):  # type: ignore[misc]
    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, file: LakeFile) -> Iterator[tuple[LettersKey, Letters]]:
        found: dict[str, Letters] = {}
        columns = ["unit", "record", "reason", "detail", "payload", "path", "offset"]
        for rows in _batches(self._root, file, columns, LETTERS_AT_ONCE):
            for reason, n in value_counts(rows["reason"]).items():
                place = pc.indices_nonzero(pc.equal(rows["reason"].cast(pa.string()), reason))
                first = rows.take(place).sort_by("record").slice(0, SAMPLES).to_pylist()
                found[reason] = join_letters([found.get(reason, (0, ())), (n, tuple(map(_sample, first)))])
        progress.advance(file.bytes)
        yield from (((file.source, reason), letters) for reason, letters in found.items())


def join_letters(parts: Iterable[Letters]) -> Letters:
    """The sum of the counts, and the first samples of all."""
    parts = list(parts)
    return sum(n for n, _ in parts), tuple(sorted(s for _, samples in parts for s in samples)[:SAMPLES])


def _sample(letter: dict[str, Any]) -> Sample:
    detail = visible((letter["detail"] or "").encode())
    path = visible(letter["path"].encode())
    return Sample(letter["unit"], letter["record"], visible(letter["payload"]), detail, path, letter["offset"])


def _batches(root: str, file: LakeFile, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
    store = storage(root)
    with store.filesystem.open_input_file(store.full(file.path)) as opened:
        yield from pq.ParquetFile(opened, pre_buffer=True).iter_batches(size, columns=columns)


class _Details(beam.DoFn):  # type: ignore[misc]
    def __init__(self, root: str, show_plates: bool) -> None:
        self._root = root
        self._show_plates = show_plates

    def process(self, element: tuple[str, dict[Dataset, Parts], int]) -> Iterator[Details]:
        source, parts, size = element
        shown = 0

        def advance(done: float) -> None:
            nonlocal shown
            progress.advance(int(size * done) - shown)
            shown = int(size * done)

        yield details(self._root, source, parts, self._show_plates, advance)


class _WriteAnswers(beam.DoFn):  # type: ignore[misc]
    def __init__(self, root: str, place: str) -> None:
        self._root = root
        self._place = place

    def process(self, element: tuple[None, Iterable[tuple[str, Any]]]) -> None:
        answers = together(self._root, element[1])
        storage(self._place).put(RESULT, msgspec.json.encode(answers))


def together(root: str, parts: Iterable[tuple[str, Any]]) -> Answers:
    """Combine the results of the graph's branches, each named by its branch, into the answers."""
    found: dict[str, list[Any]] = {branch: [] for branch in (COUNTS, AREAS, OFFICERS, DETAILS, LEDGER, LETTERS)}
    for branch, part in parts:
        found[branch].append(part)
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for (what, source, which), n in found[COUNTS]:
        if n:
            counts.setdefault(source, {}).setdefault(what, {})[which] = n
    areas = {source: tuple(Area(name, n) for n, name in top if n) for source, top in found[AREAS]}
    letters = [DeadLetters(source, reason, n, samples) for (source, reason), (n, samples) in found[LETTERS]]
    asked_at, units = found[LEDGER][0]
    sources = [_violations(name, of, areas.get(name, ())) for name, of in counts.items() if WEEK in of]
    sources.sort(key=lambda v: (-v.total, v.source))
    of_source = {found.source: found for found in found[DETAILS]}
    return Answers(
        lake=root,
        asked_at=asked_at,
        units=units,
        sources=tuple(sources),
        officers=next(iter(found[OFFICERS]), Officers()),
        dead_letters=tuple(sorted(letters, key=lambda d: (-d.n, d.source, d.reason))),
        details=tuple(of_source[v.source] for v in sources),
    )


def _violations(source: str, counts: dict[str, dict[str, int]], areas: tuple[Area, ...]) -> Violations:
    kinds = counts.get(KIND, {})
    return Violations(
        source=source,
        week=tuple(counts[WEEK].get(str(hour), 0) for hour in range(len(WEEKDAYS) * HOURS)),
        months=dict(sorted(counts[MONTH].items())),
        codes={int(code): n for code, n in sorted(counts[CODE].items(), key=lambda c: int(c[0]))},
        areas=areas,
        unqualified=kinds.get(UNQUALIFIED_ROWS, 0),
        answers=kinds.get(ANSWERS, 0),
        conflicts=kinds.get(CONFLICTS, 0),
        days=dict(sorted(counts.get(DAY, {}).items())),
        unqualified_days=dict(sorted(counts.get(UNQUALIFIED_DAY, {}).items())),
    )


def ledger_totals(lk: Lake) -> tuple[Units, ...]:
    """The ledger's totals by source."""
    names = [name for name in Units.__struct_fields__ if name not in ("source", "units")]
    sums = lk.ledger.group_by("source").aggregate([*((name, "sum") for name in names), ("unit", "count")])
    rows = sums.sort_by("source").to_pylist()
    return tuple(
        Units(source=row["source"], units=row["unit_count"], **{name: row[f"{name}_sum"] for name in names})
        for row in rows
    )


def questions(pipeline: beam.Pipeline, lk: Lake, place: str, show_plates: bool = False) -> beam.PCollection:
    """Build the graph over the units of the ledger as ``lk`` has read it; its last step writes RESULT into the place, a
    directory, ``s3://`` or ``gs://`` URL. The lake is only read."""
    root, parts = lk.root, {dataset: lk.parts(dataset) for dataset in Dataset}
    by_source = {str(source): {dataset: found.of(source) for dataset, found in parts.items()} for source in Source}
    drones = by_source[DRONES]
    now = datetime.now(UTC).isoformat(timespec="seconds")
    violations = _each(pipeline, "files of violations", lk.entries(*VIOLATIONS))
    counted = violations | "Count" >> beam.ParDo(_CountFile(root))
    across = (
        pipeline
        | "Files of drones" >> beam.Create([drones] if any(drones.values()) else [])
        | "Across units" >> beam.ParDo(_CountAcrossUnits(root)).with_outputs(OFFICERS, main=COUNTS)
    )
    sums = (counted, across[COUNTS]) | "Counts" >> beam.Flatten() | "Sum" >> beam.CombinePerKey(sum)
    numbers = sums | "Few" >> beam.Filter(lambda item: item[0][0] != AREA)
    areas = (
        sums
        | "Areas" >> beam.Filter(lambda item: item[0][0] == AREA)
        | "By source" >> beam.Map(_area_by_source)
        | "Most frequent" >> beam.combiners.Top.PerKey(TOP_AREAS)
    )
    sizes = Counter[str]()
    for file in lk.entries(*VIOLATIONS):
        sizes[file.source] += file.bytes
    of_sources = [(source, by_source[source], size) for source, size in sizes.items()]
    detailed = _each(pipeline, "sources", of_sources) | "Details" >> beam.ParDo(_Details(root, show_plates))
    letters = (
        _each(pipeline, "files of dead letters", lk.entries(Dataset.DEAD_LETTERS))
        | "Read" >> beam.ParDo(_ReadLetters(root))
        | "Sum by reason" >> beam.CombinePerKey(join_letters)
    )
    ledger = pipeline | "Ledger" >> beam.Create([(now, ledger_totals(lk))])
    branches = {
        COUNTS: numbers,
        AREAS: areas,
        OFFICERS: across[OFFICERS],
        DETAILS: detailed,
        LETTERS: letters,
        LEDGER: ledger,
    }
    return (
        [_named(branch, name) for name, branch in branches.items()]
        | "All answers" >> beam.Flatten()
        | "Together" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(_WriteAnswers(root, place))
    )


def _area_by_source(item: tuple[Key, int]) -> tuple[str, tuple[int, str]]:
    (_, source, area), n = item
    return source, (n, area)


def _each(pipeline: beam.Pipeline, what: str, files: list[Any]) -> beam.PCollection:
    return pipeline | what.capitalize() >> beam.Create(files) | f"Spread {what}" >> beam.Reshuffle()


def _named(branch: beam.PCollection, name: str) -> beam.PCollection:
    return branch | f"Name {name}" >> beam.Map(lambda part: (None, (name, part)))
