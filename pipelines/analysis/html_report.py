"""The answers as one HTML page that needs no network: the printed part has no script, the interactive one its own."""

import base64
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.analysis import headlines
from pipelines.analysis.charts import Band, Label, Ranked, columns, heat, ranking
from pipelines.analysis.explore import NO_SHAPES, Shapes, explore
from pipelines.analysis.headlines import NBSP, duration, percent, round_percent
from pipelines.analysis.results import (
    GAP_DAYS,
    HOURS,
    LEDGER_COUNTS,
    MONTHS,
    UNUSUAL_FROM,
    WEEKDAYS,
    WITHIN_SECONDS,
    WORKING_DAYS,
    Answers,
    Details,
    Group,
    Groups,
    Share,
    Violations,
)
from schemas.errors import OutputUnusable
from schemas.lake import Source
from schemas.os_errors import exists, of_the_system
from schemas.violation_codes import code_name

TOP_CODES = 10
LAST_DAYS = 14
LEAST_PERCENT = 0.1
"""An area with a smaller share is in the table, not in the chart: most of them are typing errors."""
VIOLATIONS = "violations"
HOUR_TICKS: dict[float, str] = {hour: str(hour) for hour in range(25)}
TWO_HOUR_TICKS: dict[float, str] = {hour: str(hour) for hour in range(0, 25, 2)}
SIX_HOUR_TICKS: dict[float, str] = {hour: str(hour) for hour in range(0, 25, 6)}
FEW_HOUR_TICKS: dict[float, str] = {0: "0", 6: "6", 13: "13", 20: "20", 24: "24"}
WITHIN: Final = (*map(duration, WITHIN_SECONDS), "more")
GAPS: Final = ("a day", "7 days", "30 days", "90 days", "a year", "more")
assert len(GAPS) == len(GAP_DAYS) + 1
TOP_PLACES = 10
LAST_MONTHS = 24
_TEMPLATES: Final = Path(__file__).parent / "templates"


def write_report(found: Answers, path: Path, shapes: Shapes = NO_SHAPES) -> None:
    """Write the page, whole or not at all.

    Args:
        shapes: of precincts, for the map.

    Raises OutputUnusable, NotPermitted, DiskFull where it cannot be written.
    """
    page = render(found, shapes)
    with written(path) as target:
        target.write_text(page, encoding="utf-8")


def check_report(path: Path) -> None:
    """Raise the same errors before the work starts."""
    with _report_errors(path):
        if path.is_dir():
            raise OutputUnusable(f"--report {path} is a directory; name a file in it")
        if not _is_special(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:200]}.").close()


def _is_special(path: Path) -> bool:
    """Whether it is a device, such as /dev/stdout, or a pipe: it is written to, not replaced."""
    return exists(path) and not path.is_file()


@contextmanager
def _report_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise of_the_system(error, f"--report {path}") from error


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file to write, which replaces the path at the end."""
    with _report_errors(path):
        if _is_special(path):
            yield path
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex}")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def render(found: Answers, shapes: Shapes = NO_SHAPES) -> str:
    """The page.

    Args:
        shapes: of precincts, for the map.
    """
    script = (_TEMPLATES / "explore.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "n": "{:,}".format,
        "percent": lambda share: percent(Share(*share)),
        "code_name": code_name,
        "the": "the {}".format,
    }
    by_code = [(code_name(code), share) for code, share in found.officers_by_code.items()]
    return environment.get_template("report.html.j2").render(
        found=found,
        exploring=explore(found, shapes) if found.sources and found.details else None,
        script=Markup(script),
        script_hash=base64.b64encode(sha256(script.encode()).digest()).decode(),
        headlines=headlines,
        charts=Charts,
        by=_by,
        with_details=list(zip(found.sources, found.details, strict=False)),
        reasons=_reasons(found),
        area_kind=_area_kind,
        ends=WITHIN,
        gaps=GAPS,
        months_shown=_months,
        places=_places,
        COUNTS=LEDGER_COUNTS,
        UNUSUAL_FROM=UNUSUAL_FROM,
        officers=[
            ("code", "by an officer", by_code[:TOP_CODES]),
            ("day", "without a code", list(found.officers_by_day.items())[:LAST_DAYS]),
        ],
    )


def _by(v: Violations, what: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """The head and the rows of the table of a source's violations by hour, weekday, month or year."""
    counts = _counts(v, what)
    return [what, VIOLATIONS, "share"], [(name, f"{n:,}", percent(Share(n, v.total))) for name, n in counts.items()]


def _reasons(found: Answers) -> tuple[list[str], list[tuple[str, ...]]]:
    """The head and the rows of the table of dead letters by reason and source."""
    sources = list(dict.fromkeys(letters.source for letters in found.dead_letters))
    counts: dict[str, dict[str, int]] = {}
    for letters in found.dead_letters:
        counts.setdefault(letters.reason, {})[letters.source] = letters.n
    total = sum(letters.n for letters in found.dead_letters)
    rows = [
        (
            reason.replace("_", " "),
            *(f"{of.get(source, 0):,}" for source in sources),
            percent(Share(sum(of.values()), total)),
        )
        for reason, of in sorted(counts.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    ]
    return ["reason", *(f"the {source}" for source in sources), "share"], rows


def _counts(v: Violations, what: str) -> dict[str, int]:
    if what == "year":
        years = Counter[str]()
        for month, n in v.months.items():
            years[month[: len("YYYY")]] += n
        return years
    names: Sequence[str] = {
        "hour": [f"{hour}:00–{hour}:59" for hour in range(HOURS)], "weekday": WEEKDAYS, "month": MONTHS,
    }[what]  # fmt: skip
    counts = {"hour": v.hours, "weekday": v.weekdays, "month": v.calendar_months}[what]
    return dict(zip(names, counts, strict=True))


def _color(source: str) -> str:
    return f"var(--{source})"


def _area_kind(source: str) -> str:
    return "neighbourhood (cell of 0.01°)" if source == Source.DRONES else "county"


def _spoken(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts)


class Charts:
    """The drawings of the page, as SVG."""

    @staticmethod
    def hours(v: Violations) -> Markup:
        parts = v.parts_of_day
        notes = {name: round_percent(share) for name, share in parts.items()}
        bands = [
            Band(0, 6, "other", notes["other"]),
            Band(6, 13, "morning", notes["morning"]),
            Band(13, 20, "afternoon", notes["afternoon"]),
            Band(20, 24, "other", ""),
        ]
        label = Label("Violations by hour of the day", _spoken((name, share.n) for name, share in parts.items()))
        return columns(
            label, v.hours, color=_color(v.source), x_title="hour of the day (New York)",
            y_title=VIOLATIONS, ticks=HOUR_TICKS, few_ticks=FEW_HOUR_TICKS, bands=bands,
        )  # fmt: skip

    @staticmethod
    def weekdays(v: Violations) -> Markup:
        working, weekend = v.working_days.n / WORKING_DAYS, v.weekends.n / (len(WEEKDAYS) - WORKING_DAYS)
        bands = [
            Band(WORKING_DAYS, len(WEEKDAYS), "weekend", f"⌀ {weekend:,.0f}", weekend),
            Band(0, WORKING_DAYS, "working days", f"⌀ {working:,.0f}", working),
        ]
        counts = _counts(v, "weekday")
        return columns(
            Label("Violations by weekday", _spoken(counts.items())), list(counts.values()), color=_color(v.source),
            x_title="weekday", y_title=VIOLATIONS,
            ticks={place + 0.5: name[:3] for place, name in enumerate(WEEKDAYS)}, bands=bands,
        )  # fmt: skip

    @staticmethod
    def week(v: Violations) -> Markup:
        label = Label("Violations by hour of the week", headlines.busiest_hour(v))
        days = {name[:3]: v.week[day * HOURS : (day + 1) * HOURS] for day, name in enumerate(WEEKDAYS)}
        return heat(
            label, days, x_title="hour of the day (New York)", ticks=TWO_HOUR_TICKS, few_ticks=SIX_HOUR_TICKS,
            legend="violations in that hour",
        )  # fmt: skip

    @staticmethod
    def months(v: Violations) -> Markup:
        quarters = v.quarters
        bands = [
            Band(3 * place, 3 * place + 3, name, round_percent(share))
            for place, (name, share) in enumerate(quarters.items())
        ]
        spoken = _spoken((name, share.n) for name, share in quarters.items())
        return columns(
            Label("Violations by month of the calendar", spoken), v.calendar_months,
            color=_color(v.source), x_title="month of the calendar, all years together", y_title=VIOLATIONS,
            ticks={place + 0.5: name for place, name in enumerate(MONTHS)},
            few_ticks={place + 0.5: name[0] for place, name in enumerate(MONTHS)}, bands=bands,
        )  # fmt: skip

    @staticmethod
    def codes(v: Violations) -> Markup:
        top = [(code_name(code), share) for code, share in list(v.ranked_codes.items())[:TOP_CODES]]
        return _shares(f"The {len(top)} most frequent codes", top)

    @staticmethod
    def human_work(found: Answers) -> Markup:
        bars = [
            Ranked(f"the {source}", share.percent, f"{share.n:,} of {share.of:,} · {percent(share)}")
            for source, share in found.needing_officer.items()
        ]
        label = Label("Share of violations without a code", "; ".join(f"{bar.label} {bar.note}" for bar in bars))
        return ranking(label, bars, x_title="came without a code (% of violations)")

    @staticmethod
    def answer_times(found: Answers) -> Markup:
        within = found.officers.within
        return columns(
            Label("Answered violations by time to the answer", _spoken(zip(WITHIN, within, strict=True))),
            within,
            color=_color(Source.DRONES),
            x_title="time from the violation to the answer, up to", y_title="answered violations",
            ticks={place + 0.5: end for place, end in enumerate(WITHIN)},
            few_ticks={
                place + 0.5: end.replace(f"{NBSP}min", "m").replace(NBSP, "") for place, end in enumerate(WITHIN)
            },
        )  # fmt: skip

    @staticmethod
    def fines(found: Answers) -> Markup:
        assert found.fines is not None
        fined = [(code_name(code), fine.dollars) for code, fine in found.fines.codes.items() if fine.dollars]
        top = [(name, Share(dollars, found.fines.dollars)) for name, dollars in fined[:TOP_CODES]]
        label = Label(f"The {len(top)} codes with most dollars", _spoken((name, share.n) for name, share in top))
        return ranking(label, [_bar(name, share, "$") for name, share in top], x_title="dollars")

    @staticmethod
    def areas(v: Violations) -> Markup:
        shares = headlines.areas(v)
        bars = [_bar(name, share) for name, share in shares if share.percent >= LEAST_PERCENT]
        spoken = _spoken((name, share.n) for name, share in shares)
        label = Label(f"Violations of the {v.source} by {_area_kind(v.source)}", spoken)
        return ranking(label, bars, x_title=VIOLATIONS, color=_color(v.source))

    @staticmethod
    def streets(of: Details) -> Markup:
        top = [(headlines.street_name(s), Share(s.n, of.streets.given)) for s in of.streets.top[:TOP_PLACES]]
        return _shares(f"The {len(top)} streets with most violations", top)

    @staticmethod
    def precincts(of: Details) -> Markup:
        total = sum(group.n for group in of.precincts)
        top = [(headlines.precinct_name(p.name), Share(p.n, total)) for p in of.precincts[:TOP_PLACES]]
        return _shares(f"The {len(top)} precincts with most violations", top)

    @staticmethod
    def place_hours(of: Details) -> Markup:
        rows = {name: _percents(group.hours) for name, group in _places(of)}
        label = Label("Streets and precincts by hour of the day", _peaks(rows, [f"{hour}:00" for hour in range(HOURS)]))
        return heat(
            label, rows, x_title="hour of the day (New York)", ticks=TWO_HOUR_TICKS, few_ticks=SIX_HOUR_TICKS,
            legend="% of the row",
        )  # fmt: skip

    @staticmethod
    def place_months(of: Details) -> Markup:
        months = _months(of)
        rows = {name: _percents([group.months.get(month, 0) for month in months]) for name, group in _places(of)}
        names = [headlines.month_name(month) for month in months]
        every, few = max(1, len(months) // 6), max(1, len(months) // 2)
        return heat(
            Label("Streets and precincts by month", _peaks(rows, names)), rows, x_title="month",
            ticks={place + 0.5: name for place, name in enumerate(names) if place % every == 0},
            few_ticks={place + 0.5: name for place, name in enumerate(names) if place % few == 0},
            legend="% of the row",
        )  # fmt: skip

    @staticmethod
    def vehicles(of: Details) -> Markup:
        return columns(
            Label("Times to a vehicle's next violation", _spoken(zip(GAPS, of.vehicles.again, strict=True))),
            of.vehicles.again,
            color=_color(of.source),
            x_title="time to the next violation, up to", y_title=VIOLATIONS,
            ticks={place + 0.5: name for place, name in enumerate(GAPS)},
            few_ticks={place + 0.5: f"{days} d" for place, days in enumerate(GAP_DAYS)},
        )  # fmt: skip

    @staticmethod
    def groups(of: Details, what: str) -> Markup:
        groups: Groups = getattr(of, what)
        name = headlines.agency_name if what == "agencies" else str
        return _shares(f"Violations by {what}", [(name(g.name), Share(g.n, groups.given)) for g in groups.top])

    @staticmethod
    def weeks(of: Details) -> Markup:
        rows = {code_name(code): _percents(week) for code, week in of.weeks.items()}
        spoken = ", ".join(f"{code_name(code)} {headlines.busiest_of_week(week)}" for code, week in of.weeks.items())
        return heat(
            Label("The week of each code: its busiest hour", spoken), rows, x_title="hour of the week (New York)",
            ticks={day * HOURS + HOURS / 2: name[:3] for day, name in enumerate(WEEKDAYS)},
            few_ticks={day * HOURS + HOURS / 2: name[0] for day, name in enumerate(WEEKDAYS)}, legend="% of the row",
            gap=0,
        )  # fmt: skip

    @staticmethod
    def unusual(of: Details) -> Markup:
        months = of.unusual.months[:TOP_PLACES] or [of.unusual.most]
        bars = [Ranked(headlines.unusual_month(m), abs(m.score), f"{m.n:,} for {m.expected:,.0f}") for m in months if m]
        spoken = "; ".join(f"{bar.label}: {bar.note}" for bar in bars)
        return ranking(Label("The months farthest from their past", spoken), bars, x_title="robust z-score")


def _places(of: Details) -> list[tuple[str, Group]]:
    half = TOP_PLACES // 2
    streets = [(headlines.street_name(street), street) for street in of.streets.top[:half]]
    return streets + [(headlines.precinct_name(group.name), group) for group in of.precincts[:half]]


def _months(of: Details) -> list[str]:
    """The last months that were compared or could be: those with enough violations."""
    return list(of.unusual.covered[-LAST_MONTHS:])


def _percents(values: Sequence[int]) -> list[float]:
    total = sum(values) or 1
    return [100 * n / total for n in values]


def _peaks(rows: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    """The name of the highest value of each row."""
    return ", ".join(f"{row} {names[max(range(len(of)), key=of.__getitem__)]}" for row, of in rows.items() if of)


def _shares(name: str, shares: Sequence[tuple[str, Share]]) -> Markup:
    spoken = _spoken((of, share.n) for of, share in shares)
    return ranking(Label(name, spoken), [_bar(of, share) for of, share in shares], x_title=VIOLATIONS)


def _bar(name: str, share: Share, unit: str = "") -> Ranked:
    return Ranked(name, share.n, f"{unit}{share.n:,} · {percent(share)}")
