"""Fixtures of several tests."""

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from hypothesis import HealthCheck, settings
from moto.server import ThreadedMotoServer

from lake.storage import storage
from pipelines.cli.loopback import listen_here_alone
from tests.faulty_s3 import FaultyS3, faulty_server

# A shell that runs tests in the background ignores SIGINT, and nohup SIGHUP, which all their children would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Where make runs the tests, a make that a test calls would take itself for a part of it: other output, other arguments.
# The Makefile exports its variables, and make those of its command line.
MAKES_OWN = "MAKEFLAGS MAKELEVEL MFLAGS ARGS DATA LAKE REPORT HISTORY MESSAGES CODES REASON ID UNIT EVERY YES"
for inherited in MAKES_OWN.split():
    os.environ.pop(inherited, None)

listen_here_alone()  # as every command does

# Machines that run tests are shared and slow at times: how long an example takes says nothing. CI takes the same
# examples each time; whoever runs the tests elsewhere looks for new ones.
settings.register_profile(
    "prestacop", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("prestacop")


@pytest.fixture
def real_rows() -> Path:
    """2,199 genuine rows of the city; they are not part of the project, and lie beside it where they are at hand."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    path = Path(os.environ.get("PRESTACOP_SHARED", beside)) / "data" / "nyc_fy2015_real.csv"
    if not path.exists():
        pytest.skip(f"there are no real rows at {path}; PRESTACOP_SHARED says where the folder is")
    return path


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on this machine with an empty bucket; gives the bucket's URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(f"{url}/moto-api/reset", data=b"").close()  # moto keeps its buckets as long as the process
    yield from _bucket(monkeypatch, url)
    server.stop()


@pytest.fixture
def faulty_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """The same, of a server that fails when it is told to."""
    with faulty_server() as server:
        urllib.request.urlopen(f"{server.url}/moto-api/reset", data=b"").close()
        for _ in _bucket(monkeypatch, server.url):
            yield server


def _bucket(monkeypatch: pytest.MonkeyPatch, url: str) -> Iterator[str]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    storage.cache_clear()
    boto3.client("s3").create_bucket(Bucket="lake")
    yield "s3://lake"
    storage.cache_clear()
