"""Server-sent events: they notify a page of a change, and the page then fetches its content."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from starlette.concurrency import run_in_threadpool

from .console import Console
from .web import Visit, number_of

_POLL_S: Final = 0.25
_GAP_S: Final = 1.0
"""Debounce: changes within this time become one event."""
_BEAT_S: Final = 2.0
"""Interval of heartbeats, which detect a lost browser."""
_CHANGED: Final = b"event: changed\ndata: 1\n\n"
"""A heartbeat: browsers ignore an event with empty data."""
_PICTURED: Final = b"event: pictured\ndata: 1\n\n"
_BEAT: Final = b": \n\n"
_CHECK_S: Final = 1.0
"""How often the session of a stream is checked."""
_LOGGED_OUT: Final = b"event: changed\ndata: logged out\n\n"
"""Makes the page fetch its content, which redirects to the login."""


def queue_events(console: Console, visit: Visit) -> AsyncIterator[bytes]:
    """Events of changes of the queue."""
    return _changes(console, visit, lambda: console.version)


def live_events(console: Console, visit: Visit) -> AsyncIterator[bytes]:
    """Events of changes of the live figures."""
    return _changes(console, visit, lambda: console.live_version)


async def desk_events(console: Console, visit: Visit) -> AsyncIterator[bytes]:
    """The presence stream: while it is open, the browser of the lease's officer counts as present.

    It gets an event when the lease has ended, and one when the picture has arrived. It gets no event for its own
    actions: the page would load the next page twice, and lose the notice on the first.
    """
    lease = visit.request.query_params.get("lease", "")

    async def lost() -> bool:
        return await run_in_threadpool(console.desk.lost, visit.who.name, lease)

    def is_pictured() -> bool:
        held = console.desk.held(visit.who.name)
        return held is not None and held.lease == lease and console.pictures.of(held.alert["id"]) is not None

    if await lost():
        yield _CHANGED
        return
    pictured = False
    with console.presence.listening(lease):
        async for event in _changes(console, visit, lambda: console.version):
            if await lost():
                yield _CHANGED
                return
            yield _BEAT if event == _CHANGED else event
            if not pictured:
                pictured = await run_in_threadpool(is_pictured)
                if pictured:
                    yield _PICTURED


async def _changes(console: Console, visit: Visit, version: Callable[[], int]) -> AsyncIterator[bytes]:
    """An event per change, else heartbeats, until browser, session or console ends."""
    with console.streams.open(visit.who.name) as stream:
        yield b"retry: 2000\n\n"
        # Changes between loading the page and opening the stream, or during a lost connection, count too.
        known = number_of(visit.request.query_params.get("seen", ""))
        seen, quiet = version() if known is None else known, 0.0
        since, unchecked = _GAP_S, 0.0
        while not (console.ending or stream.has_ended or await visit.request.is_disconnected()):
            await asyncio.sleep(_POLL_S)
            quiet += _POLL_S
            since += _POLL_S
            unchecked += _POLL_S
            if unchecked >= _CHECK_S:
                unchecked = 0.0
                if not await run_in_threadpool(console.accounts.is_open, visit.who):
                    yield _LOGGED_OUT
                    return
            if version() != seen and since >= _GAP_S:
                seen, quiet, since = version(), 0.0, 0.0
                yield _CHANGED
            elif quiet >= _BEAT_S:
                quiet = 0.0
                yield _BEAT
