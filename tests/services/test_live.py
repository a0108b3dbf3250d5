"""make live from its start to its end: what its fleet publishes is in the lake once, and no process is left."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import boto3
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from apps.console.accounts import ADMIN
from lake import Lake, lake
from lake.storage import storage
from pipelines.maintenance.reconcile import reconcile
from runners.services import NAMES, Services, free_port
from tests.apps.console.browser import chromium, collect_errors, log_in_first, new_page, take
from tests.services.conftest import need
from tests.sockets import watching
from tests.support import wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

LAKE = "s3://prestacop/lake"
ROOT = Path(__file__).resolve().parents[2]
PRINTED = ("console", f"one-time password of {ADMIN}")
COUNTS = ("positions", "qualified", "unqualified", "dead_letters", "images", "duplicates")
KILLED = ("kafka", "s3", "graph", "console")


class Place(NamedTuple):
    """Servers of a test's own, which need not run, and the flags with which make live finds them."""

    services: Services
    data: Path
    flags: list[str]


@pytest.fixture
def place(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """All is below the folder of the test; the lake is read by the test itself as well."""
    for name in (*NAMES, "prism"):
        need(services, name)
    ports = {name: free_port() for name in NAMES}
    own = Services(data=tmp_path, ports=ports)
    flags = [text for name, port in ports.items() for text in (f"--{name}-port", str(port))]
    for name in ("console", "exporter", "console-metrics"):
        flags += [f"--{name}-port", str(free_port())]
    storage.cache_clear()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would keep the keys of another test's server
    yield Place(own, tmp_path, ["--data", str(tmp_path), *flags])
    own.down()
    storage.cache_clear()


class Live:
    """The command, under way."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path) -> None:
        self.process = process
        self._output = output
        self.family: set[psutil.Process] = set()
        """All that it had started whenever it was looked at."""

    def printed(self) -> str:
        """On stdout and stderr."""
        return self._output.read_text()

    def wait_for(self, so: Callable[[str], object]) -> None:
        """Wait until what it says is so."""
        wait_until(lambda: so(self.printed()), self._is_running)

    def exit_code(self) -> int:
        """With which it has ended."""
        wait_until(lambda: self.process.poll() is not None, self._look)
        return self.process.wait()

    def _look(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.family.update(psutil.Process(self.process.pid).children(recursive=True))

    def _is_running(self) -> None:
        self._look()
        assert self.process.poll() is None

    def committed(self) -> int:
        """The rows in the line that it said last."""
        found = re.findall(r" ([\d,]+) rows,", self.printed())
        return int(found[-1].replace(",", "")) if found else 0


def by_module(flags: list[str]) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "prestacop", "live", *flags]


def by_make(flags: list[str]) -> list[str]:
    """The same as a user types it; what is installed stays as it is."""
    return ["make", "--old-file=.venv/.installed", "live", f"ARGS={shlex.join(flags)}"]


@contextmanager
def live(place: Place, *arguments: str, how: Callable[[list[str]], list[str]] = by_module) -> Iterator[Live]:
    """Run it while the body runs; it has ended by itself at the end of that, or is killed."""
    output = place.data / "output.txt"
    command = how([*arguments, *place.flags])
    with (
        output.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True, cwd=ROOT) as process,
    ):
        try:
            yield Live(process, output)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            print(output.read_text())  # pytest shows it where the test fails


def figures(printed: str) -> dict[str, tuple[int, ...]]:
    """The table of the summary: what was counted -> of drones, of images."""
    lines = re.findall(r"^  (?:→ )?([a-z][a-z ]*?)  +([\d, ]+)$", printed, re.MULTILINE)
    return {
        label.replace(" ", "_"): tuple(int(n.replace(",", "")) for n in numbers.split()) for label, numbers in lines
    }


@contextmanager
def opened(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """The lake, whose server runs meanwhile."""
    place.services.up("s3")
    for name, value in place.services.environment("s3").items():
        monkeypatch.setenv(name, value)
    yield lake(LAKE)


def ledger_figures(lk: Lake) -> dict[str, tuple[int, ...]]:
    """The same table, from the ledger."""
    rows = lk.ledger.to_pylist()

    def of(column: str) -> tuple[int, ...]:
        return tuple(sum(row[column] for row in rows if row["source"] == source) for source in ("drones", "images"))

    return {"committed": of("rows_in"), **{column: of(column) for column in COUNTS}}


def assert_all_once(printed: str, lk: Lake, is_restarted: bool = False) -> None:
    """The summary, the ledger and the rows of the lake say the same, and each message is there once.

    Args:
        is_restarted: the graph was killed, so that messages may have been read again, and Ctrl-C ended the run: where a
            slow machine commits nothing for a while, it reports that messages are left for the next run.
    """
    summary = figures(printed)
    assert summary.pop("read") == summary["committed"] or is_restarted
    published, committed = summary.pop("published"), summary["committed"][:1]
    assert published == committed or (is_restarted and published > committed and "make live resumes there" in printed)
    summary.pop("late")
    assert summary == ledger_figures(lk)
    (drones, pictures) = summary["committed"]
    assert drones > 0
    views = ("positions", "qualified", "unqualified", "dead_letters", "duplicates", "images")
    counts = {view: lk.sql(f"SELECT count(*) AS n FROM {view}").to_pylist()[0]["n"] for view in views}
    assert counts.pop("images") == pictures
    assert sum(counts.values()) + summary["duplicates"][0] == drones
    ids = " UNION ALL ".join(f"SELECT message_id FROM {view}" for view in views[:3])
    (row,) = lk.sql(f"SELECT count(*) AS n, count(DISTINCT message_id) AS different FROM ({ids})").to_pylist()
    assert row["n"] == row["different"]
    assert reconcile(LAKE) == []


def left(place: Place, family: set[psutil.Process]) -> list[str]:
    """What runs of all that belongs to the place."""
    named = (p for p in psutil.process_iter(["cmdline"]) if str(place.data) in " ".join(p.info["cmdline"] or ()))
    return [str(p) for p in (*family, *named) if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def pids(place: Place, run: Live) -> list[int]:
    """The command, and the servers that it has started."""
    return [run.process.pid, *(state.pid for state in place.services.status() if state.pid)]


def is_served(address: str) -> bool:
    """Whether the console answers."""
    try:
        with urlopen(f"{address}/static/mark.svg", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def ends(broker: str, topic: str, partitions: int) -> int:
    """How many messages a topic has."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "test"})
    places = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30) for p in range(partitions)]
    consumer.close()
    return sum(place[1] for place in places if place)


def test_a_live_run_on_kafka_is_exactly_once_and_listens_on_loopback_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--drones", "200", "--seconds", "8", "--image-share", "0.2"]
    with live(place, *flags) as run, watching(lambda: pids(place, run)) as seen:
        assert run.exit_code() == 0
    assert "Traceback" not in run.printed()
    assert len(seen.listened) > len(NAMES)  # those of Prism and the console as well
    assert seen.reachable == set()
    assert left(place, run.family) == []
    assert [state.pid for state in place.services.status()] == [None, None, None]
    with opened(place, monkeypatch) as lk:
        assert_all_once(run.printed(), lk)
    place.services.up("kafka")
    broker = place.services.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"]
    assert (ends(broker, "drones", 2), ends(broker, "images", 1)) == figures(run.printed())["committed"]


def test_a_live_run_on_pubsub_is_exactly_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with live(place, "--stream", "pubsub", "--drones", "100", "--seconds", "8") as run:
        assert run.exit_code() == 0
    assert "Traceback" not in run.printed()
    assert left(place, run.family) == []
    with opened(place, monkeypatch) as lk:
        assert_all_once(run.printed(), lk)


def part(run: Live, word: str) -> psutil.Process | None:
    """The process of a part, while it runs."""
    for process in psutil.Process(run.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if word in process.cmdline():
                return process
    return None


def test_what_is_killed_is_started_again_and_ctrl_c_keeps_the_servers_that_ran_before(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.services.up("kafka", "s3")
    with live(place, "--drones", "100") as run:
        run.wait_for(lambda _: run.committed() > 0)
        for word in ("console", "runners.live.graph"):
            process = part(run, word)
            assert process is not None
            process.kill()
        for name in ("kafka", "s3"):
            place.services.kill(name)
        before = run.committed()
        run.wait_for(lambda printed: all(f"{name} was started again" in printed for name in KILLED))
        run.wait_for(lambda _: run.committed() > before + 1_000)
        address = re.search(r"^console: (\S+)", run.printed(), re.MULTILINE)
        assert address is not None
        run.wait_for(lambda _: is_served(address[1]))
        run.process.send_signal(signal.SIGINT)
        assert run.exit_code() == 130
    assert "Traceback" not in run.printed()
    assert all(f"{name} does not run: " in run.printed() for name in KILLED)
    pids = [state.pid for state in place.services.status("kafka", "s3")]
    assert all(pids)
    place.services.down()
    assert left(place, run.family) == []
    with opened(place, monkeypatch) as lk:
        assert_all_once(run.printed(), lk, is_restarted=True)


def test_a_part_that_dies_again_and_again_ends_the_run(place: Place) -> None:
    with live(place, "--drones", "10") as run:
        run.wait_for(lambda printed: "messages/s" in printed)

        def kill_graph() -> bool:
            graph = part(run, "runners.live.graph") if run.process.poll() is None else None
            if graph:
                graph.kill()
            return run.process.poll() is not None

        wait_until(kill_graph)
        assert run.exit_code() == 4
    assert "error: the graph was killed by signal 9" in run.printed()
    assert "Traceback" not in run.printed()
    assert left(place, run.family) == []


def test_a_second_ctrl_c_ends_it_at_once_and_the_next_run_resumes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live(place, "--drones", "100") as run:
        run.wait_for(lambda _: run.committed() > 0)
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
        run.wait_for(lambda printed: "Ctrl-C stops everything at once" in printed)
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.exit_code() == 130
    assert left(place, run.family) == []
    with live(place, "--drones", "100", "--seconds", "3") as again:
        assert again.exit_code() == 0
    assert "Traceback" not in run.printed() + again.printed()
    with opened(place, monkeypatch) as lk:
        in_lake = ledger_figures(lk)["committed"]
    place.services.up("kafka")
    broker = place.services.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"]
    assert (ends(broker, "drones", 2), ends(broker, "images", 1)) == in_lake


@pytest.mark.parametrize("stream", ["kafka", pytest.param("pubsub", marks=pytest.mark.nightly)])
def test_an_officer_answers_in_a_console_that_may_be_killed_and_ctrl_c_stops_everything(
    place: Place, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    flags = ["--stream", stream, "--drones", "100", "--rate", "2", "--violation-share", "0.1"]
    with chromium() as browser, live(place, *flags, how=by_make) as run:
        run.wait_for(lambda printed: "messages/s" in printed)
        address, once = (re.search(rf"^{what}: (\S+)", run.printed(), re.MULTILINE) for what in PRINTED)
        assert address is not None
        assert once is not None
        page = new_page(browser)
        errors = collect_errors(page)
        log_in_first(page, address[1], once[1])
        page.get_by_role("button", name="Take alert").first.wait_for()
        take(page)
        message_id = page.locator(".facts").get_attribute("data-message")
        page.keyboard.type("40")
        assert errors == []
        if stream == "kafka":
            console = part(run, "console")
            assert console is not None
            console.kill()
            console.wait()
        page.keyboard.press("Enter")
        if stream == "kafka":
            page.get_by_text("Your answer “40” is kept in this browser").wait_for()
        page.get_by_text("Done: Fire hydrant").wait_for()

        def officers() -> list[dict[str, Any]]:
            query = "SELECT answers, officer_id, violation_code FROM qualified WHERE status = 'officer'"
            rows: list[dict[str, Any]] = lake(LAKE).sql(query).to_pylist()
            return rows

        for name, value in place.services.environment("s3").items():
            monkeypatch.setenv(name, value)
        run.wait_for(lambda _: officers())
        row = {"answers": message_id, "officer_id": ADMIN, "violation_code": 40}
        assert officers() == [row]
        assert errors == [] or stream == "kafka"  # there the browser reports each request that failed
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
        assert run.exit_code() in {-signal.SIGINT, 2}
    assert "live] Error 130" in run.printed()
    assert "Traceback" not in run.printed()
    assert left(place, run.family) == []
    assert [state.pid for state in place.services.status()] == [None, None, None]
    with opened(place, monkeypatch) as lk:
        assert figures(run.printed())["committed"] == ledger_figures(lk)["committed"]
        assert officers() == [row]
