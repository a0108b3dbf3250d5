"""Clients that are slow, endless, malformed or many: each ends by itself, and pages answer all the while."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runners.services import free_port
from tests.apps.console.process import NOWHERE, Running, log_in_first, started
from tests.apps.console.support import Browser
from tests.certificates import self_signed
from tests.support import wait_until

pytestmark = pytest.mark.embedded

QUICK = "from apps.console import connections; connections.REQUEST_SECONDS = 0.4"
HOST = b"Host: x\r\n"
POST = b"POST /login HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
GET = b"GET /login HTTP/1.1\r\n" + HOST
PAGE = b"GET /static/htmx.min.js HTTP/1.1\r\n" + HOST + b"\r\n"

DRIPS = {
    "nothing": (b"", b""),
    "half of the headers, and then nothing": (GET + b"X: ", b""),
    "half of a body, and then nothing": (POST + b"Content-Length: 1000\r\n\r\ncsrf=", b""),
    "a line of the request": (b"", b"G"),
    "headers": (GET + b"X: ", b"x"),
    "headers without an end, each a whole line": (GET, b"X: x\r\n"),
    "an empty line before the request": (b"", b"\r\n"),
    "a body": (POST + b"Content-Length: 16000\r\n\r\n", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "the size of a chunk": (CHUNKED, b"0"),
    "the extension of a chunk": (CHUNKED + b"1;", b"x"),
    "trailers": (CHUNKED + b"0\r\n", b"X: x\r\n"),
    "the body of a GET": (GET + b"Content-Length: 999999999\r\n\r\n", b"x"),
    "a body after Expect": (POST + b"Content-Length: 999\r\nExpect: 100-continue\r\n\r\n", b"x"),
}
FLOODS = {
    "one header": (GET + b"X: ", b"x" * 65_536),
    "headers": (GET, b"X: x\r\n" * 10_000),
    "chunks": (CHUNKED, CHUNK),
    "chunks of a GET": (GET + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK),
    "chunks for a page that is not there": (CHUNKED.replace(b"/login", b"/nowhere"), CHUNK),
    "a body": (POST + b"Content-Length: 99999999999\r\n\r\n", b"x" * 65_536),
    "requests whose answers nobody reads": (b"", PAGE * 1_000),
    "requests that are wrong": (b"", b"\x00" * 65_536),
    "a handshake of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00" * 65_536),
}
ODD = {
    "websocket": GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/2 by upgrade": GET
    + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "http/1.0": b"GET /login HTTP/1.0\r\n\r\n",
    "http/0.9": b"GET /login\r\n\r\n",
    "http/9.9": b"GET /login HTTP/9.9\r\n\r\n",
    "no host": b"GET /login HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: evil.example\r\n\r\n",
    "both lengths": CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a length of many digits": POST + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
    "an odd encoding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a header with a line feed": GET + b"X: a\nSet-Cookie: session=x\r\n\r\n",
    "a header with a NUL": GET + b"X: a\x00b\r\n\r\n",
    "a cookie of bytes": GET + b"Cookie: session=\xff\xfe; device=\x80; =; ;;\r\n\r\n",
    "a cookie of 10,000 parts": GET + b"Cookie: " + b"a=b; " * 2_000 + b"\r\n\r\n",
    "a path of bytes": b"GET /pictures/%ff%00%0d%0aX:y HTTP/1.1\r\n" + HOST + b"\r\n",
    "a path upwards": b"GET /static/..%2f..%2f..%2f..%2fetc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    "a path of another host": b"GET //evil.example/queue HTTP/1.1\r\n" + HOST + b"\r\n",
    "a whole address": b"GET http://evil.example/login HTTP/1.1\r\n" + HOST + b"\r\n",
    "a query of 10,000 parts": b"GET /login?" + b"a&" * 5_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a form of 8,000 fields": POST + b"Content-Length: 16000\r\n\r\n" + b"a&" * 8_000,
    "a form of bytes": POST + b"Content-Length: 24\r\n\r\ncsrf=%ff%00&name=\xff\x00\xed\xa0\x80",
    **{
        method: method.encode() + GET[3:] + b"Content-Length: 0\r\n\r\n"
        for method in ("HEAD", "OPTIONS", "PUT", "TRACE")
    },
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "options of all": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "an odd method": b"\xf0\x9f" + GET[3:] + b"\r\n",
    "a method of 10,000 letters": b"G" * 10_000 + GET[3:] + b"\r\n",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = tmp_path_factory.mktemp("attacked") / "state"
    flags = ["--port", str(free_port()), "--max-connections", "30"]
    with started(state, NOWHERE, NOWHERE, *flags, sabotage=QUICK) as made:
        wait_until(made.is_there)
        yield made
        assert len(made.printed().splitlines()) < 200, made.printed()
        assert "Traceback" not in made.printed(), made.printed()


def _connect(running: Running, seconds: float = 10) -> socket.socket:
    where = urlsplit(running.address)
    return socket.create_connection((str(where.hostname), int(where.port or 0)), seconds)


def _answers(running: Running) -> None:
    with closing(Browser(running.address)) as browser:
        assert browser.get("/login").status_code == 200


@pytest.mark.parametrize("what", DRIPS)
def test_a_slow_sender_is_disconnected(running: Running, what: str) -> None:
    _is_ended(running, *DRIPS[what])
    _answers(running)


def test_a_handshake_of_tls_without_an_end_is_ended(tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    flags = ["--tls-cert", str(made.certificate), "--tls-key", str(made.key), "--port", str(free_port())]
    with started(tmp_path / "state", NOWHERE, NOWHERE, *flags, sabotage=QUICK) as running:
        wait_until(running.is_there)
        for head, more in (
            (b"", b""),
            (b"", b"\x16"),
            (b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03", b"\x00"),
            (GET, b"x"),
        ):
            _is_ended(running, head, more)
        with closing(Browser(running.address, made.certificate)) as browser:
            assert browser.get("/login").status_code == 200
        assert len(running.printed().splitlines()) < 50


def _is_ended(running: Running, head: bytes, more: bytes) -> None:
    """A connection that sends this, and then that again and again."""
    with _connect(running) as connection:
        connection.sendall(head)
        connection.settimeout(0.05)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(TimeoutError):
                try:
                    if not connection.recv(65_536):
                        break
                    continue
                except ConnectionError:
                    break
            try:
                connection.sendall(more)
            except ConnectionError:
                break
        else:
            raise AssertionError


@pytest.mark.parametrize("what", FLOODS)
def test_an_endless_sender_is_disconnected(running: Running, what: str) -> None:
    head, more = FLOODS[what]
    sent = 0
    with _connect(running) as connection:
        try:
            connection.sendall(head)
            while True:
                sent += connection.send(more)
                assert sent < 50_000_000  # most of it is what sockets hold
        except ConnectionError:
            pass
        except TimeoutError:  # nobody reads it, and the end that was said stands behind an answer
            while connection.recv(65_536):
                pass
    _answers(running)


@pytest.mark.parametrize("what", ODD)
def test_what_is_odd_gets_an_answer_that_is_no_error_of_ours(running: Running, what: str) -> None:
    with _connect(running) as connection:
        connection.sendall(ODD[what])
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionError):
            while part := connection.recv(65_536):
                answer += part
    first = answer.partition(b"\r\n")[0].split(b" ")
    assert not answer or (first[0] == b"HTTP/1.1" and 200 <= int(first[1]) < 500), answer[:200]
    assert b"set-cookie: session=" not in answer.lower()
    assert b"evil" not in answer.partition(b"\r\n\r\n")[0]
    _answers(running)


def test_a_thousand_open_connections_do_not_block_another(running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            opened = [stack.enter_context(_connect(running)) for _ in range(50)]
            for connection in opened:
                with suppress(ConnectionError):
                    connection.sendall(GET + b"\r\n")
        _answers(running)


def test_an_account_cannot_keep_others_out_by_streams(running: Running) -> None:
    with ExitStack() as stack:
        browser = stack.enter_context(closing(log_in_first(running)))
        cookie = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items()).encode()
        for _ in range(60):
            connection = stack.enter_context(_connect(running))
            with suppress(ConnectionError):
                connection.sendall(b"GET /live/events HTTP/1.1\r\n" + HOST + b"Cookie: " + cookie + b"\r\n\r\n")
        wait_until(lambda: _is_answered(running))


def _is_answered(running: Running) -> bool:
    with suppress(Exception), closing(Browser(running.address)) as browser:
        return browser.get("/login").status_code == 200
    return False
