"""docs/sql/trino.sql and views.sql in a real Trino, from object storage: its views show what the lake's reader shows.

Trino is 0.8 GB and wants a Java of its own, so no script of ours installs it. PRESTACOP_TRINO says where it lies: a
directory with trino-server-476.tar.gz (Maven Central, io.trino:trino-server) unpacked; JAVA_HOME a Java 24 or newer.
"""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lake import lake
from lake.storage import storage
from runners.services import free_port
from schemas.lake import Dataset
from tests.services.sql_views import QUERY, expected, fill, script

pytestmark = [pytest.mark.services, pytest.mark.timeout(480)]

ROOT = "s3://prestacop/trino"
PARTS = """
    SELECT CASE WHEN hour BETWEEN 6 AND 12 THEN 'morning' WHEN hour BETWEEN 13 AND 19 THEN 'afternoon'
                ELSE 'other' END AS part_of_day, count(*) AS n
    FROM (
        SELECT hour(event_time AT TIME ZONE 'America/New_York') AS hour FROM qualified
        WHERE month BETWEEN '2010-01' AND '2039-12'
    ) GROUP BY 1
"""
JVM = "-server\n-Xmx2G\n-XX:+UseG1GC\n-XX:+ExitOnOutOfMemoryError\n"


@contextmanager
def trino(program: Path, folder: Path, s3: dict[str, str]) -> Iterator[str]:
    """A server with the catalogue of the page, its tables known to a metastore of files; gives its address."""
    port = free_port()
    (folder / "etc" / "catalog").mkdir(parents=True)
    (folder / "etc" / "jvm.config").write_text(JVM)
    (folder / "etc" / "node.properties").write_text("node.environment=test\nnode.bind-ip=127.0.0.1\n")
    (folder / "etc" / "config.properties").write_text(
        "coordinator=true\nnode-scheduler.include-coordinator=true\n"
        f"http-server.http.port={port}\nnode.internal-address=127.0.0.1\ndiscovery.uri=http://127.0.0.1:{port}\n"
    )
    (folder / "etc" / "catalog" / "hive.properties").write_text(
        "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=s3://prestacop/metastore\n"
        "hive.timestamp-precision=MICROSECONDS\nfs.native-s3.enabled=true\ns3.path-style-access=true\n"
        f"s3.endpoint={s3['AWS_ENDPOINT_URL']}\ns3.region={s3['AWS_DEFAULT_REGION']}\n"
        f"s3.aws-access-key={s3['AWS_ACCESS_KEY_ID']}\ns3.aws-secret-key={s3['AWS_SECRET_ACCESS_KEY']}\n"
    )
    line = [str(program / "bin" / "launcher"), "run", "--etc-dir", str(folder / "etc"), "--data-dir", str(folder)]
    with (
        (folder / "output.txt").open("wb") as output,
        subprocess.Popen(line, stdout=output, stderr=output, start_new_session=True) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            while not started(address):
                assert process.poll() is None, (folder / "output.txt").read_text()[-2000:]
                time.sleep(0.5)
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def started(address: str) -> bool:
    """Whether it takes queries."""
    try:
        with urllib.request.urlopen(f"{address}/v1/info") as answer:
            return json.load(answer)["starting"] is False
    except (urllib.error.URLError, ConnectionError):
        return False


def ask(address: str, query: str) -> list[list[Any]]:
    """The rows of a query's answer."""
    headers = {"X-Trino-User": "test", "X-Trino-Catalog": "hive", "X-Trino-Schema": "prestacop"}
    request = urllib.request.Request(f"{address}/v1/statement", query.encode(), headers)
    rows: list[list[Any]] = []
    while True:
        with urllib.request.urlopen(request) as answer:
            part = json.load(answer)
        assert "error" not in part, (query, part["error"]["message"])
        rows += part.get("data", [])
        if "nextUri" not in part:
            return rows
        request = urllib.request.Request(part["nextUri"], headers=headers)


def test_the_views_of_trino_show_what_the_lake_shows(
    s3_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "PRESTACOP_TRINO" not in os.environ:
        pytest.skip("PRESTACOP_TRINO does not say where a Trino lies")
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    storage.cache_clear()
    fill(ROOT, tmp_path)
    text = script("trino.sql", "views.sql").replace("s3://BUCKET/PREFIX", ROOT)
    *statements, question = text.strip().removesuffix(";").split(";\n")
    with trino(Path(os.environ["PRESTACOP_TRINO"]), tmp_path / "trino", s3_server) as address:
        ask(address, "CREATE SCHEMA prestacop")
        for statement in statements:
            ask(address, statement)
        assert {tuple(map(str, row)) for row in ask(address, QUERY)} == expected(ROOT, "2010-01", "2039-12")
        beyond = {path for (path,) in ask(address, "SELECT path FROM out_of_range")}
        assert beyond == {file.path for file in lake(ROOT).entries(*Dataset) if is_beyond(file.path)}
        assert beyond
        assert sorted(ask(address, question)) == sorted(list(row.values()) for row in lake(ROOT).sql(PARTS).to_pylist())
    storage.cache_clear()


def is_beyond(path: str) -> bool:
    """Whether a file's month is beyond the range of the tables."""
    month = re.search(r"/month=([\d-]+)/", path)
    return month is not None and not "2010-01" <= month[1] <= "2039-12"
