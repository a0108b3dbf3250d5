"""The command: exit codes, messages that say what to do, and a dry run that does nothing."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.violations.options import window_seconds
from pipelines.violations.run import FAILURES, _run_every
from schemas.errors import ServiceUnavailable
from tests.support import make_history, make_messages


def command(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it as a user does."""
    line = [sys.executable, "-m", "prestacop", "run", "--quiet", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ | (env or {}), timeout=300)


@pytest.mark.embedded
def test_the_summary_counts_rows_in_and_out_and_dead_letters_by_reason(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 5_000, "--seed", "2")
    messages = make_messages(tmp_path / "m.jsonl", 10, 100, "--corrupt", "0.05")
    done = command("--history", history, "--messages", f"file:{messages}", "--lake", tmp_path / "lake")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "rows in" in done.stdout
    assert "5,000" in done.stdout
    assert "time_unreadable" in done.stdout
    again = command("--history", history, "--messages", f"file:{messages}", "--lake", tmp_path / "lake")
    assert again.returncode == 0
    assert again.stdout.startswith("0 units, 0 rows")
    assert "nothing new" in again.stdout


def unusable(tmp_path: Path) -> dict[str, bytes | None]:
    """Files that cannot be read at all."""
    history = make_history(tmp_path / "good.csv", 500).read_bytes()
    return {
        "missing.csv": None,
        "empty.csv": b"",
        "picture.csv": bytes(range(128, 256)) * 40,
        "other.csv": b"a,b,c\n1,2,3\n",
        "old mac.csv": b"Summons Number,Issue Date,Violation Time,Violation Code\r1,07/06/2015,0143A,21\r",
        "no code.csv": history.replace(b"Violation Code", b"Code", 1),
        "one line.csv": history.replace(b"\n", b","),
        "cut.csv.gz": gzip.compress(history)[:2000],
    }


@pytest.mark.embedded
@pytest.mark.parametrize(
    "name",
    [
        "missing.csv",
        "empty.csv",
        "picture.csv",
        "other.csv",
        "no code.csv",
        "old mac.csv",
        "one line.csv",
        "cut.csv.gz",
    ],
)
def test_what_is_no_history_ends_with_3_and_is_named(tmp_path: Path, name: str) -> None:
    content = unusable(tmp_path)[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = command("--history", tmp_path / name, "--lake", tmp_path / "lake")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.embedded
def test_a_header_alone_is_a_history_without_rows(tmp_path: Path) -> None:
    header = make_history(tmp_path / "h.csv", 500).read_bytes().partition(b"\n")
    (tmp_path / "header.csv").write_bytes(header[0] + header[1])
    done = command("--history", tmp_path / "header.csv", "--lake", tmp_path / "lake")
    assert done.returncode == 0
    assert done.stdout.startswith("0 units, 0 rows")


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--history", "x.csv"], "--lake is missing"),
        (["--lake", "lake"], "nothing to read"),
        (["--history", "x.csv", "--lake", "lake", "--colour"], "--colour"),
        (["--history", "x.csv", "--lake", "lake", "--window", "7m"], "is not a window"),
        (["--messages", "ftp://x", "--lake", "lake"], "file:PATH"),
        (["--messages", "file:x", "--messages", "file:y", "--lake", "lake"], "--messages: it is given twice"),
        (["--history", "x.csv", "--lake", "hdfs://x"], ""),
    ],
)
def test_wrong_usage_ends_with_2(tmp_path: Path, arguments: list[str], expected: str) -> None:
    (tmp_path / "x.csv").write_text("Summons Number,Issue Date,Violation Time,Violation Code\n")
    arguments = [str(tmp_path / a) if a == "x.csv" else a for a in arguments]
    done = command(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr


@pytest.mark.embedded
def test_a_service_that_does_not_answer_ends_with_4(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 500)
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    done = command("--history", history, "--lake", "s3://lake/x", env=keys | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    assert done.returncode == 4
    assert "AWS_ENDPOINT_URL" in done.stderr


def test_a_bucket_that_is_not_there_ends_with_3_and_is_named(tmp_path: Path, s3: str) -> None:
    history = make_history(tmp_path / "h.csv", 500)
    done = command("--history", history, "--lake", f"{s3}-of-nobody/x")
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: {s3}-of-nobody/x: ")
    assert "check the name and AWS_ENDPOINT_URL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.embedded
def test_a_full_disk_ends_with_5_and_a_later_run_resumes(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        history = make_history(tmp_path / "h.csv", 20_000)
        done = command("--history", history, "--lake", small / "lake")
        assert done.returncode == 5
        assert "no room left" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
        assert command("--history", history, "--lake", small / "lake").returncode == 0
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.embedded
def test_live_panes_of_a_message_and_a_dead_letter(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("40.7;-74;10;1768478400;d1;raw\nno message\n")
    live = tmp_path / "live.jsonl"
    done = command("--messages", f"file:{tmp_path}/m.txt", "--live", f"file:{live}", "--lake", tmp_path / "lake")
    assert done.returncode == 0
    *panes, fleet = sorted(map(json.loads, live.read_text().splitlines()), key=lambda line: "drones" in line)
    assert fleet == {"drones": [["d1", 1768478400, None, 40.7, -74, 10]]}
    by_code = {(pane["dataset"], pane["n"], pane["timing"]) for pane in panes if "areas" not in pane}
    assert by_code == {("positions", 1, "early"), ("dead_letters", 1, "early"), (None, 0, "on_time")}
    by_area = [(pane["dataset"], pane["areas"], pane["timing"]) for pane in panes if "areas" in pane]
    assert by_area == [("positions", {"40.70,-74.00": 1}, "on_time")]


@pytest.mark.embedded
def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 500)
    done = command("--history", history, "--lake", tmp_path / "lake", "--dry-run")
    assert done.returncode == 0
    assert "1 unit of work" in done.stdout
    assert "qualified/source=history/month=YYYY-MM/UNIT.parquet" in done.stdout
    assert not (tmp_path / "lake").exists()


@pytest.mark.embedded
def test_ctrl_c_prints_how_to_resume(tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 400_000)
    line = [sys.executable, "-m", "prestacop", "run", "--history", str(history), "--lake", str(tmp_path / "lake")]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(tmp_path.glob("lake/**/*.parquet")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=300)
    if process.returncode == 0:
        pytest.skip("the run was over before it could be stopped")
    assert process.returncode == 130
    assert f"prestacop run --history {history}" in printed
    assert subprocess.run(line, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("15m", 900), ("1h", 3600), ("6h", 21600), ("1d", 86400)])
def test_windows_divide_an_hour_or_are_whole_hours(text: str, seconds: int) -> None:
    assert window_seconds(text) == seconds


@pytest.mark.parametrize(
    ("error", "runs"),
    [
        (RuntimeError("Traceback ...\nschemas.errors.InputUnusable: messages were deleted"), 1),
        (RuntimeError("Traceback ...\nschemas.errors.NotPermitted: s3://lake: AccessDenied"), 1),
        (RuntimeError("Traceback ...\nschemas.errors.InputChanged: run it again"), FAILURES),
        (RuntimeError("Traceback ...\nschemas.errors.ServiceUnavailable: no answer"), FAILURES),
        (RuntimeError("java.lang.Exception: an executor is gone"), FAILURES),
        (ServiceUnavailable("no answer"), FAILURES),
    ],
)
def test_every_retries_what_another_run_may_fix(error: Exception, runs: int) -> None:
    tried: list[int] = []

    def once() -> None:
        tried.append(1)
        raise error

    with pytest.raises(type(error)) as raised:
        _run_every(once, 0)
    assert raised.value is error
    assert len(tried) == runs
