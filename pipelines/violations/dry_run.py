"""``--dry-run``: prints what a run would read and write."""

from collections.abc import Iterator

from lake.layout import data_path, ledger_path, partitions
from pipelines.violations.inputs import ReadOptions, inputs_of
from schemas.lake import Dataset, Source
from terminal.printing import number_of


def dry_run(options: ReadOptions, root: str) -> Iterator[str]:
    """The lines to print. Raises InputUnusable, ServiceUnavailable."""
    found = [(of.source, of.preview(root)) for of in inputs_of(options)]
    previews = [preview for _, preview in found]
    if splits := sum(preview.splits for preview in previews):
        yield f"{number_of(splits, 'unit')} of work would be read:"
        yield from (f"  {line}" for preview in previews if preview.splits for line in preview.lines)
        size = sum(preview.size for preview in previews)
        yield f"{size / 1e6:.1f} MB in all; units that the ledger has are skipped."
    yield from (f"  {line}" for preview in previews if not preview.splits for line in preview.lines)
    yield f"Each would write, below {root}:"
    for source in sorted(source for source, preview in found if preview.lines):
        for dataset in _datasets(source):
            month = "YYYY-MM" if "month" in partitions(dataset) else None
            yield "  " + data_path(dataset, source, "UNIT", month)
        yield "  " + ledger_path(source, "UNIT")


def _datasets(source: Source) -> list[Dataset]:
    """The datasets to which a source's rows can be written."""
    if source == Source.IMAGES:
        return [Dataset.IMAGES, Dataset.DEAD_LETTERS]
    others = {Dataset.IMAGES, Dataset.DRONE_EVENTS}
    return [d for d in Dataset if d not in others and (d, source) != (Dataset.POSITIONS, Source.HISTORY)]
