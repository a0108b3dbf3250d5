"""The answers as text for a terminal."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import accumulate

from pipelines.analysis import headlines as findings
from pipelines.analysis.headlines import percent
from pipelines.analysis.results import HOURS, LEDGER_COUNTS, WEEKDAYS, Answers, Details, Share, Violations
from schemas.violation_codes import code_name

BAR = 24
TOP_CODES = 10
TOP_AREAS = 6
LAST_DAYS = 7
TOP_VEHICLES = 5
LABEL = 34
_EIGHTHS = " ▏▎▍▌▋▊▉"
_HEIGHTS = "▁▂▃▄▅▆▇█"


def lines(found: Answers) -> Iterator[str]:
    """The answers, line by line."""
    yield f"{found.total:,} violations, New York time"
    yield from (f"  {v.source}: {v.total:,}, {findings.covered(v)}" for v in found.sources)
    if found.total:
        yield from _answers(found)
    yield from _heading("", "What is in the lake")
    yield from _ledger(found)


def _answers(found: Answers) -> Iterator[str]:
    for v in found.sources:
        if (yield from _question("1", v, findings.part_of_day(v), findings.A_DAY)):
            parts = v.parts_of_day.items()
            yield from _shares((f"{name} {findings.PART_HOURS[name]}", share) for name, share in parts)
            yield f"  {'hours 0 to 23':{LABEL}} {sparkline(v.hours)}"
    for v in found.sources:
        if (yield from _question("2", v, findings.working_days(v), findings.A_WEEK)):
            for name, share, days in (("working days", v.working_days, 5), ("weekends", v.weekends, 2)):
                yield f"{_share(name, share)}  {share.n / days:,.1f} a day"
            yield from _shares((day, Share(n, v.total)) for day, n in zip(WEEKDAYS, v.weekdays, strict=True))
    for v in found.sources:
        if (yield from _question("3", v, findings.quarter(v), findings.A_YEAR)):
            quarters = v.quarters.items()
            yield from _shares((f"{name} {findings.QUARTER_MONTHS[name]}", share) for name, share in quarters)
    for v in found.sources:
        yield from _heading("4", f"{v.source}: {findings.codes(v)}")
        top = list(v.ranked_codes.items())[:TOP_CODES]
        cumulated = accumulate(share.n for _, share in top)
        for (code, share), n in zip(top, cumulated, strict=True):
            width = BAR * share.n / top[0][1].n
            yield f"{_share(code_name(code), share)}  Σ {percent(Share(n, v.total)):>6}  {bar(width)}"

    yield from _heading("5", findings.human_work(found))
    for v in found.sources:
        yield _share(f"{v.source}: came without a code", Share(v.unqualified, v.total))
        if v.answers:
            yield _share(f"{v.source}: rows of an officer", Share(v.answers, v.total))
    yield "  " + findings.officers(found)
    for code, share in list(found.officers_by_code.items())[:TOP_CODES]:
        yield _share(f"by an officer: {code_name(code)}", share)
    for day, share in list(found.officers_by_day.items())[:LAST_DAYS]:
        yield _share(f"without a code on {day}", share)

    for v, of in zip(found.sources, found.details, strict=False):
        yield from _details(v, of)

    yield from _heading("", findings.fines(found))
    if found.fines is None:
        yield "  give it as --codes FILE: data.cityofnewyork.us/d/ncbg-6agr, as CSV"
    for code, fine in list(found.fines.codes.items() if found.fines else ())[:TOP_CODES]:
        yield _share(f"${fine.dollars or 0:,} {code_name(code)}", Share(fine.violations, found.total))

    yield from _heading("", "Where")
    for v in found.sources:
        yield from _shares((f"{v.source}: {name}", share) for name, share in findings.areas(v)[:TOP_AREAS])


def _details(v: Violations, of: Details) -> Iterator[str]:
    if of.streets.top or of.precincts:
        yield from _heading("6", f"{of.source}: {findings.streets(of)}")
        total = max(of.streets.given, 1)
        yield from _shares((findings.street_name(s), Share(s.n, total)) for s in of.streets.top[:TOP_AREAS])
        yield f"  {of.streets.spellings:,} spellings are {of.streets.names:,} streets; by rule:"
        for rule in of.streets.rules:
            yield f"  {rule.rule:20} {rule.spellings:>9,} spellings  {rule.example} → {rule.street}"
        given = sum(group.n for group in of.precincts)
        for group in of.precincts[:TOP_AREAS]:
            yield f"{_share(findings.precinct_name(group.name), Share(group.n, given))}  {sparkline(group.hours)}"
    if of.vehicles.vehicles:
        yield from _heading("7", f"{of.source}: {findings.vehicles(of)}")
        yield "  " + findings.again(of)
        for vehicle in of.vehicles.top[:TOP_VEHICLES]:
            within = findings.duration(vehicle.days * findings.DAY)
            yield f"  {vehicle.plate:>12} {vehicle.state:3} {vehicle.n:>6,} within {within}"
    if of.states.top or of.makes.top or of.agencies.top:
        yield from _heading("8", f"{of.source}: {findings.registered(of)}")
        for groups, name in ((of.states, str), (of.makes, str), (of.agencies, findings.agency_name)):
            yield from _shares((name(group.name), Share(group.n, groups.given)) for group in groups.top[:TOP_AREAS])
    weeks = of.weeks
    if not (yield from _question("9", v, "the week of each code from Monday, by three hours", findings.A_WEEK)):
        weeks = {}
    for code, week in weeks.items():
        line = sparkline([sum(week[hour : hour + 3]) for hour in range(0, len(week), 3)])
        days = " ".join(line[day : day + HOURS // 3] for day in range(0, len(line), HOURS // 3))
        yield f"  {_cut(code_name(code)):{LABEL}} {days}"
    yield from _heading("10", f"{of.source}: {findings.unusual(of)}")
    for month in of.unusual.months[:TOP_CODES] or ([of.unusual.most] if of.unusual.most else ()):
        yield (
            f"  {findings.unusual_month(month):{LABEL}} {month.n:>9,} for {month.expected:,.0f}, "
            f"score {month.score:+.1f} ({month.past} earlier months)"
        )


def _question(number: str, v: Violations, finding: str, days: int) -> Generator[str, None, bool]:
    """The heading of a question, and whether the source spans so many days; where it does not, that it does not."""
    short = findings.too_short(v, days)
    yield from _heading(number, short or f"{v.source}: {finding}")
    return not short


def _ledger(found: Answers) -> Iterator[str]:
    yield f"  {'':14}" + "".join(f"{u.source:>14}" for u in found.units)
    for name in LEDGER_COUNTS:
        yield f"  {name.replace('_', ' '):14}" + "".join(f"{getattr(u, name):>14,}" for u in found.units)
    if claims := findings.conflicts(found):
        yield f"  {claims}"
    if found.dead_letters:
        yield "  dead letters by reason:"
    for letters in found.dead_letters:
        yield f"  {letters.n:>14,}  {letters.source}: {letters.reason}"


def _heading(number: str, text: str) -> Iterator[str]:
    yield ""
    yield f"{number}  {text}" if number else text


def _shares(rows: Iterable[tuple[str, Share]]) -> Iterator[str]:
    rows = list(rows)
    top = max((share.percent for _, share in rows), default=0)
    for label, share in rows:
        yield _share(label, share, BAR * share.percent / top if top else 0)


def _share(label: str, share: Share, width: float = 0) -> str:
    return f"  {_cut(label):{LABEL}} {share.n:>14,} {percent(share):>10}  {bar(width)}".rstrip()


def _cut(label: str) -> str:
    return label if len(label) <= LABEL else label[: LABEL - 1] + "…"


def bar(width: float) -> str:
    """A bar of so many characters, to an eighth of one.

    >>> bar(2.5)
    '██▌'
    """
    eighths = round(8 * width)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def sparkline(values: Sequence[int]) -> str:
    """The values as a row of small columns.

    >>> sparkline([0, 4, 8])
    '▁▅█'
    """
    top = max(values, default=0) or 1
    return "".join(_HEIGHTS[round((len(_HEIGHTS) - 1) * value / top)] for value in values)
