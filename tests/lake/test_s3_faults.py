"""Ambiguous answers of S3 to writes, and how long they are retried."""

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lake import Lake, lake
from lake.ledger import commit, is_committed
from lake.retries import PATIENCE, PATIENCE_S, patience
from lake.storage import S3Storage, open_file, storage
from lake.tables import Table, form_of
from lake.vacuum import vacuum
from pipelines.cli.worker_errors import known
from pipelines.maintenance.undo_unit import undo
from schemas.errors import InputUnusable, NotPermitted, OutputUnusable, PrestaCopError, ServiceUnavailable
from schemas.lake import Dataset, Source
from sources.streams.plans import Plan, agree
from tests.faulty_s3 import Fault, FaultyS3, Weather, without_waiting
from tests.lakes import Said, all_views, compacted, write

CONFLICT = "409 Conflict", "ConditionalRequestConflict"
UNAVAILABLE = "503 Service Unavailable", "SlowDown"
ROOT = "s3://lake/lake"


@pytest.mark.parametrize("times", [1, 3])
def test_a_conflict_of_conditional_puts_says_nothing_about_who_won(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    without_waiting(monkeypatch)
    row = write(ROOT, "a", [Said("one")])
    fault = faulty_s3.fail("PUT", *CONFLICT, times)
    assert commit(ROOT, [row]) == ["a"]
    assert lake(ROOT).as_committed["unit"].to_pylist() == ["a"]
    assert fault.seen == times


def test_endless_conflicts_are_an_outage_and_commit_nothing(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = without_waiting(monkeypatch)
    row = write(ROOT, "a", [Said("one")])
    faulty_s3.fail("PUT", *CONFLICT, float("inf"))
    with pytest.raises(ServiceUnavailable, match="ConditionalRequestConflict"):
        commit(ROOT, [row])
    assert PATIENCE_S - 10 <= clock.now <= PATIENCE_S


def test_a_conflict_while_somebody_else_wins_is_a_loss(faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)
    store = storage(ROOT)
    assert store.put_new("x", b"theirs")
    faulty_s3.fail("PUT", *CONFLICT)
    assert not store.put_new("x", b"ours")
    assert store.read("x") == b"theirs"


@pytest.mark.parametrize("answer", [UNAVAILABLE, CONFLICT, ("500 Internal Server Error", "InternalError")])
def test_a_put_that_was_applied_and_whose_answer_was_lost_is_ours(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, answer: tuple[str, str]
) -> None:
    without_waiting(monkeypatch)
    row = write(ROOT, "a", [Said("one")])
    faulty_s3.fail("PUT", *answer, applied=True)
    assert commit(ROOT, [row]) == ["a"]
    assert commit(ROOT, [row]) == []
    faulty_s3.fail("PUT", *answer, applied=True)
    assert agree(ROOT, "stream", 0, 0, Plan(10, 1)) == Plan(10, 1)
    assert agree(ROOT, "stream", 0, 0, Plan(20, 1)) == Plan(10, 1)


def test_what_we_put_ourselves_and_is_called_somebody_elses_is_ours(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something on the way has sent a request twice, and gives the second one's answer."""
    without_waiting(monkeypatch)
    row = write(ROOT, "a", [Said("one")])
    twice = "412 Precondition Failed", "PreconditionFailed"
    fault = faulty_s3.fail("PUT", *twice, applied=True)
    assert commit(ROOT, [row]) == ["a"]
    assert fault.seen == 1
    fault = faulty_s3.fail("PUT", *twice, applied=True)
    storage(ROOT).probe()
    assert fault.seen == 1


def test_a_key_that_exists_and_does_not_is_retried_and_then_reported(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object is removed meanwhile, or a server that was killed keeps metadata of an object that it never wrote."""
    without_waiting(monkeypatch)
    answer = "412 Precondition Failed", "PreconditionFailed"
    faulty_s3.fail("PUT", *answer)
    assert storage(ROOT).put_new("a", b"data")
    assert storage(ROOT).read("a") == b"data"
    faulty_s3.fail("PUT", *answer, float("inf"))
    with pytest.raises(ServiceUnavailable, match="refuses to write lake/b because it exists") as raised:
        storage(ROOT).put_new("b", b"data")
    on_a_worker = RuntimeError(f"schemas.errors.ServiceUnavailable: {raised.value} [while running 'Commit']")
    assert isinstance(known(on_a_worker), ServiceUnavailable)


def test_an_object_that_a_worker_does_not_find_is_no_fault_of_the_program(faulty_s3: FaultyS3) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        storage(ROOT).read("a")
    on_a_worker = RuntimeError(f"FileNotFoundError: {raised.value} [while running 'Read']")
    for error in (raised.value, on_a_worker):
        assert isinstance(known(error), InputUnusable)
        assert f"{ROOT}/a" in str(known(error))


@pytest.mark.parametrize("times", [1, 3])
def test_a_conflict_while_a_table_is_created_is_not_taken_for_a_table(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    without_waiting(monkeypatch)
    fault = faulty_s3.fail("PUT", *CONFLICT, times)
    assert Table(ROOT, form_of(Dataset.STATS), create=True).number == 0
    assert fault.seen == times


def test_an_answer_that_lost_its_text_does_not_make_a_missing_object_a_missing_bucket(faulty_s3: FaultyS3) -> None:
    storage(ROOT)
    faulty_s3.faults.append(Fault("GET", "", "", cut=True))
    with pytest.raises(FileNotFoundError):
        storage(ROOT).read("a")
    faulty_s3.faults.append(Fault("GET", "", "", cut=True))
    faulty_s3.refuse_everything("404 Not Found", "")
    with pytest.raises(InputUnusable, match="there is no bucket"):
        storage(ROOT).read("a")


@pytest.mark.parametrize("answer", [UNAVAILABLE, ("429 Too Many Requests", "TooManyRequests"), ("502 Bad Gateway", "")])
def test_an_outage_is_waited_out_by_time(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, answer: tuple[str, str]
) -> None:
    clock = without_waiting(monkeypatch)
    store = storage(ROOT)
    for name, put in itertools.product(("a", "b"), (store.put, store.put_new)):
        begun = clock.now
        fault = faulty_s3.fail("PUT", *answer, 20)
        put(f"{name}/{put.__name__}", b"data")
        assert fault.seen == 20
        assert clock.now - begun < PATIENCE_S
    faulty_s3.fail("DELETE", *answer, 20)
    store.delete("a/put")


def test_the_environment_sets_the_retry_time(faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = without_waiting(monkeypatch)
    monkeypatch.setenv(PATIENCE, "600")
    faulty_s3.fail("PUT", *UNAVAILABLE, float("inf"))
    with pytest.raises(ServiceUnavailable, match="SlowDown"):
        storage(ROOT).put("a", b"")
    assert 590 <= clock.now <= 600


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf"])
def test_a_retry_time_that_is_no_number_of_seconds_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE, given)
    with pytest.raises(OutputUnusable, match=f"{PATIENCE} is '{given}'; write a number of seconds"):
        patience()


def lake_of_one_unit() -> Lake:
    """A lake of a violation."""
    commit(ROOT, [write(ROOT, "a", [Said("one")])])
    return lake(ROOT)


def read_input(lk: Lake) -> bytes:
    """The same file as an input."""
    with open_file(f"{ROOT}/{lk.files(Dataset.QUALIFIED)[0]}") as file:
        return file.read()


READS: dict[str, tuple[str, Callable[[Lake], Any]]] = {
    "is committed": ("HEAD", lambda _: is_committed(ROOT, Source.DRONES, "a")),
    "listing": ("GET", lambda _: storage(ROOT).list("ledger")),
    "ledger": ("GET", lambda _: lake(ROOT).as_committed.num_rows),
    "file": ("GET", lambda lk: storage(ROOT).read(lk.files(Dataset.QUALIFIED)[0])),
    "dataset": ("GET", lambda lk: lk.dataset(Dataset.QUALIFIED).to_table().num_rows),
    "query": ("GET", lambda lk: lk.sql("SELECT count(*) FROM qualified").num_rows),
    "head of a file": ("HEAD", lambda lk: lk.dataset(Dataset.QUALIFIED).to_table().num_rows),
    "input": ("GET", read_input),
}


@pytest.mark.parametrize(
    ("read", "answer"),
    [
        *((read, answer) for read in READS for answer in (UNAVAILABLE, ("500 Internal Server Error", "InternalError"))),
        # The AWS SDK in pyarrow takes 429 for final (decision 079): of scans it is not waited out.
        *((read, ("429 Too Many Requests", "TooManyRequests")) for read in ("listing", "file")),
    ],
)
def test_reading_waits_an_outage_out(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, read: str, answer: tuple[str, str]
) -> None:
    without_waiting(monkeypatch)
    lk = lake_of_one_unit()
    method, call = READS[read]
    fault = faulty_s3.fail(method, *answer, 4)
    assert call(lk)
    assert fault.seen == 4


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (UNAVAILABLE, ServiceUnavailable),
        (("403 Forbidden", "AccessDenied"), NotPermitted),
        (("403 Forbidden", "RequestTimeTooSkewed"), NotPermitted),
        (("400 Bad Request", "ExpiredToken"), NotPermitted),
    ],
)
def test_an_outage_while_reading_has_its_own_error(
    faulty_s3: FaultyS3,
    monkeypatch: pytest.MonkeyPatch,
    read: str,
    answer: tuple[str, str],
    error: type[PrestaCopError],
) -> None:
    without_waiting(monkeypatch)
    monkeypatch.setenv(PATIENCE, "0.1")
    lk = lake_of_one_unit()
    method, call = READS[read]
    faulty_s3.fail(method, *answer, float("inf"))
    with pytest.raises(Exception) as raised:  # noqa: PT011  # DuckDB has one of its own
        call(lk)
    assert type(known(raised.value)) is error
    assert "\n" not in str(known(raised.value))


def steps(root: str) -> Iterator[Callable[[], object]]:
    """A small life of a lake."""
    yield lambda: commit(root, [write(root, unit, [Said(unit)]) for unit in "ab"])
    yield lambda: agree(root, "stream", 0, 0, Plan(10, 1))
    yield lambda: compacted(root)
    yield lambda: vacuum(root, timedelta(0))
    yield lambda: undo(root, ["a"], "undo")


def succeeds(step: Callable[[], object]) -> bool:
    """Whether a step does; if not, a service has not answered."""
    try:
        step()
    except Exception as error:
        if isinstance(known(error), ServiceUnavailable):
            return False
        raise
    return True


def test_a_lake_is_the_same_whatever_call_fails(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``python -m tests.recovery.s3_faults`` does it with the commands, thousands of times."""
    without_waiting(monkeypatch)
    monkeypatch.setenv(PATIENCE, "1")
    real = S3Storage.table_options
    pauses = {"backoff_config.init_backoff": "1ms", "backoff_config.max_backoff": "20ms"}
    monkeypatch.setattr(S3Storage, "table_options", lambda store: real(store) | pauses)
    faulty_s3.weather = Weather(7, 0.1)
    for step in steps(ROOT):
        while not succeeds(step):
            pass
    faulty_s3.weather = None
    for step in steps(str(tmp_path)):
        step()
    found, expected = lake(ROOT), lake(str(tmp_path))
    assert all_views(found)["qualified"] == all_views(expected)["qualified"]
    assert found.changes.num_rows == expected.changes.num_rows
    assert faulty_s3.failed > 10
