"""Fixtures of several tests."""

import os
import urllib.request
from collections.abc import Iterator

import boto3
import pytest
from hypothesis import HealthCheck, settings
from moto.server import ThreadedMotoServer

from lake.storage import storage

# Machines that run tests are shared and slow at times: how long an example takes says nothing. CI takes the same
# examples each time; whoever runs the tests elsewhere looks for new ones.
settings.register_profile(
    "prestacop", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("prestacop")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on this machine with an empty bucket; gives the bucket's URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(f"{url}/moto-api/reset", data=b"").close()  # moto keeps its buckets as long as the process
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    storage.cache_clear()
    boto3.client("s3").create_bucket(Bucket="lake")
    yield "s3://lake"
    storage.cache_clear()
    server.stop()
