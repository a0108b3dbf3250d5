"""The summary of a run: rows in and out by branch, and the dead letters by reason."""

import shlex
from collections.abc import Iterator

import pyarrow.compute as pc

from lake import Lake, lake
from lake.changes import undone
from lake.news import Mark, committed_since, part_since
from lake.views import with_moves
from schemas.lake import ROWS_IN, ROWS_OUT, Source
from terminal.printing import number_of, printable

SAMPLE_CHARACTERS = 90

_SAMPLES = """
    SELECT reason, count(*) AS n, arg_min(payload, (unit, record)) AS payload,
           arg_min(detail, (unit, record)) AS detail, arg_min(path, (unit, record)) AS path,
           arg_min("offset", (unit, record)) AS "offset"
    FROM dead_letters WHERE unit IN (SELECT unnest($1)) GROUP BY reason ORDER BY n DESC, reason
"""


_CONFLICTS = "SELECT count(*) AS n, count(DISTINCT message_id) AS ids FROM conflicts"


def summary(root: str, before: Mark, seconds: float) -> Iterator[str]:
    """The lines of the summary of a run that found the lake as the mark says."""
    lk = lake(root)
    added = committed_since(lk, before)
    names = added["unit"].to_pylist()
    added = with_moves(added, lk.changes_since(before.number))
    rows = pc.sum(added[ROWS_IN]).as_py() or 0
    gone = undone(lk.repairs)
    now = lk.units - len(gone)
    units = number_of(added.num_rows, "unit")
    yield f"{units}, {number_of(rows, 'row')} in {seconds:.1f} s: {root} now has {number_of(now, 'unit')}"
    if passed := sum(not of.again for of in gone.values()):
        yield (
            f"undone: {number_of(passed, 'unit')} of this lake, whose input runs skip: prestacop undo "
            f"--lake {shlex.quote(root)} --list lists them, --back restores them, --again reads their input again"
        )
    if not rows:
        yield "nothing new: the ledger has every unit of the input already (or the input has no rows)"
        return
    yield ""
    sources = sorted(set(added["source"].to_pylist()))
    yield f"  {'':14}" + "".join(f"{source:>14}" for source in sources)
    for what in (ROWS_IN, *ROWS_OUT):
        counts = [pc.sum(added.filter(pc.equal(added["source"], source))[what]).as_py() for source in sources]
        label = "rows in" if what == ROWS_IN else "→ " + what.replace("_", " ")
        yield f"  {label:14}" + "".join(f"{n:>14,}" for n in counts)
    new = part_since(lk, names, before.number)
    if Source.DRONES in sources:
        yield from conflicts(new)
    yield from _refused(new, names)


def conflicts(lk: Lake) -> Iterator[str]:
    """A line where several messages of the lake claim one message_id, with different content."""
    rows, ids = lk.sql(_CONFLICTS).to_pylist()[0].values()
    if rows:
        yield f"{rows:,} messages share {ids:,} message_ids with other content: all are counted (view conflicts)"


def _refused(lk: Lake, added: list[str]) -> Iterator[str]:
    refused = lk.sql(_SAMPLES, [added]).to_pylist()
    if not refused:
        return
    yield ""
    yield "dead letters by reason, with the first of each:"
    for letter in refused:
        detail = f" ({letter['detail']})" if letter["detail"] else ""
        yield f"  {letter['n']:>7,}  {letter['reason']}{detail}  at byte {letter['offset']:,} of {letter['path']}"
        yield f"           {visible(letter['payload'])}"


def visible(payload: bytes, characters: int = SAMPLE_CHARACTERS) -> str:
    """The first characters of a payload, with control characters escaped."""
    text = payload[: 2 * characters].decode("utf-8", "backslashreplace")
    shown = printable(text).replace("\n", "\\n")
    return shown if len(shown) <= characters else shown[: characters - 1] + "…"
