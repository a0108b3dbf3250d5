"""The work of officers is that of a simulated queue, whose truth the lake does not have."""

import json
import random
from collections import defaultdict
from datetime import UTC, datetime
from heapq import heapify, heapreplace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from lake import lake
from lake.files import in_ledger, write_unit
from lake.ledger import commit
from pipelines.analysis.officers import LONGEST_S, main, officers
from schemas.lake import DUPLICATES, SCHEMAS, Dataset, Source
from tests.endings import code_of
from transforms.outputs import OUTPUT_DATASETS

NOON = datetime(2026, 1, 31, 17, tzinfo=UTC).timestamp()
"""In New York."""


class Answer(NamedTuple):
    """An officer's answer to an alert; times are seconds after noon."""

    alert: str
    raised: float
    officer: str | None = None
    at: float = 0.0
    code: int = 21


def fill(root: str, answers: list[Answer]) -> None:
    """A lake of these alerts, answered where they have an officer."""
    alerts = {answer.alert: answer for answer in answers}.values()
    unqualified = [_row(answer.alert, answer.raised, 0, "raw") for answer in alerts]
    qualified = [
        _row(f"a{number}", answer.at, answer.code, "officer") | {"answers": answer.alert, "officer_id": answer.officer}
        for number, answer in enumerate(answers)
        if answer.officer
    ]
    files, counts = [], dict.fromkeys((*map(str, OUTPUT_DATASETS), DUPLICATES), 0)
    for dataset, rows in ((Dataset.QUALIFIED, qualified), (Dataset.UNQUALIFIED, unqualified)):
        for number, row in enumerate(rows):
            row["record"] = number
        batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMAS[dataset])
        files += write_unit(root, dataset, Source.DRONES, "u", [batch])
        counts[str(dataset)] = len(rows)
    n = len(qualified) + len(unqualified)
    place: dict[str, Any] = {"unit": "u", "source": "drones", "path": "u", "range_start": 0, "range_end": n}
    commit(root, [{**place, **counts, "rows_in": n, "counted": 0, **in_ledger(files)}])


def _row(message: str, seconds: float, code: int, status: str) -> dict[str, Any]:
    when = datetime.fromtimestamp(NOON + seconds, UTC)
    return {"unit": "u", "event_time": when, "violation_code": code, "message_id": message, "status": status}


def test_the_work_by_code_is_that_of_a_simulated_queue(tmp_path: Path) -> None:
    choices = random.Random(1)
    mean = {14: 40.0, 21: 8.0, 38: 20.0}
    free = [(0.0, f"officer-{number}") for number in range(3)]
    heapify(free)
    truth: dict[int, float] = defaultdict(float)
    answers, raised = [], 0.0
    for number in range(1_500):
        raised += choices.expovariate(1 / 8)
        code = choices.choices(list(mean), (1, 6, 2))[0]
        at, officer = free[0]
        work = min(choices.gammavariate(4, mean[code] / 4), LONGEST_S)
        done = max(at, raised) + work
        heapreplace(free, (done, officer))
        truth[code] += work / 60
        answers.append(Answer(f"m{number}", raised, officer, done, code))
    fill(str(tmp_path), answers)
    found = officers(lake(str(tmp_path)))
    assert {work.key: work.minutes for work in found.codes} == pytest.approx(dict(truth), rel=0.01)
    # The code with most answers is not the one with most work.
    assert [work.key for work in found.codes] == sorted(truth, key=lambda code: -truth[code])
    assert sum(work.answers for work in found.officers) == found.alerts == 1_500
    assert [work.key for work in found.officers] == [1, 2, 3]
    assert sum(work.share for work in found.codes) == pytest.approx(1)


def test_a_pause_is_no_work_and_a_second_answer_does_not_count(tmp_path: Path) -> None:
    fill(
        str(tmp_path),
        [
            Answer("m1", 0, "kelly", 30, 14),
            Answer("m1", 0, "murphy", 45, 21),  # not the first
            Answer("m2", 10, "kelly", 3_700, 14),  # after an hour's pause
            Answer("m3", 3_690, "kelly", 3_720, 0),  # the work began with the answer before
            Answer("m4", 3_800, None),
        ],
    )
    found = officers(lake(str(tmp_path)))
    assert (found.alerts, found.open) == (4, 1)
    work = {work.key: (work.answers, round(work.minutes * 60)) for work in found.codes}
    assert work == {14: (2, 30 + LONGEST_S), 0: (1, 20)}
    assert {work.key: work.answers for work in found.hours} == {12: 2, 13: 1}
    assert [(work.waited, work.waited_p95) for work in found.hours if work.key == 13] == [(30, 30)]


def test_since_opens_no_file_of_an_earlier_month(tmp_path: Path) -> None:
    later = 5 * 86_400
    fill(str(tmp_path), [Answer("m1", 0, "kelly", 30), Answer("m2", later, "kelly", later + 20, 14)])
    opened = lake(str(tmp_path))
    for path in tmp_path.glob("*/source=drones/month=2026-01/*.parquet"):
        path.write_bytes(b"not Parquet")
    found = officers(opened, datetime(2026, 2, 2, tzinfo=UTC))
    assert [(work.key, work.answers, round(work.minutes * 60)) for work in found.codes] == [(14, 1, 20)]


def test_the_command_prints_text_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(str(tmp_path), [Answer("m1", 0, "kelly", 30, 14), Answer("m2", 1, None)])
    for form in ("table", "json"):
        assert code_of(main, "--lake", str(tmp_path), "--format", form) == 0
        printed = capsys.readouterr().out
        assert "kelly" not in printed
        if form == "json":
            assert json.loads(printed)["codes"][0]["key"] == 14
        else:
            assert "2 alerts, 1 of them open" in printed
            assert "officer 1" in printed


def test_without_answers_there_is_no_work(tmp_path: Path) -> None:
    fill(str(tmp_path), [Answer("m1", 0)])
    found = officers(lake(str(tmp_path)))
    assert (found.alerts, found.open, found.codes, found.officers, found.hours) == (1, 1, [], [], [])
