"""Limits of connections: their number and their timeouts.

uvicorn limits neither the connections nor the time until a request is complete, and asyncio logs thousands of lines a
second once the limit of open files is reached. So the listening socket counts here: beyond the limit it closes the
connection for which the console has waited longest, and accepts the new one.
"""

import os
import resource
import socket
import time
from contextlib import suppress
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.errors import InputUnusable

MOST_CONNECTIONS: Final = 500
REQUEST_SECONDS: Final = 10.0
"""Timeout for the headers of a request, for its body, and for sending the response, each."""
_REST_BYTES: Final = 64 * 1024
"""Unread bytes of a request body beyond which the connection closes after the response."""
_BODY: Final = frozenset((b"content-length", b"transfer-encoding"))
_SPARE_FILES: Final = 256
"""File descriptors reserved for database, pictures, broker clients and closing connections."""


class Connection(socket.socket):
    """A connection with the time since when the console waits for the client."""

    waits_since: float | None
    """None while the client waits for the console."""
    other_end: tuple[str, int]
    connections: "Connections"

    def close(self) -> None:
        """Close the connection."""
        if self.fileno() >= 0:
            self.connections.closed(self)
        super().close()


class Connections:
    """Open connections by the client's address and port."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0
        self._known: dict[tuple[str, int], Connection] = {}

    def admit(self, connection: Connection, address: tuple[Any, ...]) -> bool:
        """Register a connection; at the limit the longest idle one is closed. False where all are being served."""
        if len(self._known) >= self._most:
            waiting = [each for each in self._known.values() if each.waits_since is not None]
            if not waiting:
                return False
            self._end(min(waiting, key=_since))
        connection.connections = self
        connection.waits_since = time.monotonic()
        connection.other_end = (address[0], address[1])
        self._known[connection.other_end] = connection
        self._open += 1
        return True

    @property
    def are_closing(self) -> bool:
        """Whether so many connections are still closing that new ones must wait."""
        return self._open >= self._most + _SPARE_FILES // 2

    def closed(self, connection: Connection) -> None:
        """Unregister a closed connection."""
        self._open -= 1
        self._forget(connection)

    def of(self, client: tuple[str, int] | None) -> Connection | None:
        """The connection of a request."""
        return self._known.get((client[0], client[1])) if client else None

    def end_silent(self) -> None:
        """Close connections that exceeded their timeout; called about once a second."""
        late = time.monotonic() - REQUEST_SECONDS
        for each in [each for each in self._known.values() if _since(each) < late]:
            self._end(each)

    def _end(self, connection: Connection) -> None:
        self._forget(connection)
        with suppress(OSError):  # the other end was faster
            connection.shutdown(socket.SHUT_RDWR)  # the event loop sees the end, and closes it

    def _forget(self, connection: Connection) -> None:
        if self._known.get(connection.other_end) is connection:  # not a newer one from the same port
            del self._known[connection.other_end]


class Listener(socket.socket):
    """A listening socket that accepts no more connections than can be served."""

    def __init__(self, listening: socket.socket, connections: Connections) -> None:
        super().__init__(fileno=listening.detach())
        self._connections = connections
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises BlockingIOError or ConnectionAbortedError, on which the event loop continues."""
        if self._connections.are_closing:
            raise BlockingIOError
        try:
            accepted, address = super().accept()
        except OSError as error:
            if isinstance(error, BlockingIOError | InterruptedError | ConnectionAbortedError):
                raise
            self._refuse_one()
            raise ConnectionAbortedError from error
        connection = Connection(fileno=accepted.detach())
        if not self._connections.admit(connection, address):
            socket.socket.close(connection)
            raise ConnectionAbortedError
        return connection, address

    def _refuse_one(self) -> None:
        """Out of file descriptors: accept with the reserved one and close the connection at once."""
        os.close(self._reserve)
        with suppress(OSError):
            super().accept()[0].close()
        self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the socket."""
        if self.fileno() >= 0:
            os.close(self._reserve)
        super().close()


class Watched:
    """Tracks for each connection when its request was received and its response sent."""

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self._app = app
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = self._connections.of(scope.get("client"))
        if connection is None:
            await self._app(scope, receive, send)
            return
        body_comes = bool(_BODY & {name for name, _ in scope["headers"]})
        connection.waits_since = time.monotonic() if body_comes else None

        async def received() -> Message:
            nonlocal body_comes
            message = await receive()
            if not message.get("more_body", False):
                body_comes, connection.waits_since = False, None
            return message

        async def sent(message: Message) -> None:
            if body_comes and message["type"] == "http.response.start":
                # The page did not read the body: an endless body is not drained.
                left = _REST_BYTES
                while body_comes and left > 0:
                    left -= len((await received()).get("body", b""))
                if body_comes:
                    MutableHeaders(scope=message)["Connection"] = "close"
            before, connection.waits_since = connection.waits_since, time.monotonic()
            await send(message)
            connection.waits_since = before

        try:
            await self._app(scope, received, sent)
        finally:
            connection.waits_since = time.monotonic()


def allow_files(connections: int) -> None:
    """Raise this process's limit of open files to what the connections need. Raises InputUnusable where it cannot."""
    needed = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputUnusable(
            f"{connections} connections need {needed} open files, and this process may have {hard}: "
            "lower --max-connections, or raise the hard limit (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _since(connection: Connection) -> float:
    return float("inf") if connection.waits_since is None else connection.waits_since
