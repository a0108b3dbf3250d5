"""What suggestions on the desk do: answers under a shown one are compared with those of the control group.

Intervals of 95 %: that of the ratio of times is Welch's of their logarithms, that of the difference of shares is
Newcombe's (1998, Statistics in Medicine 17, method 10, made of two Wilson intervals).
"""

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from scipy.stats import ttest_ind

from pipelines.analysis.console_state import reading_state
from pipelines.analysis.second_looks import wilson
from schemas.console_state import HELD_OUT, OFF, SHOWN

_SHORTEST_S: Final = 0.1
"""A shorter time to answer counts as this."""
_ANSWERS: Final = """
    SELECT shown, max(answered_at - taken_at, 0.0), answers.violation_code = suggestions.code
    FROM suggestions JOIN leases ON leases.id = suggestions.lease JOIN answers ON answers.lease = leases.id
    JOIN alerts ON alerts.id = answers.alert WHERE raised_at >= ?
"""


class Timed(NamedTuple):
    """An answer."""

    shown: str
    seconds: float
    """Since the officer took the alert."""
    followed: bool
    """Whether it is the likeliest code of the suggestion."""


class Group(msgspec.Struct, frozen=True):
    """The answers under a suggestion that was shown, held out, or switched off by the officer."""

    shown: str
    answers: int
    seconds: float
    """Median from taking the alert to the answer."""
    followed: float
    """The share that is the likeliest code of the suggestion."""


class Effect(msgspec.Struct, frozen=True):
    """An estimate with its interval."""

    estimate: float
    low: float
    high: float


class Suggestions(msgspec.Struct, frozen=True):
    """Of a console."""

    groups: list[Group]
    time: Effect | None
    """Time to answer, shown relative to held out: below 1 is faster. None while a group has fewer than two answers."""
    bias: Effect | None
    """The share of answers that are the suggested code, shown minus held out."""


def suggestions(folder: Path, since: datetime | None = None) -> Suggestions:
    """The effect in the state of a console, which may run.

    Args:
        folder: ``--data`` of the console.
        since: only alerts raised since then count; None for all.
    """
    with reading_state(folder) as connection:
        rows = connection.execute(_ANSWERS, [since.timestamp() if since else 0.0]).fetchall()
    return compare([Timed(shown, seconds, bool(followed)) for shown, seconds, followed in rows])


def compare(answers: Sequence[Timed]) -> Suggestions:
    """The same of these answers."""
    seconds = {
        name: np.array([each.seconds for each in answers if each.shown == name]) for name in (SHOWN, HELD_OUT, OFF)
    }
    followed = {name: sum(each.followed for each in answers if each.shown == name) for name in seconds}
    groups = [
        Group(name, len(times), float(np.median(times)), followed[name] / len(times))
        for name, times in seconds.items()
        if len(times)
    ]
    shown, held = seconds[SHOWN], seconds[HELD_OUT]
    if min(len(shown), len(held)) < 2:
        return Suggestions(groups, None, None)
    bias = _difference((followed[SHOWN], len(shown)), (followed[HELD_OUT], len(held)))
    return Suggestions(groups, _ratio(shown, held), bias)


def _ratio(
    times: "np.ndarray[tuple[int], np.dtype[np.float64]]", others: "np.ndarray[tuple[int], np.dtype[np.float64]]"
) -> Effect:
    logs = [np.log(np.maximum(each, _SHORTEST_S)) for each in (times, others)]
    interval = ttest_ind(*logs, equal_var=False).confidence_interval(0.95)
    return Effect(*(math.exp(x) for x in (logs[0].mean() - logs[1].mean(), interval.low, interval.high)))


def _difference(some: tuple[int, int], others: tuple[int, int]) -> Effect:
    (p, low, high), (q, q_low, q_high) = wilson(*some), wilson(*others)
    return Effect(p - q, p - q - math.hypot(p - low, q_high - q), p - q + math.hypot(high - p, q - q_low))
