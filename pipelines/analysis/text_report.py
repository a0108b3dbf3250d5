"""The answers as text for a terminal."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from pipelines.analysis import headlines as findings
from pipelines.analysis.headlines import area_name, percent
from pipelines.analysis.results import LEDGER_COUNTS, WEEKDAYS, Answers, Share
from schemas.violation_codes import code_name

BAR = 24
TOP_CODES = 10
TOP_AREAS = 6
LAST_DAYS = 7
LABEL = 34
_EIGHTHS = " ▏▎▍▌▋▊▉"
_HEIGHTS = "▁▂▃▄▅▆▇█"


def lines(found: Answers) -> Iterator[str]:
    """The answers, line by line."""
    sources = ", ".join(f"{v.source} {v.total:,}" for v in found.sources)
    yield f"{found.total:,} violations ({sources}), {findings.covered(found)}, New York time"
    if found.total:
        yield from _answers(found)
    yield from _heading("", "What is in the lake")
    yield from _ledger(found)


def _answers(found: Answers) -> Iterator[str]:
    yield from _heading("1", findings.part_of_day(found))
    parts = found.parts_of_day.items()
    yield from _shares((f"{name} {findings.PART_HOURS[name]}", share) for name, share in parts)
    hours = found.over_sources(lambda v: v.hours)
    yield f"  {'hours 0 to 23':{LABEL}} {sparkline([hours[hour] for hour in sorted(hours)])}"

    yield from _heading("2", findings.working_days(found))
    for name, share, days in (("working days", found.working_days, 5), ("weekends", found.weekends, 2)):
        yield f"{_share(name, share)}  {share.n / days:,.1f} a day"
    weekdays = found.over_sources(lambda v: v.weekdays)
    yield from _shares((WEEKDAYS[day], Share(n, found.total)) for day, n in weekdays.items())

    yield from _heading("3", findings.quarter(found))
    quarters = found.quarters.items()
    yield from _shares((f"{name} {findings.QUARTER_MONTHS[name]}", share) for name, share in quarters)

    yield from _heading("4", findings.codes(found))
    top = list(found.codes.items())[:TOP_CODES]
    cumulated = accumulate(share.n for _, share in top)
    for (code, share), n in zip(top, cumulated, strict=True):
        width = BAR * share.n / top[0][1].n
        yield f"{_share(code_name(code), share)}  Σ {percent(Share(n, found.total)):>6}  {bar(width)}"

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

    yield from _heading("", findings.fines(found))
    if found.fines is None:
        yield "  give it as --codes FILE: data.cityofnewyork.us/d/ncbg-6agr, as CSV"
    for code, fine in list(found.fines.codes.items() if found.fines else ())[:TOP_CODES]:
        yield _share(f"${fine.dollars or 0:,} {code_name(code)}", Share(fine.violations, found.total))

    yield from _heading("", "Where")
    for v in found.sources:
        areas = [(f"{v.source}: {area_name(v.source, a.name)}", Share(a.n, v.total)) for a in v.areas[:TOP_AREAS]]
        yield from _shares(areas)


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
    shown = label if len(label) <= LABEL else label[: LABEL - 1] + "…"
    return f"  {shown:{LABEL}} {share.n:>14,} {percent(share):>10}  {bar(width)}".rstrip()


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
