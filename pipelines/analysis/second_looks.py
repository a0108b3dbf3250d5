"""How often two officers agree: the second looks in the database of a console.

Neither answer is the truth, so officers are compared with one another: a look counts for both of its officers. The
intervals are Wilson's (E. B. Wilson, 1927, JASA 22), which stay within 0 and 1 however few looks there are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from scipy.stats import binomtest

from pipelines.analysis.console_state import reading_state

MOST_CONFUSIONS: Final = 10
_LOOKS: Final = """
    SELECT answers.officer, answers.violation_code, look.officer, look.violation_code, count(*)
    FROM second_looks AS look JOIN alerts ON alerts.id = look.alert JOIN answers ON answers.alert = look.alert
    WHERE counts AND look.lease IS NOT NULL AND raised_at >= ? GROUP BY 1, 2, 3, 4
"""
_WAITING: Final = """
    SELECT count(*) FROM second_looks JOIN alerts ON id = alert WHERE lease IS NULL AND raised_at >= ?
"""


class Agreement(msgspec.Struct, frozen=True):
    """How often the second answer was the first one."""

    key: int
    """The code of the first answer, or the number of an officer who gave one of the two; of all looks 0."""
    looks: int
    agreed: int
    share: float
    low: float
    """Of the interval that has the share of all alerts with 95 %."""
    high: float


class Confusion(msgspec.Struct, frozen=True):
    """Two codes that officers gave to one alert; the order does not matter."""

    code: int
    other: int
    looks: int


class SecondLooks(msgspec.Struct, frozen=True):
    """Of a console."""

    waiting: int
    all: Agreement
    codes: list[Agreement]
    """The code with most looks first."""
    officers: list[Agreement]
    confusions: list[Confusion]
    """The most frequent ones."""


class _Looks(NamedTuple):
    first: str
    code: int
    second: str
    second_code: int
    n: int


def second_looks(folder: Path, numbers: Mapping[str, int], since: datetime | None = None) -> SecondLooks:
    """The second looks in the state of a console, which may run.

    Args:
        folder: ``--data`` of the console.
        numbers: of the officers; others get the numbers after them.
        since: only alerts raised since then count; None for all.
    """
    began = since.timestamp() if since else 0.0
    with reading_state(folder) as connection:
        looks = [_Looks(*row) for row in connection.execute(_LOOKS, [began])]
        (waiting,) = connection.execute(_WAITING, [began]).fetchone()
    seen = Counter({name: 0 for look in looks for name in (look.first, look.second)})
    for look in looks:
        seen.update({look.first: look.n, look.second: look.n})
    others = [name for name, _ in sorted(seen.items(), key=lambda item: (-item[1], item[0])) if name not in numbers]
    numbered = {**numbers, **{name: len(numbers) + place for place, name in enumerate(others, 1)}}
    pairs: Counter[tuple[int, int]] = Counter()
    for look in looks:
        if look.code != look.second_code:
            pairs[min(look.code, look.second_code), max(look.code, look.second_code)] += look.n
    by_officer = _agreements((numbered[name], look) for look in looks for name in (look.first, look.second))
    most = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:MOST_CONFUSIONS]
    return SecondLooks(
        waiting=waiting,
        all=next(iter(_agreements((0, look) for look in looks)), Agreement(0, 0, 0, 0.0, 0.0, 1.0)),
        codes=_agreements((look.code, look) for look in looks),
        officers=sorted(by_officer, key=lambda agreement: agreement.key),
        confusions=[Confusion(*codes, n) for codes, n in most],
    )


def wilson(k: int, n: int) -> tuple[float, float, float]:
    """The share k of n, and the ends of its interval of 95 %."""
    interval = binomtest(k, n).proportion_ci(method="wilson")
    return k / n, float(interval.low), float(interval.high)


def _agreements(looks: Iterable[tuple[int, _Looks]]) -> list[Agreement]:
    """By key, that with most looks first."""
    found: dict[int, Counter[bool]] = {}
    for key, look in looks:
        found.setdefault(key, Counter())[look.code == look.second_code] += look.n
    made = [_agreement(key, counts[True], counts.total()) for key, counts in found.items()]
    return sorted(made, key=lambda agreement: (-agreement.looks, agreement.key))


def _agreement(key: int, agreed: int, looks: int) -> Agreement:
    return Agreement(key, looks, agreed, *wilson(agreed, looks))
