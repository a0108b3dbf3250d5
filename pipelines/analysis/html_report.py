"""The answers as one HTML page that needs nothing else: no network, no script."""

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import accumulate
from pathlib import Path
from tempfile import NamedTemporaryFile

from pipelines.analysis import headlines as findings
from pipelines.analysis.charts import Band, Ranked, columns, ranking, week
from pipelines.analysis.codes import code_name
from pipelines.analysis.headlines import area_name, duration, percent
from pipelines.analysis.results import (
    MONTHS,
    WEEKDAYS,
    WITHIN_SECONDS,
    WORKING_DAYS,
    Answers,
    DeadLetters,
    Share,
    Violations,
)
from pipelines.analysis.style import CSS
from schemas.errors import OutputUnusable
from schemas.lake import Source
from schemas.os_errors import of_the_system

TOP_CODES = 10
LAST_DAYS = 14
LEAST_PERCENT = 0.1
"""An area with less than this is in the table, not in the chart: most are typing errors."""
VIOLATIONS = "violations"
HOUR_TICKS: dict[float, str] = {hour: str(hour) for hour in range(25)}
FEW_HOUR_TICKS: dict[float, str] = {0: "0", 6: "6", 13: "13", 20: "20", 24: "24"}

Row = Sequence[str]


def write_report(found: Answers, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises OutputUnusable, NotPermitted, DiskFull where it cannot be written.
    """
    page = render(found)
    with _written(path) as target:
        target.write_text(page, encoding="utf-8")


def check_report(path: Path) -> None:
    """Raise the same before there is a page: what is wrong with an output is found before the work."""
    with _told(path):
        if path.is_dir():
            raise OutputUnusable(f"--report {path} is a directory; name a file in it")
        if not _is_special(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:200]}.").close()


def _is_special(path: Path) -> bool:
    """Whether it is there and no file: a device, such as /dev/stdout, or a pipe. Nothing takes its place."""
    return path.exists() and not path.is_file()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise of_the_system(error, f"--report {path}") from error


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A file to write, which takes the path's place at the end."""
    with _told(path):
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
    sections = [_when, _days, _quarters, _codes, _human_work, _fines, _where] if found.total else []
    body = "\n".join(section(found) for section in [*sections, _ledger])
    title = f"{found.total:,} parking violations"
    sources = " and ".join(f"{v.total:,} from {_the(v.source)}" for v in found.sources)
    lead = f"{sources}, dated {findings.covered(found)}. All times are New York's." if found.total else "None yet."
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · PrestaCop</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
</header>
<main>
{body}
</main>
<footer>
<p>PrestaCop · lake {escape(found.lake)} · as its ledger was at {escape(found.asked_at)}.
A violation counts once; the same message in two recordings is one violation, and an officer's answer is none.</p>
</footer>
</body>
</html>
"""


def _when(found: Answers) -> str:
    parts = found.parts_of_day
    noted = {name: findings.round_percent(share) for name, share in parts.items()}
    bands = [
        Band(0, 6, "other", noted["other"]),
        Band(6, 13, "morning", noted["morning"]),
        Band(13, 20, "afternoon", noted["afternoon"]),
        Band(20, 24, "other", ""),
    ]
    hours = {v.source: list(v.hours.values()) for v in found.sources}
    label = "Violations by hour of the day: " + _spoken((name, share.n) for name, share in parts.items())
    chart = columns(
        label, hours, x_title="hour of the day (New York)", y_title=VIOLATIONS, ticks=HOUR_TICKS,
        few_ticks=FEW_HOUR_TICKS, bands=bands,
    )  # fmt: skip
    facts = _table(
        ("part of the day", VIOLATIONS, "share"),
        [(f"{name} {findings.PART_HOURS[name]}", f"{s.n:,}", percent(s)) for name, s in parts.items()],
    )
    table = _by_source(found, "hour", [f"{hour}:00–{hour}:59" for hour in range(24)], hours)
    return _section(1, "When in the day?", findings.part_of_day(found), facts, [_figure(chart, table)])


def _days(found: Answers) -> str:
    working, weekend = found.working_days, found.weekends
    a_day = working.n / WORKING_DAYS, weekend.n / (len(WEEKDAYS) - WORKING_DAYS)
    bands = [
        Band(0, WORKING_DAYS, "working days", f"⌀ {a_day[0]:,.0f}", a_day[0]),
        Band(WORKING_DAYS, len(WEEKDAYS), "weekend", f"⌀ {a_day[1]:,.0f}", a_day[1]),
    ]
    days = {v.source: list(v.weekdays.values()) for v in found.sources}
    total = found.over_sources(lambda v: v.weekdays)
    ticks = {place + 0.5: name[:3] for place, name in enumerate(WEEKDAYS)}
    label = "Violations by weekday: " + _spoken((WEEKDAYS[day], n) for day, n in total.items())
    chart = columns(label, days, x_title="weekday", y_title=VIOLATIONS, ticks=ticks, bands=bands[::-1])
    facts = _table(
        ("", VIOLATIONS, "share", "a day"),
        [
            ("working days", f"{working.n:,}", percent(working), f"{a_day[0]:,.1f}"),
            ("weekends", f"{weekend.n:,}", percent(weekend), f"{a_day[1]:,.1f}"),
        ],
    )
    note = '<p class="note">“A day” is per weekday name: the total divided by 5, and by 2; the dashed lines.</p>'
    by_hour = [sum(n) for n in zip(*(v.week for v in found.sources), strict=True)]
    busiest = max(range(len(by_hour)), key=by_hour.__getitem__)
    said = f"The busiest hour of the week is {WEEKDAYS[busiest // 24]} {busiest % 24}:00–{busiest % 24}:59"
    said += f", with {by_hour[busiest]:,} violations"
    squares = week(f"Violations by hour of the week. {said}", by_hour, WEEKDAYS, legend="violations in that hour")
    rows = [(f"{hour}:00", *(f"{by_hour[day * 24 + hour]:,}" for day in range(len(WEEKDAYS)))) for hour in range(24)]
    figures = [
        _figure(chart, _by_source(found, "weekday", WEEKDAYS, days)),
        _figure(squares, _table(("hour", *(day[:3] for day in WEEKDAYS)), rows), said + "."),
    ]
    return _section(2, "Working days or weekends?", findings.working_days(found), facts + note, figures)


def _quarters(found: Answers) -> str:
    quarters = found.quarters
    bands = [
        Band(3 * place, 3 * place + 3, name, findings.round_percent(share))
        for place, (name, share) in enumerate(quarters.items())
    ]
    months = {v.source: list(v.calendar_months.values()) for v in found.sources}
    label = "Violations by month of the calendar: " + _spoken((name, share.n) for name, share in quarters.items())
    chart = columns(
        label, months, x_title="month of the calendar, all years together", y_title=VIOLATIONS,
        ticks={place + 0.5: name for place, name in enumerate(MONTHS)},
        few_ticks={place + 0.5: name[0] for place, name in enumerate(MONTHS)}, bands=bands,
    )  # fmt: skip
    facts = _table(
        ("quarter", VIOLATIONS, "share"),
        [(f"{name} {findings.QUARTER_MONTHS[name]}", f"{s.n:,}", percent(s)) for name, s in quarters.items()],
    )
    years = sorted({month.rpartition("-")[0] for v in found.sources for month in v.months})
    by_year = {v.source: [_of_year(v, year) for year in years] for v in found.sources}
    table = _by_source(found, "month", MONTHS, months) + _by_source(found, "year", years, by_year)
    return _section(3, "Which quarter?", findings.quarter(found), facts, [_figure(chart, table)])


def _codes(found: Answers) -> str:
    codes = found.codes
    if not codes:
        return _section(4, "Which violations?", findings.codes(found), "", [])
    top = list(codes.items())[:TOP_CODES]
    bars = [Ranked(code_name(code), share.n, f"{share.n:,} · {percent(share)}") for code, share in top]
    label = f"The {len(top)} most frequent codes: " + _spoken((code_name(code), share.n) for code, share in top)
    sums = accumulate(share.n for share in codes.values())
    rows = [
        (code_name(code), f"{share.n:,}", percent(share), percent(Share(so_far, found.total)))
        for (code, share), so_far in zip(codes.items(), sums, strict=True)
    ]
    some = [Share(sum(share.n for _, share in top[:n]), found.total) for n in (5, 10)]
    facts = _table(
        ("", VIOLATIONS, "share"),
        [(f"first {n}", f"{s.n:,}", percent(s)) for n, s in zip((5, 10), some, strict=True) if n <= len(codes)]
        + [(f"all {len(codes)} codes", f"{sum(s.n for s in codes.values()):,}", percent(_coded(found)))],
    )
    table = _table(("code", VIOLATIONS, "share", "with those above"), rows)
    figure = _figure(ranking(label, bars, x_title=VIOLATIONS), table)
    return _section(4, "Which violations?", findings.codes(found), facts, [figure])


def _human_work(found: Answers) -> str:
    needing = found.needing_officer
    bars = [
        Ranked(_the(source), share.percent, f"{share.n:,} of {share.of:,} · {percent(share)}")
        for source, share in needing.items()
    ]
    label = "Share of violations without a code: " + "; ".join(f"{bar.label} {bar.note}" for bar in bars)
    rows = [
        (_the(v.source), f"{v.total:,}", f"{v.unqualified:,}", percent(Share(v.unqualified, v.total)), f"{v.answers:,}",
         percent(Share(v.answers, v.total)))
        for v in found.sources
    ]  # fmt: skip
    head = ("", VIOLATIONS, "without a code", "share", "rows of an officer", "share")
    chart = ranking(label, bars, x_title="came without a code (% of violations)")
    figures = [_figure(chart, _table(head, rows))]
    work = found.officers
    if work.answered:
        ends = [*map(duration, WITHIN_SECONDS), "more"]
        answered = {str(Source.DRONES): list(work.within)}
        drawn = columns(
            "Answered violations by time to the answer: " + _spoken(zip(ends, work.within, strict=True)), answered,
            x_title="time from the violation to the answer, up to", y_title="answered violations",
            ticks={place + 0.5: end for place, end in enumerate(ends)},
            few_ticks={
                place + 0.5: end.replace(f"{findings.NBSP}min", "m").replace(findings.NBSP, "")
                for place, end in enumerate(ends)
            },
        )  # fmt: skip
        shares = [(end, f"{n:,}", percent(Share(n, work.answered))) for end, n in zip(ends, work.within, strict=True)]
        figures.append(_figure(drawn, _table(("up to", "answered", "share"), shares), "Time to an answer"))
    facts = f"<p>{escape(findings.officers(found))}</p>"
    by_code = [(code_name(code), *_of(share)) for code, share in list(found.officers_by_code.items())[:TOP_CODES]]
    if by_code:
        facts += _table(("code", "by an officer", VIOLATIONS, "share"), by_code)
    by_day = [(day, *_of(share)) for day, share in list(found.officers_by_day.items())[:LAST_DAYS]]
    if by_day:
        facts += _table(("day", "without a code", VIOLATIONS, "share"), by_day)
    return _section(5, "How much human work?", findings.human_work(found), facts, figures)


def _of(share: Share) -> tuple[str, str, str]:
    return f"{share.n:,}", f"{share.of:,}", percent(share)


def _fines(found: Answers) -> str:
    question, said = "What does it cost?", findings.fines(found)
    if found.fines is None:
        todo = (
            "<p>Run the analysis again with <code>--codes FILE</code>, the city's table of violation codes with their "
            "two rates: data.cityofnewyork.us/d/ncbg-6agr, as CSV.</p>"
        )
        return _section(None, question, said, todo, [])
    fined = {code: fine for code, fine in found.fines.codes.items() if fine.dollars}
    top = list(fined.items())[:TOP_CODES]
    shares = {code: Share(fine.dollars or 0, found.fines.dollars) for code, fine in fined.items()}
    bars = [
        Ranked(code_name(code), shares[code].n, f"${shares[code].n:,} · {percent(shares[code])}") for code, _ in top
    ]
    rows = [
        (code_name(code), f"{fine.violations:,}", "no rate" if fine.dollars is None else f"${fine.dollars:,}",
         f"{fine.unsure:,}", f"${fine.unsure_more:,}")
        for code, fine in found.fines.codes.items()
    ]  # fmt: skip
    facts = _table(
        ("", "dollars"),
        [
            ("all codes", f"${found.fines.dollars:,}"),
            ("unsure, at most", f"+ ${found.fines.unsure_more:,}"),
        ],
    )
    note = (
        '<p class="note">Manhattan up to 96th Street has rates of its own: of the history, county and precinct say '
        "which holds. Where they do not, and for drones, that of all other areas is taken; such violations are "
        "unsure.</p>"
    )
    label = f"The {len(top)} codes with most dollars: " + _spoken((code_name(code), shares[code].n) for code, _ in top)
    table = _table(("code", VIOLATIONS, "dollars", "unsure", "dollars more"), rows)
    figures = [_figure(ranking(label, bars, x_title="dollars"), table)] if top else []
    return _section(None, question, said, facts + note, figures)


def _where(found: Answers) -> str:
    facts = _table(
        ("source", VIOLATIONS, "share"),
        [(_the(v.source), f"{v.total:,}", percent(Share(v.total, found.total))) for v in found.sources],
    )
    most = found.sources[0]
    first = Share(most.areas[0].n, most.total)
    place = area_name(most.source, most.areas[0].name)
    said = f"{place} leads in {_the(most.source)}, with {findings.round_percent(first)}"
    return _section(None, "Where, and who saw it?", said, facts, [_areas(v) for v in found.sources])


def _areas(v: Violations) -> str:
    shares = [(area_name(v.source, area.name), Share(area.n, v.total)) for area in v.areas]
    elsewhere = ("elsewhere", Share(v.total - sum(area.n for area in v.areas), v.total))
    bars = [
        Ranked(name, share.n, f"{share.n:,} · {percent(share)}")
        for name, share in shares
        if share.percent >= LEAST_PERCENT
    ]
    what = "cell of 0.01° (its south-west corner)" if v.source == Source.DRONES else "county"
    label = f"Violations of {_the(v.source)} by {what}: " + _spoken((name, share.n) for name, share in shares)
    rows = [(name, f"{share.n:,}", percent(share)) for name, share in (*shares, elsewhere)]
    chart = ranking(label, bars, x_title=VIOLATIONS, color=f"var(--{v.source})")
    return _figure(chart, _table((what, VIOLATIONS, "share"), rows), f"{_the(v.source).capitalize()}, by {what}")


def _ledger(found: Answers) -> str:
    names = ("units", "rows_in", "positions", "qualified", "unqualified", "dead_letters", "images", "duplicates")
    rows = [(name.replace("_", " "), *(f"{getattr(unit, name):,}" for unit in found.units)) for name in names]
    facts = _table(("", *(_the(unit.source) for unit in found.units)), rows)
    if claims := findings.conflicts(found):
        facts += f"<p>{escape(claims)}</p>"
    refused, rows_in = sum(unit.dead_letters for unit in found.units), sum(unit.rows_in for unit in found.units)
    said = f"{refused:,} of {rows_in:,} rows were refused" if refused else f"None of {rows_in:,} rows was refused"
    letters = "".join(map(_dead_letters, found.dead_letters))
    return _section(None, "What is in the lake?", said, facts, [f'<div class="letters">{letters}</div>'])


def _dead_letters(letters: DeadLetters) -> str:
    samples = "".join(
        f"<li><code>{escape(sample.payload)}</code>"
        f"<small>{escape(sample.detail + ' · ' if sample.detail else '')}"
        f"{escape(sample.path)}, byte {sample.offset:,}</small></li>"
        for sample in letters.samples
    )
    head = f"{letters.n:,} · {_the(letters.source)} · {letters.reason.replace('_', ' ')}"
    return f'<details><summary>{escape(head)}</summary><ul class="samples">{samples}</ul></details>'


def _section(number: int | None, question: str, finding: str, facts: str, figures: Sequence[str]) -> str:
    asked = f"{number} · {question}" if number else question
    return (
        f'<section>\n<div>\n<p class="question">{escape(asked)}</p>\n<h2>{escape(finding)}</h2>\n{facts}\n</div>\n'
        f"<div>\n{''.join(figures)}\n</div>\n</section>"
    )


def _figure(chart: str, table: str, caption: str = "") -> str:
    said = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{said}{chart}<details><summary>The numbers</summary>{table}</details></figure>"


def _table(head: Row, rows: Iterable[Row]) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'


def _by_source(found: Answers, what: str, names: Sequence[str], counts: dict[str, list[int]]) -> str:
    """A table of what a chart of columns shows."""
    total = [sum(row) for row in zip(*counts.values(), strict=True)]
    shown = {_the(source): values for source, values in counts.items()}
    if len(shown) > 1:
        shown["together"] = total
    rows = [
        (name, *(f"{values[place]:,}" for values in shown.values()), percent(Share(total[place], found.total)))
        for place, name in enumerate(names)
    ]
    return _table((what, *shown, "share"), rows)


def _of_year(violations: Violations, year: str) -> int:
    return sum(n for month, n in violations.months.items() if month.rpartition("-")[0] == year)


def _coded(found: Answers) -> Share:
    return Share(sum(share.n for share in found.codes.values()), found.total)


def _spoken(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts)


def _the(source: str) -> str:
    return f"the {source}"
