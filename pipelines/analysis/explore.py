"""What the page's interactive part needs: the cubes of counts, their names, and the shapes of its map."""

import base64
import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from pipelines.analysis import headlines
from pipelines.analysis.details import MOST_CODES, MOST_MONTHS, MOST_PLACES
from pipelines.analysis.results import OTHER, OTHER_CODES, Answers, Cube
from schemas.errors import InputUnusable
from schemas.lake import Source
from schemas.messages import UNQUALIFIED
from schemas.places import BOROUGHS, DEGREES, STRETCH, Area, area_of, borough_of, place_name
from schemas.violation_codes import code_name

SHAPES_ARE = 'a GeoJSON file whose features are polygons with a property "precinct"'
MAP_SIZE: Final = 1000
"""Width and height of the map's coordinates; one is about 50 m."""
_WEST, _NORTH, _DEGREES_WIDE = -74.27, 40.93, 0.58
_SCALE: Final = MAP_SIZE / _DEGREES_WIDE
_STATIC: Final = Path(__file__).parent / "static"
Ring = Sequence[Sequence[float]]
"""Longitude and latitude of the corners."""
Shapes = Mapping[str, str]
"""SVG paths in the map's coordinates, by precinct."""
NO_SHAPES: Final[Shapes] = {}


def read_shapes(path: Path) -> Shapes:
    """The shapes of precincts, from the city's file.

    Raises InputUnusable where it is not GeoJSON with polygons of precincts.
    """
    try:
        features = msgspec.json.decode(path.read_bytes())["features"]
        return {_precinct(each["properties"]): _path(_rings(each["geometry"])) for each in features}
    except OSError as error:
        raise InputUnusable(f"--shapes {path}: {error.strerror}; give {SHAPES_ARE}") from error
    except (msgspec.DecodeError, LookupError, TypeError, ValueError) as error:
        raise InputUnusable(f"--shapes {path} is not {SHAPES_ARE} ({type(error).__name__}: {error})") from error


def _precinct(properties: Mapping[str, Any]) -> str:
    return str(int({name.lower(): value for name, value in properties.items()}["precinct"]))


def _rings(geometry: Mapping[str, Any]) -> list[Ring]:
    corners = geometry["coordinates"]
    polygons = {"Polygon": [corners], "MultiPolygon": corners}[geometry["type"]]
    return [ring for polygon in polygons for ring in polygon]


def _path(rings: Iterable[Ring]) -> str:
    """An SVG path, corners that are nearer than the map shows left out."""
    parts = []
    for ring in rings:
        corners = [
            (round((east - _WEST) * _SCALE), round((_NORTH - north) * _SCALE / STRETCH)) for east, north, *_ in ring
        ]
        shown = [at for at, before in zip(corners, [None, *corners], strict=False) if at != before]
        if len(set(shown)) > 2:
            parts.append("M" + "L".join(f"{x},{y}" for x, y in shown) + "Z")
    return "".join(parts)


def _cell(area: Area) -> str:
    south, west, north, east = *area, area.south + DEGREES, area.west + DEGREES
    return _path([[(west, south), (east, south), (east, north), (west, north)]])


def _borough(name: str) -> str:
    return _path([[(east, north) for north, east in BOROUGHS[name]]])


def explore(found: Answers, shapes: Shapes) -> dict[str, Any]:
    """The data of the interactive part, for templates/explore.js.

    Args:
        shapes: of precincts; where there are none, the history's map has its counties.
    """
    return {
        "vega": _base64(gzip.compress((_STATIC / "vega.min.js").read_bytes(), 9, mtime=0)),
        "outlines": [_borough(name) for name in BOROUGHS],
        "sources": [
            _drones(of.source, of.cube) if of.source == Source.DRONES else _history(of.source, of.cube, shapes)
            for of in found.details
        ],
    }


def _history(source: str, cube: Cube, shapes: Shapes) -> dict[str, Any]:
    places = [_precinct_name(place.place) for place in cube.places]
    counties = [
        "other counties" if place.place == OTHER else headlines.area_name(source, place.county) for place in cube.places
    ]
    if shapes:
        by, drawn = "place", {name: shapes.get(of.place) for name, of in zip(places, cube.places, strict=True)}
    else:
        outlines = {name.removeprefix("The "): name for name in BOROUGHS}
        by, drawn = "county", {name: _borough(outlines[name]) for name in counties if name in outlines}
    return _source(source, cube, "precinct", counties, places, by, drawn)


def _precinct_name(place: str) -> str:
    if place == OTHER:
        return "other precincts"
    return headlines.precinct_name(place) if place else "precinct not given"


def _drones(source: str, cube: Cube) -> dict[str, Any]:
    names, counties, drawn = [], [], {}
    for _, place in cube.places:
        try:
            area = area_of(place)
        except ValueError:  # no cell: OTHER, none, or a text of a lake that others wrote
            names.append("other cells" if place == OTHER else place or "cell not given")
            counties.append("elsewhere")
            continue
        names.append(f"{place_name(area)} ({place.replace(',', ', ')})")
        counties.append(borough_of(*area.middle) or "elsewhere")
        drawn[names[-1]] = _cell(area)
    return _source(source, cube, "cell", counties, names, "place", drawn)


def _source(
    source: str,
    cube: Cube,
    what: str,
    counties: Sequence[str],
    places: Sequence[str],
    mapped: str,
    drawn: Mapping[str, str | None],
) -> dict[str, Any]:
    codes = {UNQUALIFIED: "no code", OTHER_CODES: "other codes"}
    years = len(cube.months[0]) == len("YYYY")
    time = "year" if years else "month"
    folded = [
        text
        for text, more in (
            (f"the {MOST_PLACES} {what}s with most violations and “other {what}s”", len(places) > MOST_PLACES),
            (f"the {MOST_CODES} most frequent codes and “other codes”", len(cube.codes) > MOST_CODES),
            (f"years, as there are more than {MOST_MONTHS} months", years),
        )
        if more
    ]
    return {
        "name": source,
        "place": what,
        "month": time,
        "counties": counties,
        "places": places,
        "codes": [codes.get(code) or code_name(code) for code in cube.codes],
        "months": [
            f"other {time}s" if month == OTHER else month if years else headlines.month_name(month)
            for month in cube.months
        ],
        "folded": f"To keep the page small it has {'; '.join(folded)}." if folded else "",
        "counts": _base64(cube.counts),
        "mapped": mapped,
        "shapes": {name: path for name, path in drawn.items() if path},
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
