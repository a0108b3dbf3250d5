"""The report's charts: Altair specifications, drawn to SVG without a browser or a network.

Colours are the names of the page's CSS variables, so that one drawing is right in the light and in the dark. Each
chart is drawn twice, for a wide screen and for a phone, as text in a drawing shrinks with it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import altair as alt
import vl_convert as vlc
from altair.utils.schemapi import debug_mode
from markupsafe import Markup, escape

INK, MUTED, LINE, BAND, ACCENT = "var(--ink)", "var(--muted)", "var(--line)", "var(--band)", "var(--accent)"
HEADROOM: Final = 1.22
"""Room above the highest column for the texts of the bands."""
TONES: Final = 16
"""Shades of squares that touch: neighbours of one shade are drawn at once, as the page is large otherwise."""
BAR_GAP: Final = 0.12
WIDEST_LETTER: Final = 0.62
"""The mean width of letters of a wide font, by font size."""
NOTE_WIDTH: Final = 125
"""The width of a count and a share at the end of a line."""
ROW_NAMES: Final = {"wide": 220, "narrow": 170}
"""The width of the longest names of rows, in pixels."""
_NOISE: Final = re.compile(r' font-family="sans-serif"| role="graphics-[^"]*"| aria-roledescription="[^"]*"')
"""What Vega writes on each part of a drawing: its font, and roles without a name, which a screen reader would list."""

_ATTRIBUTE: Final = re.compile('="[^"]*"')
_DECIMALS: Final = re.compile(r"(\.\d\d)\d+")

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


class Label(NamedTuple):
    """A chart's name and description for screen readers."""

    name: str
    description: str


def columns(
    label: Label,
    values: Sequence[int],
    *,
    color: str,
    x_title: str,
    y_title: str,
    ticks: Mapping[float, str],
    few_ticks: Mapping[float, str] | None = None,
    bands: Sequence[Band] = (),
) -> Markup:
    """Columns of counts side by side; SVG for both sizes.

    Args:
        values: the height of each column; column i spans i to i + 1.
        ticks: the labels of the x axis, by position.
        few_ticks: the same for a phone, where it differs.
        bands: drawn behind the columns, every other one in a tone of its own.
    """
    n = len(values)
    rows = [{"from": place, "to": place + 1, "n": value} for place, value in enumerate(values)]
    top = max(values) * (HEADROOM if bands else 1.02) or 1

    def chart(size: Size) -> Spec:
        shown = ticks if size.name == "wide" or few_ticks is None else few_ticks
        axis = _named_ticks(shown)
        x = alt.X("from:Q", bin="binned", scale=alt.Scale(domain=[0, n], nice=False), axis=axis, title=x_title)
        y = alt.Y("n:Q", scale=alt.Scale(domain=[0, top], nice=False), title=y_title, axis=_counts(grid=True))
        bars = alt.Chart(_data(rows)).mark_bar(binSpacing=size.width / n * BAR_GAP, color=color)
        bars = bars.encode(x=x, x2="to:Q", y=y)
        return alt.layer(*_behind(bands, axis), bars, *_before(bands, axis, size)).properties(height=260)

    return _both(chart, label)


def ranking(label: Label, bars: Sequence[Ranked], *, x_title: str, color: str = ACCENT) -> Markup:
    """Bars below each other, each with its name above it, the highest first; SVG for both sizes."""
    rows = [{"place": place, **bar._asdict()} for place, bar in enumerate(bars)]
    top = max(bar.value for bar in bars) or 1

    def chart(size: Size) -> Spec:
        base = alt.Chart(_data(rows)).encode(y=alt.Y("place:O", axis=None))
        scale = alt.Scale(domain=[0, top], nice=False)
        drawn = base.mark_bar(height=9, yOffset=10, cornerRadiusEnd=2, color=color).encode(
            x=alt.X("value:Q", scale=scale, title=x_title, axis=_counts(grid=False, ticks=size.width // 115))
        )
        text = base.encode(text="label:N").mark_text(x=0, align="left", dy=-8, color=INK, limit=size.width - NOTE_WIDTH)
        note = base.encode(text="note:N").mark_text(x="width", align="right", dy=-8, color=MUTED)
        return alt.layer(drawn, text, note).properties(height=42 * len(bars))

    return _both(chart, label)


def heat(
    label: Label,
    rows: Mapping[str, Sequence[float]],
    *,
    x_title: str,
    ticks: Mapping[float, str],
    few_ticks: Mapping[float, str],
    legend: str,
    gap: float = 1,
) -> Markup:
    """Rows of squares, the darker the more; SVG for both sizes.

    Args:
        rows: by name the values of its squares; square i spans i to i + 1.
        ticks: the labels of the x axis, by position.
        few_ticks: the same for a phone.
        legend: what a square counts.
        gap: between squares, in pixels; without one, neighbours of one tone are one square.
    """
    end, top = max(map(len, rows.values())), max(map(max, rows.values())) or 1
    squares = []
    for name, values in rows.items():
        tones = [round(TONES * n / top) for n in values]
        starts = [at for at in range(len(values)) if gap or not at or tones[at] != tones[at - 1]]
        squares += [
            {"row": name, "from": start, "to": stop, "n": values[start] if gap else tones[start] * top / TONES}
            for start, stop in zip(starts, [*starts[1:], len(values)], strict=True)
        ]

    def chart(size: Size) -> Spec:
        few = size.name == "narrow"
        axis = _named_ticks(few_ticks if few else ticks)
        shown = alt.Legend(
            orient="top", direction="horizontal", symbolType="square", symbolFillColor=ACCENT, symbolStrokeWidth=0,
            symbolSize=180, format="~s" if few else ",~f", tickCount=4, titleLimit=0,
            labelExpr="datum.value ? datum.label : '0'",
        )  # fmt: skip
        edges: dict[str, Any] = {"stroke": "var(--page)", "strokeWidth": gap} if gap else {}
        drawn = alt.Chart(_data(squares)).mark_rect(color=ACCENT, **edges)
        # The browser's font may be wider than the one that Vega measures with.
        widest = min(ROW_NAMES[size.name], max(map(len, rows)) * size.font * WIDEST_LETTER)
        names = alt.Axis(grid=False, labelLimit=0.85 * ROW_NAMES[size.name], minExtent=widest)
        return drawn.encode(
            x=alt.X("from:Q", scale=alt.Scale(domain=[0, end], nice=False), axis=axis, title=x_title),
            x2="to:Q",
            y=alt.Y("row:O", sort=list(rows), axis=names, title=None),
            opacity=alt.Opacity("n:Q", scale=alt.Scale(range=[0.06, 1], zero=True), legend=shown, title=legend),
        ).properties(height=len(rows) * 26)

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
        at.encode(text="name:N").mark_text(y=12, color=MUTED),
        at.encode(text="note:N").mark_text(y=16 + size.font, color=INK, fontWeight="bold"),
    ]
    means = [row for row in rows if row["mean"] is not None]
    if not means:
        return words
    rule = alt.Chart(_data(means)).mark_rule(color=INK, strokeDash=[4, 3], strokeWidth=1.5)
    return [*words, rule.encode(x=alt.X("start:Q", axis=axis), x2="end:Q", y="mean:Q")]


def _named_ticks(ticks: Mapping[float, str]) -> alt.Axis:
    names = "{" + ", ".join(f"'{at:g}': '{name}'" for at, name in ticks.items()) + "}"
    return alt.Axis(
        values=list(ticks),
        labelExpr=f"({names})[toString(datum.value)]",
        labelOverlap=False,
        labelFlush=False,
        grid=False,
    )


def _counts(grid: bool, ticks: int = 5) -> alt.Axis:
    return alt.Axis(format=",~f", tickCount=ticks, grid=grid)


def _data(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))


def _both(chart: Any, label: Label) -> Markup:
    # The check of each part against Vega-Lite's schema takes longer than the drawing.
    with debug_mode(False):
        return Markup().join(_svg(chart(size), size, label) for size in SIZES)


def _svg(chart: Spec, size: Size, label: Label) -> Markup:
    spec = chart.properties(width=size.width, autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    drawn = vlc.vegalite_to_svg({**spec.to_dict(validate=False), "config": _theme(size)})
    # A page needs no name spaces; size and font come from its style sheet.
    start, _, rest = drawn.partition(">")
    view = re.search(r'viewBox="[^"]*"', start)
    assert view is not None, "vl-convert writes a viewBox"
    start = f'<svg class="{size.name}" role="img" aria-label="{escape(label.name)}" {view[0]}>'
    return Markup(f"{start}<desc>{escape(label.description)}</desc>{_small(rest)}")


def _small(drawn: str) -> str:
    """The drawing without :data:`_NOISE`, its attributes with two decimals."""
    return _ATTRIBUTE.sub(lambda found: _DECIMALS.sub(r"\1", found[0]), _NOISE.sub("", drawn))


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
