"""Which records are dirty: the kinds of dirt, how frequent each is, and which may be neighbours."""

from typing import Final

import numpy as np

FORCED_FROM: Final = 5_000
"""A file of this many records has every kind of dirt at least once, at fixed places among its first records."""
MAX_FACTOR: Final = 100.0
QUOTE_DISTANCE: Final = 100
"""So many records after a stray quote have no quotes: a reader can see at once that no quote closes it."""

RATES: Final = {
    "time_trimmed": 4e-5,
    "time_blank_hour": 4e-5,
    "time_lost_zero": 4e-5,
    "time_zero_hour_pm": 3e-5,
    "time_24h_with_suffix": 4e-5,
    "time_no_suffix": 3e-5,
    "time_unreadable": 3e-5,
    "time_missing": 7e-5,
    "time_out_of_range": 2e-5,
    "time_contradictory": 2e-5,
    "date_unpadded": 3e-5,
    "date_two_digit_year": 2e-5,
    "date_iso": 2e-5,
    "date_iso_midnight": 2e-5,
    "date_far": 5e-4,
    "date_out_of_range": 2e-5,
    "date_missing": 2e-5,
    "date_unreadable": 2e-5,
    "dst_gap": 1e-5,
    "dst_twice": 1e-5,
    "county_alias": 2e-4,
    "county_unknown": 5e-5,
    "plate_blank": 5e-4,
    "plate_odd": 5e-5,
    "plate_missing": 7e-5,
    "number_unreadable": 5e-5,
    "code_zero": 3e-4,
    "code_missing": 2e-5,
    "code_unreadable": 2e-5,
    "code_out_of_range": 2e-5,
    "summons_missing": 1e-5,
    "summons_unreadable": 1e-5,
    "summons_twice": 2e-5,
    "quoted_comma": 1e-4,
    "quoted_newline": 1e-5,
    "quoted_quote": 2e-5,
    "stray_quote_inside": 1e-5,
    "stray_quote_open": 1e-5,
    "row_cut_short": 1e-5,
    "row_too_long": 1e-5,
    "encoding_latin1": 2e-5,
}
"""The kinds of dirt, and the share of records that have each at a factor of 1."""

STRUCTURAL: Final = frozenset(
    {
        "quoted_comma",
        "quoted_newline",
        "quoted_quote",
        "stray_quote_inside",
        "stray_quote_open",
        "row_cut_short",
        "row_too_long",
    }
)
"""Kinds that change how a row is cut into fields; no two such rows are neighbours."""
_QUOTED: Final = frozenset({"quoted_comma", "quoted_newline", "quoted_quote"})
_STRAY: Final = frozenset({"stray_quote_inside", "stray_quote_open"})

_FORCED_FIRST: Final = 150
_FORCED_STEP: Final = QUOTE_DISTANCE + 10


def dirty_records(rng: np.random.Generator, *, first: int, count: int, factor: float, total: int) -> dict[int, str]:
    """The dirt of records ``first`` to ``first + count - 1`` of ``total``: its kind by the record's place in the chunk.

    At most one kind a record. The first record of a chunk stays clean, and kinds that a quote could confuse are kept
    apart, so that each chunk is made by itself.
    """
    forced = _forced() if factor > 0 and total >= FORCED_FROM else {}
    kinds = list(RATES)
    rates = np.array(list(RATES.values())) * factor
    places = np.flatnonzero(rng.random(count) < rates.sum())
    drawn = rng.choice(len(kinds), size=len(places), p=rates / rates.sum()) if factor > 0 else places[:0]
    faults = [(at, kinds[kind]) for at, kind in zip(places.tolist(), drawn.tolist(), strict=True)]
    if forced:
        faults = [(at, kind) for at, kind in faults if first + at >= FORCED_FROM]
        faults += [(at - first, kind) for at, kind in forced.items() if 0 <= at - first < count]
    return _keep_apart(sorted(faults))


def _forced() -> dict[int, str]:
    return {_FORCED_FIRST + _FORCED_STEP * number: kind for number, kind in enumerate(RATES)}


def _keep_apart(faults: list[tuple[int, str]]) -> dict[int, str]:
    kept: dict[int, str] = {}
    # The end of the chunk before is not known here: it may be a stray quote.
    last_stray = 0
    for at, kind in faults:
        before = kept.get(at - 1)
        if at == 0 or (kind in STRUCTURAL and before in STRUCTURAL):
            continue
        if kind in _QUOTED and at - last_stray <= QUOTE_DISTANCE:
            continue
        # The duplicated number is that of the record before, which must be readable.
        if kind == "summons_twice" and before is not None:
            continue
        if kind in _STRAY:
            last_stray = at
        kept[at] = kind
    return kept
