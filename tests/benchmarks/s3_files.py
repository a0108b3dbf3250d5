"""Beam's S3 file system against the lake's storage: ``python -m tests.benchmarks.s3_files [--files 100]``.

Writes files as a unit does (1 MB each) to an S3 server in this process and reads them back, alternating, and prints
seconds for each. The server is the same for both; what differs is the client.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import boto3
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from moto.server import ThreadedMotoServer

from lake.storage import storage

ROUNDS = 3
DATA = os.urandom(1 << 20)


def beam_write(path: str) -> None:
    """One file through Beam."""
    with FileSystems.create(path, compression_type="uncompressed") as file:
        file.write(DATA)


def beam_read(path: str) -> None:
    """One file through Beam."""
    with FileSystems.open(path, compression_type="uncompressed") as file:
        assert len(file.read()) == len(DATA)


def lake_write(path: str) -> None:
    """One file through lake.storage."""
    storage("s3://bench/lake").put(path.removeprefix("s3://bench/lake/"), DATA)


def lake_read(path: str) -> None:
    """One file through lake.storage."""
    assert len(storage("s3://bench/lake").read(path.removeprefix("s3://bench/lake/"))) == len(DATA)


def seconds(work: Callable[[str], None], prefix: str, files: int) -> float:
    """How long the work takes for so many files."""
    started = time.perf_counter()
    for number in range(files):
        work(f"{prefix}/{number:04d}.parquet")
    return time.perf_counter() - started


def main() -> None:
    """The bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100, help="files a round (100)")
    files = parser.parse_args().files
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }  # fmt: skip
    boto3.client("s3").create_bucket(Bucket="bench")
    FileSystems.set_options(PipelineOptions([f"--s3_endpoint_url=http://{host}:{port}"]))
    works = {"Beam write": beam_write, "lake write": lake_write, "Beam read": beam_read, "lake read": lake_read}
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(ROUNDS):
        for name, work in works.items():
            who = name.partition(" ")[0]
            taken[name].append(seconds(work, f"s3://bench/lake/{who}{number}", files))
    server.stop()
    for name, times in taken.items():
        print(
            f"{name:12} {statistics.median(times) / files * 1e3:7.1f} ms a file ({min(times):.2f} - {max(times):.2f} s)"
        )


if __name__ == "__main__":
    main()
