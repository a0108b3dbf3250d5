"""Charts as SVG; the stylesheet sets their colours, light and dark."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup

from schemas.history import TIME_ZONE

_WIDTH, _HEIGHT = 1000, 250
_LEFT, _BOTTOM, _TOP = 72, 34, 16
_COLUMN = '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{} {} {}</title></rect>'
_ZONE = ZoneInfo(TIME_ZONE)


def minutes_chart(minutes: Sequence[tuple[int, int, int]], whole: int | None) -> Markup:
    """Columns: minute since the epoch, qualified and unqualified violations. Those after ``whole`` are paler."""
    top = nice_ceiling(max((qualified + unqualified for _, qualified, unqualified in minutes), default=0))
    height = _HEIGHT - _BOTTOM - _TOP
    step = (_WIDTH - _LEFT) / max(len(minutes), 1)
    lines = [(round(top * part), round(_TOP + height * (1 - part), 1)) for part in (0, 0.5, 1)]
    grid = Markup("").join(
        Markup('<line x1="{}" x2="{}" y1="{y}" y2="{y}"/><text x="{}" y="{}" text-anchor="end">{}</text>').format(
            _LEFT, _WIDTH, _LEFT - 8, y + 4, f"{n:,}", y=y
        )
        for n, y in lines
    )
    columns, labels = [], []
    for place, (minute, qualified, unqualified) in enumerate(minutes):
        moment = datetime.fromtimestamp(minute * 60, _ZONE)
        x, base = _LEFT + place * step, float(_TOP + height)
        for kind, n in (("qualified", qualified), ("unqualified", unqualified)):
            if not n:
                continue
            size = max(n / top * height, 1.5)  # what is there is seen, were it one of ten thousand
            base -= size
            where = (round(x + step * 0.12, 1), round(base, 1), round(step * 0.76, 1), round(size, 1))
            is_whole = whole is not None and minute <= whole
            kinds = (kind, kind) if is_whole else (f"{kind} partial", f"{kind}, the minute is not complete")
            columns.append(Markup(_COLUMN).format(kinds[0], *where, f"{moment:%H:%M}", f"{n:,}", kinds[1]))
        if moment.minute % 10 == 0:
            labels.append(
                Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
                    round(x + step / 2, 1), _HEIGHT - 6, f"{moment:%H:%M}"
                )
            )
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="Violations a minute, the last {} minutes">'
        "<g class=grid>{}</g>{}<g class=grid>{}</g></svg>"
    ).format(_WIDTH, _HEIGHT, len(minutes), grid, Markup("").join(columns), Markup("").join(labels))


def share_bar(share: float) -> Markup:
    """A bar that fills a share (0 to 1) of its width."""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class=track width="100" height="6"/><rect class=fill width="{}" height="6"/></svg>'
    ).format(round(100 * share, 1))


def battery_curve(points: Sequence[tuple[float, float]], seconds: float) -> Markup:
    """A line: times and percents of a battery in so many seconds before the last one."""
    end = points[-1][0] if points else 0.0
    path = " ".join(f"{100 * (1 - (end - at) / seconds):.1f},{20 - pct / 5:.1f}" for at, pct in points)
    label = f"Battery from {points[0][1]:.0f} % to {points[-1][1]:.0f} %" if points else "No battery known"
    return Markup(
        '<svg class="curve" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<line x1="0" x2="100" y1="20" y2="20"/><polyline points="{}"/></svg>'
    ).format(label, path)


def nice_ceiling(most: int) -> int:
    """The top of the axis: the next of 2, 4, 10, 20, 40, 100 ..., whose half is a whole number too.

    >>> nice_ceiling(0), nice_ceiling(13), nice_ceiling(40), nice_ceiling(5321)
    (2, 20, 40, 10000)
    """
    power = 1
    while True:
        for factor in (2, 4, 10):
            if factor * power >= most:
                return factor * power
        power *= 10
