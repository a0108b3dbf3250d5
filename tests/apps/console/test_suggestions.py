"""What officers answered before: the rule, the control group, what is counted, and that nothing is preselected."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.console import suggestions
from apps.console.access import Role
from apps.console.codes import Codes
from apps.console.console import Console, Wiring
from apps.console.desk import Held
from apps.console.suggestions import FEWEST_ANSWERS, Suggestion
from tests.apps.console.support import CODES, Clock, add_account, alert, officer, quick, raise_alerts

HERE = {"latitude": 40.7581, "longitude": -73.9855}
ELSEWHERE = {"latitude": 40.6782, "longitude": -73.9442}


@pytest.fixture
def console(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """Without a control group; an officer."""
    monkeypatch.setattr(suggestions, "HELD_OUT", 0.0)
    made = Console(tmp_path / "state", Codes(CODES), Wiring(), clock, quick, suggestions=True)
    add_account(made, "byrne", Role.OFFICER)
    yield made
    made.stop()


def answered(console: Console, at: float, codes: list[int], **where: float) -> None:
    """Alerts at a place, answered with these codes."""
    for code in codes:
        name = f"m{console.database.number('SELECT count(*) FROM alerts')}"
        raise_alerts(console, alert(name, at, **where))
        held = console.desk.pick("byrne")
        assert held is not None
        console.desk.answer("byrne", held.lease, code)


def next_at(console: Console, at: float, **where: float) -> Held:
    """Take a further alert there."""
    raise_alerts(console, alert(f"next {at}", at, **where))
    held = console.desk.pick("byrne")
    assert held is not None
    return held


def test_it_backs_off_from_place_and_hour_to_the_place_and_to_all_places(console: Console, clock: Clock) -> None:
    clock.now -= clock.now % 3600
    answered(console, clock.now - 7200, [40] * (FEWEST_ANSWERS - 1), **HERE)
    assert next_at(console, clock.now - 7199, **HERE).suggestion is None
    console.desk.answer("byrne", _lease(console), 21)
    here = Suggestion("at this place and hour", 20, ((40, 19),))
    assert next_at(console, clock.now - 7198, **HERE).suggestion == here  # 21 has less than a tenth
    console.desk.answer("byrne", _lease(console), 21)
    assert next_at(console, clock.now - 3599, **HERE).suggestion == Suggestion("at this place", 21, ((40, 19),))
    console.desk.answer("byrne", _lease(console), 21)
    found = next_at(console, clock.now - 3598, **ELSEWHERE).suggestion
    assert found == Suggestion("at all places", 22, ((40, 19), (21, 3)))


def _lease(console: Console) -> str:
    held = console.desk.held("byrne")
    assert held is not None
    return held.lease


def test_second_answers_and_repeated_ones_are_not_counted(console: Console, clock: Clock) -> None:
    raise_alerts(console, alert("a", clock.now))
    late = console.desk.pick("byrne")
    assert late is not None
    clock.now = late.deadline
    held = console.desk.pick("other")
    assert held is not None
    for _ in range(2):
        console.desk.answer("other", held.lease, 40)
    console.desk.answer("byrne", late.lease, 14)
    rows = console.database.rows("SELECT code, n FROM answered_before WHERE area = ''")
    assert [tuple(row) for row in rows] == [(40, 1)]


def test_a_tenth_of_alerts_shows_none_and_an_officer_switches_it_off(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(console, clock.now, [40] * FEWEST_ANSWERS, **HERE)
    monkeypatch.setattr(suggestions, "HELD_OUT", 1.0)
    assert next_at(console, clock.now, **HERE).suggestion is None
    console.desk.answer("byrne", _lease(console), 40)
    monkeypatch.setattr(suggestions, "HELD_OUT", 0.0)
    assert next_at(console, clock.now + 1, **HERE).suggestion is not None
    browser = officer(console, "byrne")
    page = browser.get("/desk").text
    assert "What officers answered before at this place and hour, 21 answers" in page
    assert 'data-suggested="40"' in page
    assert 'aria-selected="true"' not in page
    assert 'name="code" value' not in page  # Enter takes nothing that was not chosen
    told = browser.post("/desk", "/desk/suggestions", wanted="off", order="oldest").text
    assert "is hidden" in told
    assert "data-suggested" in told  # the alert at hand stays as it is
    console.desk.answer("byrne", _lease(console), 40)
    assert next_at(console, clock.now + 2, **HERE).suggestion is None
    assert "Show what officers answered before" in browser.get("/desk").text
    rows = console.database.rows("SELECT shown, count(*) FROM suggestions GROUP BY shown ORDER BY shown")
    assert [tuple(row) for row in rows] == [("held out", 1), ("off", 1), ("shown", 1)]
    browser.post("/desk", "/desk/suggestions", wanted="on", order="oldest")
    console.desk.answer("byrne", _lease(console), 40)
    assert next_at(console, clock.now + 3, **HERE).suggestion is not None


def test_a_console_without_the_flag_counts_and_shows_none(console: Console, clock: Clock) -> None:
    console.desk.suggestions = False
    answered(console, clock.now, [40] * FEWEST_ANSWERS, **HERE)
    assert next_at(console, clock.now, **HERE).suggestion is None
    assert console.database.number("SELECT count(*) FROM suggestions") == 0
    assert console.database.number("SELECT sum(n) FROM answered_before") == 3 * FEWEST_ANSWERS
