"""Kill the pipeline, the broker and the object storage at random moments, and see what the lake has at the end."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from lake import lake
from lake.storage import storage
from pipelines.violations.options import BOUNDED
from runners.services import Services
from tests.recovery.comparison import Comparison, compare
from tests.recovery.publisher import Publishing

FLOORS = "floors"
FIRST_PLAN_SECONDS = 300
WITHOUT_PLANS = """
import uuid
from sources.streams import plans
plans.agree = lambda root, stream, partition, start, proposal: proposal
plans.planned = lambda *_: None
made = plans.Unit
plans.Unit = lambda source, path, start, end, name: made(source, path, start, end, f"{name}-{uuid.uuid4().hex}")
"""
"""The safety taken out: nothing is agreed upon, and what was begun is begun anew under another name."""


class Attack(NamedTuple):
    """What a campaign does to one pipeline."""

    how: tuple[str, ...]
    """The flags of a run that is going to be killed: its mode."""
    messages: str
    """The URL that the pipeline reads."""
    root: str
    kills: int
    longest: float
    """Seconds between a run's first plan and its kill, at most."""
    settle: float = 0
    """Seconds until Pub/Sub delivers again what a killed run had pulled and not acknowledged."""
    victims: tuple[str, ...] = ()
    """Services that are killed too, one of them at every second kill."""
    sabotage: str = ""
    """Code that the pipeline's process executes first."""
    submit: tuple[str, ...] = ()
    """A module and flags that submit to a cluster; without it the pipeline runs in its own process."""
    log: Path = Path(os.devnull)
    """Gets what the pipelines say."""


class Outcome(NamedTuple):
    """What came of it."""

    lake: Comparison
    kills: int
    services_killed: int
    gave_up: int
    """Runs that ended by themselves before their kill: they had read everything, or a service was away."""
    replayed: int
    """Units that a kill found planned and not committed: another run read them again."""


def campaign(
    attack: Attack,
    recording: Path,
    publish_to: str,
    rate: float,
    services: Services,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Publish a recording, kill meanwhile, let a last run finish, and compare."""
    dice = random.Random(attack.root)
    services_killed = gave_up = 0
    replayed: set[str] = set()
    with Publishing(recording, publish_to, rate) as publishing:
        for kill in range(1, attack.kills + 1):
            victim = dice.choice(attack.victims) if attack.victims and kill % 2 == 0 else None
            before = planned(attack.root)
            with _pipeline(attack, attack.how) as process:
                wait_for_plan(process, attack.root, before)
                if kill > 1:  # the first comes when nothing can be committed yet
                    wait(process, dice.uniform(0, attack.longest))
                if victim:
                    services.kill(victim)
                    services_killed += 1
                    wait(process, dice.uniform(0.2, 2))
                gave_up += process.poll() is not None
            if victim:
                services.up(victim)
            begun = planned(attack.root) - set(lake(attack.root).as_committed["unit"].to_pylist())
            replayed |= begun
            also = f" and {victim}" if victim else ""
            say(f"kill {kill}{also}: {publishing.published:,} published, {len(begun)} units begun")
        publishing.hurry()
        while not publishing.done:
            time.sleep(0.1)
    time.sleep(attack.settle)
    with _pipeline(attack, ("--mode", BOUNDED)) as process:
        if process.wait():
            raise RuntimeError(f"the last run ended with {process.returncode}:\n{_last_lines(attack.log)}")
    return Outcome(compare(attack.root, recording), attack.kills, services_killed, gave_up, len(replayed))


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:])


def _pipeline(attack: Attack, how: tuple[str, ...]) -> AbstractContextManager[subprocess.Popen[bytes]]:
    code = f"{attack.sabotage}\nfrom prestacop.main import run; run()"
    command = ["-m", *attack.submit] if attack.submit else ["-c", code, "run"]
    return running([*command, "--messages", attack.messages, "--lake", attack.root, "--quiet", *how], attack.log)


@contextmanager
def running(arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process; killed with all its children when the body ends."""
    with (
        log.open("ab") as out,
        subprocess.Popen([sys.executable, *arguments], stdout=out, stderr=out, start_new_session=True) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """So long, or until it ends."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def wait_for_plan(process: subprocess.Popen[bytes], root: str, before: set[str]) -> None:
    """Until it has planned a unit that was not planned before; a minute at most."""
    deadline = time.monotonic() + FIRST_PLAN_SECONDS
    while process.poll() is None and time.monotonic() < deadline and planned(root) <= before:
        time.sleep(0.05)


def planned(root: str) -> set[str]:
    """The units that were planned or spooled."""
    plans = (info.path.removesuffix(".json").split("/")[-3:] for info in storage(root).list("plans"))
    spooled = {info.base_name.removesuffix(".arrow") for info in storage(root).list("spool")}
    return spooled | {"-".join(parts) for parts in plans if parts[-1] != FLOORS}
