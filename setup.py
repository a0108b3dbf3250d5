"""The project's only metadata: packages, dependencies, extras.

What each dependency is for:
  apache-beam[aws]      the graph and its runners
  pyarrow               columns, CSV, Parquet, files on S3
  confluent-kafka       the Kafka source and the simulator's sink: librdkafka, a million messages a second and core
  google-cloud-pubsub   the Pub/Sub source
  boto3                 conditional puts on S3 (also an extra of Beam's)
  duckdb                SQL over the lake
  msgspec               typed JSON
  xxhash                names of units, at the speed of memory
  altair, vl-convert    the report's charts, drawn without a browser
  tqdm                  progress
  polars                the simulator's CSV writer
  psutil                what this machine has, for the doctor
  marimo (dev)          the notebook of docs/notebook: a plain Python file, which tests run
"""

from setuptools import find_packages, setup

setup(
    name="prestacop",
    version="0.1.0",
    description="Drones that watch parked cars, one Apache Beam graph, a Parquet lake",
    python_requires=">=3.11,<3.12",
    packages=find_packages(
        include=[f"{p}*" for p in ("apps", "lake", "pipelines", "runners", "schemas", "sources", "transforms")]
    ),
    install_requires=[
        "apache-beam[aws]",
        "pyarrow",
        "confluent-kafka",
        "google-cloud-pubsub",
        "boto3",
        "duckdb",
        "msgspec",
        "xxhash",
        "altair",
        "vl-convert-python",
        "tqdm",
        "polars",
        "psutil",
    ],
    extras_require={
        "dev": [
            "pytest", "pytest-xdist", "pytest-timeout", "hypothesis", "moto[server]",
            "ruff", "mypy", "import-linter", "types-tqdm", "boto3-stubs", "marimo",
        ],
    },
)  # fmt: skip
