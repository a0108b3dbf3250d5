"""Pages from templates with autoescape: text of messages never becomes markup."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from schemas.history import TIME_ZONE
from schemas.messages import EVENT_SECONDS

from .access import ACCESS
from .accounts import Session

STATIC: Final = Path(__file__).parent / "static"
_ZONE: Final = ZoneInfo(TIME_ZONE)
_TEMPLATES: Final = Path(__file__).parent / "templates"


class Renderer:
    """Renders templates; ``take_notice`` returns and clears a session's notice."""

    def __init__(self, clock: Callable[[], float], take_notice: Callable[[Session], str]) -> None:
        self._take_notice = take_notice
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._environment.filters.update(duration=duration, utc=utc, iso=iso, new_york=new_york, minute=minute)
        self._environment.globals.update(now=clock, asset=asset, may=may)

    def page(self, template: str, session: Session | None, status: int = 200, **values: Any) -> Response:
        """A whole page."""
        note = self._take_notice(session) if session else ""
        values = {"session": session, "note": note, "section": "", **values}
        return HTMLResponse(self._environment.get_template(template).render(values), status_code=status)

    def part(self, template: str, session: Session, **values: Any) -> Response:
        """A part of a page."""
        return HTMLResponse(self._environment.get_template(template).render(session=session, **values))

    def error(self, status: int, title: str, text: str, session: Session | None) -> Response:
        """An error page: what went wrong and what to do next."""
        return self.page("error.html", session, status, title=title, text=text)


def may(session: Session | None, method: str, path: str) -> bool:
    """Whether a page links to a route."""
    roles = ACCESS[method, path]
    return roles is None or (session is not None and not session.must_change and session.role in roles)


def duration(seconds: float | None) -> str:
    """For people.

    >>> [duration(seconds) for seconds in (None, 2.44, 75, 7300, 200_000)]
    ['–', '2.4 s', '1 min 15 s', '2 h 1 min', '2 d 7 h']
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, name, below, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // below} {smaller}"
    return f"{whole} s"


def _moment(seconds: float, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(min(max(seconds, EVENT_SECONDS[0]), EVENT_SECONDS[1]), zone)


def utc(seconds: float) -> str:
    """A time as text."""
    return f"{_moment(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def new_york(seconds: float) -> str:
    """A time of the day in New York.

    >>> new_york(1_768_478_400)
    '07:00:00'
    """
    return f"{_moment(seconds, _ZONE):%H:%M:%S}"


def minute(seconds: float) -> str:
    """A minute of the day in New York.

    >>> minute(1_768_478_400)
    '07:00'
    """
    return new_york(seconds)[:5]


def iso(seconds: float) -> str:
    """A time for the HTML attribute ``datetime``."""
    return _moment(seconds, UTC).isoformat(timespec="seconds")


_asset_versions: dict[str, str] = {}


def asset(name: str) -> str:
    """The URL of a static file, with a hash of its content, so that browsers may cache it."""
    if name not in _asset_versions:
        _asset_versions[name] = blake2b((STATIC / name).read_bytes(), digest_size=6).hexdigest()
    return f"/static/{name}?v={_asset_versions[name]}"
