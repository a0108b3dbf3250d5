"""The lake against what was published."""

from pathlib import Path
from typing import NamedTuple

from lake import lake

_IDS = " UNION ALL ".join(
    f"SELECT message_id, '{d}' AS branch FROM {d}" for d in ("positions", "qualified", "unqualified")
)


class Comparison(NamedTuple):
    """What a lake has of a recording; all but the first three and the last two must be 0."""

    published: int
    """Messages with an identity, copies not counted."""
    copies: int
    unreadable: int
    lost: int
    """Identities that readers do not see."""
    doubled: int
    """That they see more than once."""
    foreign: int
    """That nobody published."""
    astray: int
    """In another branch than the truth says."""
    dead: int
    """Dead letters that readers see."""
    rows_in: int
    """Rows of all units in the ledger."""

    @property
    def exact(self) -> bool:
        """Each message is there once, in its branch."""
        return not (self.lost or self.doubled or self.foreign or self.astray) and self.dead == self.unreadable

    @property
    def read_once(self) -> bool:
        """Each published message is in one unit: what must hold where a source has offsets."""
        return self.rows_in == self.published + self.copies + self.unreadable


def compare(root: str, recording: Path, lines: int | None = None) -> Comparison:
    """Compare a lake with the truth beside a recording, by message_id.

    Args:
        lines: so many of the recording were published; all if not given.
    """
    lk = lake(root)
    with lk.connect() as connection:
        connection.execute(f"""
            CREATE TEMP TABLE truth AS FROM '{recording}.truth.parquet' WHERE line < {lines or "'inf'::DOUBLE"};
            CREATE TEMP TABLE told AS
                SELECT DISTINCT message_id, branch FROM truth WHERE branch NOT IN ('duplicates', 'dead_letters');
            CREATE TEMP TABLE seen AS
                SELECT message_id, count(*) AS n, any_value(branch) AS branch FROM ({_IDS}) GROUP BY message_id;
        """)
        found = connection.sql("""
            SELECT (SELECT count(*) FROM told),
                   (SELECT count(*) FROM truth WHERE branch = 'duplicates'),
                   (SELECT count(*) FROM truth WHERE branch = 'dead_letters'),
                   (SELECT count(*) FROM told ANTI JOIN seen USING (message_id)),
                   (SELECT count(*) FROM seen WHERE n > 1),
                   (SELECT count(*) FROM seen ANTI JOIN told USING (message_id)),
                   (SELECT count(*) FROM seen JOIN told USING (message_id) WHERE seen.branch <> told.branch),
                   (SELECT count(*) FROM dead_letters),
                   (SELECT coalesce(sum(rows_in), 0)::BIGINT FROM ledger)
        """).fetchall()
    return Comparison(*found[0])
