"""``python -m tests.recovery.compaction``: a lake is written, compacted, vacuumed and read at once; what becomes of it?

A fleet is sent to Kafka, and ``prestacop run`` writes it to the lake. Beside it two compactions, or vacuums, and a
publisher run again and again. Each process is killed with -9 at a random moment; some compactions are paused instead,
and go on when the other has changed the lake. Two processes read all the time, the lake and its Delta tables
(:mod:`tests.recovery.watching`). At the end the lake is compared with what was sent.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Final, NamedTuple

from lake import lake
from lake.changes import COMPACTION, last_change, replaced_by
from lake.storage import storage
from pipelines.maintenance.reconcile import reconcile
from runners.services import NAMES, Services, free_port
from schemas.lake import MERGED_LEDGER, Dataset
from tests.recovery.campaign import planned, running, wait, wait_for_plan
from tests.recovery.comparison import Comparison, compare
from tests.recovery.publisher import Publishing
from tests.recovery.soak import make_recording, make_topic
from tests.recovery.watching import Looks, Watching

RATE: Final = 500.0
"""Messages published a second, as long as it goes on."""
SECONDS_A_KILL: Final = 10
"""Of a compaction or vacuum, at most: a busy machine takes long to start them."""
VACUUM, KILL, KILL_INSIDE, HOLD, LET_END = "vacuum", "kill", "kill inside", "hold", "let end"
TURNS: Final = (KILL_INSIDE, HOLD, LET_END, VACUUM, LET_END, KILL_INSIDE, KILL)
"""What is done one after another: to a vacuum, or to a compaction; one that is killed inside or held has written
some of its files."""
LONGEST: Final = {"writer": 1.0, "publisher": 2.0, KILL: 1.0, VACUUM: 3.0}
"""In lives of a compaction that was left alone, at most: of a writer after its first plan, and of the others, before
they are killed."""
HOLD_CHANGES: Final = 2
"""That others make while a compaction is held: the second builds on the first, whose number the held one has too."""
HOLD_S: Final = 20.0
"""Of a hold, at most: files that it reads must not be old enough for a vacuum."""
MOST_WRITTEN: Final = 4
"""Files of a compaction, before it is killed or held inside; it writes six at least."""
FOLDERS: Final = (*map(str, Dataset), MERGED_LEDGER)
"""Where compactions write."""
OLDER_THAN: Final = "30s"
"""Of vacuums: no look takes so long."""
_COMPACT: Final = "import secrets; secrets.token_hex = lambda _: '{token}'\nfrom prestacop.main import run; run()"
"""The command, with a token that is known here: it is in the names of the files that it writes."""
_PUBLISH: Final = "import sys\nfrom lake.publication import publish\nwhile True: publish(sys.argv[1])"


class Attack(NamedTuple):
    """What a campaign does to a lake."""

    root: str
    recording: Path
    topic: str
    kills: int
    """Of compactions and vacuums, at least; one of them while a compaction writes."""
    log: Path = Path(os.devnull)
    """Gets what the pipelines say."""


class Outcome(NamedTuple):
    """What came of it."""

    lake: Comparison
    seen: Looks
    tables: Looks
    """Of the Delta tables alone."""
    faults: list[str]
    """Of ``pipelines.maintenance.reconcile``."""
    changes: int
    removed: int
    """Replaced files that vacuums had removed before the end."""
    writers_killed: int
    killed: int
    """Compactions and vacuums."""
    inside: int
    """Of these, compactions that had written files and not put their change."""
    held: int
    publishers_killed: int

    @property
    def good(self) -> bool:
        """Nothing was lost, doubled or missed at any time, and there were occasions for it."""
        happened = (self.changes, self.removed, self.writers_killed, self.inside, self.held, self.publishers_killed)
        wrong = self.faults or self.seen.faults or self.tables.faults
        return self.lake.exact and self.lake.read_once and not wrong and all(happened)


def campaign(attack: Attack, say: Callable[[str], None] = print) -> Outcome:
    """Publish a recording while everything goes on, let a last run of each finish, and compare."""
    with (
        Publishing(attack.recording, attack.topic, RATE) as publishing,
        Watching(attack.root) as watching,
        Watching(attack.root, tables=True) as watching_tables,
    ):
        beside = _Beside(attack, publishing, say)
        with ThreadPoolExecutor() as pool:
            threads = [pool.submit(of) for of in (beside.write, beside.publish, *[beside.compact] * 2)]
            futures.wait(threads, return_when=futures.FIRST_EXCEPTION)
            beside.stopped = True
        for thread in threads:
            thread.result()
        publishing.stop()
        _finish(attack, "-m", "prestacop", "run", "--messages", attack.topic, "--lake", attack.root, "--quiet")
        _finish(attack, *_compaction(attack.root))
        seen, tables = watching.stop(), watching_tables.stop()
    replaced = frozenset(replaced_by(lake(attack.root).changes).to_pylist())
    there = {info.path for folder in FOLDERS for info in storage(attack.root).list(folder)}
    removed = sum(storage(attack.root).full(path) not in there for path in replaced)
    _finish(attack, *_vacuum(attack.root, "0s"))
    return Outcome(
        lake=compare(attack.root, attack.recording, publishing.published),
        seen=seen,
        tables=tables,
        faults=reconcile(attack.root),
        changes=last_change(attack.root),
        removed=removed,
        writers_killed=beside.writers_killed,
        killed=beside.killed,
        inside=beside.inside,
        held=beside.held,
        publishers_killed=beside.publishers_killed,
    )


class _Beside:
    """What goes on at once, each in a thread."""

    def __init__(self, attack: Attack, publishing: Publishing, say: Callable[[str], None]) -> None:
        self._attack = attack
        self._publishing = publishing
        self._say = say
        self._dice = random.Random(attack.root)
        self._turns = cycle(TURNS)
        self._life = 3.0
        """Seconds that the last compaction took which was left alone."""
        self.stopped = False
        self._lock = threading.Lock()
        self.writers_killed = self.killed = self.inside = self.held = self.publishers_killed = 0

    @property
    def _over(self) -> bool:
        enough = self.killed >= self._attack.kills and self.inside > 0
        return self.stopped or self._publishing.done or enough

    def write(self) -> None:
        """Take what is published into the lake, one process after another; every second commits before it is killed."""
        attack = self._attack
        line = ["--messages", attack.topic, "--lake", attack.root, "--quiet", "--every", "1s"]
        while not self._over:
            before, units = planned(attack.root), lake(attack.root).units
            with running(["-m", "prestacop", "run", *line], attack.log) as process:
                wait_for_plan(process, attack.root, before)
                while self.writers_killed % 2 == 0 and not self._over and lake(attack.root).units == units:
                    time.sleep(0.05)
                self._wait(process, "writer")
                _still_well(process)
            self.writers_killed += 1

    def publish(self) -> None:
        """Publish all the time, one process after another."""
        while not self._over:
            with running(["-c", _PUBLISH, self._attack.root], self._attack.log) as process:
                self._wait(process, "publisher")
                _still_well(process)
            self.publishers_killed += 1

    def compact(self) -> None:
        """Compact or vacuum again and again, as soon as there is a lake."""
        while not (self._over or lake(self._attack.root).units):
            time.sleep(0.1)
        while not self._over:
            self._turn(next(self._turns))

    def _turn(self, what: str) -> None:
        root = self._attack.root
        token = f"{self._dice.getrandbits(32):08x}"
        began = time.monotonic()
        with running(
            _vacuum(root, OLDER_THAN) if what == VACUUM else _compaction(root, token), self._attack.log
        ) as process:
            if what in (KILL_INSIDE, HOLD):
                enough = self._dice.randint(1, MOST_WRITTEN)
                while process.poll() is None and _written(root, token) < enough:
                    time.sleep(0.02)
            if what == HOLD and process.poll() is None:
                process.send_signal(signal.SIGSTOP)
                deadline, before = time.monotonic() + HOLD_S, last_change(root)
                while time.monotonic() < deadline and last_change(root) < before + HOLD_CHANGES:
                    time.sleep(0.1)
                process.send_signal(signal.SIGCONT)
                self.held += 1
            if what in (KILL, VACUUM):
                self._wait(process, what)
            elif what in (HOLD, LET_END):
                process.wait()
            _still_well(process)
            if what == LET_END:
                self._life = time.monotonic() - began
            killed = process.poll() is None
        self._count(killed, killed and _written(root, token) > 0 and not _put(root, token))

    def _wait(self, process: subprocess.Popen[bytes], what: str) -> None:
        wait(process, self._dice.uniform(0, LONGEST[what] * self._life))

    def _count(self, killed: bool, inside: bool = False) -> None:
        with self._lock:
            self.killed += killed
            self.inside += inside
            if killed:
                changes = last_change(self._attack.root)
                self._say(f"kill {self.killed}: {self._publishing.published:,} published, {changes} changes")


def _compaction(root: str, token: str = "00000000") -> list[str]:
    return ["-c", _COMPACT.format(token=token), "compact", "--lake", root, "--file-mb", "1", "--quiet"]


def _vacuum(root: str, older_than: str) -> list[str]:
    return ["-m", "prestacop", "compact", "--lake", root, "--vacuum", "--older-than", older_than]


def _finish(attack: Attack, *arguments: str) -> None:
    with running(arguments, attack.log) as process:
        process.wait()
        _still_well(process)


def _still_well(process: subprocess.Popen[bytes]) -> None:
    """Raises RuntimeError where it has ended with an error."""
    if process.poll():
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")


def _written(root: str, token: str) -> int:
    """How many files the compaction of this token has written."""
    return sum(f"-{token}-" in info.path for folder in FOLDERS for info in storage(root).list(folder))


def _put(root: str, token: str) -> bool:
    """Whether the compaction of this token is in the ledger; the publication before it has the same token."""
    changes = lake(root).changes.select(["unit", "path"]).to_pylist()
    return any(row["unit"].endswith(f"-{token}") and row["path"] == COMPACTION for row in changes)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 if all came out as it has to."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.recovery.compaction",
        description=__doc__,
        epilog="examples:\n  python -m tests.recovery.compaction --kills 20\n"
        "  python -m tests.recovery.compaction --root local s3 --log compaction.log",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="of compactions and vacuums (100)")
    parser.add_argument(
        "--root", nargs="+", choices=("local", "s3"), default=["local"], help="the lake's place (local)"
    )
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="file for what the pipelines say")
    arguments = parser.parse_args(argv)
    good = True
    with tempfile.TemporaryDirectory(prefix="prestacop-compaction-") as name:
        folder = Path(name)
        services = Services(data=folder / "services", ports={name: free_port() for name in NAMES})
        try:
            recording = make_recording(folder, int(RATE * SECONDS_A_KILL * arguments.kills))
            for place in arguments.root:
                services.up("kafka")
                topic, _ = make_topic(services, "kafka", f"compaction-{place}")
                root = str(folder / "lake") if place == "local" else _bucket(services)
                print(f"{place}:", flush=True)
                attack = Attack(root, recording, topic, arguments.kills, arguments.log.absolute())
                outcome = campaign(attack, lambda line: print(f"  {line}", flush=True))
                print(f"  {'as it has to be' if outcome.good else 'WRONG'}: {outcome}", flush=True)
                good &= outcome.good
        finally:
            services.down(clean=True)
    return 0 if good else 1


def _bucket(services: Services) -> str:
    services.up("s3")
    os.environ |= services.environment("s3")
    return "s3://prestacop/compaction"


if __name__ == "__main__":
    sys.exit(main())
