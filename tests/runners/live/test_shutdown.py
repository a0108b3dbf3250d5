"""Everything that a live run has started is stopped, and its end is summarised."""

import signal
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from runners.live.shutdown import locked_folder, stopping
from runners.live.summary import next_steps
from schemas.errors import OutputUnusable, ServiceUnavailable
from schemas.simulator import FLIES, published_count
from terminal.signals import SIGNALS


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restores the signal handlers after the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("error", "expected"),
    [(None, ["stop"]), (ServiceUnavailable("gone"), ["stop"]), (KeyboardInterrupt(), ["kill"])],
)
def test_stop_is_called_and_kill_after_ctrl_c(error: BaseException | None, expected: list[str]) -> None:
    done: list[str] = []
    with (
        pytest.raises(type(error)) if error else nullcontext(),
        stopping(lambda: done.append("stop"), lambda: done.append("kill")),
    ):
        if error:
            raise error
    assert done == expected


@pytest.mark.usefixtures("handlers")
def test_a_second_ctrl_c_during_stop_calls_kill() -> None:
    done: list[str] = []

    def stop() -> None:
        done.append("stop")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), stopping(stop, lambda: done.append("kill")):
        pass
    assert done == ["stop", "kill"]


def test_a_folder_is_locked_by_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        locked_folder(tmp_path / "live"),
        pytest.raises(OutputUnusable, match="another live run"),
        locked_folder(tmp_path / "live"),
    ):
        pass
    with locked_folder(tmp_path / "live"):
        pass


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("", 0),
        (f"{FLIES}\nsimulator: 902 messages, 100 messages/s, 14 not acknowledged yet", 902),
        (f"{FLIES}\nsimulator: 1.26 k messages\nsimulator: 1,256 messages in 2.0 s, 625 a second", 1_256),
        (f"{FLIES}\nsimulator: 1.26 k messages\n{FLIES}\nsimulator: 12.0 M messages", 12_001_260),
    ],
)
def test_the_published_count_is_read_from_the_output_of_the_simulator(output: str, count: int) -> None:
    assert published_count(output) == count


def test_the_next_steps_name_the_commands_that_read_the_lake() -> None:
    text = "\n".join(next_steps("s3://prestacop/lake", " --data /tmp/x", "kafka", ["s3"], True))
    assert "prestacop services up s3 --data /tmp/x" in text
    assert 'eval "$(prestacop services status s3 --env --data /tmp/x)"' in text
    assert "make analyze LAKE=s3://prestacop/lake" in text
    assert "not in the lake" not in text
    here = "\n".join(next_steps("my/lake", "", "kafka", [], False))
    assert "prestacop services" not in here
    assert "some published messages are not in the lake: make live resumes there" in here
    assert "lost with the Pub/Sub server" in "\n".join(next_steps("my/lake", "", "pubsub", ["pubsub"], False))
