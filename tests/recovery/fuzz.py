"""``python -m tests.recovery.fuzz``: foreign bytes at every edge, and whatever raises is a fault.

An edge is where the system takes what others have sent. Each gets so many payloads: real ones in which bytes or fields
were changed, and hostile ones. A payload is accepted or refused; one at which the edge raises is looked for among those
that came with it, and printed. The end is 1 where any raised.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from google.cloud.pubsub_v1.types import PubsubMessage, ReceivedMessage

from apps.console import reading
from apps.console.database import Database
from apps.console.desk import Desk, _read
from apps.console.drones import Drones
from apps.console.live import Panes
from apps.console.pictures import Pictures
from apps.simulator.transport.command_reader import decoded
from lake import lake
from lake.news import Mark
from pipelines.maintenance.trace import trace
from pipelines.violations.summary import summary
from runners.live.metrics import PaneFile, Windows
from schemas import commands
from schemas.alerts import encode
from schemas.answers import public_key
from schemas.decoding import Undecodable, decode_json
from schemas.errors import InputUnusable
from schemas.lake import Dataset, Source
from schemas.loaded import decode
from schemas.loaded import encode as encode_piece
from schemas.messages import Reason
from schemas.pictures import decode_picture
from sources.files.history import HistoryCsv
from sources.loaded.file import cells_of, read_loaded
from sources.loaded.topic import LoadedTopic
from sources.payloads import payload_batch
from sources.streams import kafka
from sources.streams.pubsub import published_at
from sources.units import Unit, UnitBatch
from tests.schemas.test_answers import alert
from tests.sources.loaded.test_topic import Topic, begin, end
from tests.sources.streams.test_published import KafkaMessage
from tests.support import run_graph
from tests.transforms.messages.test_no_payload_raises import ANSWER, HOSTILE, IMAGE, IMAGE_LINE, KEY, LINE, MESSAGE
from transforms.alerts.mail import mail_of
from transforms.alerts.publish import alerts_of
from transforms.history.parse import parse_block
from transforms.live.counts import slice_letters, slice_rows, split_ahead
from transforms.messages.decode import decode_payloads
from transforms.messages.dedupe import _DropDuplicates
from transforms.qualify import split
from transforms.stats import WindowCounter

AT_ONCE: Final = 500
_TIME: Final = "2026-01-15T12:00:00.000000Z"
_ALERT: Final = encode(alert())
_CONFIRMATION: Final = msgspec.json.encode(
    commands.Confirmation(command_id="c", drone_id="d", command="hold", time=_TIME)
)
_PANE: Final = {"window_start": _TIME, "window_seconds": 60, "dataset": "qualified", "violation_code": 21, "n": 3,
                "timing": "on_time", "areas": {"40.71,-74.01": 3}}  # fmt: skip
_PIECES: Final = [encode_piece(piece) for piece in (begin("a"), end("a"), begin("b"), end("b"))]
_HEADER: Final = b"Summons Number,Plate ID,Issue Date,Violation Time,Violation Code,Violation County,Street Name\n"
_ROW: Final = b'8002531292,"AB1",06/20/2015,0143A,21,K,"BROADWAY, 1"\n'
_ODD_VALUES: Final[Sequence[Any]] = (
    None, True, 0, -1, -0.0, 5e-324, 1e308, 10**30, 2**63, 2**62, 1.5, "", " ", "\x00", "\x1b[2J", "\r\n", "é" * 200,
    "x" * 5_000, "\u202e", "officer", "position", "../../x", [], {}, [[[]]], {"a": {"a": 1}}, "2026-12-31T23:59:60Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "2026-01-15t12:00:00,5z", "24:00:00", "+24:00", "NaN",
)  # fmt: skip
_ODD_BYTES: Final = (
    *(b"\xff", b'"', b"\\", b"\\ud800", b"\x00", b";", b",", b"-", b"\r", b"\n", b"\r\n", b"\xe2\x80\xa8", b"NaN"),
    *(b"1e999", b"9" * 400, b"9" * 5_000, b"[" * 2_000, b'{"":' * 2_000, b'"\r\n"', b"Summons Number,Issue Date\n"),
)


class Edge(NamedTuple):
    """Where foreign bytes come in."""

    name: str
    real: Sequence[bytes]
    """What is sent there."""
    take: Callable[[list[bytes]], int]
    """Takes payloads, and says how many of them were accepted; the others were refused."""
    one_in: int = 1
    """Of so many tries one is made, where an edge takes long."""


class Outcome(NamedTuple):
    """What became of the payloads."""

    tries: int = 0
    accepted: int = 0
    raised: tuple[tuple[bytes, str], ...] = ()


def mutated(rng: random.Random, real: Sequence[bytes]) -> bytes:
    """A payload: a real one, a hostile one, or a real one in which fields or bytes were changed."""
    payload = rng.choice(real)
    kind = rng.random()
    if kind < 0.2:
        return payload
    if kind < 0.23:
        return rng.choice(HOSTILE)
    if kind < 0.7 and payload[:1] == b"{":
        head, newline, rest = payload.partition(b"\n")
        document = json.loads(head)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            document[rng.choice([*document, "new", 'q"'])] = rng.choice([*_ODD_VALUES, *document.values()])
        for name in rng.sample(list(document), int(rng.random() < 0.1)):
            del document[name]
        payload = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode() + newline + rest
        if kind < 0.6:
            return payload
    data = bytearray(payload)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randint(0, len(data))
        until = min(at + rng.choice((0, 0, 1, 1, 2, 20)), len(data))
        data[at:until] = rng.choice(
            [rng.randbytes(rng.randint(0, 2)), rng.choice(_ODD_BYTES), bytes(data[at:until]) * 2]
        )
    return bytes(data)


def attempt(edge: Edge, payloads: list[bytes]) -> Outcome:
    """Let an edge take payloads; where it raises, look for the one that is to blame."""
    try:
        return Outcome(len(payloads), edge.take(payloads))
    except Exception as error:  # noqa: BLE001  # whatever it is, it is what is looked for
        if len(payloads) == 1:
            return Outcome(1, 0, ((payloads[0], f"{type(error).__name__}: {error}"[:300]),))
    half = len(payloads) // 2
    return _sum([attempt(edge, payloads[:half]), attempt(edge, payloads[half:])])


def _sum(outcomes: Sequence[Outcome]) -> Outcome:
    raised = tuple(one for outcome in outcomes for one in outcome.raised)
    return Outcome(sum(o.tries for o in outcomes), sum(o.accepted for o in outcomes), raised)


def fuzz(edge: Edge, tries: int, seed: int) -> Outcome:
    """So many payloads for an edge."""
    rng = random.Random(f"{edge.name} {seed}")
    left = max(tries // edge.one_in, 1)
    outcomes = []
    while left > 0:
        payloads = [mutated(rng, edge.real) for _ in range(min(AT_ONCE, left))]
        outcomes.append(attempt(edge, payloads))
        left -= len(payloads)
    return _sum(outcomes)


def _unit(source: Source = Source.DRONES) -> Unit:
    return Unit(source, "fuzz", 0, 1, f"{source}-00000-{'0' * 32}", ())


def _messages(payloads: list[bytes]) -> int:
    """The graph: decoded, deduplicated, counted, alerts made and put into mails; an answer says what was signed."""
    n = len(payloads)
    rows, dead = decode_payloads(_unit(), payload_batch(payloads, range(n), range(n)), (public_key(KEY),))
    assert rows.num_rows + dead.num_rows == n
    assert Reason.DECODER_FAILED not in dead["reason"].to_pylist(), dead["detail"].to_pylist()
    signed = json.loads(ANSWER)
    for row in rows.to_pylist():
        if row["status"] == "officer":
            assert {name: row[name] for name in ("answers", "officer_id", "violation_code", "plate_id")} == {
                name: signed.get(name) for name in ("answers", "officer_id", "violation_code", "plate_id")
            }
        else:
            assert row["answers"] is None
    drop = _DropDuplicates()
    drop.start_bundle()
    fresh = next(iter(drop.process(UnitBatch(_unit(), rows, last=True)))).rows
    counter = WindowCounter(60)
    counter.add(fresh)
    assert sum(counter.counts("u")["n"].to_pylist()) == fresh.num_rows
    for counted, column, of in ((fresh, "event_time", slice_rows), (dead, "published_at", slice_letters)):
        for some in split_ahead(counted, column):
            of(some, 60)
    alerts = alerts_of(split(fresh)[Dataset.UNQUALIFIED], datetime.now(UTC))
    for each in alerts:
        assert _read(encode(each))[1] == each  # the console takes what the graph raises
    if alerts:
        assert mail_of(alerts, "a@example.org", "b@example.org").as_bytes()
    return int(rows.num_rows)


def _history(payloads: list[bytes]) -> int:
    """The history: a file of each payload is read, or refused as a whole."""
    accepted = 0
    for payload in payloads:
        form = HistoryCsv()
        try:
            header = form.header(io.BytesIO(payload), "fuzz.csv")
        except InputUnusable:
            continue
        data = payload[len(header.text) :]
        if not data:
            continue
        block = form.content(header, data, len(header.text), 0)
        unit = dataclasses.replace(_unit(Source.HISTORY), columns=header.columns)
        parsed = parse_block(unit, block)
        assert parsed.rows.num_rows + parsed.dead_letters.num_rows == block.num_rows
        accepted += bool(parsed.rows.num_rows)
    return accepted


def _pieces(payloads: list[bytes], root: str) -> int:
    """The loader's topic: pieces are decoded, and the files that are whole are read."""
    accepted = 0
    for payload in payloads:
        try:
            decode(payload)
        except ValueError:
            continue
        accepted += 1
    topic = Topic(payloads[: len(payloads) // 2], payloads[len(payloads) // 2 :])
    try:
        files = LoadedTopic(topic, root).read_files()
        for cell in (c for file in files if file.is_complete for c in cells_of(file, topic, HistoryCsv(), root)):
            list(read_loaded(cell, topic, HistoryCsv(), root))
    except InputUnusable:  # pieces that contradict each other, or a file that is none
        pass
    return accepted


def _sources(payloads: list[bytes]) -> int:
    """Kafka and Pub/Sub: any time of publishing."""
    rng = random.Random(b"".join(payloads[:3]))
    times = [rng.choice([-1, 0, 2**63 - 1, -(2**63), rng.getrandbits(62), rng.getrandbits(41)]) for _ in payloads]
    found: list[Any] = [KafkaMessage(n, when) for n, when in enumerate(times)]
    rows = kafka._batch(found, 0).to_pylist()
    messages = []
    for when in times:
        message = PubsubMessage()
        PubsubMessage.pb(message).publish_time.seconds = when // 1000
        PubsubMessage.pb(message).publish_time.nanos = rng.choice([0, 999_999_999, -1, 2**31 - 1, -(2**31)])
        messages.append(ReceivedMessage(message=message))
    published = [*published_at(messages).to_pylist(), *(row["published_at"] for row in rows)]
    assert all(when is None or 1970 <= when.year < 2200 for when in published)
    return len(payloads)


def _follower(
    take: Callable[[Sequence[bytes], dict[int, int]], None],
    database: Database,
    read: Callable[[bytes], object],
    payloads: list[bytes],
) -> int:
    """One of the console's: its decoder raises what it says alone, and what is refused is kept."""
    for payload in payloads:
        with contextlib.suppress(Undecodable, msgspec.MsgspecError):
            read(payload)
    before = reading.refused(database)
    take(payloads, {})
    return len(payloads) - (reading.refused(database) - before)


def _panes(payloads: list[bytes], folder: Path) -> int:
    """The readers of live statistics: the console's, and the command's own."""
    path = folder / f"panes-{time.monotonic_ns()}"
    lines = [payload.replace(b"\n", b" ") for payload in payloads]
    path.write_bytes(b"\n".join(lines) + b"\n")
    panes, windows = Panes(path), Windows()
    panes.poll(time.time())
    assert panes.figures.panes + panes.unreadable >= len(lines)
    tail = PaneFile(path)
    for pane in tail.read_new():
        windows.add(pane)
    path.unlink()
    return panes.figures.panes


def _commands(payloads: list[bytes]) -> int:
    """What a fleet's command reader does with a payload."""
    with contextlib.redirect_stderr(io.StringIO()):
        return len(list(decoded(payloads)))


def _trace(payloads: list[bytes], root: str) -> int:
    """Any text as the name of what is looked for."""
    found = 0
    for payload in payloads:
        found += bool(list(trace(lake(root), payload.decode("utf-8", "surrogateescape"))))
    return found


def _traced_lake(folder: Path, seed: int) -> str:
    """A lake of such messages; all of them are traced by their places, once."""
    rng = random.Random(seed)
    lines = [mutated(rng, [MESSAGE, ANSWER, LINE]).replace(b"\n", b" ") for _ in range(40)]
    (folder / "fleet.jsonl").write_bytes(b"\n".join([MESSAGE, *lines]) + b"\n")
    run_graph(folder / "traced", messages=folder / "fleet.jsonl")
    root = str(folder / "traced")
    list(summary(root, Mark(), 1.0))
    (unit,) = lake(root).ledger["unit"].to_pylist()
    for record in range(0, 41, 4):
        list(trace(lake(root), f"{unit}/{record}"))
    return root


@contextlib.contextmanager
def edges(folder: Path, seed: int, with_trace: bool = True) -> Iterator[list[Edge]]:
    """All of them, with what they need below a folder."""
    database = Database(folder / "console")
    clock, changed = time.time, lambda: None
    desk = Desk(database, KEY, clock, changed)
    drones, pictures = Drones(database, clock), Pictures(database, folder / "pictures", clock, changed)
    confirmation = partial(decode_json, decoder=msgspec.json.Decoder(commands.Confirmation))
    command = msgspec.json.encode(commands.Command(command_id="c", drone_id="d", command="hold", time=_TIME))
    panes = [json.dumps(_PANE).encode(), json.dumps(_PANE | {"areas": None, "dataset": None}).encode()]
    found = [
        Edge("pieces", _PIECES, partial(_pieces, root=str(folder / "lake"))),
        Edge("confirmations", [_CONFIRMATION], partial(_follower, drones.take, database, confirmation)),
        Edge("messages", [MESSAGE, LINE], _messages),
        Edge("answers", [ANSWER], _messages),
        Edge("alerts", [_ALERT], partial(_follower, desk.take, database, _read)),
        Edge("pictures", [IMAGE, IMAGE_LINE], partial(_follower, pictures.take, database, decode_picture), 4),
        Edge("panes", panes, partial(_panes, folder=folder)),
        Edge("commands", [command], _commands),
        Edge("history", [_HEADER + _ROW * 3], _history, 4),
        Edge("times of brokers", [MESSAGE], _sources),
    ]
    if with_trace:
        ids = [b"m", b"drones-00000-hash/0", LINE]
        found.append(Edge("trace", ids, partial(_trace, root=_traced_lake(folder, seed)), 1_000))
    try:
        yield found
    finally:
        database.close()


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("--tries", type=int, default=120_000, help="payloads for each edge (120,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--edge", help="this one alone")
    arguments = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    total = Outcome()
    with tempfile.TemporaryDirectory() as folder, edges(Path(folder), arguments.seed) as found:
        for edge in found:
            if arguments.edge not in (None, edge.name):
                continue
            outcome = fuzz(edge, arguments.tries, arguments.seed)
            total = _sum([total, outcome])
            refused = outcome.tries - outcome.accepted - len(outcome.raised)
            print(
                f"{edge.name:>17}: {outcome.tries:>7,} tries, {outcome.accepted:>7,} accepted, {refused:>7,} refused, "
                f"{len(outcome.raised):,} raised",
                flush=True,
            )
            for payload, error in outcome.raised[:5]:
                print(f"{'':>19}{error!a:.200} at {payload[:300]!r}", flush=True)
    print(f"{'all':>17}: {total.tries:>7,} tries, {len(total.raised):,} raised")
    return 1 if total.raised else 0


if __name__ == "__main__":
    sys.exit(main())
