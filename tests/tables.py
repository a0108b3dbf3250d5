"""The lake's Delta tables in other engines: a lake, questions about it, and what :func:`lake.lake` answers."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from deltalake import DeltaTable

from lake import lake
from lake.ledger import commit
from lake.publication import publish
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.lake import Dataset
from tests.lakes import Said, write
from tests.support import LOCAL, make_history, make_messages

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"
VIEWS = Path(__file__).parents[1] / "docs" / "sql" / "views.sql"
EXAMPLE = "data/lake"
"""The lake of the page's examples."""

Answer = list[tuple[str, ...]]
"""The rows of an answer as text, sorted; null is NULL."""


class Dialect(NamedTuple):
    """What the engines write differently; each is a format string."""

    table: str
    version: str = ""
    """The table as of a version."""
    first: str = "element_at({}, 1)"
    """The first element of a list, or null."""
    value: str = "element_at({}, '{}')"
    """The value of a key of a map, or null."""
    hexadecimal: str = "hex({})"
    microseconds: str = "unix_micros({})"
    """A timestamp since the epoch."""
    time: str = "TIMESTAMP '{}'"
    """A timestamp from ISO 8601."""


DUCKDB = Dialect(
    table="delta_scan('{root}/{name}')",
    version="delta_scan('{root}/{name}', version => {version})",
    first="{}[1]",
    value="{}['{}']",
    microseconds="epoch_us({})",
    time="TIMESTAMPTZ '{}'",
)
LAKE = DUCKDB._replace(table="{name}", version="")
"""Of :func:`lake.lake`."""


class Filled(NamedTuple):
    """A lake of several publications, with rows in every dataset."""

    root: str
    version: int
    """The version of ``qualified`` after the first publication."""
    rows: int
    """The rows that ``qualified`` had then."""

    def questions(self, dialect: Dialect) -> dict[str, str]:
        """One SQL query for each question, without the version's where the dialect has none."""
        names = {str(d): dialect.table.format(root=self.root, name=d) for d in Dataset}
        micros, (last,) = dialect.microseconds.format("event_time"), _last_position(self.root)
        speed, repair = dialect.value.format("extra", "speed"), dialect.first.format("repairs")
        payload = dialect.hexadecimal.format("payload")
        # Of statistics only sums can be compared: lake() shows those of all units together.
        rows = {name: f"SELECT count(*) FROM {table}" for name, table in names.items() if name != Dataset.STATS}
        queries = {f"rows of {name}": query for name, query in rows.items()} | {
            "months": f"SELECT source, month, count(*), sum(violation_code) FROM {names['qualified']} "
            "GROUP BY source, month",
            "nulls": f"SELECT count(plate_id), count(message_id), count(county), count(published_at) "
            f"FROM {names['qualified']}",
            "statistics": f"SELECT dataset, sum(n) FROM {names['stats']} GROUP BY dataset",
            "elements of lists": f"SELECT {repair}, count(*) FROM {names['qualified']} GROUP BY {repair}",
            "values of maps": f"SELECT {speed}, count(*) FROM {names['positions']} GROUP BY {speed}",
            "times in UTC": f"SELECT min({micros}), max({micros}) FROM {names['positions']}",
            "the last microsecond": f"SELECT count(*) FROM {names['positions']} "
            f"WHERE event_time >= {dialect.time.format(last)}",
            "bytes": f"SELECT reason, min({payload}), sum(length({payload})) FROM {names['dead_letters']} "
            "GROUP BY reason",
            "pictures": f"SELECT count(DISTINCT object), sum(bytes) FROM {names['images']}",
        }
        if dialect.version:
            old = dialect.version.format(root=self.root, name="qualified", version=self.version)
            queries["an earlier version"] = f"SELECT count(*) FROM {old}"
        return queries

    def expected(self) -> dict[str, Answer]:
        """The answers of :func:`lake.lake`."""
        with lake(self.root).connect() as connection:
            found = {name: text_of(connection.sql(query).fetchall()) for name, query in self.questions(LAKE).items()}
        return found | {"an earlier version": [(str(self.rows),)]}


def fill(folder: Path, root: str | None = None) -> Filled:
    """A lake of history, messages, pictures and dead letters; the second publication has messages of the first again,
    and officers' answers.

    Some messages have fields that this version does not know, and one payload is not text.

    Args:
        root: of the lake; ``folder/lake`` if not given.
    """
    root = root or str(folder / "lake")
    history, first, again = (str(folder / name) for name in ("history.csv", "first.jsonl", "again.jsonl"))
    make_history(Path(history), 2_000)
    images = folder / "images.jsonl"
    make_messages(Path(first), 20, 30, "--seed", "1", "--unqualified-share", "0.1", "--images", f"file:{images}")
    lines = Path(first).read_bytes().splitlines(keepends=True)
    lines[::7] = [line.replace(b"{", b'{"speed":12,', 1) for line in lines[::7]]
    Path(first).write_bytes(b"".join([*lines, b'{"message_id":\xff\x00}\n']))
    make_messages(Path(again), 10, 20, "--seed", "2")
    with Path(again).open("ab") as file:
        file.writelines(lines[:200])
    run_graph(ReadOptions(history, first, str(images)), Settings(root, 3600), LOCAL)
    publish(root)
    rows, version = lake(root).sql("SELECT count(*) AS n FROM qualified")["n"][0].as_py(), _version(root)
    run_graph(ReadOptions(None, again), Settings(root, 3600), LOCAL)
    alerts = lake(root).sql("SELECT message_id FROM unqualified ORDER BY ALL LIMIT 3")["message_id"].to_pylist()
    replies = [Said(f"answer {n}", 1_768_500_000 + 77 * n, answers=alert) for n, alert in enumerate(alerts)]
    commit(root, [write(root, "answers", replies)])
    publish(root)
    return Filled(root, version, rows)


def answers(filled: Filled, dialect: Dialect, ask: Callable[[list[str]], Iterable[Iterable[Any]]]) -> dict[str, Answer]:
    """The answers of an engine to all questions.

    Args:
        ask: runs SQL queries of two columns or more, and gives the rows of all.
    """
    queries = filled.questions(dialect)
    rows = text_of(ask([f"SELECT '{name}', q.* FROM ({query}) AS q" for name, query in queries.items()]))
    return {name: [row[1:] for row in rows if row[0] == name] for name in queries}


def text_of(rows: Iterable[Iterable[Any]]) -> Answer:
    """Rows as text."""
    return sorted(tuple("NULL" if value is None else str(value) for value in row) for row in rows)


def examples(title: str, language: str) -> list[str]:
    """The examples of a section of the page."""
    section = re.search(rf"^## {re.escape(title)}$(.*?)(^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert section, title
    return re.findall(rf"^```{language}\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)


def _version(root: str) -> int:
    options = {"AWS_ALLOW_HTTP": "true"} if root.startswith("s3://") else None
    return DeltaTable(f"{root}/{Dataset.QUALIFIED}", storage_options=options).version()


def _last_position(root: str) -> list[str]:
    query = "SELECT strftime(max(event_time), '%Y-%m-%dT%H:%M:%S.%fZ') AS last FROM positions"
    last: list[str] = lake(root).sql(query)["last"].to_pylist()
    return last
