"""The effect of suggestions is estimated as it was simulated."""

import random
from pathlib import Path

import pytest

from pipelines.analysis.suggestions import Timed, compare
from tests.benchmarks.suggestions import Officer, simulate


def test_a_known_effect_is_within_its_intervals() -> None:
    chance = random.Random(4)
    answers = [
        Timed(shown, chance.lognormvariate(1.5, 0.4) * factor, chance.random() < share)
        for shown, n, factor, share in (("shown", 4_500, 0.8, 0.7), ("held out", 500, 1.0, 0.6))
        for _ in range(n)
    ]
    found = compare(answers)
    assert found.time is not None
    assert found.bias is not None
    assert found.time.low < 0.8 < found.time.high < 1
    assert 0 < found.bias.low < 0.1 < found.bias.high
    assert [group.answers for group in found.groups] == [4_500, 500]


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe, 1998, Statistics in Medicine 17, page 873, example (a), method 10: 56/70 and 48/80
    answers = [Timed(shown, 1.0, n < k) for shown, k, m in (("shown", 56, 70), ("held out", 48, 80)) for n in range(m)]
    bias = compare([*answers[:-1], answers[-1]._replace(seconds=2.0)]).bias
    assert bias is not None
    assert (bias.estimate, bias.low, bias.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_a_group_of_one_has_no_estimate(tmp_path: Path) -> None:
    found = compare([Timed("shown", 1.0, True), Timed("held out", 1.0, True)])
    assert (found.time, found.bias) == (None, None)


def test_officers_who_are_anchored_are_faster_and_less_often_right() -> None:
    free, anchored = (simulate(Officer(anchored=each), 1_500) for each in (0.0, 0.6))
    assert free.right_shown == pytest.approx(free.right_held_out, abs=0.08)
    assert anchored.right_shown < anchored.right_held_out - 0.1
    assert anchored.seconds_shown < free.seconds_shown
    assert anchored.difference[1] > 0
