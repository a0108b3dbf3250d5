"""Places of New York: the cells of the statistics, outlines of the boroughs, names. For orientation only."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

DEGREES: Final = 0.01
"""Width of an area in degrees: about 1.1 km north-south and 0.85 km east-west."""
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
"""Drawn for this project."""
NEIGHBOURHOODS: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "Manhattan": {
        "Financial District": (40.7075, -74.0090), "Tribeca": (40.7195, -74.0090), "Chinatown": (40.7155, -73.9970),
        "Lower East Side": (40.7170, -73.9870), "SoHo": (40.7235, -74.0010), "Greenwich Village": (40.7325, -73.9995),
        "West Village": (40.7355, -74.0060), "East Village": (40.7275, -73.9835), "Chelsea": (40.7465, -74.0015),
        "Flatiron": (40.7410, -73.9895), "Gramercy": (40.7370, -73.9830), "Murray Hill": (40.7480, -73.9770),
        "Hudson Yards": (40.7545, -74.0020), "Midtown": (40.7550, -73.9830), "Turtle Bay": (40.7540, -73.9670),
        "Times Square": (40.7600, -73.9880), "Hell's Kitchen": (40.7640, -73.9930),
        "Lincoln Square": (40.7740, -73.9845), "Upper West Side": (40.7870, -73.9755),
        "Central Park": (40.7825, -73.9655), "Lenox Hill": (40.7660, -73.9610), "Upper East Side": (40.7740, -73.9560),
        "Yorkville": (40.7770, -73.9490), "East Harlem": (40.7955, -73.9390),
        "Morningside Heights": (40.8100, -73.9620), "Harlem": (40.8115, -73.9465),
        "Manhattanville": (40.8170, -73.9560), "Hamilton Heights": (40.8250, -73.9490),
        "Washington Heights": (40.8420, -73.9390), "Inwood": (40.8675, -73.9215),
    },
    "The Bronx": {
        "Mott Haven": (40.8090, -73.9230), "Port Morris": (40.8020, -73.9100), "Melrose": (40.8240, -73.9150),
        "Hunts Point": (40.8120, -73.8840), "Longwood": (40.8260, -73.8920), "Concourse": (40.8310, -73.9210),
        "Morrisania": (40.8300, -73.9050), "Tremont": (40.8460, -73.8950), "Morris Heights": (40.8500, -73.9150),
        "Fordham": (40.8610, -73.8960), "Belmont": (40.8555, -73.8860), "Kingsbridge": (40.8790, -73.9050),
        "Riverdale": (40.9000, -73.9080), "Norwood": (40.8770, -73.8790), "Woodlawn": (40.8980, -73.8670),
        "Wakefield": (40.8970, -73.8520), "Williamsbridge": (40.8790, -73.8600), "Baychester": (40.8690, -73.8360),
        "Co-op City": (40.8740, -73.8290), "Pelham Parkway": (40.8570, -73.8600), "Morris Park": (40.8520, -73.8500),
        "Parkchester": (40.8380, -73.8600), "Soundview": (40.8240, -73.8650), "Castle Hill": (40.8180, -73.8490),
        "Throgs Neck": (40.8220, -73.8190), "City Island": (40.8470, -73.7870),
    },
    "Brooklyn": {
        "Greenpoint": (40.7300, -73.9540), "Williamsburg": (40.7140, -73.9560),
        "East Williamsburg": (40.7140, -73.9360), "Bushwick": (40.6945, -73.9215),
        "Brooklyn Heights": (40.6960, -73.9940), "Downtown Brooklyn": (40.6930, -73.9860),
        "Fort Greene": (40.6890, -73.9750), "Clinton Hill": (40.6890, -73.9660),
        "Bedford-Stuyvesant": (40.6870, -73.9420), "Cobble Hill": (40.6860, -73.9960), "Red Hook": (40.6750, -74.0090),
        "Gowanus": (40.6730, -73.9900), "Park Slope": (40.6710, -73.9780), "Prospect Heights": (40.6770, -73.9690),
        "Crown Heights": (40.6690, -73.9420), "Brownsville": (40.6630, -73.9110), "East New York": (40.6660, -73.8820),
        "Cypress Hills": (40.6830, -73.8810), "Starrett City": (40.6480, -73.8820), "Sunset Park": (40.6460, -74.0120),
        "Windsor Terrace": (40.6540, -73.9770), "Kensington": (40.6410, -73.9720), "Flatbush": (40.6520, -73.9590),
        "East Flatbush": (40.6500, -73.9310), "Canarsie": (40.6400, -73.9010), "Borough Park": (40.6340, -73.9920),
        "Midwood": (40.6220, -73.9630), "Flatlands": (40.6220, -73.9320), "Bergen Beach": (40.6190, -73.9070),
        "Bay Ridge": (40.6260, -74.0300), "Dyker Heights": (40.6210, -74.0120), "Bensonhurst": (40.6120, -73.9960),
        "Gravesend": (40.5970, -73.9730), "Sheepshead Bay": (40.5910, -73.9450), "Marine Park": (40.6060, -73.9300),
        "Coney Island": (40.5760, -73.9840), "Brighton Beach": (40.5780, -73.9610),
    },
    "Queens": {
        "Long Island City": (40.7450, -73.9480), "Astoria": (40.7720, -73.9300), "Sunnyside": (40.7430, -73.9210),
        "Woodside": (40.7450, -73.9060), "Steinway": (40.7740, -73.9050), "Jackson Heights": (40.7560, -73.8830),
        "East Elmhurst": (40.7630, -73.8700), "Elmhurst": (40.7370, -73.8800), "Corona": (40.7470, -73.8610),
        "Maspeth": (40.7230, -73.9120), "Ridgewood": (40.7040, -73.9010), "Middle Village": (40.7170, -73.8810),
        "Glendale": (40.7020, -73.8780), "Rego Park": (40.7260, -73.8620), "Forest Hills": (40.7190, -73.8450),
        "Kew Gardens": (40.7060, -73.8310), "Woodhaven": (40.6900, -73.8570), "Ozone Park": (40.6770, -73.8440),
        "Howard Beach": (40.6580, -73.8360), "Richmond Hill": (40.6960, -73.8310),
        "South Ozone Park": (40.6740, -73.8120), "Jamaica": (40.7020, -73.7890), "Briarwood": (40.7090, -73.8160),
        "Flushing": (40.7650, -73.8300), "College Point": (40.7860, -73.8460), "Whitestone": (40.7920, -73.8100),
        "Bayside": (40.7680, -73.7770), "Little Neck": (40.7630, -73.7380), "Fresh Meadows": (40.7350, -73.7840),
        "Kew Gardens Hills": (40.7270, -73.8210), "Oakland Gardens": (40.7440, -73.7570),
        "Bellerose": (40.7300, -73.7200), "Queens Village": (40.7190, -73.7410), "Hollis": (40.7130, -73.7620),
        "St. Albans": (40.6930, -73.7640), "Springfield Gardens": (40.6680, -73.7610), "Laurelton": (40.6690, -73.7480),
        "Rosedale": (40.6610, -73.7350), "JFK Airport": (40.6430, -73.7850), "Far Rockaway": (40.6030, -73.7560),
        "Arverne": (40.5910, -73.7960), "Rockaway Park": (40.5800, -73.8370), "Breezy Point": (40.5570, -73.9240),
    },
    "Staten Island": {
        "St. George": (40.6440, -74.0770), "Stapleton": (40.6270, -74.0770), "West Brighton": (40.6310, -74.1070),
        "Port Richmond": (40.6330, -74.1370), "Mariners Harbor": (40.6360, -74.1590),
        "Castleton Corners": (40.6130, -74.1220), "Willowbrook": (40.6030, -74.1430), "Todt Hill": (40.6010, -74.1030),
        "South Beach": (40.5860, -74.0790), "New Dorp": (40.5730, -74.1160), "New Springville": (40.5870, -74.1640),
        "Great Kills": (40.5540, -74.1510), "Eltingville": (40.5440, -74.1650), "Arden Heights": (40.5550, -74.1870),
        "Rossville": (40.5490, -74.2130), "Annadale": (40.5400, -74.1780), "Tottenville": (40.5080, -74.2390),
    },
}  # fmt: skip
"""By borough, a place in the middle of each neighbourhood, latitude and longitude, to a few hundred metres."""
STRETCH: Final = math.cos(math.radians(40.7))
"""Ratio of a degree of longitude to one of latitude at New York."""


class Area(NamedTuple):
    """A cell of the city, identified by its south-west corner."""

    south: float
    west: float

    @property
    def middle(self) -> tuple[float, float]:
        """Latitude and longitude in degrees."""
        return self.south + DEGREES / 2, self.west + DEGREES / 2


@lru_cache(10_000)
def area_of(name: str) -> Area:
    """Parse an area's name as the lake has it. Raises ValueError where it is not one.

    >>> area_of("40.71,-74.01")
    Area(south=40.71, west=-74.01)
    """
    south, _, west = name.partition(",")
    area = Area(float(south), float(west))
    if not (-90 <= area.south <= 90 and -180 <= area.west <= 180):
        raise ValueError(f"{name} is no area: its corner is not on the earth")
    return area


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


def place_of(latitude: float, longitude: float) -> str:
    """The neighbourhood and borough of a position; empty where it is in no borough.

    >>> place_of(40.758, -73.9855), place_of(40.0, -75.0)
    ('Times Square, Manhattan', '')
    """
    borough = borough_of(latitude, longitude)

    def distance(place: tuple[float, float]) -> float:
        return math.hypot(place[0] - latitude, (place[1] - longitude) * STRETCH)

    hoods = NEIGHBOURHOODS.get(borough, {})
    return f"{min(hoods, key=lambda name: distance(hoods[name]))}, {borough}" if hoods else ""


def place_name(area: Area) -> str:
    """The neighbourhood and borough of an area's middle; where it is in no borough, its corner.

    >>> place_name(area_of("40.75,-73.99")), place_name(area_of("40.51,-73.80"))
    ('Midtown, Manhattan', 'near 40.51, -73.80')
    """
    return place_of(*area.middle) or f"near {area.south:.2f}, {area.west:.2f}"
