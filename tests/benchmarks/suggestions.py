"""``python -m tests.benchmarks.suggestions``: does a suggestion on the desk save time, and does it bias?

Officers are simulated, with a known right code for each alert: all that they do is an assumption, named in
:class:`Officer`; the rule of the suggestion, its counts and the comparison are the program's own. An officer who is
anchored takes the first suggested code without looking. The strength of that is not known, so it is varied.
"""

import argparse
import json
import random
import sqlite3
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from apps.console import suggestions
from apps.console.sampling import is_in_sample
from pipelines.analysis.suggestions import Timed, compare
from schemas.console_state import HELD_OUT, SHOWN
from schemas.violation_codes import NAMES

STRENGTHS: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
PLACES: Final = 40
NOON: Final = 1_768_496_400
"""Of 15 January 2026 in New York."""


class Officer(NamedTuple):
    """Assumptions. Times are medians in seconds, of a lognormal distribution with this spread."""

    look: float = 4.0
    """At picture and map."""
    type_code: float = 1.5
    """A code that the officer knows by heart."""
    by_heart: int = 8
    """How many codes, the most frequent ones."""
    search: float = 5.0
    """By words of its name."""
    read: float = 0.8
    """What is suggested."""
    accept: float = 0.7
    """F4 and Enter."""
    wrong: float = 0.08
    """How often the officer takes another code for the right one."""
    anchored: float = 0.0
    """How often the officer takes what is suggested first without looking."""
    spread: float = 0.35


class Result(msgspec.Struct, frozen=True):
    """Of one strength of anchoring."""

    anchored: float
    shown: int
    held_out: int
    seconds_shown: float
    """Median."""
    seconds_held_out: float
    time_ratio: tuple[float, float, float]
    """As `prestacop officers` estimates it, with its interval."""
    right_shown: float
    """The share of answers that are the right code."""
    right_held_out: float
    equal_shown: float
    """The share that is the likeliest code of the suggestion."""
    equal_held_out: float
    difference: tuple[float, float, float]


def simulate(officer: Officer, alerts: int, seed: int = 1) -> Result:
    """Let officers answer so many alerts, whose answers are counted for the suggestions of later ones."""
    chance = random.Random(seed)
    codes = sorted(NAMES)
    usual = sorted(codes, key=lambda _: chance.random())
    # Each place and hour has its own few codes beside the usual ones: weights of a heavy tail.
    habits = [[chance.paretovariate(0.8) for _ in codes] for _ in range(PLACES * 24)]
    often = [chance.paretovariate(0.8) for _ in range(PLACES)]
    by_heart = set(usual[: officer.by_heart])
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.executescript(files("apps.console").joinpath("schema.sql").read_text())
    answers: list[Timed] = []
    right = {SHOWN: 0, HELD_OUT: 0}
    for number in range(alerts):
        place, hour = chance.choices(range(PLACES), often)[0], chance.randrange(24)
        truth = chance.choices(usual, habits[24 * place + hour])[0]
        where: Any = {"latitude": 40.6 + place / 100 + 0.005, "longitude": -73.9, "raised_at": NOON + 3600.0 * hour}
        found = suggestions.suggest(connection, where)
        shown = found is not None and not is_in_sample("suggestion held out", str(number), suggestions.HELD_OUT)
        listed = [code for code, _ in found.codes] if found and shown else []
        code, seconds = _answer(officer, chance, truth, codes, by_heart, listed)
        suggestions.count_answer(connection, where, code)
        if found is not None:
            group = SHOWN if shown else HELD_OUT
            answers.append(Timed(group, seconds, code == found.codes[0][0]))
            right[group] += code == truth
    connection.close()
    return _result(officer.anchored, answers, right)


def _answer(
    officer: Officer, chance: random.Random, truth: int, codes: Sequence[int], by_heart: set[int], listed: list[int]
) -> tuple[int, float]:
    def time(median: float) -> float:
        return median * chance.lognormvariate(0, officer.spread)

    seconds = time(officer.read) if listed else 0.0
    if listed and chance.random() < officer.anchored:
        return listed[0], seconds + time(officer.accept)
    code = chance.choice(codes) if chance.random() < officer.wrong else truth
    seconds += time(officer.look)
    if code in listed:
        return code, seconds + time(officer.accept)
    return code, seconds + time(officer.type_code if code in by_heart else officer.search)


def _result(anchored: float, answers: list[Timed], right: dict[str, int]) -> Result:
    found = compare(answers)
    groups = {group.shown: group for group in found.groups}
    shown, held = groups[SHOWN], groups[HELD_OUT]
    assert found.time is not None
    assert found.bias is not None
    return Result(
        anchored=anchored,
        shown=shown.answers,
        held_out=held.answers,
        seconds_shown=shown.seconds,
        seconds_held_out=held.seconds,
        time_ratio=(found.time.estimate, found.time.low, found.time.high),
        right_shown=right[SHOWN] / shown.answers,
        right_held_out=right[HELD_OUT] / held.answers,
        equal_shown=shown.followed,
        equal_held_out=held.followed,
        difference=(found.bias.estimate, found.bias.low, found.bias.high),
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.suggestions", description=__doc__)
    parser.add_argument("--alerts", type=int, default=20_000, metavar="N", help="a strength (default: 20000)")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    arguments = parser.parse_args()
    results = [simulate(Officer(anchored=each), arguments.alerts, arguments.seed) for each in STRENGTHS]
    print("Simulated officers: their times, errors and anchoring are assumptions, not measurements.\n")
    print("anchored  time shown  held out  ratio (95 %)        right shown  held out  equal: shown - held out (95 %)")
    for each in results:
        ratio, low, high = each.time_ratio
        more, least, most = (100 * share for share in each.difference)
        print(
            f"{each.anchored:>8.0%}  {each.seconds_shown:>8.1f} s  {each.seconds_held_out:>6.1f} s"
            f"  {ratio:.2f} ({low:.2f} – {high:.2f})  {each.right_shown:>11.1%}  {each.right_held_out:>8.1%}"
            f"  {more:+.1f} ({least:+.1f} – {most:+.1f}) points"
        )
    print()
    for text in answers(results):
        print(text)
    if arguments.json:
        assumptions = {**Officer()._asdict(), "places": PLACES, "alerts": arguments.alerts, "seed": arguments.seed}
        del assumptions["anchored"]
        content = {"simulated": True, "assumptions": assumptions, "results": msgspec.to_builtins(results)}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


def answers(results: Sequence[Result]) -> list[str]:
    """The two questions, each with its answer."""
    faster = [each for each in results if each.time_ratio[2] < 1]
    worse = [each for each in results if each.right_shown < each.right_held_out - 0.02]
    first = min(worse, key=lambda each: each.anchored) if worse else None
    return [
        f"Does it lower the time to answer in the simulation? With {len(faster)} of {len(results)} strengths.",
        "Does it bias? Not by two points of right answers with any strength."
        if first is None
        else f"Does it bias? From {first.anchored:.0%} anchored on: {first.right_shown:.1%} of answers are right, "
        f"{first.right_held_out:.1%} where it is held out.",
    ]


if __name__ == "__main__":
    sys.exit(main())
