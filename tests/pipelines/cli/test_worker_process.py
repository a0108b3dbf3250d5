"""Worker processes: a run with them behaves as one with threads, and none is left behind."""

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from lake import lake
from lake.retries import Requests
from messaging.urls import kafka_url
from pipelines.cli import worker_process
from pipelines.cli.runner import beam_options
from pipelines.cli.runner_options import for_long_input
from pipelines.violations.inputs import LONG_BYTES, Planned, PlannedInput
from schemas.lake import Source
from sources.files.history import HistoryCsv
from sources.files.input import Files
from sources.input import Split
from sources.progress import Progress, progress
from sources.streams.kafka import KafkaStream
from terminal.arguments import Parser
from tests.support import make_messages, run_graph, wait_until
from transforms.refusals import ANY_NUMBER

PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


def command(tmp_path: Path, *flags: str) -> list[str]:
    """A run with worker processes over six messages."""
    messages = make_messages(tmp_path / "m.jsonl", 2, 3)
    paths = ("--messages", f"file:{messages}", "--lake", str(tmp_path / "lake"))
    return [sys.executable, "-m", "prestacop", "run", *paths, *PROCESSES, *flags]


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a command; waits until it has both."""
    found: list[psutil.Process] = []

    def both() -> bool:
        with suppress(psutil.NoSuchProcess):  # one of another kind has just ended
            found[:] = [c for c in psutil.Process(process.pid).children() if worker_process.__name__ in c.cmdline()]
        return len(found) == 2

    def still_runs() -> None:
        assert process.poll() is None, process.communicate()

    wait_until(both, still_runs)
    return found


def mode(options: PipelineOptions) -> str:
    return str(options.view_as(DirectOptions).direct_running_mode)


def test_a_long_input_has_processes_unless_the_user_or_the_machine_has_other_ideas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    options = beam_options(Parser(), ["--job_name=x"])
    assert (mode(options), mode(for_long_input(options))) == ("multi_threading", "multi_processing")
    assert for_long_input(options).get_all_options(drop_default=True) == {
        **options.get_all_options(drop_default=True),
        "direct_running_mode": "multi_processing",
    }
    for given in (["--direct_running_mode=multi_threading"], ["--direct_num_workers=1"], ["--runner=FlinkRunner"]):
        options = beam_options(Parser(), [*given, "--listen-on-all"])
        assert for_long_input(options) is options


def test_an_input_is_long_by_its_messages() -> None:
    stream = KafkaStream(kafka_url("kafka://127.0.0.1:1/topic"), Source.DRONES)
    file = Files("history.csv", HistoryCsv())

    def is_long(of: KafkaStream | Files, *sizes: int) -> bool:
        return Planned([PlannedInput(of, [Split(None, size) for size in sizes], ANY_NUMBER)], "lake").is_long()

    assert is_long(stream, LONG_BYTES - 1, 1)
    assert not is_long(stream, LONG_BYTES - 1)
    assert not is_long(file, LONG_BYTES)


def test_counters_of_another_process_are_added() -> None:
    there, here = Progress(), Progress()
    there.advance(100)
    there.came("drones", 3, 900)
    here.came("drones", 1, 200)
    here.add(there.counts())
    assert (here.bytes_done, here.message_bytes, here.read) == (100, 1_100, Counter(drones=4))
    made, all_made = Requests(), Requests()
    made.count("PutObject")
    made.count_failed(OSError())
    all_made.count("PutObject")
    all_made.add(made.counts())
    assert (all_made.made, all_made.failed) == (Counter(PutObject=2), 1)


def test_each_count_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    total = Counter({"read drones": 5})
    monkeypatch.setattr(worker_process, "counts", lambda: Counter(total))
    reports = io.StringIO()
    with worker_process.reported(reports):
        wait_until(reports.getvalue)
        total["read drones"] = 7
    assert [json.loads(line) for line in reports.getvalue().splitlines()] == [{"read drones": 5}, {"read drones": 2}]


@pytest.mark.embedded
def test_progress_of_worker_processes_is_that_of_the_run(tmp_path: Path) -> None:
    messages = make_messages(tmp_path / "m.jsonl", 2, 3)
    before = progress.bytes_done
    options = PipelineOptions([], direct_running_mode="multi_processing", direct_num_workers=2)
    run_graph(tmp_path / "lake", messages=messages, options=options)
    assert progress.bytes_done - before == messages.stat().st_size
    assert lake(str(tmp_path / "lake")).sql("SELECT sum(rows_in)::BIGINT AS n FROM ledger").to_pylist() == [{"n": 6}]


@pytest.mark.embedded
def test_each_line_that_workers_log_is_json_and_units_are_fields(tmp_path: Path) -> None:
    words = command(tmp_path, "--log-level=info", "--log-format=json")
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert [record["source"] for record in records if "unit" in record] == ["drones"]


@pytest.mark.embedded
def test_an_error_of_a_worker_process_has_its_own_exit_code_in_one_line(tmp_path: Path) -> None:
    words = command(tmp_path, "--quiet", "--history", str(tmp_path / "no.csv"))
    (tmp_path / "no.csv").write_bytes(b"\0" * 10_000)
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.embedded
def test_a_worker_process_that_is_killed_ends_the_run_with_4(tmp_path: Path) -> None:
    words = command(tmp_path, "--quiet")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        one, other = workers(process)
        one.kill()
        _, printed = process.communicate(timeout=300)
    assert process.returncode == 4
    assert printed.startswith("error: a worker process ended with signal 9; run the same command again: it resumes")
    assert len(printed.splitlines()) == 1
    wait_until(lambda: not other.is_running())


@pytest.mark.embedded
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_worker_processes_end_with_the_command(tmp_path: Path, number: signal.Signals, code: int) -> None:
    words = command(tmp_path, "--quiet")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        found = workers(process)
        process.send_signal(number)
        _, printed = process.communicate(timeout=300)
    assert process.returncode == code
    assert "Traceback" not in printed
    wait_until(lambda: not any(worker.is_running() for worker in found))
