"""The parts of a live run: its topics, and the processes of the simulator, the graph, the console and the exporter."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from messaging.urls import kafka_url
from pipelines.violations.options import UNBOUNDED
from runners.live.health import GraphHealth, is_healthy
from runners.live.supervisor import Part
from runners.processes import Child
from runners.provision import pubsub
from runners.provision.diff import Mode
from runners.provision.kafka import KafkaTopics
from runners.provision.spec import CONSOLE, FLEET, IMAGES, LAKE, MESSAGES, topics
from runners.services import Services
from runners.services.ports import HOST
from schemas.console_state import PUBLIC_KEY
from schemas.errors import ServiceUnavailable
from terminal import logs

PARTITIONS = {MESSAGES: 2, IMAGES: 1}
"""Fewer than in a deployment: each partition makes a unit a second, and each unit some files."""
PROJECT = "prestacop"
MISHAPS = (
    *("--duplicates", "0.01", "--disorder", "2", "--late-share", "0.001", "--late", "20"),
    *("--corrupt", "0.0005", "--v0-share", "0.1"),
)
"""A few duplicates, late, disordered and corrupt messages."""
START_SECONDS = 180
"""So long console and exporter may take until they answer."""
_LOOK = "5s"
"""How often the exporter looks at lake and topics."""
_READY = "console: http"
_METRICS = "metrics: http"
_PASSWORD = "one-time password"


class LiveOptions(NamedTuple):
    """What the user has requested: the flags of :mod:`runners.live.flags`."""

    stream: str
    """The service that carries the messages: kafka or pubsub."""
    drones: int
    rate: float
    """Messages a second a drone."""
    seconds: float
    """How long the fleet flies; 0: until Ctrl-C."""
    violation_share: float
    image_share: float
    upload_images: bool
    """To the lake: their messages name them."""
    window: int
    """Seconds of a live window."""
    lake: str
    home: Path
    data: Path
    ports: dict[str, int]
    console_port: int
    exporter_port: int
    """Of the exporter's metrics."""
    console_metrics_port: int


class TopicUrl(NamedTuple):
    """The URL of a topic."""

    publish: str
    stream: str

    def read(self, reader: str) -> str:
        """Where a reader finds it: on Pub/Sub each reader has a subscription of its own."""
        return self.publish if self.stream == "kafka" else f"{self.publish}-{reader}"


def create_topics(stream: str) -> dict[str, TopicUrl]:
    """Create the topics that are missing at the service in the environment; all URLs by name.

    Raises ServiceUnavailable, TopicUnusable.
    """
    missing = topics({}, PARTITIONS, {})
    at = f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}" if stream == "kafka" else f"pubsub://{PROJECT}"
    urls = {topic.name: TopicUrl(f"{at}/{topic.name}", stream) for topic in missing}
    if stream == "kafka":
        changes = KafkaTopics(kafka_url(urls["drones"].publish)).make(missing, None, Mode())
    else:
        changes = pubsub.make(PROJECT, missing, Mode())
    list(changes)  # existing topics may differ, and stay as they are
    return urls


class Parts:
    """The processes of a live run, with their files in one folder."""

    def __init__(self, options: LiveOptions, urls: dict[str, TopicUrl], folder: Path, prism: Path) -> None:
        self.progress_file = folder / "progress.json"
        self.panes = folder / "panes.jsonl"
        for path in (self.progress_file, self.panes):
            path.unlink(missing_ok=True)  # from the last run
        self._console_data = folder / "console"
        graph = [str(self.progress_file), f"--prism_location={prism}", *self._graph_flags(options, urls)]
        self.simulator = Child("simulator", "prestacop", _simulator_command(options, urls), folder / "simulator.log")
        self.graph = Child("graph", "runners.live.graph", graph, folder / "graph.log")
        self.console = Child("console", "prestacop", self._console_command(options, urls), folder / "console.log")
        self.exporter = Child("exporter", "prestacop", _exporter_command(options, urls), folder / "exporter.log")
        self._ports = {"console": options.console_metrics_port, "exporter": options.exporter_port}

    def _graph_flags(self, options: LiveOptions, urls: dict[str, TopicUrl]) -> list[str]:
        # The console makes its key pair at its first start, which is before the graph's.
        key = self._console_data / PUBLIC_KEY
        read = ["--messages", urls["drones"].read(LAKE), "--images", urls["images"].read(LAKE), "--mode", UNBOUNDED]
        live = ["--live", f"file:{self.panes}", "--live-window", f"{options.window}s"]
        alerts = ["--alerts", urls["alerts"].publish, "--officer-keys", str(key)]
        return [*read, *alerts, "--lake", options.lake, *live, *logs.flags()]

    def _console_command(self, options: LiveOptions, urls: dict[str, TopicUrl]) -> list[str]:
        where = ["--data", str(self._console_data), "--host", HOST, "--port", str(options.console_port)]
        where += ["--metrics-port", str(options.console_metrics_port)]
        write = ["--answers", urls["drones"].publish, "--commands", urls["commands"].publish]
        read = [
            text for name in ("alerts", "images", "confirmations") for text in (f"--{name}", urls[name].read(CONSOLE))
        ]
        lake = ["--lake", options.lake] if options.upload_images else []
        return ["console", *where, "--panes", str(self.panes), *write, *read, *lake, *logs.flags()]

    def start_pages(self) -> str:
        """Start console and exporter, and wait until they answer; gives the console's address, its password if it has
        just made one, and the addresses of the metrics.

        Raises:
            ServiceUnavailable: one ended, or did not answer in time.
        """
        for child in (self.console, self.exporter):
            child.start()
        _wait_for(self.console, _READY)
        _wait_for(self.exporter, _METRICS)
        lines = [line for line in self.console.output().splitlines() if line.startswith((_READY, _PASSWORD))]
        metrics = next(line.split()[1] for line in self.exporter.output().splitlines() if line.startswith(_METRICS))
        return "\n".join([*lines, f"metrics: {metrics} and http://{HOST}:{self._ports['console']}/metrics"])

    def supervised(self, committed_units: Callable[[], int]) -> list[Part]:
        """The parts that are started again when they end or hang."""
        console, exporter = (partial(is_healthy, self._ports[name]) for name in ("console", "exporter"))
        return [
            _part(self.graph, "no message is stored", GraphHealth(self.progress_file, committed_units)),
            _part(self.console, "officers cannot answer", console),
            _part(self.exporter, "no metrics and no alerts of the pipeline", exporter),
            _part(self.simulator, "no drone sends messages"),
        ]


def _part(child: Child, effect: str, is_well: Callable[[], bool] | None = None) -> Part:
    log = str(child.log)
    return Part(child.name, effect, log, child.is_running, child.start, child.why_ended, child.kill, is_well)


def server_part(services: Services, name: str, start: Callable[[str], None]) -> Part:
    """A server as a part that ``start`` starts again."""
    (state,) = services.status(name)
    effect = "nothing can be stored or looked up in the lake" if name == "s3" else "no message is published or read"
    return Part(
        name,
        effect,
        str(state.log),
        is_running=lambda: services.status(name)[0].pid is not None,
        start=lambda: start(name),
        why=lambda: ServiceUnavailable(f"{name} ended; see {state.log}"),
        kill=lambda: services.kill(name),
        is_server=True,
    )


def _simulator_command(options: LiveOptions, urls: dict[str, TopicUrl]) -> list[str]:
    fleet = ["--drones", str(options.drones), "--rate", str(options.rate), "--draw-images"]
    fleet += ["--violation-share", str(options.violation_share), "--image-share", str(options.image_share)]
    seed = str(int.from_bytes(os.urandom(4)))  # with the seed of the last run all messages would be duplicates
    where = ["--output", urls["drones"].publish, "--images", urls["images"].publish]
    where += ["--upload-images", options.lake] if options.upload_images else []
    where += ["--commands", urls["commands"].read(FLEET), "--confirmations", urls["confirmations"].publish]
    return ["simulate", "drones", "--live", "--seconds", "0", "--seed", seed, *fleet, *MISHAPS, *where, *logs.flags()]


def _exporter_command(options: LiveOptions, urls: dict[str, TopicUrl]) -> list[str]:
    topics = [("--messages", "drones"), ("--images", "images")] if options.stream == "kafka" else []
    behind = [text for flag, name in topics for text in (flag, urls[name].publish)]
    where = ["--host", HOST, "--port", str(options.exporter_port), "--every", _LOOK]
    return ["exporter", "--lake", options.lake, *behind, *where, *logs.flags()]


def compaction(lake: str) -> list[str]:
    """The command that publishes, merges and vacuums the lake."""
    return ["compact", "--lake", lake, "--quiet", *logs.flags()]


def _wait_for(child: Child, printed: str) -> None:
    end = time.monotonic() + START_SECONDS
    while printed not in child.output():
        child.check_running()
        if time.monotonic() > end:
            raise ServiceUnavailable(f"the {child.name} did not answer in {START_SECONDS} s; see {child.log}")
        time.sleep(0.1)
