"""Make's targets ask for the services that they need, and for no others."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.services import Services
from tests.services.conftest import need

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not on the PATH"),
]

Make = Callable[..., subprocess.CompletedProcess[str]]
ELSEWHERE = {"KAFKA_BOOTSTRAP_SERVERS": "b:1", "PUBSUB_EMULATOR_HOST": "p:1", "AWS_ENDPOINT_URL": "http://s:1"}
"""What a shell may know of other services."""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Calls make where the services are those of ``alone``; what it would run at them it prints."""
    python = tmp_path / "python"
    python.write_text(f"""#!/bin/sh
if [ "$3" = services ]; then exec {sys.executable} "$@" --data {tmp_path / "data"}; fi
echo "$@"
""")
    python.chmod(0o755)

    def make(target: str, arguments: str = "", *variables: str, **elsewhere: str) -> subprocess.CompletedProcess[str]:
        line = ["make", "--old-file=.venv/.installed", f"PY={python}", target, f"ARGS={arguments}", *variables]
        known = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return subprocess.run(line, capture_output=True, text=True, check=False, env=known | (elsewhere or ELSEWHERE))

    return make


def test_topics_are_made_at_the_services_that_run_and_the_console_needs_kafka_only(make: Make, alone: Services) -> None:
    done = make("topics")
    assert (done.returncode == 0, done.stdout) == (False, "")
    assert done.stderr.startswith("error: no service runs here: make services-up, or ")
    alone.up("pubsub")
    done = make("topics", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "-m prestacop topics --pubsub local-dev --dry-run\n")
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["left", "kafka", "s3"]
    done = make("console")
    assert (done.returncode == 0, done.stdout) == (False, "")
    assert done.stderr.startswith("error: kafka does not run here: make services-up ARGS=kafka, or ")
    alone.up("kafka")
    broker = alone.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"]
    assert make("topics").stdout == f"-m prestacop topics --kafka {broker} --pubsub local-dev\n"
    done = make("console", "--port 8301")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"-m prestacop console --alerts kafka://{broker}/alerts" in done.stdout
    assert done.stdout.endswith("--port 8301\n")


def test_what_says_where_needs_no_service(make: Make, alone: Services) -> None:
    for target, arguments in (
        ("console", "--alerts pubsub://p/alerts --answers pubsub://p/drones"),
        ("topics", "--kafka b:1"),
    ):
        done = make(target, arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f"{arguments}\n")


def test_a_lake_on_s3_uses_the_local_server(make: Make, services: Services, alone: Services) -> None:
    need(services, "s3")
    at, lake = "at $$AWS_ENDPOINT_URL", "LAKE=s3://prestacop/lake"
    assert make("reconcile", at, lake, NONE="").stdout.endswith(" at\n")
    alone.up("s3")
    address = alone.environment("s3")["AWS_ENDPOINT_URL"]
    for target in ("reconcile", "compact", "run-local", "analyze"):
        done = make(target, at, lake, NONE="")
        assert (done.returncode, done.stdout.endswith(f" at {address}\n")) == (0, True)
        assert done.stderr == "s3: the server that runs here; for another one set the variables of its clients\n"
        assert make(target, at, lake).stdout.endswith(" at http://s:1\n")
