"""``prestacop officers``: the officers' work, and which codes drones should learn next.

An answer in the lake has its time and the alert that it answers, not when the officer took the alert. The work on it is
therefore estimated: it began with the alert, or with the officer's answer before it if that was later, and lasted for
:data:`LONGEST_S` at most, which is how long the console leases an alert. A pause
before an answer counts as work, up to that limit. Only first answers count; officers are numbered by how much they
answered, and not named.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from lake import Lake, filled_lake
from lake.changes import reading
from pipelines.analysis import flags
from pipelines.analysis.second_looks import Agreement, SecondLooks, second_looks
from pipelines.analysis.suggestions import Suggestions, suggestions
from pipelines.cli.app import run
from schemas.history import TIME_ZONE
from schemas.lake import Dataset, Source
from schemas.violation_codes import code_name

LONGEST_S: Final = 120
"""The duration of a lease of the console."""

_WORK: Final = f"""
    CREATE TEMP TABLE work AS
    SELECT answered_code AS code, seconds_to_answer AS waited, hour(event_time AT TIME ZONE '{TIME_ZONE}') AS hour,
           officer_id, dense_rank() OVER (ORDER BY answers DESC, officer_id) AS officer,
           greatest(least(epoch(answered_at - greatest(event_time, before)), {LONGEST_S}), 0) AS seconds
    FROM (
        SELECT *, lag(answered_at) OVER (PARTITION BY officer_id ORDER BY answered_at, answer_id) AS before,
               count(*) OVER (PARTITION BY officer_id) AS answers
        FROM alerts WHERE answered AND {{where}}
    )
"""
_SUMS: Final = """
    SELECT {key}, count(*) AS answers, sum(seconds) / 60 AS minutes, sum(seconds) / sum(sum(seconds)) OVER () AS share,
           median(seconds) AS seconds, median(waited) AS waited, quantile_cont(waited, 0.95) AS waited_p95
    FROM work GROUP BY ALL ORDER BY {order}
"""


class Work(msgspec.Struct, frozen=True):
    """The answers of one code, officer or hour."""

    key: int
    """A violation code (0: no violation), an officer's number, or an hour of New York's clock in which alerts came."""
    answers: int
    minutes: float
    """Of work, estimated."""
    share: float
    """Of all minutes."""
    seconds: float
    """Of work, the median answer."""
    waited: float
    """Seconds from the event to the answer, median."""
    waited_p95: float


class Officers(msgspec.Struct, frozen=True):
    """Of a lake."""

    alerts: int
    open: int
    codes: list[Work]
    """The code with most minutes first."""
    officers: list[Work]
    hours: list[Work]
    second_looks: SecondLooks | None = None
    """In the database of the console, where that is read."""
    suggestions: Suggestions | None = None


def officers(lk: Lake, since: datetime | None = None, console: Path | None = None) -> Officers:
    """The work of officers.

    Args:
        console: the folder of a console's state, for its second looks and suggestions.
        since: only alerts of events since then count, and files of earlier months are not opened; None for all.
    """
    # The history has no answers.
    parts = {dataset: lk.parts(dataset).of(Source.DRONES) for dataset in (Dataset.QUALIFIED, Dataset.UNQUALIFIED)}
    where = "true"
    if since:
        parts = {dataset: of.since(since) for dataset, of in parts.items()}
        where = f"event_time >= '{since.isoformat()}'::TIMESTAMPTZ"
    with lk.spilling(parts, "FROM alerts") as connection:
        connection.execute(_WORK.format(where=where))
        alerts, unanswered = connection.sql(
            f"SELECT count(*), count(*) FILTER (NOT answered) FROM alerts WHERE {where}"
        ).fetchall()[0]
        codes, by_officer, hours = (
            [Work(*row) for row in connection.sql(_SUMS.format(key=key, order=order)).fetchall()]
            for key, order in (("code", "minutes DESC, code"), ("officer", "officer"), ("hour", "hour"))
        )
        numbers = dict(connection.sql("SELECT DISTINCT officer_id, officer FROM work").fetchall())
    looks = second_looks(console, numbers, since) if console else None
    effect = suggestions(console, since) if console else None
    return Officers(alerts, unanswered, codes, by_officer, hours, looks, effect)


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.officers()
    arguments = parser.parse_args(argv)
    run(lambda: _command(arguments), "The lake was only read; run it again.")


def _command(arguments: argparse.Namespace) -> int:
    with reading(arguments.lake, "officers"):
        found = officers(filled_lake(arguments.lake), arguments.since, arguments.console)
    if arguments.format == "json":
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        print("\n".join(_text(found)))
    return 0


def _text(found: Officers) -> Iterator[str]:
    yield f"{found.alerts:,} alerts, {found.open:,} of them open"
    if found.codes:
        yield from _table("codes that drones should learn next", found.codes, _code)
        yield from _table("officers", found.officers, lambda number: f"officer {number}")
        yield from _table("alerts by hour, New York", found.hours, lambda hour: f"{hour:02d}:00")
        yield ""
        yield f"minutes, work: estimated since the alert or the officer's answer before, at most {LONGEST_S} s."
        yield "to answer: from the event to the answer."
    if found.second_looks:
        yield from _looks_text(found.second_looks)
    if found.suggestions and found.suggestions.groups:
        yield from _suggestions_text(found.suggestions)


def _looks_text(looks: SecondLooks) -> Iterator[str]:
    yield ""
    yield f"{looks.all.looks:,} second looks, {looks.waiting:,} more wait"
    if looks.all.looks:
        yield from _agreements("agreement by code of the first answer", looks.codes, _code)
        yield from _agreements("agreement by officer", looks.officers, lambda number: f"officer {number}")
        yield from _agreements("agreement", [looks.all], lambda _: "all")
        yield ""
        yield "95 %: Wilson's interval. By officer a look counts for both: neither answer is the truth."
    if looks.confusions:
        yield ""
        yield "codes of one alert that differ"
        yield from (f"{pair.looks:>7,}  {_code(pair.code)}, {_code(pair.other)}" for pair in looks.confusions)


def _suggestions_text(found: Suggestions) -> Iterator[str]:
    yield ""
    yield f"{'what officers answered before was':33}  {'answers':>7}  {'time':>7}  {'equal to it':>11}"
    for group in found.groups:
        yield f"{group.shown:33}  {group.answers:>7,}  {group.seconds:>5.1f} s  {group.followed:>11.1%}"
    if found.time and found.bias:
        ratio, bias = found.time, found.bias
        yield ""
        yield f"time to answer, shown to held out: x {ratio.estimate:.2f} (95 %: {ratio.low:.2f} – {ratio.high:.2f})"
        yield (
            f"answers equal to it, shown minus held out: {100 * bias.estimate:+.1f} points "
            f"(95 %: {100 * bias.low:+.1f} – {100 * bias.high:+.1f}): bias, or help to find the right code"
        )


def _agreements(title: str, rows: Sequence[Agreement], name: Callable[[int], str]) -> Iterator[str]:
    width = max(len(title), *(len(name(row.key)) for row in rows))
    yield ""
    yield f"{title:{width}}  {'looks':>7}  {'agree':>7}  {'share':>6}  {'95 %':>15}"
    for row in rows:
        yield (
            f"{name(row.key):{width}}  {row.looks:>7,}  {row.agreed:>7,}  {row.share:>6.1%}  "
            f"{row.low:>6.1%} – {row.high:>6.1%}"
        )


def _code(code: int) -> str:
    return f"{code_name(code)} ({code})" if code else "No violation"


def _table(title: str, rows: Sequence[Work], name: Any) -> Iterator[str]:
    width = max(len(title), *(len(name(row.key)) for row in rows))
    yield ""
    yield f"{title:{width}}  {'answers':>7}  {'minutes':>8}  {'share':>6}  {'work':>6}  {'to answer':>9}  {'95 %':>8}"
    for row in rows:
        yield (
            f"{name(row.key):{width}}  {row.answers:>7,}  {row.minutes:>8,.1f}  {row.share:>6.1%}  "
            f"{row.seconds:>4.0f} s  {row.waited:>7,.0f} s  {row.waited_p95:>6,.0f} s"
        )
