"""The console's command line: what it refuses, and how it says so."""

import socket
from pathlib import Path

import pytest

from apps.console.command import main

TOPICS = ["--alerts", "kafka://127.0.0.1:1/alerts", "--answers", "kafka://127.0.0.1:1/drones"]


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    """Run it; gives the exit code and what it said last."""
    try:
        code = main([*TOPICS, *flags])
    except SystemExit as end:
        code = int(end.code or 0)
    return code, capsys.readouterr().err.splitlines()[-1]


@pytest.mark.embedded
def test_a_port_that_is_taken_ends_it_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, printed = refused(capsys, "--data", str(tmp_path), "--port", str(port))
    assert code == 4
    assert printed.startswith(f"error: cannot listen at 127.0.0.1:{port}: Address already in use")
    assert printed.endswith("; name another --port")


@pytest.mark.parametrize(
    ("flags", "code", "expected"),
    [
        (["--port", "0"], 2, "1 to 65535"),
        (["--images", "http://x"], 2, "write kafka://HOST:PORT"),
        (["--tls-cert", "x"], 2, "go together"),
        (["--tls-cert", "nowhere.pem", "--tls-key", "y"], 3, "--tls-cert nowhere.pem cannot be read: No such file"),
        (["--codes", "nowhere.csv"], 3, "the table of codes cannot be read"),
        (["--data", "/proc/nowhere"], 2, "there can be no state of the console"),
    ],
)
def test_what_it_cannot_use_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int, expected: str
) -> None:
    got, line = refused(capsys, "--data", str(tmp_path), *flags)
    assert got == code
    assert expected in line
