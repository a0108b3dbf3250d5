"""Pictures in messages and pictures that drones uploaded, in one topic of Kafka, into a lake on S3."""

import base64
import hashlib
import json
import signal
import subprocess
import time

import pytest

from apps.simulator.fleet.images import jpeg
from apps.simulator.fleet.upload import Uploads
from lake import lake
from lake.storage import storage
from pipelines.maintenance.reconcile import reconcile
from pipelines.maintenance.replay import replay
from schemas.messages import Reason
from tests.services.support import make_topic, publish, rows_in, run, stored_pictures, without_commits
from tests.support import LOCAL

pytestmark = pytest.mark.services
N = 1_500


def message(number: int, picture: bytes) -> bytes:
    """Of each third picture v2, else v1."""
    fields: dict[str, object] = {"image_id": f"{number:04}", "event_time": "2026-01-15T12:00:00Z"}
    if number % 3 == 1:
        fields |= {"schema_version": 2, "sha256": hashlib.sha256(picture).hexdigest(), "bytes": len(picture)}
    else:
        fields |= {"schema_version": 1, "data": base64.b64encode(picture).decode()}
    return json.dumps(fields).encode()


def test_both_forms_are_exactly_once_though_the_run_is_killed(
    kafka: str, s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    root = "s3://prestacop/uploaded"
    url = make_topic(kafka, "both-forms", 2)
    pictures = [jpeg(f"{number:04}") for number in range(N)]
    never, late = (N - 2, N - 5), (1, N - 8)
    uploaded = [pictures[n] for n in range(1, N, 3) if n not in (*never, *late)]
    Uploads(root).put(uploaded)
    publish(kafka, "both-forms", [message(n, picture) for n, picture in enumerate(pictures)])
    publish(kafka, "both-forms", [message(n, pictures[n]) for n in (0, 7)])  # copies

    with subprocess.Popen(without_commits(root, "--images", url)) as process:
        while len(storage(root).list("pictures")) < len(uploaded) + 50:  # of a thousand in messages
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert storage(root).list("ledger") == []
    Uploads(root).put([pictures[n] for n in late])
    assert run(root, "--images", url).returncode == 0

    expected = [(f"{n:04}", picture) for n, picture in enumerate(pictures) if n not in never]
    assert stored_pictures(root) == expected
    letters = lake(root).sql("SELECT reason, payload FROM dead_letters ORDER BY payload").to_pylist()
    assert [(row["reason"], bytes(row["payload"])) for row in letters] == [
        (Reason.IMAGE_NOT_UPLOADED, message(n, pictures[n])) for n in sorted(never)
    ]
    assert rows_in(root) == N + 2
    assert reconcile(root) == []
    Uploads(root).put([pictures[n] for n in never])
    replay(root, Reason.IMAGE_NOT_UPLOADED, LOCAL)
    assert stored_pictures(root) == [(f"{n:04}", picture) for n, picture in enumerate(pictures)]
    assert reconcile(root) == []
