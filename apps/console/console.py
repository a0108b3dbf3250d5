"""The console's parts, started and stopped together."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from messaging.urls import Topic
from schemas import answers
from schemas.console_state import PUBLIC_KEY
from schemas.errors import InputUnusable, PrestaCopError
from schemas.os_errors import exists

from .accounts import Accounts
from .audit import Audit
from .codes import Codes
from .database import Database
from .desk import ALERTS, Desk
from .drones import CONFIRMATIONS, Drones
from .live import Panes
from .outbox import ANSWERS, COMMANDS, Outbox
from .pictures import IMAGES, Pictures
from .presence import Presence
from .readers import Reader
from .reading import positions
from .streams import Streams
from .topics import Backlog, Follower, open_publisher, open_reader
from .uploaded import fetch
from .workers import Worker

KEY: Final = "console-key.pem"
DATABASE: Final = "database"
_TICK_S: Final = 1.0
_CHECK_TICKS: Final = 5
_TIDY_TICKS: Final = 60
_SILENT_TICKS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The topics that the console is connected to; None where one is not configured."""

    alerts: Topic | None = None
    answers: Topic | None = None
    images: Topic | None = None
    commands: Topic | None = None
    confirmations: Topic | None = None
    panes: Path | None = None
    lake: str | None = None
    """Where drones upload their pictures; None where no message names an uploaded one."""


class Console:
    """Build the parts. Raises OutputUnusable, InputUnusable.

    Args:
        second_look, suggestions: see Desk.
    """

    def __init__(
        self,
        folder: Path,
        codes: Codes,
        wiring: Wiring,
        clock: Callable[[], float] = time.time,
        accounts: Callable[[Database, Callable[[], float]], Accounts] = Accounts,
        new_key: bool = False,
        second_look: float = 0.0,
        suggestions: bool = False,
    ) -> None:
        self.clock = clock
        self.codes = codes
        self.version = time.time_ns()
        """Version of the queue: changes with it, and differs between runs of the console."""
        self.live_version = self.version
        self.ending = False
        """Set at shutdown: ends the event streams, for which the server waits."""
        self.database = Database(folder)
        self.accounts = accounts(self.database, clock)
        self.audit = Audit(self.database, clock)
        try:
            key = self._key(folder, new_key)
        except PrestaCopError:
            self.database.close()
            raise
        self.desk = Desk(self.database, key, clock, self._changed, second_look, suggestions)
        self.drones = Drones(self.database, clock)
        self.pictures = Pictures(self.database, folder / "pictures", clock, self._changed, self._alerts_wait)
        self.presence = Presence(clock)
        self.streams = Streams()
        self.panes = Panes(wiring.panes) if wiring.panes else None
        self.commands_go_out = wiring.commands is not None
        self._outboxes: list[Outbox] = [
            Outbox(self.database, topic, open_publisher(url))
            for topic, url in ((ANSWERS, wiring.answers), (COMMANDS, wiring.commands))
            if url is not None
        ]
        takers = (
            (ALERTS, wiring.alerts, self.desk.take, self.desk.has_room),
            (IMAGES, wiring.images, self.pictures.take, self.pictures.has_room),
            (CONFIRMATIONS, wiring.confirmations, self.drones.take, lambda: True),
        )
        self._followers = [
            Follower(name, partial(self._reader, name, url), take, has_room)
            for name, url, take, has_room in takers
            if url is not None
        ]
        self._workers = [Worker(DATABASE, self._look_after)]
        if self.panes is not None:
            self._workers.append(Worker("panes", partial(self._follow_panes, self.panes)))
        if wiring.images is not None:
            self._workers.append(Worker("uploaded pictures", partial(self._fetch_pictures, wiring.lake)))

    def start(self) -> None:
        """Start reading, publishing and expiring leases."""
        for outbox in self._outboxes:
            outbox.start()
        for follower in self._followers:
            follower.start()
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Stop; messages that are not acknowledged by then are published at the next start."""
        for worker in self._workers:
            worker.stop(5)
        for follower in self._followers:
            follower.stop()
        for outbox in self._outboxes:
            outbox.stop()
        self.database.close()

    def troubles(self) -> dict[str, str]:
        """The parts that fail at the moment, each with the reason."""
        return {name: trouble for name, trouble in (self._states() | self.topics()).items() if trouble}

    def topics(self) -> dict[str, str]:
        """Every topic, each with the reason why it fails at the moment; empty if it does not."""
        parts: list[Follower | Outbox] = [*self._followers, *self._outboxes]
        return {part.name: part.trouble for part in parts}

    def faults(self) -> list[str]:
        """What only another start of the console repairs."""
        parts: list[Worker | Follower | Outbox] = [*self._workers, *self._followers, *self._outboxes]
        return [part.trouble for part in parts if part.has_ended]

    def missing(self) -> list[str]:
        """Why no page can be served: the database fails. While a topic fails, pages are served."""
        trouble = self._states()[DATABASE]
        return [trouble] if trouble else []

    def _states(self) -> dict[str, str]:
        return {worker.name: worker.trouble for worker in self._workers}

    def backlogs(self) -> dict[str, Backlog]:
        """Backpressure: the topics whose messages wait because the console is full, each with their number."""
        return {follower.name: follower.backlog for follower in self._followers if follower.backlog is not None}

    def publish(self) -> None:
        """Wake the publishers: an outbox has a new message."""
        for outbox in self._outboxes:
            outbox.wake()

    def _reader(self, name: str, url: Topic) -> Reader:
        return open_reader(url, positions(self.database, name))

    def _key(self, folder: Path, new: bool) -> Ed25519PrivateKey:
        """The key that signs answers, created at the first start; the graph needs the public key beside it."""
        path, public = folder / KEY, folder / PUBLIC_KEY
        if not exists(path):
            if not new and (exists(public) or self.accounts.exist()):
                raise InputUnusable(
                    f"{path}: the key that signs answers is gone, and the graph believes no other: put it back, or "
                    f"make another one with --new-key and give the graph {public}"
                )
            public.unlink(missing_ok=True)
            partial_path = path.with_suffix(".part")
            partial_path.unlink(missing_ok=True)
            answers.save_key(answers.new_key(), partial_path)
            os.replace(partial_path, path)
        key = answers.load_key(path)
        if not exists(public):
            answers.save_public_key(key, public)
        return key

    def _alerts_wait(self) -> bool:
        return ALERTS in self.backlogs()

    def _changed(self) -> None:
        self.version += 1

    def _look_after(self, stopping: threading.Event) -> None:
        known: dict[str, str] = {}
        for tick in count(1):
            if stopping.wait(_TICK_S):
                return
            if tick % _CHECK_TICKS == 1:
                self.database.check()
            self.desk.expire()
            for lease in self.presence.gone():
                self.desk.end(lease, "gone")
            if (troubles := self.troubles()).keys() != known.keys():  # the queue's page shows them
                known = troubles
                self._changed()
            if self.panes is None:
                self.live_version += 1
            if tick % _TIDY_TICKS == 0:
                self.pictures.tidy()
                self.desk.tidy()
            self._workers[0].works()

    def _fetch_pictures(self, root: str | None, stopping: threading.Event) -> None:
        while not stopping.wait(_TICK_S):
            self.pictures.fetch(partial(fetch, root))
            self._workers[-1].works()

    def _follow_panes(self, panes: Panes, stopping: threading.Event) -> None:
        quiet = 0
        while not stopping.wait(_TICK_S):
            quiet = 0 if panes.poll(self.clock()) else quiet + 1
            if quiet % _SILENT_TICKS == 0:  # also without a pane: the page says how old its figures are
                self.live_version += 1
            self._workers[1].works()
