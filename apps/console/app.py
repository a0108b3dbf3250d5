"""The web application: all routes with their pages."""

from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from . import desk_pages, events, live_pages, pages, supervisor_pages
from .console import Console
from .database import DISK_ERRORS
from .rendering import STATIC, Renderer
from .web import Headers, Lane, Lanes, Page, events_route, page_route, session_of

PAGES: Final[dict[tuple[str, str], Page]] = {
    ("GET", "/healthz"): pages.health,
    ("GET", "/readyz"): pages.readiness,
    ("GET", "/login"): pages.login_form,
    ("POST", "/login"): pages.log_in,
    ("POST", "/logout"): pages.log_out,
    ("GET", "/password"): pages.password_form,
    ("POST", "/password"): pages.change_password,
    ("GET", "/"): pages.home,
    ("GET", "/queue"): pages.queue,
    ("GET", "/queue/list"): pages.queue_list,
    ("GET", "/pictures/{alert}"): pages.picture,
    ("GET", "/live"): live_pages.live,
    ("GET", "/live/figures"): live_pages.live_figures,
    ("GET", "/desk"): desk_pages.desk,
    ("GET", "/desk/picture"): desk_pages.picture,
    ("POST", "/desk/pick"): desk_pages.pick,
    ("POST", "/desk/answer"): desk_pages.answer,
    ("POST", "/desk/back"): desk_pages.hand_back,
    ("POST", "/desk/suggestions"): desk_pages.switch_suggestions,
    ("GET", "/drones"): supervisor_pages.drones,
    ("GET", "/drones/list"): supervisor_pages.drones_list,
    ("GET", "/drones/fleet"): supervisor_pages.drones_fleet,
    ("POST", "/drones"): supervisor_pages.command_drone,
    ("GET", "/accounts"): supervisor_pages.accounts,
    ("POST", "/accounts"): supervisor_pages.create_account,
    ("POST", "/accounts/change"): supervisor_pages.change_account,
    ("POST", "/accounts/reset"): supervisor_pages.reset_account,
    ("GET", "/audit"): supervisor_pages.audit,
}
EVENTS: Final = {
    "/queue/events": events.queue_events,
    "/live/events": events.live_events,
    "/desk/events": events.desk_events,
}


class _Static(StaticFiles):
    """Static files, whose URLs change with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response


def build(console: Console) -> ASGIApp:
    """Build the application of a console."""
    renderer = Renderer(console.clock, console.accounts.take_notice)

    async def failed(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        if status != 404:
            # Without the session: looking it up may be what failed.
            return renderer.error(status, f"Error {status}", "Nothing was changed by that.", None)
        try:
            session = await run_in_threadpool(session_of, console, request)
        except DISK_ERRORS:
            session = None
        return renderer.error(status, "There is no such page", f"The console has no {request.url.path}.", session)

    routes: list[BaseRoute] = [Mount("/static", _Static(directory=STATIC))]
    routes += [events_route(console, renderer, path, stream) for path, stream in EVENTS.items()]
    lanes = Lanes(known=Lane(), strangers=Lane())
    routes += [page_route(console, renderer, lanes, method, path, page) for (method, path), page in PAGES.items()]
    application = Starlette(routes=routes, exception_handlers={404: failed, 405: failed, 500: failed})
    application.router.redirect_slashes = False  # it would redirect to the host that the request names
    # The outermost layer, so that error responses have the headers too.
    return Headers(application)
