"""Pages for every role: login, password, queue."""

import secrets
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from schemas.places import borough_of

from .accounts import DEVICE_SECONDS, SESSION_SECONDS, RequestRefused, TooManyFailures
from .city import Point, city_map
from .console import Console
from .desk import ALERTS
from .figures import work
from .pictures import IMAGES
from .rendering import STATIC, Renderer, may
from .topics import Backlog
from .web import Visit, device_cookie, number_of, order_of, session_cookie, set_cookie, to

_SHOWN: Final = 50
_ON_MAP: Final = 2_000
_FULL: Final = {
    ALERTS: "the queue is full, and they come as its alerts are answered.",
    IMAGES: "pictures of open alerts fill the space for them, and these come as alerts are answered.",
}


def health(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Whether the process is well: 503 where only another start repairs it."""
    faults = console.faults()
    return PlainTextResponse("\n".join(faults or ["ok"]) + "\n", status_code=503 if faults else 200)


def readiness(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Whether pages can be served, else 503; and the parts that fail, which the queue's page explains."""
    ready = not console.missing()
    found: dict[str, Any] = {"ok": ready, "parts": list(console.troubles())}
    backlogs = console.backlogs()
    if backlogs:
        found["full"] = {name: backlog.messages for name, backlog in backlogs.items()}
    return JSONResponse(found, status_code=200 if ready else 503)


def home(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Redirect to the queue."""
    return to("/queue")


def login_form(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The login page."""
    if visit.session is not None:
        return to("/queue")
    return _login(renderer, visit, 200, "")


def log_in(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Log in."""
    name = visit.form.get("name", "").strip()[:200]
    try:
        device = visit.request.cookies.get(device_cookie(visit.request), "")
        token = console.accounts.log_in(name, visit.form.get("password", "")[:1000], visit.address, device)
    except RequestRefused as refused:
        console.audit.note(name, visit.address, "login refused", str(refused))
        return _refused(_login(renderer, visit, 403, str(refused), name), refused)
    console.audit.note(name, visit.address, "login")
    response = to("/queue")
    known = console.accounts.remember(name, visit.address, device)
    set_cookie(response, visit.request, device_cookie(visit.request), known, DEVICE_SECONDS)
    set_cookie(response, visit.request, session_cookie(visit.request), token, SESSION_SECONDS)
    response.delete_cookie("login", path="/")
    return response


def _login(renderer: Renderer, visit: Visit, status: int, problem: str, name: str = "") -> Response:
    csrf = secrets.token_urlsafe(32)
    response = renderer.page("login.html", None, status, csrf=csrf, problem=problem, name=name)
    set_cookie(response, visit.request, "login", csrf)
    return response


def _refused(response: Response, why: RequestRefused) -> Response:
    if isinstance(why, TooManyFailures):
        response.status_code = 429
        response.headers["Retry-After"] = str(why.seconds)
    return response


def log_out(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Log out; a leased alert returns to the queue."""
    held = console.desk.held(visit.who.name)
    if held:
        console.desk.end(held.lease, "handed back", visit.who.name)
    console.accounts.log_out(visit.who)
    console.audit.note(visit.who.name, visit.address, "logout")
    response = to("/login")
    response.delete_cookie(session_cookie(visit.request), path="/")
    return response


def password_form(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The page to change the password."""
    return renderer.page("password.html", visit.who, problem="")


def change_password(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """Change the password; ends the account's other sessions."""
    new = visit.form.get("new", "")[:1000]
    try:
        if new != visit.form.get("again", ""):
            raise RequestRefused("The two new passwords differ.")
        console.accounts.change_password(visit.who, visit.form.get("old", "")[:1000], new)
    except RequestRefused as refused:
        console.audit.note(visit.who.name, visit.address, "password refused", str(refused))
        return _refused(renderer.page("password.html", visit.who, 422, problem=str(refused)), refused)
    console.audit.note(visit.who.name, visit.address, "password changed")
    console.accounts.notify(visit.who, "Your password is changed.")
    return to("/queue")


def queue(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The queue of open alerts."""
    return renderer.page("queue.html", visit.who, **_queue(console, visit))


def queue_list(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The queue's content, for updates."""
    return renderer.part("queue_list.html", visit.who, **_queue(console, visit))


def _queue(console: Console, visit: Visit) -> dict[str, Any]:
    version = console.version  # before what it is the version of
    order = order_of(visit.request.query_params.get("order"))
    direction = "DESC" if order == "newest" else "ASC"
    rows = console.database.rows(
        "SELECT shown.*, leases.officer, coalesce(pictures.bytes, 0) > 0 AS pictured FROM shown_alerts AS shown"
        " LEFT JOIN leases ON leases.alert = shown.id AND leases.ended_at IS NULL LEFT JOIN pictures USING (image_id)"
        f" WHERE answered = 0 ORDER BY kept_raised_at {direction}, shown.id {direction} LIMIT ?",
        _ON_MAP,
    )
    points = [
        Point(row["latitude"], row["longitude"], "held" if row["officer"] else "alert", title=row["drone_id"])
        for row in rows
    ]
    return {
        "version": version,
        "order": order,
        "may_look": not rows and may(visit.session, "POST", "/desk/pick") and console.desk.may_look(visit.who.name),
        "alerts": [(row, borough_of(row["latitude"], row["longitude"])) for row in rows[:_SHOWN]],
        "map": city_map(points, f"{len(points)} open alerts on the map of New York"),
        "work": work(console.database, visit.who.name, console.clock()),
        "troubles": list(console.troubles().values()),
        "full": full(console.backlogs()),
    }


def full(backlogs: Mapping[str, Backlog]) -> list[str]:
    """Sentences about messages that wait in their topics."""
    return [
        f"{'More' if backlog.messages is None else f'{backlog.messages:,} more'} wait in the topic of {name}: "
        f"{_FULL[name]} Nothing is lost."
        for name, backlog in backlogs.items()
    ]


def picture(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """An alert's picture, or a placeholder."""
    alert = number_of(visit.request.path_params["alert"])
    if alert is None or not console.desk.has(alert):
        return renderer.error(404, "There is no such picture", "It would be that of an alert.", visit.session)
    found = console.pictures.of(alert)
    if found is None:
        return FileResponse(STATIC / "no-picture.svg", media_type="image/svg+xml")
    return FileResponse(found, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})
