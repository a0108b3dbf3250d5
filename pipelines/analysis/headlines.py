"""The answers as sentences: the headings of the report and of the text."""

from pipelines.analysis.results import HOURS, MONTHS, WEEKDAYS, Answers, Details, Group, Share, UnusualMonth, Violations
from schemas.lake import Source
from schemas.messages import UNQUALIFIED
from schemas.places import area_of, place_name

NBSP = "\u00a0"

WHEN = {"morning": "in the morning", "afternoon": "in the afternoon", "other": "in the evening or at night"}
PART_HOURS = {"morning": "6:00–12:59", "afternoon": "13:00–19:59", "other": "20:00–5:59"}
QUARTER_MONTHS = {"Q1": "January–March", "Q2": "April–June", "Q3": "July–September", "Q4": "October–December"}
COUNTIES = {"NY": "Manhattan", "K": "Brooklyn", "Q": "Queens", "BX": "Bronx", "R": "Staten Island"}

PRECINCTS = ((35, "Manhattan"), (53, "Bronx"), (95, "Brooklyn"), (117, "Queens"), (124, "Staten Island"))
"""Ends of the numbers of precincts, and their borough."""
AGENCIES = {
    "A": "Port Authority", "F": "Fire Department", "H": "Housing Authority", "K": "Parks Department",
    "M": "Transit Authority", "O": "State court officers", "P": "Police Department", "S": "Department of Sanitation",
    "T": "Traffic", "V": "Department of Transportation", "X": "other",
}  # fmt: skip
"""The city's codes of issuing agencies."""

OWNERS: dict[str, str] = {Source.DRONES: "drones'", Source.HISTORY: "history's"}

A_DAY, A_WEEK, A_YEAR = 2, 7, 360
"""The days that a source must span for an answer by hour of the day, weekday and quarter."""

MINUTE, HOUR, DAY = 60, 3600, 86_400


def percent(share: Share) -> str:
    """``46.2 %``; small shares keep two digits that say something: ``0.031 %``."""
    value = share.percent
    if value == 0 or value >= 1:
        return f"{value:.1f}{NBSP}%"
    return f"{value:.2g}{NBSP}%" if value >= 1e-4 else f"<0.0001{NBSP}%"


def round_percent(share: Share) -> str:
    """``46 %``, for a sentence."""
    return f"{share.percent:.0f}{NBSP}%" if share.percent >= 1 or not share.n else percent(share)


def duration(seconds: float) -> str:
    """``45 s``, ``3 min 20 s``, ``5 h 2 min``, ``2 d 4 h``."""
    whole, sign = round(abs(seconds)), "-" if seconds < 0 else ""
    for size, name, part, part_name in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{sign}{whole // size}{NBSP}{name}" + (f" {rest}{NBSP}{part_name}" if rest else "")
    return f"{sign}{whole}{NBSP}s"


def area_name(source: str, area: str) -> str:
    """A county's name, or the neighbourhood of a drones' cell."""
    if not area:
        return "not given"
    if source != Source.DRONES:
        return COUNTIES.get(area, area)
    try:
        return place_name(area_of(area))
    except ValueError:  # no cell: shown as it is
        return area


def areas(v: Violations) -> list[tuple[str, Share]]:
    """The areas of a source by name; those that share a name have their corner, too."""
    names = [area_name(v.source, area.name) for area in v.areas]
    return [
        (name if names.count(name) == 1 else f"{name} ({area.name.replace(',', ', ')})", Share(area.n, v.total))
        for name, area in zip(names, v.areas, strict=True)
    ]


def precinct_name(number: str) -> str:
    """``precinct 17, Manhattan``; 0 is the number on tickets of cameras.

    >>> precinct_name("17"), precinct_name("0"), precinct_name("997")
    ('precinct 17, Manhattan', 'no precinct (cameras)', 'precinct 997')
    """
    if number == "0":
        return "no precinct (cameras)"
    borough = next((name for end, name in PRECINCTS if int(number) < end), "")
    return f"precinct {number}, {borough}" if borough else f"precinct {number}"


def street_name(street: Group) -> str:
    """A street and its county, as there is a street of one name in several."""
    return f"{street.name}, {COUNTIES.get(street.county, street.county) or 'county not given'}"


def agency_name(agency: str) -> str:
    """``Traffic (T)``."""
    return f"{AGENCIES[agency]} ({agency})" if agency in AGENCIES else agency or "not given"


def part_of_day(found: Violations) -> str:
    """Question 1."""
    name, share = max(found.parts_of_day.items(), key=lambda item: item[1].n)
    return f"{round_percent(share)} of violations happen {WHEN[name]}"


def working_days(found: Violations) -> str:
    """Question 2."""
    working, weekend = found.working_days.n / 5, found.weekends.n / 2
    if not weekend:
        return "All violations happen on working days"
    if not working:
        return "All violations happen on weekends"
    more, less = max(working, weekend), min(working, weekend)
    if round(more / less, 1) == 1:
        return "Working days and weekends see the same"
    days = ("A working day", "a day of the weekend") if working > weekend else ("A day of the weekend", "a working day")
    return f"{days[0]} sees {more / less:,.1f} times the violations of {days[1]}"


def busiest_hour(found: Violations) -> str:
    """Of the week."""
    by_hour = found.week
    busiest = max(range(len(by_hour)), key=by_hour.__getitem__)
    day, hour = divmod(busiest, HOURS)
    n = by_hour[busiest]
    return f"The busiest hour of the week is {WEEKDAYS[day]} {hour}:00–{hour}:59, with {n:,} violations"


def where(found: Answers) -> str:
    """The area that leads, of the source with most violations."""
    most = found.sources[0]
    name, share = areas(most)[0]
    return f"{name} leads in the {most.source}, with {round_percent(share)}"


def refused(found: Answers) -> str:
    """How many rows became dead letters."""
    letters, rows = (sum(getattr(unit, name) for unit in found.units) for name in ("dead_letters", "rows_in"))
    return f"{letters:,} of {rows:,} rows were refused" if letters else f"None of {rows:,} rows was refused"


def quarter(found: Violations) -> str:
    """Question 3."""
    name, share = max(found.quarters.items(), key=lambda item: item[1].n)
    return f"{name} is the busiest quarter, with {round_percent(share)}"


def codes(found: Violations) -> str:
    """Question 4."""
    ranked = list(found.ranked_codes.items())
    if not ranked:
        return "No violation has a code"
    sums, half = 0, 0
    for _, share in ranked:
        sums, half = sums + share.n, half + 1
        if 2 * sums >= found.total:
            break
    first = f"code {ranked[0][0]} leads with {round_percent(ranked[0][1])}"
    if 2 * sums < found.total or half == 1:
        return first.capitalize()
    return f"{half} codes make half of all violations; {first}"


def human_work(found: Answers) -> str:
    """Question 5."""
    parts = [
        f"{f'1 in {share.of / share.n:,.0f}' if share.n else 'none'} of the {OWNERS.get(source, source)}"
        for source, share in found.needing_officer.items()
    ]
    if not any(share.n for share in found.needing_officer.values()):
        return "No violation needs a police officer"
    return f"A police officer must look at {parts[0]} violations" + "".join(f" and {part}" for part in parts[1:])


def officers(found: Answers) -> str:
    """How many drones' violations without a code officers have answered, and how fast."""
    needed = found.needing_officer.get(Source.DRONES, Share(0, 0)).n
    work = found.officers
    if not needed:
        return "No drone's violation needs an officer."
    if work.p50_seconds is None or work.p95_seconds is None:
        return f"No officer has answered yet: all {needed:,} violations without a code wait."
    return (
        f"Officers answered {work.answered:,} of {needed:,} ({percent(Share(work.answered, needed))}): half within "
        f"{duration(work.p50_seconds)}, 95{NBSP}% within {duration(work.p95_seconds)}. "
        f"Still open: {needed - work.answered:,}; no violation: {work.codes.get(UNQUALIFIED, 0):,}; "
        f"second answers, kept and not counted: {work.later:,}."
    )


def conflicts(found: Answers) -> str:
    """How many rows have another message's identity; empty where none has."""
    rows = sum(v.conflicts for v in found.sources)
    return f"{rows:,} messages share a message_id with other content: all are counted." if rows else ""


def streets(of: Details) -> str:
    """Question 6."""
    parts = [f"{street_name(street)} leads the streets" for street in of.streets.top[:1]]
    real = [group for group in of.precincts if group.name != "0"]
    parts += [f"{precinct_name(group.name)} the precincts" for group in real[:1]]
    return ", ".join(parts)


def vehicles(of: Details) -> str:
    """Question 7."""
    share = of.vehicles.of_top(1)
    return f"The 1{NBSP}% of vehicles with most violations have {round_percent(share)} of them"


def again(of: Details) -> str:
    """How many vehicles come again, and after how long."""
    found = of.vehicles
    if found.p50_gap_days is None:
        return f"None of {found.vehicles:,} vehicles comes again."
    return (
        f"{found.repeaters.n:,} of {found.vehicles:,} vehicles ({percent(found.repeaters)}) come again, half of the "
        f"times within {duration(found.p50_gap_days * DAY)}. {found.without_plate:,} violations have no plate."
    )


def registered(of: Details) -> str:
    """Question 8."""
    parts = [
        f"{round_percent(Share(groups.top[0].n, groups.given))} {text.format(name(groups.top[0].name))}"
        for groups, text, name in (
            (of.states, "are of vehicles registered in {}", str),
            (of.makes, "of make {}", str),
            (of.agencies, "written by {}", agency_name),
        )
        if groups.top
    ]
    return ", ".join(parts)


def hour_of_week(number: int) -> str:
    """``Tue 13:00``."""
    day, hour = divmod(number, HOURS)
    return f"{WEEKDAYS[day][:3]} {hour}:00"


def busiest_of_week(week: tuple[int, ...]) -> str:
    """``Tue 13:00``, of counts by hour of the week."""
    return hour_of_week(max(range(len(week)), key=week.__getitem__))


def weeks(of: Details) -> str:
    """Question 9."""
    code, week = next(iter(of.weeks.items()))
    return f"Code {code} is written most on {busiest_of_week(week)}"


def unusual(of: Details) -> str:
    """Question 10."""
    found = of.unusual
    if not found.compared:
        return "No month has a past of six months to be compared with"
    if not found.found:
        return f"None of {found.compared:,} months of the city and its precincts is unusual"
    return f"{found.found:,} of {found.compared:,} months of the city and its precincts are unusual"


def unusual_month(month: UnusualMonth) -> str:
    """``precinct 17, Manhattan, Mar 2015``."""
    return f"{precinct_name(month.precinct) if month.precinct else 'the city'}, {month_name(month.month)}"


def fines(found: Answers) -> str:
    """What the violations cost."""
    if found.fines is None:
        return "The city's table of rates was not given"
    first = next(((code, fine) for code, fine in found.fines.codes.items() if fine.dollars), None)
    if first is None:
        return "No violation has a fine"
    share = Share(first[1].dollars or 0, found.fines.dollars)
    return f"${found.fines.dollars:,} of fines; code {first[0]} brings {round_percent(share)} of them"


def covered(found: Violations) -> str:
    """From which day to which the violations of a source are: ``1 Jul 2014 to 30 Jun 2015``."""
    span = found.span
    if not span.days:
        return "no day"
    days = day_name(span.first) if span.days == 1 else f"{day_name(span.first)} to {day_name(span.last)}"
    return f"{days} ({span.outside:,} are dated outside)" if span.outside else days


def too_short(found: Violations, days: int) -> str:
    """Why a question is not answered of a source that is shorter than so many days; empty where it is."""
    span = found.span
    if span.days >= days:
        return ""
    last = f"The violations of the {found.source} span {span.days:,} day{'s' * (span.days != 1)}"
    return f"{last} ({covered(found)}): the question needs {days:,}."


def day_name(day: str) -> str:
    """``5 Mar 2015``."""
    return f"{int(day[-2:])}{NBSP}{month_name(day[:-3])}"


def month_name(month: str) -> str:
    """``Mar 2015``."""
    year, _, number = month.rpartition("-")
    return f"{MONTHS[int(number) - 1]}{NBSP}{year}"
