"""A real Prometheus beside make live: each fault fires its alert, which resolves when the fault ends."""

import json
import math
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from runners.services import free_port
from runners.services.ports import HOST
from tests.apps.console.process import Running, answer_next, log_in_first
from tests.prometheus import OBSERVABILITY, prometheus, queries
from tests.services.support import payloads_of, publish
from tests.services.test_live import Live, Place, live, part, place  # noqa: F401  # a fixture
from tests.support import make_messages, wait_until

pytestmark = pytest.mark.services

SECONDS = 20
"""All times of the rules."""
WITHIN = "[15m]"
"""Longer than the test."""
OF_KAFKA = ("LookFails", "OutboxStuck", "ConsoleTopicDown")
OF_PARTS = ("TargetDown", "PipelineStuck", "PipelineBehind", "PublicationOld")


def shortened(rules: str) -> str:
    """The rules with short times."""
    rules = re.sub(r"\bfor: \d+m", "for: 1s", rules)
    rules = re.sub(r"\[\d+m\]", f"[{SECONDS}s]", rules)
    return re.sub(r"(_seconds (?:>|<=)) \d+", rf"\1 {SECONDS}", rules)


class Server:
    """A Prometheus that runs."""

    def __init__(self, port: int) -> None:
        self._url = f"http://{HOST}:{port}/api/v1"
        self._faults: list[tuple[float, str]] = []

    def note(self, fault: str) -> float:
        """Note that a fault begins or ends now; the time."""
        self._faults.append((time.time(), fault))
        return self._faults[-1][0]

    def query(self, text: str) -> list[Any]:
        """The samples of an instant query; none while it does not answer yet."""
        try:
            answer = requests.get(f"{self._url}/query", {"query": text}, timeout=30).json()
        except requests.ConnectionError:
            return []
        assert answer["status"] == "success", (text, answer)
        return list(answer["data"]["result"])

    def value(self, text: str) -> float:
        """The value of the only sample."""
        ((sample),) = self.query(text)
        return float(sample["value"][1])

    def fired(self, since: float, *names: str) -> bool:
        """Whether all these alerts have fired since this time, in seconds since the epoch."""
        seconds = math.ceil(time.time() - since)
        return set(names) <= self._names(f'count_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])')

    def is_quiet(self, *names: str) -> bool:
        """Whether none of them fires now."""
        return not set(names) & self._names('ALERTS{alertstate="firing"}')

    def history(self) -> Iterator[str]:
        """When faults began and ended, and when alerts fired, in seconds since Prometheus began; one per line."""
        began = min(sample["values"][0][0] for sample in self.query(f"up{WITHIN}"))
        yield from (f"{at - began:.0f} s: {fault}" for at, fault in self._faults)
        for sample in self.query(f'ALERTS{{alertstate="firing"}}{WITHIN}'):
            labels = [sample["metric"].get(name, "") for name in ("alertname", "source", "part", "topic")]
            times = [value[0] - began for value in sample["values"]]
            starts = [at for before, at in pairwise([-math.inf, *times]) if at > before + 3]
            ends = [at for at, after in pairwise([*times, math.inf]) if after > at + 3]
            periods = (f"{start:.0f}-{end + 1:.0f} s" for start, end in zip(starts, ends, strict=True))
            yield f"{' '.join(filter(None, labels)):32} {', '.join(periods)}"

    def _names(self, text: str) -> set[str]:
        return {sample["metric"]["alertname"] for sample in self.query(text)}


@contextmanager
def watching(program: Path, folder: Path, targets: list[str]) -> Iterator[Server]:
    """Run Prometheus with the example's configuration, for these addresses, and the rules with short times."""
    port = free_port()
    config = (OBSERVABILITY / "prometheus.yml").read_text().replace("15s", "1s")
    for usual, target in zip(("127.0.0.1:9464", "127.0.0.1:9465"), targets, strict=True):
        config = config.replace(usual, target)
    (folder / "prometheus.yml").write_text(config)
    (folder / "alerts.yml").write_text(shortened((OBSERVABILITY / "alerts.yml").read_text()))
    command = [str(program), f"--web.listen-address={HOST}:{port}", f"--storage.tsdb.path={folder}/tsdb"]
    with (
        (folder / "prometheus.log").open("wb") as log,
        subprocess.Popen([*command, f"--config.file={folder}/prometheus.yml"], stdout=log, stderr=log) as process,
    ):
        try:
            yield Server(port)
        finally:
            process.kill()


@pytest.mark.timeout(1200)
def test_each_fault_fires_its_alert_until_it_ends_and_dashboards_have_data(
    place: Place,  # noqa: F811
    tmp_path: Path,
) -> None:
    program = prometheus()  # skips the test before anything is started
    with live(place, "--drones", "20", "--rate", "1") as run, ExitStack() as stack:
        run.wait_for(lambda printed: "metrics: " in printed)
        server = stack.enter_context(watching(program, tmp_path, re.findall(r"([\d.:]+)/metrics", run.printed())))
        run.wait_for(lambda _: run.committed() > 0)
        running = Running(run.process, place.data / "output.txt")
        with closing(log_in_first(running)) as officer:
            broker = place.services.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"]
            unqualified = ["--violation-share", "0.5", "--unqualified-share", "0.5"]
            alerts = payloads_of(make_messages(tmp_path / "alerts", 2, 10, *unqualified))
            began = server.note("dead letters and alerts are published")
            publish(broker, "drones", [*alerts, *[b"poison"] * 100])
            wait_until(lambda: server.fired(began, "DeadLetters", "AlertsUnanswered"))

            kafka = psutil.Process(place.services.status("kafka")[0].pid)
            began = server.note("Kafka is stopped, and all alerts are answered")
            kafka.suspend()
            while "Take alert" in officer.get("/queue").text or officer.get("/desk").url.path == "/desk":
                answer_next(officer, "40")
            wait_until(lambda: server.is_quiet("AlertsUnanswered"))
            wait_until(lambda: server.fired(began, *OF_KAFKA))
            kafka.resume()
            server.note("Kafka goes on")
            wait_until(lambda: server.is_quiet("DeadLetters", *OF_KAFKA, *OF_PARTS))

            console = part(run, "console")
            assert console is not None
            began = server.note("console and graph are stopped")
            console.suspend()
            stop_graph(run, server)
            wait_until(lambda: server.fired(began, *OF_PARTS))
            for name in ("console", "graph"):
                run.wait_for(re.compile(f"{name} hangs: .*{name} was started again", re.DOTALL).search)
            server.note("both were started again")
            wait_until(lambda: server.is_quiet(*OF_PARTS))

        print(*server.history(), sep="\n")
        for path in (OBSERVABILITY / "dashboards").glob("*.json"):
            for query in queries(json.loads(path.read_text())):
                assert server.query(query), f"{path.name}: {query}"


def stop_graph(run: Live, server: Server) -> None:
    """Suspend it at a moment at which units are committed and not published."""
    graph = part(run, "runners.live.graph")
    assert graph is not None

    def has_tail() -> bool:
        graph.suspend()
        looks = server.value('prestacop_looks_total{part="lake"}')
        wait_until(lambda: server.value('prestacop_looks_total{part="lake"}') > looks + 1)
        if server.value("prestacop_tail_units") > 0:
            return True
        graph.resume()
        return False

    wait_until(has_tail)
