"""The tiers of the tests (see docs/decisions/122), and fixtures of several tests."""

import gc
import os
import signal
import urllib.request
import weakref
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from apache_beam.transforms import userstate
from hypothesis import HealthCheck, settings
from moto.server import ThreadedMotoServer
from xdist.scheduler import LoadScopeScheduling

from lake import merged_ledger
from lake.format import check, mark_new
from lake.storage import storage
from pipelines.cli.data_buffers import send_whole_elements
from pipelines.cli.loopback import listen_here_alone
from runners.services import ports
from terminal.settings import without_settings
from tests import starts
from tests.faulty_s3 import FaultyS3, faulty_server

# A shell that runs tests in the background ignores SIGINT, and nohup SIGHUP, which all their children would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Where make runs the tests, a make that a test calls would take itself for a part of it: other output, other arguments.
# The Makefile exports its variables, and make those of its command line.
MAKES_OWN = "MAKEFLAGS MAKELEVEL MFLAGS ARGS DATA LAKE REPORT HISTORY MESSAGES CODES REASON ID UNIT EVERY YES"
for inherited in MAKES_OWN.split():
    os.environ.pop(inherited, None)
# Whoever runs the tests may have settings for commands.
for setting in os.environ.keys() - without_settings(os.environ).keys():
    del os.environ[setting]

listen_here_alone()  # as every command does
send_whole_elements()


def _no_sync(fd: Any = None) -> None:
    """In place of fsync and sync, which wait for the disk: no test cuts the power. Other processes keep theirs."""


os.fsync = os.sync = _no_sync


@pytest.fixture(autouse=True)
def _no_end_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is called here would end all tests of this worker: commands end by ``os._exit``."""

    def refuse(code: int) -> None:
        pytest.fail(f"a command would have ended the tests with {code}: call it by a function of tests/endings.py")

    monkeypatch.setattr(os, "_exit", refuse)


def _specs_once(specs: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Beam inspects all methods of a DoFn about seven times for its state and timers: once will do.

    They are attributes of its class, so equal DoFns have the same. An entry goes with its DoFn, before another object
    can have the same identity, and nobody can change the sets.
    """
    known: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def of(dofn: Any) -> Any:
        if (found := known.get(dofn)) is None:
            found = known[dofn] = tuple(map(frozenset, specs(dofn)))
        return found

    return of


userstate.get_dofn_specs = _specs_once(userstate.get_dofn_specs)

# Each worker of xdist gives ports of its own range: what one has chosen and not opened yet is not free for the other.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
ports._COUNT //= 4
ports._FIRST += WORKER % 4 * ports._COUNT

# Machines that run tests are shared and slow at times: how long an example takes says nothing. CI takes the same
# examples each time; whoever runs the tests elsewhere looks for new ones.
for profile, examples in (("fast", 25), ("thorough", 200)):
    settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        derandomize="CI" in os.environ,
    )
settings.load_profile("fast")  # --hypothesis-profile=thorough: as make test-nightly does


TIERS = ("nightly", "services", "embedded")
"""Markers, the strongest first; a test without one is a unit test."""
TESTS = Path(__file__).parent
WITH_SERVICES = ("services", "deploy")
"""The folders that ``make test-services`` collects."""
SERVERS = {"s3", "faulty_s3", "mock_kafka", "pubsub_double"}
"""Fixtures that serve on a socket of this process: what takes one is embedded, and needs no marker."""


def tier(item: pytest.Item) -> str:
    """The tier in which a test runs."""
    return next((name for name in TIERS if item.get_closest_marker(name)), "unit")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before ``-m`` selects, what takes a server is embedded, and tests with real servers are where make looks."""
    for item in items:
        if tier(item) == "services" and item.path.relative_to(TESTS).parts[0] not in WITH_SERVICES:
            raise pytest.UsageError(
                f"{item.nodeid} is marked services: make test-services looks in {WITH_SERVICES} only"
            )
        if tier(item) == "unit" and SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("embedded")


SHARED = ("engines", "flink", "spark")


LONG_AT_ONCE = 2
"""Workers that take the longest tests first; the others take the shortest."""


class OneWorkerEach(LoadScopeScheduling):  # type: ignore[misc]  # untyped
    """Gives all tests with one of these names in their id to one worker, so that what they share starts once there.

    Long tests run whole clusters. Four of them at once leave two cores so busy that servers do not answer in time.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((name for name in SHARED if name in nodeid), nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        if int(node.gateway.id.removeprefix("gw")) >= LONG_AT_ONCE:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """The scheduler of ``--dist loadscope``: under pytest 9.2, xdist 3.8 ignores its ``xdist_group`` (decision 225)."""
    return OneWorkerEach(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_finish() -> None:
    """The garbage collector need not look at a million objects of modules and of the collection again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Watch from the first fixture of a unit test on."""
    starts.watch(tier(item) == "unit")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a unit test that started something."""
    yield
    if tier(item) == "unit" and starts.found:
        what = "\n".join(starts.found)
        pytest.fail(f"a unit test starts no process and listens on no socket; mark it embedded:\n{what}", pytrace=False)


def pytest_runtest_teardown() -> None:
    """Fixtures may end what they like."""
    starts.watch(False)


@pytest.fixture
def real_rows() -> Path:
    """2,199 genuine rows of the city; they are not part of the project, and lie beside it where they are at hand."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    path = Path(os.environ.get("PRESTACOP_SHARED", beside)) / "data" / "nyc_fy2015_real.csv"
    if not path.exists():
        pytest.skip(f"there are no real rows at {path}; PRESTACOP_SHARED says where the folder is")
    return path


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.embedded)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The root of a lake that does not exist yet, of either kind."""
    return str(tmp_path / "lake") if request.param == "local" else f"{request.getfixturevalue('s3')}/some/lake"


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
    _forget()
    boto3.client("s3").create_bucket(Bucket="lake")
    yield "s3://lake"
    _forget()


def _forget() -> None:
    """Whatever is remembered of a bucket of the same name on another server."""
    for cached in (storage, check, mark_new):
        cached.cache_clear()
    merged_ledger._tables.clear()
