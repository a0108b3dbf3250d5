"""The graph becomes a job of Dataflow, without a network; an unbounded one is a streaming job by itself."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from messaging.urls import kafka_url, pubsub_url
from pipelines.cli.runner import beam_options
from pipelines.cli.runner_options import DATAFLOW
from pipelines.violations import options as flags
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions, follow, unplanned
from pipelines.violations.run import translated, unbounded_graph
from sources.streams.kafka import KafkaStream
from sources.streams.pubsub import PubSubStream

TEMPLATE = Path(__file__).parents[2] / "deploy/dataflow/metadata.json"
READING = ReadOptions(
    "tickets.csv", pubsub_url("pubsub://project/drones"), kafka_url("kafka://localhost:9092/pictures")
)
SETTINGS = Settings("gs://bucket/lake", 3600, publish_every=10)
FLAGS = {"--project": "project", "--region": "europe-west1", "--temp_location": "gs://bucket/tmp"}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing connects, and topics are not looked for."""

    def refused(*_: Any) -> None:
        raise OSError("a test without a network")

    for stream in (KafkaStream, PubSubStream):
        monkeypatch.setattr(stream, "check", lambda *_: None)
    monkeypatch.setattr(socket.socket, "connect", refused)
    (tmp_path / "tickets.csv").write_text("Summons Number,Issue Date,Violation Time,Violation Code\n")
    monkeypatch.chdir(tmp_path)


def options(*more: str, streaming: bool = False, without: str = "") -> PipelineOptions:
    """Those of a command line for Dataflow."""
    given = [f"{name}={value}" for name, value in FLAGS.items() if name != without]
    return beam_options(flags.parser(), ["--runner", DATAFLOW, *given, *more], streaming)


@pytest.mark.embedded  # Beam starts pip, to list the packages that are here
@pytest.mark.parametrize("skew", [None, 10.0], ids=["bounded", "unbounded"])
def test_a_dry_run_translates_the_graph_into_a_job(skew: float | None) -> None:
    reading = READING if skew is None else READING._replace(history=None)
    given = options("--dry_run=true", "--job_name=drones")  # not said: whether it is a streaming job
    line = translated(reading, SETTINGS, given, skew)
    assert line.startswith(f"{DATAFLOW}: a {'batch' if skew is None else 'streaming'} job of ")
    assert line.endswith(" transforms, drones, is built and not submitted")
    assert int(line.split()[5]) > 50


def test_a_graph_with_an_unbounded_input_is_streaming_on_every_runner() -> None:
    pipeline = beam.Pipeline(options=PipelineOptions([]))
    reading = READING._replace(history=None)
    unbounded_graph(pipeline, follow(reading, SETTINGS.root, 10), SETTINGS._replace(publish_every=None))
    assert pipeline.options.view_as(StandardOptions).streaming
    bounded = beam.Pipeline(options=PipelineOptions([]))
    unbounded_graph(bounded, unplanned(reading, SETTINGS.root), SETTINGS._replace(publish_every=None))
    assert not bounded.options.view_as(StandardOptions).streaming


@pytest.mark.parametrize("name", FLAGS)
def test_what_dataflow_needs_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(without=name)
    assert ended.value.code == 2
    assert f"needs {name}" in capsys.readouterr().err


def test_the_dry_run_of_dataflow_is_refused_for_another_runner(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        beam_options(flags.parser(), ["--dry_run=true"])
    assert "--dry-run prints what would be read" in capsys.readouterr().err


def test_a_parameter_of_the_template_is_a_flag_of_the_run() -> None:
    template = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    parameters = {each["name"]: each for each in template["parameters"]}
    examples = {
        "lake": "gs://bucket/lake", "messages": "pubsub://project/drones", "images": "kafka://host:9092/pictures",
        "history": "gs://bucket/tickets/*.csv", "mode": "unbounded", "window": "1h", "skew": "10s", "publish": "on",
    }  # fmt: skip
    assert parameters.keys() == examples.keys()
    parsed, rest = flags.parser().parse_known_args([f"--{name}={value}" for name, value in examples.items()])
    assert rest == []
    assert parsed.mode == "unbounded"
    for name, value in examples.items():
        known = {"name", "label", "helpText", "regexes", "isOptional"}
        assert known >= parameters[name].keys() >= known - {"isOptional"}
        assert all(re.fullmatch(pattern, value) for pattern in parameters[name]["regexes"]), name
    assert [name for name, each in parameters.items() if not each.get("isOptional")] == ["lake"]
