"""The answers as one HTML page that needs nothing else: no network, no script."""

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.analysis import headlines
from pipelines.analysis.charts import Band, Ranked, columns, ranking, week
from pipelines.analysis.headlines import NBSP, area_name, duration, percent, round_percent
from pipelines.analysis.results import (
    LEDGER_COUNTS,
    MONTHS,
    WEEKDAYS,
    WITHIN_SECONDS,
    WORKING_DAYS,
    Answers,
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
FEW_HOUR_TICKS: dict[float, str] = {0: "0", 6: "6", 13: "13", 20: "20", 24: "24"}
WITHIN: Final = (*map(duration, WITHIN_SECONDS), "more")
_TEMPLATES: Final = Path(__file__).parent / "templates"


def write_report(found: Answers, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises OutputUnusable, NotPermitted, DiskFull where it cannot be written.
    """
    page = render(found)
    with _written(path) as target:
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
def _written(path: Path) -> Iterator[Path]:
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


def render(found: Answers) -> str:
    """The page."""
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
        headlines=headlines,
        charts=Charts,
        by_source=_by_source,
        area_name=area_name,
        area_kind=_area_kind,
        ends=WITHIN,
        COUNTS=LEDGER_COUNTS,
        officers=[
            ("code", "by an officer", by_code[:TOP_CODES]),
            ("day", "without a code", list(found.officers_by_day.items())[:LAST_DAYS]),
        ],
    )


def _by_source(found: Answers, what: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """The head and the rows of the table of violations by hour, weekday, month or year, and source."""
    years = sorted({month[:-3] for v in found.sources for month in v.months})
    names: Sequence[str] = {
        "hour": [f"{hour}:00–{hour}:59" for hour in range(24)], "weekday": WEEKDAYS, "month": MONTHS, "year": years,
    }[what]  # fmt: skip
    shown = {f"the {v.source}": _counts(v, what, years) for v in found.sources}
    total = [sum(row) for row in zip(*shown.values(), strict=True)]
    if len(shown) > 1:
        shown["together"] = total
    rows = [
        (name, *(f"{values[place]:,}" for values in shown.values()), percent(Share(total[place], found.total)))
        for place, name in enumerate(names)
    ]
    return [what, *shown, "share"], rows


def _counts(v: Violations, what: str, years: Sequence[str] = ()) -> list[int]:
    if what == "year":
        return [sum(n for month, n in v.months.items() if month[:-3] == year) for year in years]
    return list({"hour": v.hours, "weekday": v.weekdays, "month": v.calendar_months}[what].values())


def _stacks(found: Answers, what: str) -> dict[str, list[int]]:
    return {v.source: _counts(v, what) for v in found.sources}


def _area_kind(source: str) -> str:
    return "cell of 0.01° (its south-west corner)" if source == Source.DRONES else "county"


def _spoken(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts)


class Charts:
    """The drawings of the page, as SVG."""

    @staticmethod
    def hours(found: Answers) -> Markup:
        parts = found.parts_of_day
        notes = {name: round_percent(share) for name, share in parts.items()}
        bands = [
            Band(0, 6, "other", notes["other"]),
            Band(6, 13, "morning", notes["morning"]),
            Band(13, 20, "afternoon", notes["afternoon"]),
            Band(20, 24, "other", ""),
        ]
        label = "Violations by hour of the day: " + _spoken((name, share.n) for name, share in parts.items())
        return columns(
            label, _stacks(found, "hour"), x_title="hour of the day (New York)", y_title=VIOLATIONS, ticks=HOUR_TICKS,
            few_ticks=FEW_HOUR_TICKS, bands=bands,
        )  # fmt: skip

    @staticmethod
    def weekdays(found: Answers) -> Markup:
        working, weekend = found.working_days.n / WORKING_DAYS, found.weekends.n / (len(WEEKDAYS) - WORKING_DAYS)
        bands = [
            Band(WORKING_DAYS, len(WEEKDAYS), "weekend", f"⌀ {weekend:,.0f}", weekend),
            Band(0, WORKING_DAYS, "working days", f"⌀ {working:,.0f}", working),
        ]
        total = found.over_sources(lambda v: v.weekdays)
        ticks = {place + 0.5: name[:3] for place, name in enumerate(WEEKDAYS)}
        label = "Violations by weekday: " + _spoken((WEEKDAYS[day], n) for day, n in total.items())
        return columns(
            label, _stacks(found, "weekday"), x_title="weekday", y_title=VIOLATIONS, ticks=ticks, bands=bands
        )

    @staticmethod
    def week(found: Answers) -> Markup:
        label = f"Violations by hour of the week. {headlines.busiest_hour(found)}"
        return week(label, found.week, WEEKDAYS, legend="violations in that hour")

    @staticmethod
    def months(found: Answers) -> Markup:
        quarters = found.quarters
        bands = [
            Band(3 * place, 3 * place + 3, name, round_percent(share))
            for place, (name, share) in enumerate(quarters.items())
        ]
        label = "Violations by month of the calendar: " + _spoken((name, share.n) for name, share in quarters.items())
        return columns(
            label, _stacks(found, "month"), x_title="month of the calendar, all years together", y_title=VIOLATIONS,
            ticks={place + 0.5: name for place, name in enumerate(MONTHS)},
            few_ticks={place + 0.5: name[0] for place, name in enumerate(MONTHS)}, bands=bands,
        )  # fmt: skip

    @staticmethod
    def codes(found: Answers) -> Markup:
        top = [(code_name(code), share) for code, share in list(found.codes.items())[:TOP_CODES]]
        label = f"The {len(top)} most frequent codes: " + _spoken((name, share.n) for name, share in top)
        return ranking(label, [_bar(name, share) for name, share in top], x_title=VIOLATIONS)

    @staticmethod
    def human_work(found: Answers) -> Markup:
        bars = [
            Ranked(f"the {source}", share.percent, f"{share.n:,} of {share.of:,} · {percent(share)}")
            for source, share in found.needing_officer.items()
        ]
        label = "Share of violations without a code: " + "; ".join(f"{bar.label} {bar.note}" for bar in bars)
        return ranking(label, bars, x_title="came without a code (% of violations)")

    @staticmethod
    def answer_times(found: Answers) -> Markup:
        within = found.officers.within
        return columns(
            "Answered violations by time to the answer: " + _spoken(zip(WITHIN, within, strict=True)),
            {str(Source.DRONES): list(within)},
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
        label = f"The {len(top)} codes with most dollars: " + _spoken((name, share.n) for name, share in top)
        return ranking(label, [_bar(name, share, "$") for name, share in top], x_title="dollars")

    @staticmethod
    def areas(v: Violations) -> Markup:
        shares = [(area_name(v.source, area.name), Share(area.n, v.total)) for area in v.areas]
        bars = [_bar(name, share) for name, share in shares if share.percent >= LEAST_PERCENT]
        spoken = _spoken((name, share.n) for name, share in shares)
        label = f"Violations of the {v.source} by {_area_kind(v.source)}: {spoken}"
        return ranking(label, bars, x_title=VIOLATIONS, color=f"var(--{v.source})")


def _bar(name: str, share: Share, unit: str = "") -> Ranked:
    return Ranked(name, share.n, f"{unit}{share.n:,} · {percent(share)}")
