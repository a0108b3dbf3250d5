"""Everything that a live run needs, started before it and ended after it."""

import os
import shlex
from pathlib import Path
from typing import NamedTuple

from pipelines.cli.commit_progress import Committed, kept_up_to_date
from pipelines.violations.options import UNBOUNDED
from runners.live.children import Child
from runners.live.closing import next_steps, published, summary
from runners.live.endings import alone, ended, serving
from runners.live.officers import Officers, public_key
from runners.live.run import Run
from runners.live.seen import Measured
from runners.live.topics import Urls, make_topics
from runners.provision.spec import FLEET, LAKE
from runners.services import HOME, Services
from runners.services.services import DATA, PORTS

MISHAPS = (
    *("--duplicates", "0.01", "--disorder", "2", "--late-share", "0.001", "--late", "20"),
    *("--corrupt", "0.0005", "--v0-share", "0.1"),
)
"""What goes wrong with the fleet's messages, a little of each."""
_ELSEWHERE = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3")
"""What would lead to another S3 than the one that runs here."""


class Asked(NamedTuple):
    """What the user asks for."""

    stream: str
    """The service that carries the messages: kafka or pubsub."""
    drones: int
    rate: float
    """Messages a second a drone."""
    seconds: float
    """How long the fleet flies; 0: until Ctrl-C."""
    image_share: float
    window_seconds: int
    """Of the live windows."""
    lake: str
    home: Path
    data: Path
    ports: dict[str, int]
    console_port: int


def live(asked: Asked) -> int:
    """Run it; gives the exit code.

    Raises:
        ServiceUnavailable: a service cannot be had, or a child ended by itself.
        OutputUnusable: another run uses the same folder, or there cannot be a lake there.
        KeyboardInterrupt: by Ctrl-C before the fleet flew, or by the second one.
    """
    services = Services(asked.home, asked.data, asked.ports)
    names = [asked.stream, *(["s3"] if asked.lake.startswith("s3://") else [])]
    folder = asked.data.resolve() / "live"
    with alone(folder):
        prism = services.prism()
        with serving(services, names) as own:
            os.environ.update(services.environment(*names))
            for name in _ELSEWHERE if "s3" in names else ():
                os.environ.pop(name, None)
            topics = make_topics(asked.stream)
            figures, panes = (_fresh(folder / name) for name in ("figures.json", "panes.jsonl"))
            committed = Committed(asked.lake)
            measured = Measured(figures, panes, committed, asked.stream)
            simulator = Child("simulator", "prestacop", ["simulate", *_fleet(asked, topics)], folder / "simulator.log")
            follow = [str(figures), f"--prism_location={prism}", *_follow(asked, topics, panes, folder)]
            graph = Child("graph", "runners.live.graph", follow, folder / "graph.log")
            officers = Officers(folder, asked.console_port, topics, panes)
            title = f"{asked.drones:,} drones → {asked.stream} → {asked.lake}"
            run = Run(title, simulator, graph, measured, lambda: [*_away(services, names), *officers.away()])
            with ended(officers.child.end, officers.child.kill):
                print(officers.start(), flush=True)
                with ended(run.end, run.kill), kept_up_to_date(committed):
                    code = run.run(asked.seconds)
    flags = _flags(asked)
    print("", *summary(published(simulator.said()), measured), "", sep="\n")
    print(*next_steps(asked.lake, flags, asked.stream, own, run.is_drained), sep="\n")
    return code


def _fleet(asked: Asked, topics: dict[str, Urls]) -> list[str]:
    """The simulator's arguments."""
    fleet = ["--drones", str(asked.drones), "--rate", str(asked.rate), "--image-share", str(asked.image_share)]
    seed = str(int.from_bytes(os.urandom(4)))  # the same one would give the messages of the last run again
    where = ["--output", topics["drones"].publish, "--images", topics["images"].publish]
    where += ["--commands", topics["commands"].read(FLEET), "--confirmations", topics["confirmations"].publish]
    return ["drones", "--live", "--seconds", "0", "--seed", seed, *fleet, *MISHAPS, *where]


def _follow(asked: Asked, topics: dict[str, Urls], panes: Path, folder: Path) -> list[str]:
    """The graph's flags."""
    read = ["--messages", topics["drones"].read(LAKE), "--images", topics["images"].read(LAKE), "--mode", UNBOUNDED]
    read += ["--alerts", topics["alerts"].publish, "--officer-keys", str(public_key(folder))]
    return [*read, "--lake", asked.lake, "--live", f"file:{panes}", "--live-window", f"{asked.window_seconds}s"]


def _fresh(path: Path) -> Path:
    """Without what the last run left there."""
    path.unlink(missing_ok=True)
    return path


def _away(services: Services, names: list[str]) -> list[str]:
    return [state.name for state in services.status(*names) if state.pid is None]


def _flags(asked: Asked) -> str:
    """What runners.services must be told to find the lake's server."""
    places = [("--home", asked.home, HOME), ("--data", asked.data, DATA), ("--s3-port", asked.ports["s3"], PORTS["s3"])]
    return "".join(f" {flag} {shlex.quote(str(value))}" for flag, value, usual in places if value != usual)
