"""A console on a working day, with the topics that `make live` gives it, on a broker inside librdkafka."""

import json
import math
import random
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from apps.console.access import Role
from apps.console.codes import Codes
from apps.simulator.fleet.images import parked_car
from messaging.urls import topic_url
from schemas.alerts import encode
from schemas.commands import Command, Confirmation
from tests.apps.console.support import CODES, Clock, add_account, alert, make_console, picture
from tests.apps.topics import MockKafka, consumed
from tests.support import wait_until

MORE_CODES = {
    16: "NO STANDING-EXC. TRUCK LOADING",
    18: "NO STANDING-BUS LANE",
    19: "NO STANDING-BUS STOP",
    46: "DOUBLE PARKING",
    48: "BIKE LANE",
}
CARS = 6
PLACES = (
    (40.7581, -73.9855), (40.6782, -73.9442), (40.7282, -73.7949), (40.8448, -73.8648), (40.5795, -74.1502),
    (40.7128, -74.0060), (40.7505, -73.9934), (40.6441, -73.9872), (40.7644, -73.9235), (40.8076, -73.9626),
    (40.7007, -73.9230), (40.6892, -73.9857),
)  # fmt: skip
ALERTS = 52


class Day(Clock):
    """A clock that goes by itself, and can be set back to what was done earlier that day."""

    def __init__(self) -> None:
        super().__init__()
        self.ago = 0.0

    def __call__(self) -> float:
        return time.time() - self.ago


class Busy:
    """40 open alerts with pictures, two officers at work, 50 minutes of statistics, drones that confirm."""

    def __init__(self, folder: Path, broker: MockKafka) -> None:
        self.clock = Day()
        self._broker = broker
        panes = folder / "panes.jsonl"
        _write_panes(panes)
        self._panes = panes
        topics = ("alerts", "answers", "images", "commands", "confirmations")
        urls = {name: topic_url(broker.url(name)) for name in topics}
        self.console = make_console(folder / "state", self.clock, panes=panes, **urls)
        self.console.codes = Codes(CODES | MORE_CODES)
        for name in ("k.byrne", "a.ortiz"):
            add_account(self.console, name, Role.OFFICER)

    def fill(self) -> None:
        """What the topics bring; the console runs."""
        rng = random.Random(5)
        now = time.time()
        raised, pictures = [], []
        letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
        plates = [f"{''.join(rng.choices(letters, k=3))}{rng.randrange(1000, 9999)}" for _ in range(CARS)]
        for place in range(ALERTS):
            north, west = PLACES[place % len(PLACES)]
            plate, drone = plates[place % CARS], f"drone-{rng.randrange(1000):04d}"
            name = f"{rng.getrandbits(128):032x}"
            raised.append(
                alert(
                    name, now - 20 - 9.5 * (ALERTS - place), drone_id=drone,
                    plate_id=plate, latitude=north + rng.gauss(0, 0.012), longitude=west + rng.gauss(0, 0.012),
                    image_id=f"img-{name[:12]}",
                )
            )  # fmt: skip
            pictures.append(picture(f"img-{name[:12]}", parked_car(name, drone, plate)))
        self._publish("alerts", map(encode, raised))
        self._publish("images", pictures)
        self._until("SELECT (SELECT count(*) FROM alerts) + (SELECT count(*) FROM pictures)", 2 * ALERTS)

    def answer_some(self) -> None:
        """The last quarter of an hour: twelve answers, and one alert that is held."""
        console = self.console
        ids = [row["id"] for row in console.database.rows("SELECT id FROM alerts ORDER BY raised_at")]
        for place in range(12):
            officer, code = "k.byrne" if place % 3 else "a.ortiz", (14, 21, 40, 45)[place % 4]
            self.clock.ago = 420.0 - 33 * place
            held = console.desk.pick(officer, alert=ids[int((54 + 33 * place - 7 * (place % 5)) / 9.5)])
            assert held is not None
            self.clock.ago -= 4 + 5 * (place % 3)
            console.desk.answer(officer, held.lease, code)
            console.audit.note(officer, "127.0.0.1", "answer", f"{code} to {held.alert['message_id']}")
        self.clock.ago = 0.0
        assert console.desk.pick("a.ortiz") is not None
        console.publish()
        self._until("SELECT count(*) FROM outbox WHERE published_at IS NULL", 0)

    def command_drones(self) -> None:
        """Four commands; the drone of the last one has not confirmed yet."""
        console = self.console
        for place, (drone, order) in enumerate((("0311", "hold"), ("0007", "return"), ("0128", "return"))):
            self.clock.ago = 1300.0 - 170 * place
            console.drones.command("supervisor", f"drone-{drone}", order)
            console.audit.note("supervisor", "127.0.0.1", "command", f"{order} to drone-{drone}")
            console.publish()
            self._until("SELECT count(*) FROM outbox WHERE published_at IS NULL", 0)
            self._confirm()
            self._until("SELECT count(*) FROM commands WHERE confirmed_at IS NOT NULL", place + 1)
        self.clock.ago = 0.0
        console.drones.command("supervisor", "drone-0311", "return")
        console.publish()
        self._until("SELECT count(*) FROM outbox WHERE published_at IS NULL", 0)

    def fly(self) -> None:
        """Twelve drones, heard for 20 minutes; the first falls silent, and the battery of the second is low."""
        now = time.time()
        with self._panes.open("ab") as file:
            for ago in range(1200, 0, -30):
                heard = [
                    (f"drone-{97 * place + 7:04d}", now - ago, 98 - place * 5 - (1200 - ago) / 40, north, west, 60.0)
                    for place, (north, west) in enumerate(PLACES)
                    if place or ago > 240
                ]
                file.write(msgspec.json.encode({"drones": heard}) + b"\n")
        for drone, kind, began in (("drone-0007", "silent", now - 240), ("drone-0104", "battery_low", now - 65)):
            when = datetime.fromtimestamp(began, UTC)
            head = {"schema_version": 1, "message_id": f"{kind} {drone}", "kind": kind, "drone_id": drone}
            self._publish("alerts", [msgspec.json.encode({**head, "event_time": when, "alert_time": when})])
        self._until("SELECT count(*) FROM drone_events", 2)

    def _confirm(self) -> None:
        """The fleet confirms all that it was told."""
        values = (message.value() for message in consumed(self._broker.address, "commands"))
        commands = (msgspec.json.decode(value, type=Command) for value in values if value)
        confirmations = (Confirmation(**msgspec.structs.asdict(command)) for command in commands)
        self._publish("confirmations", map(msgspec.json.encode, confirmations))

    def _publish(self, topic: str, payloads: Iterable[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self._broker.address})
        for payload in payloads:
            producer.produce(topic, payload)
        assert producer.flush(30) == 0

    def _until(self, query: str, n: int) -> None:
        wait_until(lambda: self.console.database.number(query) == n)


def _area(rng: random.Random, spread: float) -> str:
    place = rng.choices(PLACES, range(len(PLACES), 0, -1))[0]
    latitude, longitude = (math.floor(100 * rng.gauss(middle, spread)) / 100 for middle in place)
    return f"{latitude:.2f},{longitude:.2f}"


def _write_panes(path: Path) -> None:
    rng = random.Random(3)
    now = time.time()
    codes = [21] * 28 + [40] * 14 + [14] * 17 + [45] * 9 + [46] * 8 + [19] * 6 + [16] * 5 + [48] * 4
    codes += list(range(1, 99))
    lines = []
    for window in range(300):
        start = int(now) // 10 * 10 - 10 * (300 - window)
        base = {"window_start": datetime.fromtimestamp(start, UTC).isoformat(), "window_seconds": 10, "timing": "early"}
        swell = 1 + 0.35 * (1 if window % 90 < 40 else 0.2) + rng.random() * 0.2
        for _ in range(30):
            row = {"dataset": "qualified", "violation_code": rng.choice(codes), "n": round(33 * swell)}
            lines.append(base | row)
        lines.append(base | {"dataset": "unqualified", "violation_code": 0, "n": rng.randrange(5, 16)})
        lines.append(base | {"dataset": "positions", "violation_code": None, "n": 9000})
        lines.append(base | {"dataset": "answers", "violation_code": 21, "n": rng.randrange(4, 12)})
        lines.append(base | {"dataset": "dead_letters", "violation_code": None, "n": rng.randrange(0, 4)})
        if window % 40 == 7:
            lines.append(base | {"dataset": "positions", "violation_code": None, "n": 9, "timing": "late"})
            lines.append(base | {"dataset": "positions", "violation_code": None, "n": 2, "timing": "too_late"})
        if window < 299:
            lines.append(base | {"dataset": None, "violation_code": None, "n": 0, "timing": "on_time"})
            for dataset, n, spread in (("positions", 1500, 0.03), ("qualified", 150, 0.015)):
                areas = Counter(_area(rng, spread) for _ in range(n))
                by_area = {"dataset": dataset, "violation_code": None, "n": n, "areas": areas, "timing": "on_time"}
                lines.append(base | by_area)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
