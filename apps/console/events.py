"""Streams of server-sent events: a page is told that something has changed, and asks for what it shows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from starlette.concurrency import run_in_threadpool

from .console import Console
from .streams import Stream
from .web import Visit, number_of

_LOOK_S: Final = 0.25
_GAP_S: Final = 1.0
"""Changes that follow each other sooner are one event, after this time."""
_BEAT_S: Final = 2.0
"""An empty line so often shows whether the browser is still there."""
_CHANGED: Final = b"event: changed\ndata: 1\n\n"
"""Browsers pass over an event whose data is empty."""
_PICTURED: Final = b"event: pictured\ndata: 1\n\n"
_BEAT: Final = b": \n\n"
_ASK_S: Final = 1.0
"""So often it is asked whether who listens may still do so."""
_LOGGED_OUT: Final = b"event: changed\ndata: logged out\n\n"
"""The page asks for what it shows, and is led to the login."""


async def queue_events(console: Console, visit: Visit) -> AsyncIterator[bytes]:
    """The queue has changed."""
    async for event in _changes(console, visit, lambda: console.version):
        yield event


async def live_events(console: Console, visit: Visit) -> AsyncIterator[bytes]:
    """The live figures have changed."""
    async for event in _changes(console, visit, lambda: console.live_version):
        yield event


async def desk_events(console: Console, visit: Visit) -> AsyncIterator[bytes]:
    """As long as the page of whoever holds an alert listens, its browser is there.

    It is told when the alert is lost, and once that its picture is there. It is not told of what it did itself: it
    would ask for the next page twice, and lose what the first one said.
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
    """An event for each change, a beat where there is none, until the browser, the session or the console is gone."""
    with console.streams.open(visit.who.name) as stream:
        async for event in _until_ended(console, visit, version, stream):
            yield event


async def _until_ended(
    console: Console, visit: Visit, version: Callable[[], int], stream: Stream
) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    # A change between a page and its stream is one too; so is one while a browser had no connection.
    asked = visit.request.query_params.get("seen", "")
    known = number_of(asked)
    seen, quiet = version() if known is None else known, 0.0
    since, unasked = _GAP_S, 0.0
    while not (console.ending or stream.has_ended or await visit.request.is_disconnected()):
        await asyncio.sleep(_LOOK_S)
        quiet += _LOOK_S
        since += _LOOK_S
        unasked += _LOOK_S
        if unasked >= _ASK_S:
            unasked = 0.0
            if not await run_in_threadpool(console.accounts.is_open, visit.who):
                yield _LOGGED_OUT
                return
        if version() != seen and since >= _GAP_S:
            seen, quiet, since = version(), 0.0, 0.0
            yield _CHANGED
        elif quiet >= _BEAT_S:
            quiet = 0.0
            yield _BEAT
