"""fake-gcs-server, behind a bridge; and a server before it whose calls fail as :mod:`tests.faulty_s3` has it.

The server has Google's JSON API, which the lake's storage and pyarrow use, and of its XML API, which deltalake uses,
all but uploads: the bridge sends those to the JSON API.
"""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from runners.services.ports import HOST, free_port, is_open
from tests.faulty_s3 import FaultyS3, faulty_server

BUCKET = "lake"
_JSON_API = ("/storage/", "/upload/", "/download/", "/batch/")
_OF_A_CONNECTION = ("host", "connection", "transfer-encoding", "content-length", "keep-alive")


@contextmanager
def fake_gcs(program: Path) -> Iterator[str]:
    """The URL of the bridge to a server on a free port with an empty bucket; what it stores is in memory.

    It is a process of its own: pyarrow opens a file of a bucket of Google while it holds the interpreter's lock.
    """
    command = [sys.executable, "-m", "tests.fake_gcs", str(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.communicate()  # it ends with its standard input


@contextmanager
def faulty_gcs(url: str) -> Iterator[FaultyS3]:
    """A server in this process that has the answers of that one, and fails when a test says so."""
    with faulty_server(_forward(urlsplit(url).port or 0)) as server:
        yield server


def main(program: str) -> None:
    """Serve until the standard input is closed."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port = free_port()
    command = [
        program, "-backend", "memory", "-scheme", "http", "-host", HOST, "-port", str(port),
        "-external-url", f"http://{HOST}:{port}", "-public-host", f"{HOST}:{port}", "-log-level", "error",
    ]  # fmt: skip
    with subprocess.Popen(command) as server:
        try:
            while not is_open(port):
                assert server.poll() is None
                time.sleep(0.05)
            _ask(port, "POST", "/storage/v1/b?project=tests", json.dumps({"name": BUCKET}).encode(), {})
            with faulty_server(_forward(port)) as bridge:
                print(bridge.url, flush=True)
                sys.stdin.read()
        finally:
            server.terminate()


def _forward(port: int) -> Callable[..., Iterable[bytes]]:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or name == "CONTENT_TYPE"
        }
        method, uri = environ["REQUEST_METHOD"], environ["REQUEST_URI"]
        is_upload = method == "PUT" and not uri.startswith(_JSON_API)
        if is_upload:
            method, uri = "POST", _upload(uri, headers)
        status, given, data = _ask(port, method, uri, body, headers)
        if is_upload and status == 200:
            made = json.loads(data)
            given, data = [("ETag", made["etag"]), ("x-goog-generation", made["generation"])], b""
        start_response(f"{status} {'OK' if status < 400 else 'Refused'}", given)
        return [data]

    return answer


def _upload(uri: str, headers: dict[str, str]) -> str:
    """The request of the JSON API for that of the XML API."""
    bucket, _, key = uri.partition("?")[0].removeprefix("/").partition("/")
    condition = headers.get("x-goog-if-generation-match")
    query = {"uploadType": "media", "name": unquote(key)} | ({"ifGenerationMatch": condition} if condition else {})
    return f"/upload/storage/v1/b/{quote(bucket)}/o?{urlencode(query)}"


def _ask(
    port: int, method: str, uri: str, body: bytes, headers: dict[str, str]
) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = HTTPConnection(HOST, port)
    try:
        sent = {name: value for name, value in headers.items() if name not in _OF_A_CONNECTION}
        connection.request(method, uri, body, sent)
        answer = connection.getresponse()
        data = answer.read()
        length = str(answer.headers["Content-Length"] or len(data) if method == "HEAD" else len(data))
        given = [(n, v) for n, v in answer.getheaders() if n.lower() not in _OF_A_CONNECTION]
        return answer.status, [*given, ("Content-Length", length)], data
    finally:
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
