"""The console under load: whoever says nothing, or too slowly, keeps nobody else out."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from apps.console import connections
from apps.console.accounts import ADMIN
from apps.console.connections import Connections, Listener
from tests.apps.console.process import NOWHERE, Running, console, log_in_first
from tests.apps.console.support import Browser
from tests.apps.console.test_command import refused
from tests.certificates import self_signed

HEADERS = b"GET /login HTTP/1.1\r\nHost: x\r\nX: "
BODY = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\ncsrf="


@contextmanager
def silent(running: Running, number: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that say this, and then nothing."""
    where = urlsplit(running.address)
    with ExitStack() as stack:
        found = []
        for _ in range(number):
            connection = stack.enter_context(socket.create_connection((str(where.hostname), int(where.port or 0)), 10))
            connection.sendall(sent)
            found.append(connection)
        yield found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With at most 50 connections."""
    state = tmp_path_factory.mktemp("crowded") / "state"
    with console(state, NOWHERE, NOWHERE, "--max-connections", "50") as made:
        log_in_first(made).close()
        yield made


@pytest.mark.embedded
@pytest.mark.parametrize("sent", [b"", HEADERS, BODY], ids=["nothing", "half of the headers", "half of the body"])
def test_pages_answer_while_300_connections_are_silent(running: Running, sent: bytes) -> None:
    with silent(running, 300, sent) as opened, closing(Browser(running.address)) as browser:
        assert browser.log_in(ADMIN).url.path == "/queue"
        opened[0].settimeout(120)
        assert opened[0].recv(1) == b""
    assert len(running.printed().splitlines()) < 20
    with closing(Browser(running.address)) as another:
        assert another.get("/login").status_code == 200


@pytest.mark.embedded
def test_pages_answer_while_300_connections_are_silent_in_the_handshake_of_tls(tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    flags = ["--tls-cert", str(made.certificate), "--tls-key", str(made.key), "--max-connections", "50"]
    with ExitStack() as stack:
        running = stack.enter_context(console(tmp_path / "state", NOWHERE, NOWHERE, *flags))
        stack.enter_context(silent(running, 300))
        browser = stack.enter_context(closing(log_in_first(running, made.certificate)))
        assert browser.get("/queue").status_code == 200


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener(socket.create_server(("127.0.0.1", 0)), Connections(2)) as made:
        made.setblocking(False)
        yield made


def _connect(listener: Listener) -> socket.socket:
    return socket.create_connection(listener.getsockname(), 10)


@pytest.mark.embedded
def test_at_the_limit_the_longest_silent_one_goes_and_one_that_is_served_stays(listener: Listener) -> None:
    with ExitStack() as stack:
        others = [stack.enter_context(_connect(listener)) for _ in range(4)]
        accepted = [stack.enter_context(listener.accept()[0]) for _ in range(2)]
        accepted[0].waits_since = None  # type: ignore[attr-defined]
        accepted.append(stack.enter_context(listener.accept()[0]))
        assert others[1].recv(1) == b""
        accepted[2].waits_since = None  # type: ignore[attr-defined]
        with pytest.raises(ConnectionAbortedError):
            listener.accept()
        assert others[3].recv(1) == b""
        accepted[0].sendall(b"served")
        assert others[0].recv(10) == b"served"


@pytest.mark.embedded
def test_one_that_is_silent_for_too_long_is_ended(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    with _connect(listener) as other, listener.accept()[0]:
        listener._connections.end_silent()
        other.settimeout(0.1)
        with pytest.raises(TimeoutError):
            other.recv(1)
        monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.0)
        listener._connections.end_silent()
        other.settimeout(120)
        assert other.recv(1) == b""


@pytest.mark.embedded
def test_without_a_file_left_a_connection_is_refused_and_the_next_one_is_taken(listener: Listener) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with _connect(listener) as first, _connect(listener) as second:
        with ExitStack() as stack:
            used = stack.enter_context(socket.socket()).fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            with pytest.raises(ConnectionAbortedError):
                listener.accept()
        assert first.recv(1) == b""
        with listener.accept()[0] as accepted:
            assert accepted.getpeername() == second.getsockname()


def test_more_connections_than_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= 100_000:
        pytest.skip("this user may open any number of files")
    code, printed = refused(capsys, "--data", str(tmp_path), "--max-connections", "100000")
    assert code == 3
    assert "lower --max-connections" in printed
