"""``python -m tests.recovery.s3_faults``: every call of S3 may fail, and the lake is as without faults.

Per round the loader, a bounded run, a compaction, a vacuum, an undo and its way back, each again until it ends with 0,
on an S3 server of this process that fails at random: 409, 412 for our own content, 500, 503, 429, lost answers, answers
that are cut, connections that are reset. After each step the lake is compared with the one without faults.
"""

import argparse
import logging
import os
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest

from apps.loader.command import main as load
from lake import lake
from lake.retries import PATIENCE, PATIENCE_S
from lake.storage import storage
from lake.vacuum import vacuum
from pipelines.cli.worker_errors import known
from pipelines.maintenance.compact import compact
from pipelines.maintenance.reconcile import reconcile
from pipelines.maintenance.undo_unit import put_back, undo
from tests.faulty_s3 import FaultyS3, Weather, faulty_server, without_waiting
from tests.support import LOCAL, content, make_history, make_messages, run_graph

MOST = 60
"""Tries of a step."""
GOOD = (0, 4)


class Inputs(NamedTuple):
    """What is read."""

    history: Path
    messages: Path
    journals: Path


Step = tuple[str, Callable[[], object]]


def steps(root: str, inputs: Inputs) -> list[Step]:
    """What is done to a lake, one after the other."""
    arrived = f"{root}-loaded/*.csv"
    arguments = [str(inputs.history), "--to", f"{root}-loaded", "--journal", str(inputs.journals), "--quiet"]

    def unit() -> str:
        return str(min(lake(root).ledger["unit"].to_pylist()))

    return [
        ("load", lambda: load([*arguments, "--patience", "60s"])),
        ("probe", lambda: storage(root).probe()),
        ("run", lambda: run_graph(root, arrived, inputs.messages)),
        ("compact", lambda: compact(root, 1 << 20, LOCAL)),
        ("vacuum", lambda: vacuum(root, timedelta(0))),
        ("undo", lambda: undo(root, [unit()], "undo")),
        ("back", lambda: put_back(root, [unit()], "back")),
        ("read", lambda: content(root)),
        ("reconcile", lambda: reconcile(root)),
    ]


def code(step: Callable[[], object]) -> int:
    """The exit code with which the command of a step would end."""
    try:
        found = step()
    except Exception as error:  # noqa: BLE001  # as in a command
        if ours := known(error):
            if ours.exit_code not in GOOD:
                print(f"{type(ours).__name__}: {ours}")
            return ours.exit_code
        traceback.print_exc()
        return 70
    return found if isinstance(found, int) else 0


def seen(root: str) -> dict[str, Any]:
    """What readers see of a lake, and what reconcile says."""
    if not storage(root).list("ledger"):
        return {}
    return content(root) | {"reconcile": reconcile(root)}


def calm(root: str, inputs: Inputs) -> dict[str, dict[str, Any]]:
    """The lake after each step without a fault."""
    found = {}
    for name, step in steps(root, inputs):
        assert code(step) == 0, name
        found[name] = seen(root)
    return found


def faults(s3: FaultyS3, root: str, inputs: Inputs, weather: Weather, expected: dict[str, Any]) -> Counter[str]:
    """The same steps with faults; gives what went wrong and how often a step was tried again, by its name."""
    found: Counter[str] = Counter()
    for name, step in steps(root, inputs):
        s3.weather = weather
        codes: list[int] = []
        while not codes or (codes[-1] != 0 and len(codes) < MOST):
            codes.append(code(step))
        s3.weather = None
        found[f"again: {name}"] += len(codes) - 1
        found.update(f"code {c}: {name}" for c in codes if c not in GOOD)
        if codes[-1] != 0:
            found[f"never done: {name}"] += 1
        if seen(root) != expected[name]:
            found[f"wrong lake: {name}"] += 1
            print(f"{root}: wrong lake after {name}: {seen(root).get('reconcile')}", flush=True)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.s3_faults", description=__doc__)
    parser.add_argument("--calls", type=int, default=2_000, help="to S3, at least")
    parser.add_argument("--share", type=float, default=0.3, help="of the calls that fail")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    for log in ("werkzeug", "apache_beam"):  # as a command does
        logging.getLogger(log).setLevel(logging.CRITICAL)
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder, faulty_server() as s3:
        without_waiting(patch)
        patch.setenv("AWS_ENDPOINT_URL", s3.url)
        boto3.client("s3").create_bucket(Bucket="lake")
        place = Path(folder)
        history, messages = make_history(place / "h.csv", 300), make_messages(place / "m.jsonl", 20, 30)
        expected = calm("s3://lake/calm", Inputs(history, messages, place / "calm"))
        found: Counter[str] = Counter()
        s3.calls = number = calls = 0
        while calls < arguments.calls:
            number += 1
            before = s3.calls
            # Every other round gives up early, so that steps end with 4 half-way.
            patch.setenv(PATIENCE, str(1 if number % 2 else PATIENCE_S))
            weather = Weather(arguments.seed + number, arguments.share)
            inputs = Inputs(history, messages, place / f"{number}")
            found += faults(s3, f"s3://lake/{number}", inputs, weather, expected)
            calls += s3.calls - before
            print(f"round {number}: {calls:,} calls, {s3.failed:,} failed; {dict(sorted(found.items()))}", flush=True)


if __name__ == "__main__":
    main()
