"""Real servers for tests: of a worker's own, on ports of their own, ended with its session."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runners.services import NAMES, Services, free_port

if TYPE_CHECKING:
    from tests.services.clusters import Cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Services tests that may take long begin first, so that no worker ends long after the others."""
    items.sort(key=lambda item: -_minutes(item) if item.get_closest_marker("services") else 0)


def _minutes(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) / 60 if mark else 0


@pytest.fixture(scope="session", autouse=True)
def quick_java() -> Iterator[None]:
    """Some fifty JVMs live for seconds: C2 takes more processor time than its code saves (decision 225)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        yield


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The servers of this session; none runs before a test asks for it."""
    own = Services(data=tmp_path_factory.mktemp("services"), ports={name: free_port() for name in NAMES})
    yield own
    own.down()


@pytest.fixture(scope="session")
def clusters(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], "Cluster"]]:
    """The Flink and the Spark of this session, by name; each starts when a test first needs it.

    Their workers have the environment of the session's S3 and Pub/Sub servers.
    """
    from tests.services.clusters import running  # noqa: PLC0415  # it imports this module

    with ExitStack() as stack:

        @cache
        def cluster(name: str) -> "Cluster":
            assert name in os.environ["PYTEST_CURRENT_TEST"], (
                "tests.conftest.OneWorkerEach looks for the name in the id"
            )
            with pytest.MonkeyPatch.context() as patch:
                for service in ("s3", "pubsub"):
                    for variable, value in up(services, service).items():
                        patch.setenv(variable, value)
                return stack.enter_context(running(name, tmp_path_factory.mktemp(name)))

        yield cluster


@pytest.fixture
def kafka(services: Services) -> str:
    """A broker's address."""
    return up(services, "kafka")["KAFKA_BOOTSTRAP_SERVERS"]


@pytest.fixture
def pubsub(services: Services, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Pub/Sub server's address; the clients of this test use it."""
    environment = up(services, "pubsub")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment["PUBSUB_EMULATOR_HOST"]


@pytest.fixture
def s3_server(services: Services) -> dict[str, str]:
    """The environment of an S3 server's clients."""
    return up(services, "s3")


@pytest.fixture
def prism(services: Services) -> Path:
    """The binary of Beam's runner for one machine."""
    need(services, "prism")
    return services.prism()


@pytest.fixture
def alone(services: Services, tmp_path: Path) -> Iterator[Services]:
    """Servers of one test's own, to be ended by it; the one of Pub/Sub starts at once."""
    for name in ("kafka", "pubsub"):
        need(services, name)
    own = Services(data=tmp_path / "data", ports={name: free_port() for name in NAMES})
    yield own
    own.down()


def up(services: Services, name: str) -> dict[str, str]:
    """Start one where it does not run, be it that a test has killed it; gives its environment."""
    need(services, name)
    services.up(name)
    return services.environment(name)


def need(services: Services, name: str) -> None:
    """Skip the test where the machine lacks a tool; CI has them all."""
    missing = services.missing(name)
    if missing:
        reason = f"{name} needs {', '.join(missing)}: see make doctor"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
