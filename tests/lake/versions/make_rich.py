"""``python -m tests.lake.versions.make_rich v5-466ad56``: a lake of the version at hand with every kind of object.

It reads tickets, recordings, pictures and a topic of the new broker at ``KAFKA_BOOTSTRAP_SERVERS``, several times each,
compacts, replays, and reads more after that. ``expected.json`` is what the reader of that version shows. To be run
once, in the top folder of a work tree of that version, and packed: ``tar -cJf v5-466ad56.tar.xz -C v5-466ad56 .``.
v2-36758f3 was made with ``python -m pipelines.compact`` and ``pipelines.replay``, and without an undo.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from apps.simulator.fleet.images import jpeg
from lake import Lake
from schemas.alerts import Alert
from schemas.answers import answer_to, new_key, save_public_key, sign
from schemas.history import COLUMNS_43
from schemas.messages import DroneMessage

HERE = Path(__file__).parent
TOP = Path.cwd()
RUN = ("pipelines.violations",)
COMPACT, REPLAY, UNDO = (("prestacop", command) for command in ("compact", "replay", "undo"))
KEYS = "officers.pem"

NAMES = {
    "positions": "message_id",
    "qualified": "coalesce(message_id, summons_number::VARCHAR)",
    "unqualified": "coalesce(message_id, summons_number::VARCHAR)",
    "dead_letters": "concat_ws(' ', path, \"offset\"::VARCHAR, reason)",
    "images": "image_id",
    "answers": "concat_ws(' ', alert_id, officer_id, violation_code::VARCHAR, counts_as)",
    "alerts": "concat_ws(' ', message_id, answered::VARCHAR, answered_code::VARCHAR)",
    "human_work": "concat_ws(' ', day::VARCHAR, violation_code::VARCHAR, violations::VARCHAR, needed_officer::VARCHAR)",
    "repeated_summons": "concat_ws(' ', summons_number::VARCHAR, times::VARCHAR)",
    "stats": "concat_ws(' ', dataset, window_start::VARCHAR, violation_code::VARCHAR, part_of_day, area, n::VARCHAR)",
    "ledger": "concat_ws(' ', path, range_start::VARCHAR, range_end::VARCHAR, rows_in::VARCHAR)",
}
"""SQL that says what a view's row is known by."""
FROM = {"stats": "(SELECT * EXCLUDE (unit, source, n), sum(n) AS n FROM stats GROUP BY ALL)"}
"""What of a view is compared: the sums of statistics, since versions before 6 had no row of each unit."""


def shown(root: str) -> dict[str, list[str]]:
    """What a lake's views show, sorted."""
    with Lake(root).connect() as connection:
        return {
            view: [
                name for (name,) in connection.sql(f"SELECT {name} FROM {FROM.get(view, view)} ORDER BY ALL").fetchall()
            ]
            for view, name in NAMES.items()
        }


def message(name: str, when: str, code: int | None = 14, **fields: object) -> str:
    """A drone's message: a violation, or where there is no code a position."""
    violation = {} if code is None else {"violation_code": code, "plate_id": "ABC1234"}
    return json.dumps(
        {
            "schema_version": 1, "message_id": name, "drone_id": "d1", "sequence": 1, "event_time": when,
            "latitude": 40.75, "longitude": -73.99, "altitude_m": 30.0, "battery_pct": 50.0,
            "kind": "position" if code is None else "violation", "status": "raw", **violation, **fields,
        }
    )  # fmt: skip


def tickets(path: str, *rows: tuple[str, str, str, str]) -> None:
    """A file of the city with these summons numbers, dates, codes and times."""
    lines = [",".join(COLUMNS_43)]
    for summons, day, code, time in rows:
        values = {"Summons Number": summons, "Issue Date": day, "Violation Code": code, "Violation Time": time}
        lines.append(",".join(values.get(name, "") for name in COLUMNS_43))
    Path(path).write_text("\n".join(lines) + "\n")


def picture(name: str, when: str) -> str:
    """A message with a picture."""
    data = base64.b64encode(jpeg(name)).decode()
    return json.dumps({"schema_version": 1, "image_id": name, "event_time": when, "data": data})


def make_rich(folder: Path) -> None:
    """Write the lake."""
    folder.mkdir()
    os.chdir(folder)  # the lake keeps the names as they were given
    key, broker = new_key(), os.environ["KAFKA_BOOTSTRAP_SERVERS"]
    save_public_key(key, Path(KEYS))
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic("drones", 1)])["drones"].result()
    topic = f"kafka://{broker}/drones"

    def command(module: tuple[str, ...], *flags: str) -> None:
        found = {**os.environ, "PYTHONPATH": str(TOP)}
        lake = "--output" if module == RUN else "--lake"
        subprocess.run([sys.executable, "-m", *module, *flags, lake, "lake", "--quiet"], env=found, check=True)

    def recording(name: str, *lines: str) -> str:
        Path(name).write_text("".join(f"{line}\n" for line in lines))
        return f"file:{name}"

    def publish(*payloads: str) -> None:
        producer = Producer({"bootstrap.servers": broker})
        for payload in payloads:
            producer.produce("drones", payload.encode(), partition=0, timestamp=1_436_200_000_000)
        producer.flush(10)

    copied = message("p1", "2015-01-06T05:43:00Z", None), message("m1", "2015-01-06T05:44:00Z")
    alert = message("a1", "2015-02-06T15:43:00Z", 0, image_id="i1")
    jan, feb = "01/06/2015", "02/06/2015"
    tickets("h1.csv", ("8000000001", jan, "21", "0143A"), ("8000000002", jan, "0", "1225"),
            ("8000000003", jan, "46", "nonsense"), ("8000000004", feb, "46", "0143P"))  # fmt: skip
    command(RUN, "--history", "h1.csv")
    old_drone = "40.7;-73.9;30;1423200000;d9;raw"
    command(RUN, "--messages", recording("m1.jsonl", *copied, alert, old_drone, "{", copied[0]))
    again = message("m2", "2015-01-06T05:45:00Z", 21, wind={"speed": 7})
    command(RUN, "--messages", recording("m2.jsonl", *copied, again, message("p2", "2015-02-01T00:00:00Z", None)))
    when = "2015-02-06T15:43:00Z"
    command(RUN, "--images", recording("i1.jsonl", picture("i1", when), picture("i2", when), "no picture"))
    publish(copied[1], message("m3", "2015-02-06T15:50:00Z", 38), alert, message("a2", "2015-02-06T16:00:00Z", 0))
    command(RUN, "--messages", topic)
    raised = msgspec.json.decode(json.dumps({**json.loads(alert), "alert_time": when}), type=Alert)
    answers = [
        answer_to(raised, lease=lease, officer_id=officer, violation_code=code, event_time=f"2015-02-06T15:{at}:00Z")
        for lease, officer, code, at in (("l1", "kelly", 40, 55), ("l2", "smith", 20, 57))
    ]
    publish(*(_text(sign(answer, key)) for answer in answers), copied[0])
    command(RUN, "--messages", topic, "--officer-keys", KEYS)
    third = answer_to(raised, lease="l3", officer_id="jones", violation_code=20, event_time="2015-02-06T15:58:00Z")
    command(RUN, "--messages", recording("o1.jsonl", _text(sign(third, key)), message("p3", when, None)))
    command(COMPACT)
    command(REPLAY, "--reason", "answer_unsigned", "--officer-keys", KEYS)
    tickets("h2.csv", ("8000000005", feb, "21", "0143A"), ("8000000001", jan, "21", "0143A"))
    conflict = message("m2", "2015-01-06T05:45:00Z", 22)  # of one id, with other content
    later = recording("m3.jsonl", copied[1], conflict, message("m4", "2015-02-06T15:51:00Z", 38))
    command(RUN, "--history", "h2.csv", "--messages", later)
    command(RUN, "--messages", recording("u1.jsonl", message("u1", when), message("u2", when, None)))
    command(UNDO, "u1.jsonl", "--yes")
    command(UNDO, "u1.jsonl", "--again", "--yes")
    Path("expected.json").write_text(json.dumps(shown("lake"), indent=1) + "\n")


def _text(answer: DroneMessage) -> str:
    return msgspec.json.encode(answer).decode()


if __name__ == "__main__":
    make_rich(HERE / sys.argv[1])
