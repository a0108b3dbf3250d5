"""``python -m tests.recovery.console``: kill the console at random moments while an officer answers.

The officer answers one alert after the other over HTTP, and goes on whenever the console is there again. In the end
each answer of which the page said "Done" must be in the drones' topic, signed, as one message, however often it was
published, and nothing else.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from runners.services import NAMES, Services, free_port
from schemas.alerts import encode
from schemas.answers import answer_id, load_public_keys, verify
from schemas.console_state import PUBLIC_KEY
from schemas.messages import DroneMessage
from tests.apps.console.process import log_in_first, started
from tests.apps.console.support import alert
from tests.apps.topics import consumed
from tests.recovery.officer import Officer
from tests.services.support import make_topic, publish
from tests.support import wait_until

LONGEST_S: Final = 1.0
"""Between the moment in which the console is there, or begins to start, and its kill."""
ALERTS_A_KILL: Final = 60
GROUPED_COMMITS: Final = """
from contextlib import contextmanager
from time import monotonic
from apps.console.database import Database
last = [0.0]
@contextmanager
def transaction(self):
    with self._lock:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        yield self._connection
        if monotonic() - last[0] > 1:
            self._connection.execute("COMMIT")
            last[0] = monotonic()
Database.transaction = transaction
"""
"""The safety taken out: what was done is on the disk a second later."""
SLOW_MARKS: Final = """
import time
from apps.console.kafka_topics import KafkaPublisher
publish = KafkaPublisher.publish
def slow(self, messages):
    publish(self, messages)
    time.sleep(0.5)
KafkaPublisher.publish = slow
"""
"""No safety taken out: most kills come after the broker has an answer and before that is noted."""


class Outcome(NamedTuple):
    """What came of it; the last five must be 0."""

    kills: int
    interrupted: int
    """Kills while an answer was under way."""
    done: int
    """Answers of which the officer read that they are done."""
    repeats: int
    """Messages that were published again."""
    lost: int
    """Done, and not in the topic as the officer gave them."""
    foreign: int
    """Messages that are no answer that the officer gave."""
    different: int
    """Messages with one id and other bytes."""
    unsigned: int
    twice: int
    """Alerts that were given to the officer again after they were done."""

    @property
    def is_exact(self) -> bool:
        """Nothing lost, nothing invented."""
        return not (self.lost or self.foreign or self.different or self.unsigned or self.twice)


def campaign(folder: Path, broker: str, kills: int, seed: int = 1, sabotage: str = "") -> Outcome:
    """Kill the console so often; its last life ends unharmed.

    Args:
        folder: of the console's state.
        sabotage: code that each console executes first.
    """
    chance = random.Random(seed)
    name = f"console-{folder.name}"
    alerts, drones = make_topic(broker, f"{name}-alerts", 1), make_topic(broker, f"{name}-drones", 1)
    began = time.time() - 3600
    publish(broker, f"{name}-alerts", [encode(alert(f"a{n}", began + n / 100)) for n in range(kills * ALERTS_A_KILL)])
    state, port = folder / "state", ["--port", str(free_port())]
    with started(state, alerts, drones, *port) as running:
        wait_until(running.is_there)
        officer = Officer(log_in_first(running), chance)
        running.end(signal.SIGTERM)
    officer.start()
    for kill in range(kills + 1):
        with started(state, alerts, drones, *port, sabotage=sabotage) as running:
            if kill % 5:  # else it may be killed before it is there
                wait_until(running.is_there)
            time.sleep(chance.uniform(0, LONGEST_S))
            if kill < kills:
                running.end(signal.SIGKILL)
                continue
            wait_until(running.is_there)
            officer.stop()
            if running.end(signal.SIGTERM) != 130:
                raise RuntimeError(f"the last console did not end as it should:\n{running.printed()}")
    sent = consumed(broker, f"{name}-drones")
    return _compare(officer, kills, [m.value() or b"" for m in sent], load_public_keys(state / PUBLIC_KEY))


def _compare(officer: Officer, kills: int, payloads: list[bytes], keys: tuple[bytes, ...]) -> Outcome:
    sent = {(answer_id(a.alert, a.lease), a.alert, a.code) for a in officer.sent}
    done = {(answer_id(a.alert, a.lease), a.alert, a.code) for a in officer.done}
    messages = [msgspec.json.decode(payload, type=DroneMessage) for payload in payloads]
    published = {(m.message_id, m.answers, m.violation_code) for m in messages}
    bytes_of: dict[str, set[bytes]] = defaultdict(set)
    for message, payload in zip(messages, payloads, strict=True):
        bytes_of[message.message_id].add(payload)
    return Outcome(
        kills=kills,
        interrupted=officer.interrupted,
        done=len(done),
        repeats=len(payloads) - len(bytes_of),
        lost=len(done - published),
        foreign=len(published - sent),
        different=sum(len(each) > 1 for each in bytes_of.values()),
        unsigned=sum(not verify(message, keys) for message in messages),
        twice=len(done) - len({alert for _, alert, _ in done}),
    )


def main() -> int:
    """The command; 0 if nothing was lost and nothing invented."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.console", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="(200: 5 minutes)")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prestacop-console-") as name:
        services = Services(data=Path(name) / "services", ports={name: free_port() for name in NAMES})
        try:
            services.up("kafka")
            broker = services.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"]
            (Path(name) / "killed").mkdir()
            outcome = campaign(Path(name) / "killed", broker, arguments.kills, arguments.seed)
        finally:
            services.down(clean=True)
    print(", ".join(f"{value:,} {name}" for name, value in outcome._asdict().items()))
    return 0 if outcome.is_exact else 1


if __name__ == "__main__":
    sys.exit(main())
