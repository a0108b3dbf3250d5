"""The answers as small numbers: what :mod:`pipelines.analysis.graph` counts, and what is derived from it.

All times of the day, weekdays and months are New York's. A violation is counted once, when it was seen: a police
officer's answer is not a second violation, it gives the code of the one that it answers.
"""

import math
from datetime import date
from typing import NamedTuple

import msgspec

from schemas.lake import Source
from schemas.messages import UNQUALIFIED
from transforms.clock import PART_OF_HOUR, PARTS_OF_DAY

HOURS = 24
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WORKING_DAYS = 5
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
QUARTERS = ("Q1", "Q2", "Q3", "Q4")

WITHIN_SECONDS = (60, 300, 900, 3600, 4 * 3600, 24 * 3600)
"""Upper ends of the bins of the time to an answer; one more bin holds the longer ones."""

UNUSUAL_FROM = 3.5
"""Robust z-scores from here on are unusual (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993)."""
OUTSIDE = 0.001
"""The largest share of a source's violations that its span leaves out."""
GAP_DAYS = (1, 7, 30, 90, 365)
"""Upper ends of the bins of the time to a vehicle's next violation; one more bin holds the longer ones."""


class Share(NamedTuple):
    """Of how many violations something holds."""

    n: int
    of: int

    @property
    def percent(self) -> float:
        return 100 * self.n / self.of if self.of else 0.0


class Span(NamedTuple):
    """From which day to which, ``YYYY-MM-DD``, violations are."""

    first: str
    last: str
    days: int
    outside: int
    """Violations of other days."""


class Units(msgspec.Struct, frozen=True):
    """The ledger's totals of one source."""

    source: str
    units: int
    rows_in: int
    positions: int
    qualified: int
    unqualified: int
    dead_letters: int
    images: int
    duplicates: int
    """Duplicates within their unit; duplicates across units are not among them."""


LEDGER_COUNTS = tuple(name for name in Units.__struct_fields__ if name != "source")


class Area(msgspec.Struct, frozen=True):
    """A county of the history (a cell of the city, for drones) and its violations; nameless where none is given."""

    name: str
    n: int


class Violations(msgspec.Struct, frozen=True):
    """The counts of one source."""

    source: str
    week: tuple[int, ...]
    """By hour of the week: Monday from midnight to one is the first of 168."""
    months: dict[str, int]
    """By ``YYYY-MM``."""
    codes: dict[int, int]
    """By code; an answered violation has its officer's code, 0 are those that have none or were none."""
    areas: tuple[Area, ...]
    """The most frequent ones."""
    unqualified: int
    """Came without a code, answered since or not."""
    answers: int
    """Rows with the status ``officer``."""
    days: dict[str, int] = {}
    """By ``YYYY-MM-DD``, in order."""
    unqualified_days: dict[str, int] = {}
    """Of drones: those of a day that came without a code."""
    conflicts: int = 0
    """Rows of drones, positions too, with the message_id of another row and other content."""

    @property
    def total(self) -> int:
        return sum(self.week)

    @property
    def span(self) -> Span:
        """The shortest time that holds all violations but a thousandth: wrong dates are far outside of it."""
        days, counts = list(self.days), list(self.days.values())
        least = math.ceil(self.total * (1 - OUTSIDE))
        first, inside, shortest = 0, 0, Span("", "", 0, self.total)
        for last, n in enumerate(counts):
            inside += n
            while inside - counts[first] >= least:
                inside -= counts[first]
                first += 1
            if inside >= least:
                length = (date.fromisoformat(days[last]) - date.fromisoformat(days[first])).days + 1
                if not shortest.days or length < shortest.days:
                    shortest = Span(days[first], days[last], length, self.total - inside)
        return shortest

    @property
    def hours(self) -> tuple[int, ...]:
        """By hour of the day."""
        return tuple(sum(self.week[hour::HOURS]) for hour in range(HOURS))

    @property
    def weekdays(self) -> tuple[int, ...]:
        """By weekday, Monday first."""
        return tuple(sum(self.week[day * HOURS : (day + 1) * HOURS]) for day in range(len(WEEKDAYS)))

    @property
    def calendar_months(self) -> tuple[int, ...]:
        """By month of the calendar whatever the year, January first."""
        found = [0] * len(MONTHS)
        for month, n in self.months.items():
            found[int(month.rpartition("-")[2]) - 1] += n
        return tuple(found)

    @property
    def parts_of_day(self) -> dict[str, Share]:
        """Morning, afternoon and other."""
        return {
            name: Share(sum(n for hour, n in enumerate(self.hours) if PART_OF_HOUR[hour] == part), self.total)
            for part, name in enumerate(PARTS_OF_DAY)
        }

    @property
    def working_days(self) -> Share:
        """Monday to Friday."""
        return Share(sum(self.week[: WORKING_DAYS * HOURS]), self.total)

    @property
    def weekends(self) -> Share:
        """Saturday and Sunday."""
        return Share(sum(self.week[WORKING_DAYS * HOURS :]), self.total)

    @property
    def quarters(self) -> dict[str, Share]:
        """By quarter of the calendar, whatever the year."""
        months = self.calendar_months
        return {name: Share(sum(months[3 * q : 3 * q + 3]), self.total) for q, name in enumerate(QUARTERS)}

    @property
    def ranked_codes(self) -> dict[int, Share]:
        """By code, the most frequent first. Violations without a code are left out, but part of the total."""
        ranked = sorted(self.codes.items(), key=lambda item: (-item[1], item[0]))
        return {code: Share(n, self.total) for code, n in ranked if code != UNQUALIFIED and n}


class Officers(msgspec.Struct, frozen=True):
    """Officers' answers to the violations that drones could not qualify."""

    answered: int = 0
    """Violations with an answer; the first one counts."""
    p50_seconds: float | None = None
    """From the violation to its answer; None where there is no answer."""
    p95_seconds: float | None = None
    within: tuple[int, ...] = (0,) * (len(WITHIN_SECONDS) + 1)
    """Answered violations by time to the answer, a bin for each of WITHIN_SECONDS and one for the longer ones."""
    codes: dict[int, int] = {}
    """Answered violations by the code that they got; UNQUALIFIED: the officer saw no violation."""
    later: int = 0
    """Second answers to the same violation: they are kept and not counted."""


class Sample(msgspec.Struct, frozen=True, order=True):
    """A dead letter, safe to print; samples are ordered by their place in the lake."""

    unit: str
    record: int
    payload: str
    detail: str
    path: str
    offset: int


class DeadLetters(msgspec.Struct, frozen=True):
    """The dead letters of one source that were refused for one reason."""

    source: str
    reason: str
    n: int
    samples: tuple[Sample, ...]


class Fine(msgspec.Struct, frozen=True):
    """What the violations of one code cost."""

    violations: int
    dollars: int | None
    """None where the city's table has no rate."""
    unsure: int
    """Violations whose rate the data does not decide: counted at the lower one."""
    unsure_more: int
    """Dollars more, if all of them were in Manhattan up to 96th Street."""


class Fines(msgspec.Struct, frozen=True):
    """What all violations cost."""

    codes: dict[int, Fine]
    """The code with most dollars first."""

    @property
    def dollars(self) -> int:
        return sum(fine.dollars or 0 for fine in self.codes.values())

    @property
    def unsure_more(self) -> int:
        return sum(fine.unsure_more for fine in self.codes.values())


class Group(msgspec.Struct, frozen=True):
    """The violations of a street, precinct, state, make or agency."""

    name: str
    n: int
    county: str = ""
    """Of a street."""
    hours: tuple[int, ...] = ()
    """Of a street or precinct: by hour of the day."""
    months: dict[str, int] = {}
    """Likewise: by ``YYYY-MM``."""


class Groups(msgspec.Struct, frozen=True):
    """The values of a column."""

    given: int
    """Violations that have one."""
    distinct: int
    top: tuple[Group, ...]
    """The most frequent."""


class Folding(msgspec.Struct, frozen=True):
    """What a rule did to the spellings of streets."""

    rule: str
    spellings: int
    """Those that it changed."""
    violations: int
    """With these spellings."""
    example: str
    """The most frequent of them."""
    street: str
    """What all rules together make of the example."""


class Streets(msgspec.Struct, frozen=True):
    """Violations by street: by folded name and county."""

    given: int
    """Violations that have a street."""
    spellings: int
    names: int
    """What is left of the spellings when they are folded."""
    top: tuple[Group, ...]
    """The most frequent."""
    rules: tuple[Folding, ...]
    """Those that changed a spelling."""


class Vehicle(msgspec.Struct, frozen=True):
    """A vehicle with many violations."""

    state: str
    plate: str
    """Masked, if not requested."""
    n: int
    days: float
    """From its first violation to its last."""


class Vehicles(msgspec.Struct, frozen=True):
    """Violations by vehicle: by plate and the state that it is registered in."""

    without_plate: int
    """Violations that are no vehicle's."""
    tickets: dict[int, int]
    """How many vehicles have so many violations."""
    again: tuple[int, ...]
    """From each violation of a vehicle to its next one: counts by time, a bin below each of GAP_DAYS and one more."""
    p50_gap_days: float | None
    """The median of these times; None where no vehicle comes again."""
    top: tuple[Vehicle, ...]

    @property
    def vehicles(self) -> int:
        return sum(self.tickets.values())

    @property
    def violations(self) -> int:
        return sum(n * vehicles for n, vehicles in self.tickets.items())

    @property
    def repeaters(self) -> Share:
        """Vehicles with more than one violation."""
        return Share(self.vehicles - self.tickets.get(1, 0), self.vehicles)

    def of_top(self, percent: float) -> Share:
        """The violations of the vehicles with most of them: so many percent of all vehicles, rounded up."""
        left, violations = math.ceil(self.vehicles * percent / 100), 0
        for n, vehicles in sorted(self.tickets.items(), reverse=True):
            violations += n * min(vehicles, left)
            left -= min(vehicles, left)
        return Share(violations, self.violations)


class UnusualMonth(msgspec.Struct, frozen=True):
    """A month and its past (:func:`pipelines.analysis.details.unusual`)."""

    precinct: str
    """Empty: the month of all violations."""
    month: str
    n: int
    expected: float
    spread: float
    score: float
    """How many spreads n is from what is expected."""
    past: int
    """Earlier months that it is compared with."""


class Unusual(msgspec.Struct, frozen=True):
    """The months of the city and of its precincts that are far from their past."""

    months: tuple[UnusualMonth, ...]
    """The farthest first."""
    found: int
    """How many there are, also those that are not listed."""
    compared: int
    """Months of all series that have a long enough past."""
    covered: tuple[str, ...]
    """The months with enough violations to be compared, in order."""
    left_out: int
    """Violations in other months."""
    most: UnusualMonth | None
    """The farthest month, unusual or not."""


class CubePlace(NamedTuple):
    """A place of a cube: both are empty where the row has none."""

    county: str
    """As the row has it; empty for drones."""
    place: str
    """The precinct's number or, for drones, the cell; OTHER: all that are not listed by themselves."""


OTHER = "other"
"""A place of a cube in place of the rarer ones."""
OTHER_CODES = -1
"""A code of a cube in place of the rarer ones."""


class Cube(msgspec.Struct, frozen=True):
    """The violations of a source by place, code, month and hour of the day: what the page filters."""

    places: tuple[CubePlace, ...]
    codes: tuple[int, ...]
    """UNQUALIFIED: no code."""
    months: tuple[str, ...]
    """``YYYY-MM``, or ``YYYY`` where there are many of them; OTHER: those with too few violations to be compared."""
    counts: bytes
    """gzip of the counts as little-endian 32-bit numbers, in the order of places, codes, months and hours; first the
    lowest byte of each number, then the next one of each, to the highest."""


class Details(msgspec.Struct, frozen=True):
    """Answers 6 to 10 for one source; what the source does not have is empty."""

    source: str
    streets: Streets
    precincts: tuple[Group, ...]
    """The most frequent first."""
    vehicles: Vehicles
    states: Groups
    makes: Groups
    agencies: Groups
    weeks: dict[int, tuple[int, ...]]
    """Of the most frequent codes: by hour of the week."""
    unusual: Unusual
    cube: Cube


class Answers(msgspec.Struct, frozen=True):
    """All answers."""

    lake: str
    asked_at: str
    """When the ledger was read: RFC 3339, UTC."""
    units: tuple[Units, ...]
    sources: tuple[Violations, ...]
    """Those that have violations, the one with most of them first."""
    officers: Officers
    dead_letters: tuple[DeadLetters, ...]
    """The most frequent first."""
    fines: Fines | None = None
    """None where the city's rates were not given."""
    details: tuple[Details, ...] = ()
    """Of the same sources, in the same order."""

    @property
    def total(self) -> int:
        """All violations."""
        return sum(source.total for source in self.sources)

    @property
    def needing_officer(self) -> dict[str, Share]:
        """By source, the violations that came without a code."""
        return {v.source: Share(v.unqualified, v.total) for v in self.sources}

    @property
    def officers_by_code(self) -> dict[int, Share]:
        """Of the drones' violations of a code, those whose code an officer gave; the most frequent first."""
        given = sorted(self.officers.codes.items(), key=lambda item: (-item[1], item[0]))
        drones = next((v.codes for v in self.sources if v.source == Source.DRONES), {})
        return {code: Share(n, drones[code]) for code, n in given if code != UNQUALIFIED}

    @property
    def officers_by_day(self) -> dict[str, Share]:
        """Of the drones' violations of a day, those that came without a code; the last day first."""
        drones = [v for v in self.sources if v.source == Source.DRONES]
        return {d: Share(v.unqualified_days.get(d, 0), n) for v in drones for d, n in sorted(v.days.items())[::-1]}
