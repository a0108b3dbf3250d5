"""A map of New York, for orientation only."""

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from markupsafe import Markup

from schemas.places import BOROUGHS, DEGREES, STRETCH, Area, Outline, borough_of

WIDTH: Final = 600
_SOUTH, _NORTH, _WEST, _EAST = 40.485, 40.925, -74.275, -73.685
_SCALE: Final = WIDTH / ((_EAST - _WEST) * STRETCH)
HEIGHT: Final = round((_NORTH - _SOUTH) * _SCALE)

_LABELS: Final = {
    "Manhattan": (40.775, -74.022), "The Bronx": (40.852, -73.868), "Queens": (40.712, -73.808),
    "Brooklyn": (40.642, -73.952), "Staten Island": (40.575, -74.150),
}  # fmt: skip
SHADES: Final = 4
_ENDS: Final = {"Manhattan"}
"""Boroughs whose label is right-aligned, as it does not fit into the outline."""


class Point(NamedTuple):
    """A marker on the map."""

    latitude: float
    longitude: float
    kind: str = "alert"
    """CSS class: alert, held or here."""
    radius: float = 5.0
    title: str = ""


def city_map(points: Iterable[Point], label: str, areas: str = "") -> Markup:
    """An SVG map with areas and markers; a marker outside the map is drawn at its edge."""
    shapes = Markup("").join(_borough(name, outline) for name, outline in BOROUGHS.items())
    names = Markup("").join(_label(name, place) for name, place in _LABELS.items())
    dots = Markup("").join(map(_dot, points))
    return Markup(
        '<svg class="map" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="xMidYMid meet">'
        "<g class=boroughs>{}</g>{}<g class=names aria-hidden=true>{}</g><g class=points>{}</g></svg>"
    ).format(WIDTH, HEIGHT, label, shapes, areas, names, dots)


def shaded(counts: Mapping[Area, int]) -> Markup:
    """Areas in SHADES shades, darker for higher counts; areas outside the map are omitted."""
    most = max(counts.values(), default=0)
    steps: dict[int, list[str]] = {}
    for area, n in counts.items():
        if _SOUTH <= area.south < _NORTH and _WEST <= area.west < _EAST:
            steps.setdefault(math.ceil(SHADES * math.sqrt(n / most)), []).append(_square(area))
    paths = (Markup('<path class="shade{}" d="{}"/>').format(step, "".join(of)) for step, of in sorted(steps.items()))
    return Markup("<g class=shades>{}</g>").format(Markup("").join(paths))


def hot(counts: Iterable[tuple[Area, int]]) -> Markup:
    """Outlined areas with their count as title."""
    squares = (
        Markup('<path d="{}"><title>{} {} violations</title></path>').format(
            _square(area), borough_of(*area.middle), f"{n:,}"
        )
        for area, n in counts
    )
    return Markup("<g class=hot>{}</g>").format(Markup("").join(squares))


def _xy(latitude: float, longitude: float) -> tuple[float, float]:
    x, y = (longitude - _WEST) * STRETCH * _SCALE, (_NORTH - latitude) * _SCALE
    return round(min(max(x, 4), WIDTH - 4), 1), round(min(max(y, 4), HEIGHT - 4), 1)


def _square(area: Area) -> str:
    (left, bottom), (right, top) = _xy(*area), _xy(area.south + DEGREES, area.west + DEGREES)
    return f"M{left:.0f} {top:.0f}H{right:.0f}V{bottom:.0f}H{left:.0f}z"


def _borough(name: str, outline: Outline) -> Markup:
    corners = " ".join(f"{x},{y}" for x, y in (_xy(*place) for place in outline))
    return Markup('<polygon points="{}"><title>{}</title></polygon>').format(corners, name)


def _label(name: str, place: tuple[float, float]) -> Markup:
    x, y = _xy(*place)
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        x, y, "end" if name in _ENDS else "middle", name
    )


def _dot(point: Point) -> Markup:
    x, y = _xy(point.latitude, point.longitude)
    ring = Markup('<circle class=ring cx="{}" cy="{}" r="14"/>').format(x, y) if point.kind == "here" else ""
    return Markup('{}<circle class="{}" cx="{}" cy="{}" r="{}"><title>{}</title></circle>').format(
        ring, point.kind, x, y, round(point.radius, 1), point.title
    )
