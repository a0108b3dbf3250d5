"""A map of New York: outlines of the five boroughs, drawn for this project, for orientation only."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from .areas import DEGREES, Area

WIDTH: Final = 600
_SOUTH, _NORTH, _WEST, _EAST = 40.485, 40.925, -74.275, -73.685
_STRETCH: Final = math.cos(math.radians(40.7))
"""Ratio of a degree of longitude to one of latitude at New York."""
_SCALE: Final = WIDTH / ((_EAST - _WEST) * _STRETCH)
HEIGHT: Final = round((_NORTH - _SOUTH) * _SCALE)

Outline = Sequence[tuple[float, float]]
BOROUGHS: Final[dict[str, Outline]] = {
    "Manhattan": (
        (40.7005, -74.0155), (40.7105, -74.0175), (40.7260, -74.0120), (40.7480, -74.0090), (40.7630, -74.0000),
        (40.7960, -73.9770), (40.8180, -73.9620), (40.8500, -73.9470), (40.8770, -73.9275), (40.8735, -73.9110),
        (40.8560, -73.9220), (40.8350, -73.9350), (40.8080, -73.9340), (40.7960, -73.9290), (40.7790, -73.9420),
        (40.7600, -73.9585), (40.7430, -73.9715), (40.7280, -73.9715), (40.7110, -73.9770), (40.7085, -73.9995),
    ),
    "The Bronx": (
        (40.8790, -73.9240), (40.9155, -73.9110), (40.9060, -73.8600), (40.9000, -73.8380), (40.8890, -73.8230),
        (40.8780, -73.7900), (40.8600, -73.7990), (40.8470, -73.8150), (40.8140, -73.7950), (40.8080, -73.8300),
        (40.8190, -73.8420), (40.8050, -73.8500), (40.8130, -73.8650), (40.8040, -73.8790), (40.7990, -73.9100),
        (40.8070, -73.9300), (40.8350, -73.9315), (40.8560, -73.9185), (40.8735, -73.9075),
    ),
    "Queens": (
        (40.7410, -73.9600), (40.7560, -73.9500), (40.7760, -73.9370), (40.7870, -73.9120), (40.7800, -73.8900),
        (40.7710, -73.8680), (40.7620, -73.8550), (40.7880, -73.8560), (40.7960, -73.8300), (40.7950, -73.7900),
        (40.7800, -73.7700), (40.7660, -73.7480), (40.7560, -73.7080), (40.7390, -73.7000), (40.7240, -73.7290),
        (40.6900, -73.7260), (40.6600, -73.7280), (40.6400, -73.7400), (40.6100, -73.7430), (40.5960, -73.7380),
        (40.5870, -73.8000), (40.5620, -73.8800), (40.5430, -73.9380), (40.5640, -73.9050), (40.5880, -73.8400),
        (40.6030, -73.7850), (40.6180, -73.7650), (40.6200, -73.8000), (40.6430, -73.8300), (40.6510, -73.8540),
        (40.6780, -73.8610), (40.6950, -73.8680), (40.6850, -73.8965), (40.6990, -73.9035), (40.7150, -73.9215),
        (40.7270, -73.9285), (40.7390, -73.9440),
    ),
    "Brooklyn": (
        (40.7375, -73.9560), (40.7260, -73.9320), (40.7140, -73.9245), (40.6975, -73.9065), (40.6825, -73.8985),
        (40.6930, -73.8700), (40.6770, -73.8640), (40.6500, -73.8580), (40.6380, -73.8730), (40.6200, -73.8950),
        (40.5980, -73.8890), (40.5830, -73.8900), (40.5830, -73.9300), (40.5720, -73.9700), (40.5780, -74.0100),
        (40.5960, -74.0010), (40.6100, -74.0360), (40.6400, -74.0380), (40.6650, -74.0120), (40.6780, -74.0180),
        (40.6990, -73.9980), (40.7050, -73.9780), (40.7230, -73.9640),
    ),
    "Staten Island": (
        (40.6480, -74.0850), (40.6410, -74.0720), (40.6050, -74.0560), (40.5800, -74.0740), (40.5450, -74.1200),
        (40.5180, -74.1850), (40.4985, -74.2400), (40.5130, -74.2540), (40.5500, -74.2300), (40.5600, -74.2130),
        (40.6000, -74.2000), (40.6350, -74.1990), (40.6420, -74.1700), (40.6400, -74.1300),
    ),
}  # fmt: skip
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


def borough_of(latitude: float, longitude: float) -> str:
    """The borough whose outline contains a position; empty where there is none.

    >>> borough_of(40.758, -73.9855), borough_of(40.0, -75.0)
    ('Manhattan', '')
    """
    return next((name for name, outline in BOROUGHS.items() if _inside(outline, latitude, longitude)), "")


def _inside(outline: Outline, latitude: float, longitude: float) -> bool:
    inside = False
    for (south, west), (north, east) in zip(outline, [*outline[1:], outline[0]], strict=True):
        crosses = (south > latitude) != (north > latitude)
        if crosses and longitude < west + (latitude - south) / (north - south) * (east - west):
            inside = not inside
    return inside


def _xy(latitude: float, longitude: float) -> tuple[float, float]:
    x, y = (longitude - _WEST) * _STRETCH * _SCALE, (_NORTH - latitude) * _SCALE
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
