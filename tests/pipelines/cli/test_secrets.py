"""No secret is in what a command prints, logs or writes."""

import base64
import json
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from apps.console.accounts import ADMIN
from lake.ledger import commit
from lake.storage import storage
from prestacop.main import main
from runners.services import free_port
from terminal import logs
from tests.apps.console.process import console, log_in_first
from tests.apps.console.support import PASSWORD
from tests.endings import code_of
from tests.lakes import Said, write
from tests.logs import own_log
from tests.support import make_messages, wait_until

pytestmark = pytest.mark.embedded

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary/access+key/93f1c0",
    "AWS_SESSION_TOKEN": "canary-session-token-93f1c0",
    "KAFKA_SASL_PASSWORD": "canary-sasl-93f1c0",
    "KAFKA_SSL_KEY_PASSWORD": "canary-key-93f1c0",
    "SMTP_PASSWORD": "canary-smtp-93f1c0",
    "ALERT_WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"canary-webhook-secret-93f1c0").decode(),
}
IN_URLS = {"password": "canary-user-93f1c0", "token": "canary-hook-93f1c0"}
"""Secrets that a URL has, although another place was meant for them."""
HOOK = f"https://officer:{IN_URLS['password']}@127.0.0.1:1/hooks?token={IN_URLS['token']}"
SASL = "kafka://127.0.0.1:1/drones?security.protocol=SASL_PLAINTEXT&sasl.mechanisms=PLAIN&sasl.username=me"


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    with own_log():
        yield


@pytest.fixture
def secrets(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of these commands; gives the URL of a bucket."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr("messaging.retry.START_SECONDS", 0.2)
    monkeypatch.setattr("lake.storage.s3.FIRST_CONTACT_S", 0.1)
    storage.cache_clear()
    return s3


def found_in(data: bytes) -> set[str]:
    """The secrets in it: plain, as part of a URL, or in Base64."""
    names = {**SECRETS, **IN_URLS}
    forms = {
        name: {secret.encode(), urllib.parse.quote(secret, safe="").encode(), base64.b64encode(secret.encode())}
        for name, secret in names.items()
    }
    return {name for name, texts in forms.items() if any(text in data for text in texts)}


def leaks(printed: str, folder: Path, bucket: str) -> set[str]:
    """The secrets in what was printed, in the files of a folder and in the objects of a bucket."""
    client, name = boto3.client("s3"), bucket.removeprefix("s3://")
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=name).get("Contents", ())]
    objects = [client.get_object(Bucket=name, Key=key)["Body"].read() for key in keys]
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return set().union(*map(found_in, [printed.encode(), *files, *objects, *(key.encode() for key in keys)]))


COMMANDS: dict[str, tuple[list[str], int]] = {
    "run": (["run", "--messages", "file:M", "--lake", "BUCKET/lake", "--direct_num_workers=1"], 0),
    "run, no such bucket": (["run", "--messages", "file:M", "--lake", "s3://nobody/lake"], 3),
    "run, no broker": (["run", "--messages", SASL + "&debug=all", "--lake", "BUCKET/lake"], 4),
    "run, wrong hook": (
        ["run", "--messages", "file:M", "--lake", "x", "--alert-webhook", HOOK.replace("https", "ftp")],
        2,
    ),
    "run, password in the URL": (["run", "--messages", f"kafka://me:{IN_URLS['password']}@h:1/x", "--lake", "x"], 2),
    "config": (["config", "run", "--messages", SASL, "--lake", "BUCKET/lake", "--alert-webhook", HOOK], 0),
    "load": (["load", "T", "--to", "s3://nobody/x", "--journal", "JOURNAL", "--patience", "1s"], 3),
    "load, no broker": (["load", "T", "--to", SASL, "--journal", "JOURNAL", "--patience", "1s"], 4),
    "load, password in the URL": (["load", "T", "--to", f"kafka://me:{IN_URLS['password']}@h:1/x"], 2),
    "topics": (["topics", "--lake", "BUCKET/lake"], 0),
    "reconcile": (["reconcile", "--lake", "BUCKET/lake"], 3),
}


def run(words: list[str], folder: Path, bucket: str, form: str) -> int:
    tickets = "Summons Number,Plate ID,Issue Date,Violation Code,Violation Time\n7000000001,A,01/02/2015,21,0825A\n"
    (folder / "t.csv").write_text(tickets)
    if "file:M" in words:
        make_messages(folder / "m.jsonl", 2, 3)
    places = {"file:M": f"file:{folder}/m.jsonl", "T": f"{folder}/t.csv", "JOURNAL": f"{folder}/journal"}
    line = [places.get(word, word.replace("BUCKET", bucket)) for word in words]
    return code_of(main, *line[:1], "--log-level=debug", f"--log-format={form}", *line[1:])


@pytest.mark.parametrize(("name", "form"), [("run", "text"), *((name, "json") for name in COMMANDS)])
def test_no_command_prints_or_writes_a_secret(
    name: str, form: str, secrets: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words, expected = COMMANDS[name]
    code = run(words, tmp_path, secrets, form)
    printed, logged = capfd.readouterr()
    assert leaks(printed + logged, tmp_path, secrets) == set()
    assert code == expected, logged[-2000:]
    if form == "json":
        assert all(json.loads(line)["level"] in logs.LEVELS for line in logged.splitlines())


def test_the_canary_is_seen_without_masks(
    secrets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "without_secrets", lambda text: text)
    run(COMMANDS["load"][0], tmp_path, secrets, "text")
    assert "AWS_SESSION_TOKEN" in leaks("".join(capfd.readouterr()), tmp_path, secrets)


def test_the_metrics_page_has_no_secret(secrets: str, tmp_path: Path) -> None:
    root, port = f"{secrets}/lake", free_port()
    commit(root, [write(root, "drones-00000-" + 32 * "a", [Said("1")])])
    where = ["--lake", root, "--messages", SASL, "--port", str(port), "--every", "1s"]
    command = [sys.executable, "-m", "prestacop", "exporter", "--log-level=debug", *where]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:

        def page() -> bytes:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                    found: bytes = answer.read()
                    return found
            except OSError:
                return b""

        try:
            wait_until(lambda: b"prestacop_read_rows_total" in page())
            wait_until(lambda: b"the look at drones failed" in (tmp_path / "log").read_bytes())
            assert found_in(page()) == set()
        finally:
            process.send_signal(signal.SIGINT)
    assert leaks("", tmp_path, secrets) == set()


def test_the_console_writes_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    with console(tmp_path / "console", SASL, SASL, "--log-level=debug", "--log-format=json") as running:
        browser = log_in_first(running)
        assert browser.log_in(ADMIN, f"{PASSWORD} mistyped").status_code < 500
        running.end(signal.SIGTERM)
        session = [value for value in browser.client.cookies.values() if len(value) > 16]
        browser.close()
    assert session
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert set().union(*map(found_in, files)) == set()
    assert not [data for data in files for secret in (PASSWORD, *session) if secret.encode() in data]
    assert sum(data.count(running.password().encode()) for data in files) == 1  # printed for the first login
