"""Remove from a lake what its streams needed only until their units were committed."""

from sources.loaded import notes
from sources.streams import plans, segments


def tidy(root: str) -> int:
    """Remove plans, spooled segments and their vouchers of committed units, and merge what is remembered of loaded
    files; returns how many objects were removed.

    It may be run at any time, beside streams and itself; no broker is needed. Raises LakeDamaged, NotReconciled.
    """
    return plans.tidy(root) + segments.tidy(root) + notes.tidy(root)
