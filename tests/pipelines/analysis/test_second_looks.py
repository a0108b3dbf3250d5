"""Agreement by code and officer is that of simulated officers who answered at a console."""

import random
from collections import Counter
from pathlib import Path

import pytest

from apps.console.codes import Codes
from apps.console.console import Console, Wiring
from pipelines.analysis.officers import main
from pipelines.analysis.second_looks import Agreement, second_looks
from schemas.errors import InputUnusable
from tests.apps.console.support import CODES, Clock, alert, quick, raise_alerts
from tests.endings import code_of
from tests.pipelines.analysis.test_officers import Answer, fill

OFFICERS = ("byrne", "ortiz", "kelly")
RIGHT = {"byrne": 0.95, "ortiz": 0.8, "kelly": 0.6}


def work(folder: Path, n: int) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Officers answer that many alerts, and look at each again; gives the first and the second answers."""
    choices, clock = random.Random(3), Clock()
    console = Console(folder, Codes(CODES), Wiring(), clock, quick, second_look=1.0)
    raise_alerts(console, *(alert(f"m{number}", clock.now - n + number) for number in range(n)))
    truth, pairs = [], []
    for order in range(2 * n):
        picks = ((name, console.desk.pick(name)) for name in choices.sample(OFFICERS, 3))
        name, held = next((name, held) for name, held in picks if held is not None)
        code = 14 if choices.random() < RIGHT[name] else choices.choice((21, 40))
        assert console.desk.answer(name, held.lease, code) is not None
        if order < n:
            truth.append((name, code))
        else:
            pairs.append((truth[int(held.alert["message_id"][1:])], (name, code)))
    raise_alerts(console, alert("waits", clock.now))
    last = console.desk.pick("byrne")
    assert last is not None
    console.desk.answer("byrne", last.lease, 14)
    console.stop()
    return pairs


def test_agreement_is_counted_by_code_and_officer_with_intervals(tmp_path: Path) -> None:
    pairs = work(tmp_path, 60)
    assert len(pairs) == 60
    found = second_looks(tmp_path, {"kelly": 1})
    assert found.waiting == 1
    agreed = sum(first[1] == second[1] for first, second in pairs)
    assert (found.all.looks, found.all.agreed) == (60, agreed)
    assert found.all.low < found.all.share < found.all.high
    by_code = Counter(first[1] for first, _ in pairs)
    assert {each.key: each.looks for each in found.codes} == by_code
    # Others than those of the lake are numbered after them, by how many looks they have.
    looks = Counter(name for pair in pairs for name, _ in pair)
    names = ["kelly", *sorted(("byrne", "ortiz"), key=lambda name: (-looks[name], name))]
    assert {each.key: each.looks for each in found.officers} == {n: looks[name] for n, name in enumerate(names, 1)}
    differ = Counter(tuple(sorted((first[1], second[1]))) for first, second in pairs if first[1] != second[1])
    assert {(pair.code, pair.other): pair.looks for pair in found.confusions} == differ
    assert found.confusions[0].looks == max(differ.values())


def test_the_interval_is_wilsons(tmp_path: Path) -> None:
    from pipelines.analysis.second_looks import _agreement  # noqa: PLC0415

    # Newcombe, 1998, Statistics in Medicine 17, table I, method 3: 81 of 263, and 20 of 20
    for (agreed, looks), expected in {(81, 263): (0.2553, 0.3662), (0, 20): (0, 0.1611)}.items():
        found = _agreement(0, agreed, looks)
        assert (found.low, found.high) == pytest.approx(expected, abs=5e-5)


def test_the_command_prints_agreement_and_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(str(tmp_path / "lake"), [Answer("m1", 0, "kelly", 30, 14)])
    work(tmp_path / "console", 20)
    flags = ("--lake", str(tmp_path / "lake"), "--console", str(tmp_path / "console"))
    assert code_of(main, *flags) == 0
    printed = capsys.readouterr().out
    assert "20 second looks, 1 more wait" in printed
    assert "agreement by officer" in printed
    assert not any(name in printed for name in OFFICERS)
    assert code_of(main, *flags, "--since", "2999-01-01", "--format", "json") == 0
    assert '"looks": 0' in capsys.readouterr().out


def test_without_looks_the_interval_is_everything(tmp_path: Path) -> None:
    Console(tmp_path, Codes(CODES), Wiring(), Clock(), quick).stop()
    found = second_looks(tmp_path, {})
    assert found.all == Agreement(0, 0, 0, 0.0, 0.0, 1.0)
    assert (found.codes, found.officers, found.confusions) == ([], [], [])


@pytest.mark.parametrize("content", [None, b"", b"no database" * 100])
def test_what_is_no_console_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "console.sqlite").write_bytes(content)
    with pytest.raises(InputUnusable, match="console"):
        second_looks(tmp_path, {})
