"""Middleware between browser and pages: sessions, roles, CSRF tokens, and security headers."""

import hmac
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import ACCESS, BEFORE_CHANGE, HASHING, PROBES
from .accounts import Session
from .console import Console
from .desk import Order
from .rendering import Renderer

MOST_FORM_BYTES: Final = 16 * 1024
_MOST_ADDRESS_CHARS: Final = 64
_MOST_WAITING: Final = 128
"""Logins that wait for the thread that hashes passwords."""
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_HSTS: Final = "max-age=31536000"


class Visit(NamedTuple):
    """An authorized request."""

    request: Request
    session: Session | None
    form: dict[str, str]

    @property
    def who(self) -> Session:
        """The session, on a route that requires one."""
        assert self.session is not None
        return self.session

    @property
    def address(self) -> str:
        """The browser's address."""
        return _address(self.request)


class Lane:
    """Hashes passwords one at a time in its own thread, with 64 MiB and four lanes (RFC 9106, low memory)."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(1)

    @property
    def is_full(self) -> bool:
        """Whether its queue is full."""
        return self._limiter.statistics().tasks_waiting >= _MOST_WAITING

    async def run(self, page: "Page", console: Console, renderer: Renderer, visit: Visit) -> Response:
        """Run a page's handler when it is its turn."""
        return await to_thread.run_sync(page, console, renderer, visit, limiter=self._limiter)


class Lanes(NamedTuple):
    """Two queues, so that unknown browsers cannot block the login of known ones."""

    known: Lane
    strangers: Lane


Page = Callable[[Console, Renderer, Visit], Response]
Events = Callable[[Console, Visit], AsyncIterator[bytes]]


def session_cookie(request: Request) -> str:
    """The session cookie's name; over https with the __Host- prefix, which no other host and no http page can set."""
    return "__Host-session" if request.url.scheme == "https" else "session"


def session_of(console: Console, request: Request) -> Session | None:
    """Who asks."""
    token = request.cookies.get(session_cookie(request), "")
    return console.accounts.session(token) if token else None


def number_of(text: str) -> int | None:
    """A number of a URL or form within the database's range; None where it is not one."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    number = int(text)
    return number if number < 2**63 else None


def order_of(text: str | None) -> Order:
    """The order of the queue."""
    return "newest" if text == "newest" else "oldest"


def device_cookie(request: Request) -> str:
    """The name of the cookie that identifies a known browser."""
    return "__Host-device" if request.url.scheme == "https" else "device"


def set_cookie(response: Response, request: Request, name: str, value: str, seconds: float | None = None) -> None:
    """Set a cookie that scripts cannot read and other sites cannot send."""
    response.set_cookie(
        name,
        value,
        max_age=int(seconds) if seconds else None,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def to(path: str) -> Response:
    """Redirect by GET (303)."""
    return RedirectResponse(path, status_code=303)


def page_route(console: Console, renderer: Renderer, lanes: Lanes, method: str, path: str, page: Page) -> Route:
    """A route with its required role. Raises KeyError where the access table does not list it."""

    async def endpoint(request: Request) -> Response:
        visit = await _admit(console, renderer, request, method, path)
        if isinstance(visit, Response):
            return visit
        if (method, path) not in HASHING:
            return await run_in_threadpool(page, console, renderer, visit)
        lane = lanes.known if await run_in_threadpool(_is_known, console, visit) else lanes.strangers
        if lane.is_full:
            busy = renderer.error(503, "Too many log in at this moment", "Try again in half a minute.", visit.session)
            busy.headers["Retry-After"] = "30"
            return busy
        return await lane.run(page, console, renderer, visit)

    return _route(method, path, endpoint)


def events_route(console: Console, renderer: Renderer, path: str, events: Events) -> Route:
    """A route of server-sent events with its required role."""

    async def endpoint(request: Request) -> Response:
        visit = await _admit(console, renderer, request, "GET", path)
        if isinstance(visit, Response):
            return visit
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return StreamingResponse(events(console, visit), media_type="text/event-stream")

    return _route("GET", path, endpoint)


def _route(method: str, path: str, endpoint: Callable[[Request], Any]) -> Route:
    if (method, path) not in ACCESS:
        raise KeyError(f"{method} {path} is not in the table of access")
    return Route(path, endpoint, methods=[method], name=f"{method} {path}")


async def _admit(console: Console, renderer: Renderer, request: Request, method: str, path: str) -> Visit | Response:
    """The authorized request, or the response that refuses it."""
    roles = ACCESS[method, path]
    session = await run_in_threadpool(session_of, console, request) if path not in PROBES else None
    if roles is not None:
        if session is None:
            return _away(request, "/login")
        if session.must_change and (method, path) not in BEFORE_CHANGE:
            return _away(request, "/password")
        if session.role not in roles:
            await run_in_threadpool(console.audit.note, session.name, _address(request), "refused", f"{method} {path}")
            return renderer.error(
                403, "No permission", f"Your role, {session.role}, has no access to this page.", session
            )
    if method == "GET":
        return Visit(request, session, {})
    try:
        form = await _form(request)
    except ClientDisconnect:
        return Response(status_code=400)
    if form is None:
        return renderer.error(413, "The form is too large", "Forms of the console are smaller.", session)
    expected = session.csrf if roles is not None and session else request.cookies.get("login", "")
    if not expected or not hmac.compare_digest(form.get("csrf", "").encode(), expected.encode()):
        return renderer.error(403, "This form is out of date", "Go back, load the page again and repeat it.", session)
    return Visit(request, session, form)


def _away(request: Request, path: str) -> Response:
    """Redirect; a request for a part of a page redirects the whole page."""
    return Response(status_code=204, headers={"HX-Redirect": path}) if "HX-Request" in request.headers else to(path)


def _is_known(console: Console, visit: Visit) -> bool:
    device = visit.request.cookies.get(device_cookie(visit.request), "")
    return visit.session is not None or console.accounts.knows(visit.form.get("name", "").strip(), device)


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a form, the last one of each name; None where the form is too large."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_FORM_BYTES:
            return None
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _address(request: Request) -> str:
    return request.client.host[:_MOST_ADDRESS_CHARS] if request.client else ""


class Headers:
    """Adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = _HSTS
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
