"""Every command that takes a topic's URL refuses options on which exactly-once rests."""

import sys

import pytest

import apps.console.command as console
import apps.loader.command as loader
import apps.simulator.command as simulator
import pipelines.violations.run as pipeline
import runners.provision.command as topics

URL = "kafka://localhost:9092/t?acks=0"
FLEET = ["drones", "--drones", "1", "--seconds", "1"]


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (pipeline.main, ["--messages", URL, "--lake", "lake"]),
        (pipeline.main, ["--images", URL, "--lake", "lake"]),
        (pipeline.main, ["--history", URL, "--lake", "lake"]),
        (pipeline.main, ["--messages", "file:x", "--alerts", URL, "--lake", "lake"]),
        (loader.main, ["--to", URL, "x.csv"]),
        (simulator.main, [*FLEET, "--output", URL]),
        (simulator.main, [*FLEET, "--output", "file:x", "--commands", URL]),
        (simulator.main, [*FLEET, "--output", "file:x", "--confirmations", URL]),
        (console.main, ["--alerts", URL]),
        (topics.main, ["--kafka", URL.replace("/t?", "?")]),
    ],
)
def test_an_option_on_which_exactly_once_rests_exits_2(
    main: object, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as ended:
        main(arguments)  # type: ignore[operator]
    assert ended.value.code == 2
    assert "option 'acks' is not allowed in a Kafka URL" in capsys.readouterr().err
