"""--log-level and --log-format."""

import argparse
import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest

from schemas.errors import DiskFull, PrestaCopError
from schemas.lake import Source
from sources.units import Unit
from terminal import logs
from terminal.arguments import command_parser
from terminal.bars import Bar
from terminal.exits import ended
from terminal.logs import TracebacksAsRecords
from tests.logs import own_log

_WORKER_TRACEBACK = "Traceback (most recent call last):\n  File x\nValueError: of a worker\n"


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    with own_log():
        yield


def parser() -> argparse.ArgumentParser:
    return command_parser("x", "x", "x")


def ours(error: Exception) -> PrestaCopError:
    assert isinstance(error, PrestaCopError)
    return error


def fails() -> int:
    raise DiskFull("no room")


def test_a_command_ends_with_one_line_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        logging.getLogger("apache_beam.runners").error("a second copy")
        logging.getLogger("botocore").info("a request")
        print(_WORKER_TRACEBACK, file=TracebacksAsRecords(sys.stderr))
        return fails()

    assert ended(command, "", ours) == 5
    assert capsys.readouterr().err == "error: no room\n"


@pytest.mark.parametrize("level", ["info", "debug"])
def test_an_operator_sees_the_logs_of_beam_and_its_workers(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser().parse_args(["--log-level", level])
    logging.getLogger("apache_beam.runners").error("of a runner")
    logging.getLogger("botocore").info("a request")
    print(_WORKER_TRACEBACK, file=TracebacksAsRecords(sys.stderr))
    printed = capsys.readouterr().err
    for text in ("apache_beam.runners error: of a runner", "botocore info: a request", "ValueError: of a worker"):
        assert text in printed


def test_debug_shows_where_an_error_was_raised(capsys: pytest.CaptureFixture[str]) -> None:
    parser().parse_args(["--log-level", "debug"])
    ended(fails, "", ours)
    printed = capsys.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert printed.endswith("error: no room\n")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser().parse_args(["--log-format", "json", "--log-level", "debug"])
    logging.getLogger("apache_beam.runners").warning("two\nlines")
    print(_WORKER_TRACEBACK, file=TracebacksAsRecords(sys.stderr))
    ended(fails, "", ours)
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [record["message"] for record in records] == [
        "two\nlines",
        "ValueError: of a worker",
        "raised here:",
        "no room",
    ]
    assert {*records[0]} == {"time", "level", "logger", "message"}
    assert records[1]["traceback"] == _WORKER_TRACEBACK.rstrip()
    assert (records[-1]["level"], records[-1]["logger"], records[-1]["exit_code"]) == ("error", "prestacop", 5)
    offset = datetime.fromisoformat(records[0]["time"]).utcoffset()
    assert offset is not None
    assert not offset


def test_json_has_the_unit_its_source_partition_and_offset(capsys: pytest.CaptureFixture[str]) -> None:
    parser().parse_args(["--log-format", "json"])
    unit = Unit(Source.DRONES, "kafka:fleet/3", 7, 9, "drones-kafka-fleet-00003-0000000000000000007")
    logging.getLogger("x").warning("it has dead letters", extra=unit.about)
    record = json.loads(capsys.readouterr().err)
    fields = {name: record.get(name) for name in ("source", "unit", "partition", "offset")}
    assert fields == {"source": "drones", "unit": unit.name, "partition": 3, "offset": 7}


def test_a_record_is_written_at_once_beside_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    parser().parse_args(["--log-format", "json"])
    written: list[str] = []
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "write", written.append)
    monkeypatch.setattr(sys, "stderr", stderr)
    logging.getLogger("x").error("an error")
    (line,) = written
    assert line.endswith("}\n")


def test_json_has_no_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    parser().parse_args(["--log-format", "json"])
    for _ in Bar(range(3), desc="x", unit="x", quiet=False, seconds=0.0):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "text",
    [
        "{'Authorization': b'AWS4-HMAC-SHA256 Credential=AK, Signature=hunter22'}",
        "Authorization: Bearer hunter22",
        "sasl.password=hunter22",
        "https://x/hook?token=hunter22&x=1",
        "X-Amz-Security-Token: hunter22",
        "smtp said hunter22 is wrong",
    ],
)
def test_no_secret_is_logged(text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hunter22")
    logs.set_up()
    logging.getLogger("x").warning("%s", text)
    printed = capsys.readouterr().err
    assert "hunter22" not in printed
    assert "***" in printed


def test_a_child_process_gets_the_same_log() -> None:
    assert logs.flags() == []
    parser().parse_args(["--log-format", "json", "--log-level", "info"])
    assert logs.flags() == ["--log-level=info", "--log-format=json"]


def test_a_closed_stderr_does_not_end_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    logs.set_up()
    monkeypatch.setattr(sys, "stderr", Gone())
    logging.getLogger("x").warning("nobody")


def test_a_filter_of_one_command_is_gone_in_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    """The console limits its log; nothing that runs after it in this process is limited."""

    class Nothing(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            return False

    logs.set_up()
    logs.add_filter(Nothing())
    logging.getLogger("x").warning("hidden")
    assert capsys.readouterr().err == ""
    assert ended(fails, "", ours) == 5
    assert capsys.readouterr().err == "error: no room\n"
