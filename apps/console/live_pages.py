"""The live page: figures, charts and the map."""

from typing import Any, Final

from starlette.responses import Response

from schemas.places import borough_of

from .charts import minutes_chart, share_bar
from .city import Point, city_map, hot, shaded
from .console import Console
from .figures import work
from .live import PARTS_OF_DAY, UNQUALIFIED
from .pages import full
from .rendering import Renderer
from .web import Visit

_MINUTES: Final = 60
_MOST_CODES: Final = 8
_MOST_ALERTS: Final = 500
_HOT: Final = 12


def live(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The live page."""
    return renderer.page("live.html", visit.who, wall="wall" in visit.request.query_params, **_live(console))


def live_figures(console: Console, renderer: Renderer, visit: Visit) -> Response:
    """The page's content, for updates."""
    return renderer.part("live_figures.html", visit.who, **_live(console))


def _live(console: Console) -> dict[str, Any]:
    version = console.live_version
    now = console.clock()
    figures = console.panes.figures if console.panes else None
    alerts = console.database.rows(
        "SELECT latitude, longitude, drone_id FROM shown_alerts WHERE answered = 0"
        " ORDER BY kept_raised_at DESC LIMIT ?",
        _MOST_ALERTS,
    )
    points = [Point(row["latitude"], row["longitude"], "alert", 3, row["drone_id"]) for row in alerts]
    hottest = figures.areas.violations.most_common(_HOT) if figures else []
    areas = shaded(figures.areas.messages) + hot(hottest) if figures else ""
    values: dict[str, Any] = {
        "version": version,
        "panes": console.panes,
        "figures": figures,
        "map": city_map(points, "Drones, violations and open alerts on the map of New York", areas),
        "hottest": [(borough_of(*area.middle), area, n) for area, n in hottest[:3]],
        "work": work(console.database, "", now),
        "full": full(console.backlogs()),
        "unqualified": UNQUALIFIED,
        "commands": console.database.number("SELECT count(*) FROM commands WHERE confirmed_at IS NULL"),
    }
    if figures is not None:
        minutes = figures.violations_by_minute(_MINUTES, now)
        codes = figures.codes.copy()  # the console keeps counting while the page is rendered
        whole = figures.whole_minute
        rates = {minute: qualified + unqualified for minute, qualified, unqualified in minutes}
        values |= {
            "state": figures.state(now),
            "chart": minutes_chart(minutes, whole),
            "whole": whole,
            "rate": None if whole is None else rates.get(whole),
            "codes": _shares([(console.codes.name(code), n, code) for code, n in codes.most_common(_MOST_CODES)]),
            "parts": _shares([(part, figures.parts[part], part) for part in PARTS_OF_DAY]),
            "share": figures.unqualified_share,
            "lag": figures.lag_seconds(now),
        }
    return values


def _shares(rows: list[tuple[str, int, object]]) -> list[tuple[str, int, object, str]]:
    most = max((n for _, n, _ in rows), default=0)
    return [(name, n, key, share_bar(n / most if most else 0)) for name, n, key in rows]
