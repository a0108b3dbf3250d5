"""The report's charts: Altair specifications, drawn to SVG without a browser or a network.

Colours are the names of the page's CSS variables, so that one drawing is right in the light and in the dark. Each
chart is drawn twice, for a wide screen and for a phone, as text in a drawing shrinks with it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import altair as alt
import vl_convert as vlc
from markupsafe import Markup, escape

INK, MUTED, LINE, BAND, ACCENT = "var(--ink)", "var(--muted)", "var(--line)", "var(--band)", "var(--accent)"
HEADROOM: Final = 1.22
"""Room above the highest column for the texts of the bands."""
BAR_GAP: Final = 0.12
NOTE_WIDTH: Final = 125
"""The width of a count and a share at the end of a line."""
_FONT: Final = ' font-family="sans-serif"'

Spec = Any
"""An Altair chart, of whichever layers."""


class Size(NamedTuple):
    """A width in pixels, and its class in the page's style sheet."""

    name: str
    width: int
    font: int


SIZES: Final = (Size("wide", 700, 13), Size("narrow", 346, 12))


class Band(NamedTuple):
    """A range of the x axis with a name, a note, and its mean height."""

    start: int
    end: int
    name: str
    note: str
    mean: float | None = None


class Ranked(NamedTuple):
    """A bar, its name, and the note at its end."""

    label: str
    value: float
    note: str


def columns(
    label: str,
    stacks: Mapping[str, Sequence[int]],
    *,
    x_title: str,
    y_title: str,
    ticks: Mapping[float, str],
    few_ticks: Mapping[float, str] | None = None,
    bands: Sequence[Band] = (),
) -> Markup:
    """Columns of counts side by side, stacked by source; SVG for both sizes.

    Args:
        label: a description for screen readers.
        stacks: by source the height of each column; column i spans i to i + 1.
        ticks: the labels of the x axis, by position.
        few_ticks: the same for a phone, where it differs.
        bands: drawn behind the columns, every other one in a tone of its own.
    """
    n = max(map(len, stacks.values()))
    rows = [
        {"from": place, "to": place + 1, "source": source, "n": value, "order": order}
        for order, (source, values) in enumerate(stacks.items())
        for place, value in enumerate(values)
    ]
    top = max(sum(values) for values in zip(*stacks.values(), strict=True)) * (HEADROOM if bands else 1.02) or 1

    def chart(size: Size) -> Spec:
        shown = ticks if size.name == "wide" or few_ticks is None else few_ticks
        names = "{" + ", ".join(f"'{at:g}': '{name}'" for at, name in shown.items()) + "}"
        axis = alt.Axis(
            values=list(shown),
            labelExpr=f"({names})[toString(datum.value)]",
            labelOverlap=False,
            labelFlush=False,
            grid=False,
        )
        x = alt.X("from:Q", bin="binned", scale=alt.Scale(domain=[0, n], nice=False), axis=axis, title=x_title)
        y = alt.Y(
            "n:Q", stack="zero", scale=alt.Scale(domain=[0, top], nice=False), title=y_title, axis=_counts(grid=True)
        )
        bars = (
            alt.Chart(_data(rows))
            .mark_bar(binSpacing=size.width / n * BAR_GAP)
            .encode(x=x, x2="to:Q", y=y, color=_sources(list(stacks)), order="order:Q")
        )
        return alt.layer(*_behind(bands, axis), bars, *_before(bands, axis, size)).properties(height=260)

    return _both(chart, label)


def ranking(label: str, bars: Sequence[Ranked], *, x_title: str, color: str = ACCENT) -> Markup:
    """Bars below each other, each with its name above it, the highest first; SVG for both sizes."""
    rows = [{"place": place, **bar._asdict()} for place, bar in enumerate(bars)]
    top = max(bar.value for bar in bars) or 1

    def chart(size: Size) -> Spec:
        base = alt.Chart(_data(rows)).encode(y=alt.Y("place:O", axis=None))
        scale = alt.Scale(domain=[0, top], nice=False)
        drawn = base.mark_bar(height=9, yOffset=10, cornerRadiusEnd=2, color=color).encode(
            x=alt.X("value:Q", scale=scale, title=x_title, axis=_counts(grid=False))
        )
        text = base.encode(text="label:N", x=alt.value(0)).mark_text(
            align="left", dy=-8, color=INK, limit=size.width - NOTE_WIDTH
        )
        note = base.encode(text="note:N", x=alt.value("width")).mark_text(align="right", dy=-8, color=MUTED)
        return alt.layer(drawn, text, note).properties(height=42 * len(bars))

    return _both(chart, label)


def week(label: str, by_hour: Sequence[int], weekdays: Sequence[str], *, legend: str) -> Markup:
    """The hours of a week as squares, the darker the more; SVG for both sizes."""
    rows = [
        {"day": weekdays[hour // 24][:3], "hour": hour % 24, "to": hour % 24 + 1, "n": n}
        for hour, n in enumerate(by_hour)
    ]

    def chart(size: Size) -> Spec:
        few = size.name == "narrow"
        axis = alt.Axis(values=list(range(0, 25, 6 if few else 2)), grid=False)
        hours = alt.Scale(domain=[0, 24], nice=False)
        shown = alt.Legend(
            orient="top", direction="horizontal", symbolType="square", symbolFillColor=ACCENT, symbolStrokeWidth=0,
            symbolSize=180, format="~s" if few else ",~f", tickCount=4, titleLimit=0,
            labelExpr="datum.value ? datum.label : '0'",
        )  # fmt: skip
        squares = alt.Chart(_data(rows)).mark_rect(color=ACCENT, stroke="var(--page)", strokeWidth=1)
        return squares.encode(
            x=alt.X("hour:Q", scale=hours, axis=axis, title="hour of the day (New York)"),
            x2="to:Q",
            y=alt.Y("day:O", sort=[day[:3] for day in weekdays], axis=alt.Axis(grid=False), title=None),
            opacity=alt.Opacity("n:Q", scale=alt.Scale(range=[0.06, 1], zero=True), legend=shown, title=legend),
        ).properties(height=7 * 26)

    return _both(chart, label)


def _behind(bands: Sequence[Band], axis: alt.Axis) -> list[Spec]:
    shaded = [band._asdict() for band in bands[::2]]
    # Layers share the axis: each must define it alike, else the defaults of the others win.
    x = alt.X("start:Q", axis=axis)
    return [alt.Chart(_data(shaded)).mark_rect(color=BAND).encode(x=x, x2="end:Q")] if shaded else []


def _before(bands: Sequence[Band], axis: alt.Axis, size: Size) -> list[Spec]:
    rows = [{**band._asdict(), "middle": (band.start + band.end) / 2} for band in bands]
    if not rows:
        return []
    at = alt.Chart(_data(rows)).encode(x=alt.X("middle:Q", axis=axis))
    words = [
        at.encode(text="name:N", y=alt.value(12)).mark_text(color=MUTED),
        at.encode(text="note:N", y=alt.value(16 + size.font)).mark_text(color=INK, fontWeight="bold"),
    ]
    means = [row for row in rows if row["mean"] is not None]
    if not means:
        return words
    rule = alt.Chart(_data(means)).mark_rule(color=INK, strokeDash=[4, 3], strokeWidth=1.5)
    return [*words, rule.encode(x=alt.X("start:Q", axis=axis), x2="end:Q", y="mean:Q")]


def _counts(grid: bool) -> alt.Axis:
    return alt.Axis(format=",~f", tickCount=5, grid=grid)


def _sources(sources: list[str]) -> alt.Color:
    legend = alt.Legend(orient="top", title=None, symbolType="square") if len(sources) > 1 else None
    scale = alt.Scale(domain=sources, range=[f"var(--{source})" for source in sources])
    return alt.Color("source:N", scale=scale, legend=legend)


def _data(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))


def _both(chart: Any, label: str) -> Markup:
    return Markup().join(_svg(chart(size), size, label) for size in SIZES)


def _svg(chart: Spec, size: Size, label: str) -> Markup:
    spec = chart.properties(width=size.width, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    drawn = vlc.vegalite_to_svg({**spec.to_dict(), "config": _theme(size)})
    # A page needs no name spaces; size and font come from its style sheet.
    start, _, rest = drawn.partition(">")
    view = re.search(r'viewBox="[^"]*"', start)
    assert view is not None, "vl-convert writes a viewBox"
    start = f'<svg class="{size.name}" role="img" aria-label="{escape(label)}" {view[0]}>'
    return Markup(start + rest.replace(_FONT, ""))


def _theme(size: Size) -> dict[str, Any]:
    return {
        "aria": False,
        "background": None,
        "padding": {"left": 0, "right": 8, "top": 4, "bottom": 4},
        "view": {"stroke": None},
        "axis": {
            "domain": False, "ticks": False, "gridColor": LINE, "labelColor": MUTED, "titleColor": MUTED,
            "labelFontSize": size.font, "titleFontSize": size.font, "titleFontWeight": "normal",
            "labelPadding": 6, "titlePadding": 10,
        },
        "legend": {
            "labelColor": INK, "titleColor": MUTED, "labelFontSize": size.font, "titleFontSize": size.font,
            "titleFontWeight": "normal", "symbolStrokeWidth": 0,
        },
        "text": {"fontSize": size.font, "color": INK},
    }  # fmt: skip
