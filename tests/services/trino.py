"""A Trino of one test, with the connector of Delta tables and a metastore of files in object storage."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runners.services import free_port

JVM = "-server\n-Xmx2G\n-XX:+UseG1GC\n-XX:+ExitOnOutOfMemoryError\n"


@contextmanager
def server(program: Path, folder: Path, s3: dict[str, str]) -> Iterator[str]:
    """Run it with the catalog ``delta``; gives its address.

    Args:
        program: the folder of an unpacked Trino.
        s3: the environment of an S3 server's clients.
    """
    port = free_port()
    (folder / "etc" / "catalog").mkdir(parents=True)
    (folder / "etc" / "jvm.config").write_text(JVM)
    (folder / "etc" / "node.properties").write_text("node.environment=test\nnode.bind-ip=127.0.0.1\n")
    (folder / "etc" / "config.properties").write_text(
        "coordinator=true\nnode-scheduler.include-coordinator=true\n"
        f"http-server.http.port={port}\nnode.internal-address=127.0.0.1\ndiscovery.uri=http://127.0.0.1:{port}\n"
    )
    (folder / "etc" / "catalog" / "delta.properties").write_text(
        "connector.name=delta_lake\nhive.metastore=file\nhive.metastore.catalog.dir=s3://prestacop/metastore\n"
        "delta.register-table-procedure.enabled=true\nfs.native-s3.enabled=true\ns3.path-style-access=true\n"
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
    headers = {"X-Trino-User": "test", "X-Trino-Catalog": "delta", "X-Trino-Schema": "prestacop"}
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
