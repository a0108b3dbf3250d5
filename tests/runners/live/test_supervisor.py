"""A part of a live run that ends or hangs is started again, and one that ends again and again ends the run."""

from runners.live.metrics import Level
from runners.live.supervisor import (
    HANGS_AT_START_SECONDS,
    HANGS_SECONDS,
    HEALTH_EVERY_SECONDS,
    MOST_ENDS,
    PATIENCE_SECONDS,
    WELL_SECONDS,
    Part,
    Supervisor,
)
from schemas.errors import InputUnusable, PrestaCopError, ServiceUnavailable
from tests.support import wait_until


class Process:
    """A part whose clock and end the test moves."""

    def __init__(self, name: str = "graph", is_server: bool = False) -> None:
        self.now = 0.0
        self.running = True
        self.is_well = True
        self.starts: list[float] = []
        self.kills: list[float] = []
        self.refuses: PrestaCopError | None = None
        self.part = Part(
            name,
            "no message is stored",
            "graph.log",
            lambda: self.running,
            self.start,
            lambda: InputUnusable(f"the {name} ended with exit code 3"),
            self.kill,
            None if is_server else lambda: self.is_well,
            is_server,
        )

    def start(self) -> None:
        """It runs again, or cannot."""
        if self.refuses:
            raise self.refuses
        self.running = True
        self.starts.append(self.now)

    def kill(self) -> None:
        """It ends."""
        self.running = False
        self.kills.append(self.now)

    def clock(self) -> float:
        """The time of the test."""
        return self.now


def pass_time(process: Process, supervisor: Supervisor, seconds: int) -> None:
    for _ in range(seconds):
        process.now += 1
        supervisor.check()


def test_a_part_that_ends_is_started_again_after_pauses_that_double() -> None:
    graph = Process()
    supervisor = Supervisor([graph.part], graph.clock)
    for pause in (1, 2, 4):
        ended = graph.now
        graph.running = False
        supervisor.check()
        pass_time(graph, supervisor, 20)
        assert graph.starts[-1] == ended + pause
    assert supervisor.failure is None
    assert supervisor.problems() == []


def test_the_line_names_the_part_its_effect_and_the_remedy() -> None:
    graph = Process()
    supervisor = Supervisor([graph.part], graph.clock)
    graph.running = False
    supervisor.check()
    line = "graph does not run: no message is stored. It is started again in 1 s; see graph.log"
    assert supervisor.problems() == [line]
    pass_time(graph, supervisor, 1)
    assert supervisor.news() == [(Level.RED, line), (Level.GREEN, "graph was started again")]
    assert (supervisor.news(), supervisor.problems()) == ([], [])


def test_a_part_that_ends_five_times_within_a_minute_ends_the_run_with_its_exit_code() -> None:
    graph = Process()
    supervisor = Supervisor([graph.part], graph.clock)
    while supervisor.failure is None:
        graph.running = False
        pass_time(graph, supervisor, 1)
    assert len(graph.starts) == MOST_ENDS - 1
    assert supervisor.failure.exit_code == 3
    assert graph.now < WELL_SECONDS


def test_a_part_that_has_run_for_a_minute_is_well_again() -> None:
    graph = Process()
    supervisor = Supervisor([graph.part], graph.clock)
    for _ in range(3 * MOST_ENDS):
        ended = graph.now
        graph.running = False
        supervisor.check()
        pass_time(graph, supervisor, int(WELL_SECONDS) + 2)
        assert graph.starts[-1] == ended + 1
    assert supervisor.failure is None


def test_patience_with_a_part_that_cannot_be_started_is_ten_minutes() -> None:
    kafka = Process("kafka", is_server=True)
    supervisor = Supervisor([kafka.part], kafka.clock)
    kafka.running, kafka.refuses = False, ServiceUnavailable("kafka did not answer")
    while supervisor.failure is None:
        kafka.now += 20  # each attempt takes its time
        supervisor.check()
    assert PATIENCE_SECONDS <= kafka.now < PATIENCE_SECONDS + 100
    assert supervisor.failure.exit_code == 4


def test_a_part_waits_for_the_servers_that_it_needs() -> None:
    kafka, graph = Process("kafka", is_server=True), Process()
    supervisor = Supervisor([kafka.part, graph.part], graph.clock)
    kafka.running, kafka.refuses, graph.running = False, ServiceUnavailable("not yet"), False
    supervisor.check()
    pass_time(graph, supervisor, 10)
    assert graph.starts == []
    kafka.refuses = None
    pass_time(graph, supervisor, 10)
    assert kafka.running
    assert graph.running


def test_a_part_that_hangs_is_killed_and_started_again() -> None:
    graph = Process()
    supervisor = Supervisor([graph.part], graph.clock)
    pass_time(graph, supervisor, 100)
    assert graph.kills == []
    graph.is_well, hangs = False, graph.now
    pass_time(graph, supervisor, int(HANGS_SECONDS + HEALTH_EVERY_SECONDS) + 2)
    (killed,) = graph.kills
    assert hangs + HANGS_SECONDS - HEALTH_EVERY_SECONDS <= killed <= hangs + HANGS_SECONDS + HEALTH_EVERY_SECONDS
    assert graph.starts == [killed + 2]  # it is found ended a second later, and the pause is a second
    assert supervisor.news() == [
        (Level.RED, "graph hangs: no message is stored. It is killed; see graph.log"),
        (Level.RED, "graph does not run: no message is stored. It is started again in 1 s; see graph.log"),
        (Level.GREEN, "graph was started again"),
    ]
    pass_time(graph, supervisor, int(HANGS_AT_START_SECONDS) - 20)  # a start takes its time
    assert len(graph.kills) == 1
    pass_time(graph, supervisor, 25)
    assert len(graph.kills) == 2


def test_a_part_is_not_killed_while_a_server_that_it_needs_does_not_run() -> None:
    kafka, graph = Process("kafka", is_server=True), Process()
    supervisor = Supervisor([kafka.part, graph.part], graph.clock)
    pass_time(graph, supervisor, 10)
    kafka.running, kafka.refuses, graph.is_well = False, ServiceUnavailable("not yet"), False
    pass_time(graph, supervisor, 200)
    assert graph.kills == []


def test_a_part_that_is_released_or_a_run_that_stops_is_left_alone() -> None:
    simulator, graph = Process("simulator"), Process()
    supervisor = Supervisor([simulator.part, graph.part], graph.clock)
    simulator.running = False
    supervisor.release("simulator")
    pass_time(graph, supervisor, 5)
    assert (simulator.starts, supervisor.problems()) == ([], [])
    supervisor.stop()
    graph.running = False
    pass_time(graph, supervisor, 5)
    assert graph.starts == []


def test_it_watches_in_a_thread() -> None:
    graph = Process()
    supervisor = Supervisor([graph.part])
    graph.running = False
    supervisor.start()
    wait_until(lambda: graph.running)
    supervisor.stop()
    assert supervisor.problems() == []
