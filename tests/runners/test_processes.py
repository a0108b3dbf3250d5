"""Children end with the process that started them, background processes outlive it, and no others are ended."""

import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from runners import processes
from runners.processes import Background, Child, Record
from schemas.errors import InputUnusable, ServiceUnavailable
from tests.support import wait_until

pytestmark = pytest.mark.embedded

SLEEP = ["sleep", "60"]
PATH = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Background]:
    """A process that is killed after the test."""
    own = Background(tmp_path)
    yield own
    own.kill()


def test_a_background_process_is_found_until_it_is_stopped(process: Background) -> None:
    assert process.find() is None
    record = process.start(SLEEP, PATH, 7)
    assert process.find() == record
    assert process.stop()
    assert not psutil.pid_exists(record.pid)
    assert process.find() is None
    assert not process.stop()


def test_a_background_process_outlives_the_command_that_started_it(process: Background, tmp_path: Path) -> None:
    code = f"from pathlib import Path; from runners.processes import Background; \
        Background(Path({str(tmp_path)!r})).start({SLEEP}, {PATH}, 7)"
    subprocess.run([sys.executable, "-c", code], check=True)
    record = process.find()
    assert record is not None
    assert process.stop()


def test_a_background_process_that_died_is_not_found_even_as_a_zombie(process: Background) -> None:
    record = process.start(["sh", "-c", "echo why it died >&2"], PATH, 7)
    end = time.monotonic() + 20
    while process.find() and time.monotonic() < end:
        time.sleep(0.01)
    assert process.find() is None
    assert not psutil.pid_exists(record.pid)
    assert process.tail() == "why it died"


def test_a_background_process_is_killed_if_it_ignores_sigterm(
    process: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    record = process.start(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], PATH, 7)
    end = time.monotonic() + 20
    while process.tail() != "ready" and time.monotonic() < end:
        time.sleep(0.01)
    assert process.stop()
    assert not psutil.pid_exists(record.pid)


@pytest.mark.parametrize("end", [Background.stop, Background.kill])
def test_a_foreign_process_with_a_reused_pid_is_not_ended(tmp_path: Path, end: object) -> None:
    assert callable(end)
    with subprocess.Popen(SLEEP) as foreign:
        created = psutil.Process(foreign.pid).create_time()
        earlier = Record(foreign.pid, created - 3600, 7)
        (tmp_path / "process.json").write_bytes(msgspec.json.encode(earlier))
        assert Background(tmp_path).find() is None
        assert not end(Background(tmp_path))
        assert foreign.poll() is None
        foreign.kill()


@pytest.fixture
def make_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Child]:
    """Makes children that run some lines of code."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def make(code: str) -> Child:
        (tmp_path / "some_child.py").write_text(code)
        return Child("worker", "some_child", ["hello"], tmp_path / "worker.log")

    return make


def test_the_error_of_a_child_that_ended_has_its_exit_code_and_last_lines(make_child: Callable[[str], Child]) -> None:
    child = make_child("import sys; print('\\n'.join(map(str, range(50)))); sys.exit(f'{sys.argv} no more')")
    child.start()
    wait_until(lambda: not child.is_running())
    with pytest.raises(ServiceUnavailable, match=r"(?s)ended with exit code 1; the last lines of .*log:\n.*no more$"):
        child.check_running()
    assert "some_child.py', 'hello'] no more" in child.output()
    with pytest.raises(ServiceUnavailable, match="exit code 1"):
        child.check_exit_code()


def test_a_child_that_ended_is_started_again_and_its_error_has_its_exit_code(
    make_child: Callable[[str], Child],
) -> None:
    child = make_child("import sys; print('here'); sys.exit(3)")
    for times in (1, 2):
        child.start()
        wait_until(lambda: not child.is_running())
        assert child.output() == times * "here\n"
        assert (type(child.why_ended()), child.why_ended().exit_code) == (InputUnusable, 3)


LONG = "import time; print('ready', flush=True); time.sleep(300)"


def test_a_child_is_stopped_by_sigterm_or_killed(make_child: Callable[[str], Child]) -> None:
    child = make_child(LONG)
    child.start()
    wait_until(lambda: "ready" in child.output())
    child.check_running()
    child.kill()
    with pytest.raises(ServiceUnavailable, match="was killed by signal 9"):
        child.check_running()
    obedient = make_child(f"import signal, sys; signal.signal(15, lambda *_: sys.exit(130)); {LONG}")
    obedient.start()
    wait_until(lambda: "ready" in obedient.output())
    obedient.stop()
    obedient.check_exit_code()
    assert not obedient.is_running()
    starting = make_child(LONG)  # it has no handler yet
    starting.start()
    starting.stop()
    starting.check_exit_code()


def test_a_child_that_ignores_sigterm_is_killed_with_its_children(
    make_child: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.5)
    child = make_child(
        "import signal, subprocess; signal.signal(15, signal.SIG_IGN)\n"
        f"process = subprocess.Popen(['sleep', '300']); print('pid', process.pid, flush=True); {LONG}"
    )
    child.start()
    wait_until(lambda: "ready" in child.output())
    grandchild = psutil.Process(int(child.output().split()[1]))
    child.stop()
    assert not child.is_running()
    wait_until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_a_child_ends_when_its_parent_is_killed(make_child: Callable[[str], Child], tmp_path: Path) -> None:
    log = make_child(LONG).log
    code = f"""
import time
from pathlib import Path
from runners.processes import Child
child = Child("worker", "some_child", [], Path({str(log)!r}))
child.start()
print(child._process.pid, flush=True)
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        wait_until(lambda: log.exists() and "ready" in log.read_text())
        parent.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_log_is_appended_to_with_timestamps_for_its_owner_alone_and_rotated(
    make_child: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 2_000)
    for word in ("first", "second"):
        child = make_child(f"print('{word}')")
        child.log.touch(0o644)
        child.start()
        wait_until(lambda child=child: not child.is_running())  # type: ignore[misc]
        assert child.output() == f"{word}\n"
    lines = child.log.read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["first", "second"]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line) for line in lines)
    child = make_child("print('x' * 100 + '\\n' * 5_000)")
    child.start()
    wait_until(lambda: not child.is_running())
    child.output()
    logs = sorted(child.log.parent.glob("worker.log*"))
    assert [log.name for log in logs] == ["worker.log", *(f"worker.log.{n}" for n in range(1, processes.LOGS))]
    assert all(log.stat().st_size <= 2_000 for log in logs)
    assert {stat.S_IMODE(log.stat().st_mode) for log in logs} == {0o600}
