"""Processes that outlive who started them, and no others, are ended."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from runners.services import background
from runners.services.background import Background, Record

SLEEP = ["sleep", "60"]
PATH = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Background]:
    """One that is ended with the test."""
    own = Background(tmp_path)
    yield own
    own.kill()


def test_a_process_is_found_until_it_is_ended(process: Background) -> None:
    assert process.find() is None
    record = process.start(SLEEP, PATH, 7)
    assert process.find() == record
    assert process.stop()
    assert not psutil.pid_exists(record.pid)
    assert process.find() is None
    assert not process.stop()


def test_it_goes_on_when_the_command_that_started_it_has_ended(process: Background, tmp_path: Path) -> None:
    code = f"from pathlib import Path; from runners.services.background import Background; \
        Background(Path({str(tmp_path)!r})).start({SLEEP}, {PATH}, 7)"
    subprocess.run([sys.executable, "-c", code], check=True)
    record = process.find()
    assert record is not None
    assert process.stop()


def test_one_that_died_is_not_found_though_nobody_has_collected_it(process: Background) -> None:
    record = process.start(["sh", "-c", "echo why it died >&2"], PATH, 7)
    end = time.monotonic() + 20
    while process.find() and time.monotonic() < end:
        time.sleep(0.01)
    assert process.find() is None
    assert not psutil.pid_exists(record.pid)
    assert process.tail() == "why it died"


def test_one_that_does_not_listen_is_killed(process: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "STOP_SECONDS", 0.2)
    record = process.start(["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"], PATH, 7)
    end = time.monotonic() + 20
    while process.tail() != "deaf" and time.monotonic() < end:
        time.sleep(0.01)
    assert process.stop()
    assert not psutil.pid_exists(record.pid)


@pytest.mark.parametrize("end", [Background.stop, Background.kill])
def test_a_process_that_has_the_pid_of_an_earlier_one_is_left_alone(tmp_path: Path, end: object) -> None:
    assert callable(end)
    with subprocess.Popen(SLEEP) as stranger:
        created = psutil.Process(stranger.pid).create_time()
        earlier = Record(stranger.pid, created - 3600, 7)
        (tmp_path / "process.json").write_bytes(msgspec.json.encode(earlier))
        assert Background(tmp_path).find() is None
        assert not end(Background(tmp_path))
        assert stranger.poll() is None
        stranger.kill()
