"""Imports a command and Beam quickly: without Beam's clients of cloud services, and without garbage collection.

``import apache_beam`` imports the clients of BigQuery, Pub/Sub, Google Cloud Storage, Dataflow and S3 where they are
installed. The graph reads and writes through clients of its own. Imports nothing of Beam.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

OPTIONAL: Final = (
    "apache_beam.io.aws.s3filesystem",
    "apache_beam.io.gcp.bigquery",
    "apache_beam.io.gcp.gcsfilesystem",
    "google.cloud.dataflow",
)
"""Modules that Beam imports if they are there, and without which it imports no other client."""


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import quickly in the body. Afterwards the optional modules can be imported as usual."""
    absent = () if "apache_beam" in sys.modules else tuple(name for name in OPTIONAL if name not in sys.modules)
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: an import of it raises ModuleNotFoundError
    gc.disable()
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
        # Modules live as long as the process: they become the oldest generation without a look at them.
        gc.freeze()
        gc.unfreeze()  # else DuckDB prints 40 lines about objects that are left at the end
        gc.enable()


def import_dataflow() -> None:
    """Import what the DataflowRunner needs of the optional modules. Raises ImportError where it is not installed."""
    from apache_beam.io.gcp import gcsfilesystem  # noqa: F401, PLC0415
    from apache_beam.runners.dataflow import dataflow_runner  # noqa: PLC0415
    from apache_beam.runners.dataflow.internal import apiclient  # noqa: F401, PLC0415
    from google.cloud import dataflow  # noqa: PLC0415

    dataflow_runner.dataflow_api = dataflow
