"""A lake on Google Cloud Storage, by fake-gcs-server: as on a disk, also when calls fail."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lake import lake
from lake.format import check, mark_new
from lake.retries import PATIENCE_S
from lake.storage import Storage, open_file, storage
from runners.services import Services
from schemas.errors import InputUnusable, NotPermitted, OutputUnusable, ServiceUnavailable
from sources.files.globs import expand
from tests.fake_gcs import BUCKET, fake_gcs, faulty_gcs
from tests.faulty_s3 import Fault, FaultyS3, Weather, without_waiting
from tests.lake.test_paths import test_no_method_follows_a_path_out_of_the_root as _unsafe_paths
from tests.lake.test_storage import test_a_file_that_is_not_there_is_not_found as _nothing_there
from tests.lake.test_storage import test_a_probe_leaves_nothing as _probe
from tests.lake.test_storage import test_a_server_that_does_not_know_conditional_puts_is_refused as _unconditional
from tests.lake.test_storage import test_put_new_has_one_winner_among_many as _one_winner
from tests.lake.test_storage import test_what_was_put_can_be_read_and_listed as _put_and_list
from tests.lakes import all_views
from tests.services.conftest import need
from tests.services.support import run
from tests.support import make_history, make_messages, run_graph

pytestmark = pytest.mark.services
EMULATOR = "STORAGE_EMULATOR_HOST"

# The contract of every storage, which runs here with the fixture `store` below.
test_no_method_follows_a_path_out_of_the_root = _unsafe_paths
test_a_file_that_is_not_there_is_not_found = _nothing_there
test_a_probe_leaves_nothing = _probe
test_a_server_that_does_not_know_conditional_puts_is_refused = _unconditional
test_put_new_has_one_winner_among_many = _one_winner
test_what_was_put_can_be_read_and_listed = _put_and_list


@pytest.fixture(scope="session")
def server(services: Services) -> Iterator[str]:
    """The URL of a server with an empty bucket."""
    need(services, "fake-gcs-server")
    (program,) = services.install("fake-gcs-server")
    with fake_gcs(program) as url:
        yield url


@pytest.fixture
def root(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The root of a lake that does not exist yet."""
    monkeypatch.setenv(EMULATOR, server)
    yield f"gs://{BUCKET}/{uuid.uuid4().hex}"
    for cached in (storage, check, mark_new):
        cached.cache_clear()


@pytest.fixture
def store(root: str) -> Storage:
    """An empty storage."""
    return storage(root)


@pytest.fixture
def faulty(server: str, root: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """The same server, which fails when a test says so; it waits for nothing."""
    with faulty_gcs(server) as bridge:
        monkeypatch.setenv(EMULATOR, bridge.url)
        without_waiting(monkeypatch)
        storage(root)
        yield bridge


def test_names_patterns_and_inputs_are_those_of_a_disk(store: Storage) -> None:
    for name in ("top", "in/a.csv", "in/b.csv", "in/ü [1].csv", "in/deep/c.csv"):
        store.put(name, name.encode())
    assert store.names() == ["in", "top"]
    found = [f"{store.root}/in/{name}" for name in ("a.csv", "b.csv", "ü [1].csv")]
    assert expand(f"{store.root}/in/*.csv") == found
    assert expand(f"{store.root}/**/c.csv") == [f"{store.root}/in/deep/c.csv"]
    with open_file(found[-1]) as file:
        assert file.read() == "in/ü [1].csv".encode()
    with pytest.raises(InputUnusable, match="no such file"), open_file(f"{store.root}/nothing.csv"):
        pass
    with pytest.raises(InputUnusable, match="no such file"), open_file(f"{store.root}//nothing.csv"):
        pass
    store.delete_all(["top", "in/a.csv", "nothing"])
    assert store.names() == ["in"]


@pytest.mark.usefixtures("root")
def test_a_bucket_that_is_not_there_and_other_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputUnusable, match="there is no bucket nowhere"):
        storage("gs://nowhere/lake")
    with pytest.raises(OutputUnusable, match="gs://BUCKET/PREFIX"):
        storage(f"gs://{BUCKET}//lake")
    monkeypatch.setenv(EMULATOR, "localhost")
    with pytest.raises(OutputUnusable, match=f"{EMULATOR} is 'localhost'"):
        storage(f"gs://{BUCKET}/elsewhere")


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", "503 Service Unavailable", "", times=3),
        Fault("POST", "503 Service Unavailable", "", applied=True),
        Fault("POST", "429 Too Many Requests", ""),
        Fault("POST", "412 Precondition Failed", "", applied=True),
        Fault("POST", "", "", reset=True),
        Fault("POST", "", "", applied=True, reset=True),
        Fault("POST", "", "", cut=True),
    ],
    ids=lambda fault: f"{fault.status or 'connection'}{' applied' * fault.applied}{' cut' * fault.cut}",
)
def test_an_upload_whose_answer_is_lost_is_ours(faulty: FaultyS3, root: str, fault: Fault) -> None:
    faulty.faults.append(fault)
    assert storage(root).put_new("x", b"ours")
    assert fault.seen == fault.times
    assert not storage(root).put_new("x", b"theirs")
    assert storage(root).read("x") == b"ours"


def test_a_download_that_is_cut_is_repeated(faulty: FaultyS3, root: str) -> None:
    storage(root).put("x", bytes(100_000))
    faulty.faults += [Fault("GET", "", "", cut=True), Fault("GET", "", "", cut=True, reset=True)]
    assert storage(root).read("x") == bytes(100_000)


def test_an_outage_ends_with_its_own_error(faulty: FaultyS3, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = without_waiting(monkeypatch)
    faulty.refuse_everything("503 Service Unavailable", "")
    with pytest.raises(ServiceUnavailable, match=EMULATOR):
        storage(root).put("x", b"")
    assert PATIENCE_S - 10 <= clock.now <= PATIENCE_S


def test_what_is_refused_says_what_to_do(faulty: FaultyS3, root: str) -> None:
    store = storage(root)
    faulty.refuse_everything("403 Forbidden", "")
    for call in (lambda: store.put("x", b""), lambda: store.read("x"), lambda: store.list("x"), store.names):
        with pytest.raises(NotPermitted, match=r"roles/storage\.objectUser"):
            call()


def test_there_is_one_winner_whatever_call_fails(faulty: FaultyS3, root: str) -> None:
    faulty.weather = Weather(11, 0.2)
    store = storage(root)
    for n in range(60):
        assert [store.put_new(f"{n}", text) for text in (b"first", b"second")] == [True, False]
        assert store.read(f"{n}") == b"first"
    assert faulty.failed > 30


def test_a_run_fills_a_lake_that_is_the_one_on_a_disk(root: str, tmp_path: Path) -> None:
    history = make_history(tmp_path / "h.csv", 2_000, "--seed", "3")
    messages = make_messages(tmp_path / "m.jsonl", 5, 30, "--corrupt", "0.05", "--duplicates", "0.1")
    storage(root).put("input/h.csv", history.read_bytes())
    flags = ["--history", f"{root}/input/*.csv", "--messages", f"file:{messages}", "--max-dead-letters", "none"]
    done = run(f"{root}/lake", *flags)
    assert done.returncode == 0, done.stderr
    run_graph(tmp_path / "lake", f"{root}/input/*.csv", messages)
    there, here = lake(f"{root}/lake"), lake(str(tmp_path / "lake"))
    assert all_views(there) == all_views(here)
    assert there.units == here.units
    assert there.is_published
    number = here.sql("SELECT summons_number FROM qualified WHERE summons_number IS NOT NULL LIMIT 1").to_pylist()
    for command in (["reconcile"], ["trace", str(number[0]["summons_number"])]):
        line = [sys.executable, "-m", "prestacop", *command, "--lake", f"{root}/lake"]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
