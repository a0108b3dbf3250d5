"""What a run would read and write, without doing either."""

from collections.abc import Iterator

from lake.layout import data_path, ledger_path, partitions
from pipelines.violations.inputs import Asked, Files, planned, stream
from schemas.lake import Dataset, Source


def dry_run(asked: Asked, root: str) -> Iterator[str]:
    """Lines for people. Raises InputUnusable, ServiceUnavailable."""
    topics = [
        (source, url)
        for source, url in zip(Source, (asked.history, asked.messages, asked.images), strict=True)
        if url is not None and not isinstance(url, str)
    ]
    asked_for = (asked.history, asked.messages, asked.images)
    history, messages, images = (url if isinstance(url, str) else None for url in asked_for)
    files = [part for part in planned(Asked(history, messages, images), root) if isinstance(part, Files)]
    cells = [cell for part in files for cell in part.pieces]
    if cells:
        yield f"{len(cells)} units of work would be read:"
        for cell in cells:
            kind = "packed, cut into cells when unpacked" if cell.compressed else f"cell {cell.number}"
            yield f"  {cell.source:8} {(cell.end - cell.start) / 1e6:9.1f} MB  {cell.path} ({kind})"
        yield f"{sum(c.end - c.start for c in cells) / 1e6:.1f} MB in all; units that the ledger has are passed over."
    for source, url in topics:
        yield f"  {source:8} {stream(url, source, asked.accept_loss).waiting(root)}"
    yield f"Each would write, below {root}:"
    for source in sorted({cell.source for cell in cells} | {source for source, _ in topics}):
        for dataset in _datasets(source):
            month = "YYYY-MM" if "month" in partitions(dataset) else None
            yield "  " + data_path(dataset, source, "UNIT", month)
        yield "  " + ledger_path(source, "UNIT")


def _datasets(source: Source) -> list[Dataset]:
    """The datasets in which a source's rows can land."""
    if source == Source.IMAGES:
        return [Dataset.IMAGES, Dataset.DEAD_LETTERS]
    return [d for d in Dataset if d != Dataset.IMAGES and (d, source) != (Dataset.POSITIONS, Source.HISTORY)]
