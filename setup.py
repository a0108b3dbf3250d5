"""The project's only metadata: packages, dependencies, extras.

What each dependency is for:
  apache-beam[aws]      the graph and its runners
  pyarrow               columns, CSV, Parquet, files on S3
  confluent-kafka       the Kafka source, simulator and loader: librdkafka, a million messages a second and core
  google-cloud-pubsub   the Pub/Sub source, simulator and loader
  boto3                 conditional puts on S3 (also an extra of Beam's), the loader's uploads
  deltalake             each dataset as a Delta table: log, commit, vacuum; 130 MB, most of it one compiled library
  duckdb                SQL over the lake
  msgspec               typed JSON
  requests, urllib3     the webhook of alerts, and its retries
  cryptography          Ed25519: signatures of officers' answers
  xxhash                names of units, at the speed of memory
  altair, vl-convert    the report's charts and the fleet's pictures, drawn without a browser
  starlette, uvicorn, Jinja2   the console: routes, the server, pages; Jinja2 for the report, too
  argon2-cffi           the console's passwords
  polars                the simulator's CSV writer
  scipy                 the robust regression of `prestacop fleet` (theilslopes, with its interval); 140 MB
  psutil                what this machine has, for the doctor
  prometheus-client     the exporter's page of metrics
  google-cloud-storage (gcp)           lakes and inputs at gs://
  google-cloud-dataflow-client (gcp)   what the DataflowRunner imports; the bounds are those of Beam, whose own extra
                        gcp has 55 packages that nothing here imports
  marimo (dev)          the notebook of docs/notebook: a plain Python file, which tests run
"""

from setuptools import find_packages, setup

setup(
    name="prestacop",
    version="0.1.0",
    description="Drones that watch parked cars, one Apache Beam graph, a Parquet lake",
    python_requires=">=3.11,<3.15",
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
    ],
    packages=find_packages(
        include=[
            f"{p}*"
            for p in (
                "apps", "lake", "messaging", "metrics", "pipelines", "prestacop", "runners", "schemas", "sources",
                "terminal", "transforms",
            )
        ]
    ),
    entry_points={"console_scripts": ["prestacop = prestacop.main:run"]},
    package_data={
        "apps.console": ["schema.sql", "static/*", "templates/*"],
        "apps.simulator": ["fleet/*.svg"],
        "pipelines.analysis": ["static/*", "templates/*"],
    },
    install_requires=[
        "apache-beam[aws]",
        "pyarrow",
        "confluent-kafka",
        "google-cloud-pubsub",
        "boto3",
        "deltalake",
        "duckdb",
        "msgspec",
        "cryptography",
        "requests",
        "urllib3",
        "xxhash",
        "altair",
        "vl-convert-python",
        "starlette",
        "uvicorn",
        "Jinja2",
        "argon2-cffi",
        "polars",
        "psutil",
        "scipy",
        "prometheus-client",
    ],
    extras_require={
        "gcp": ["google-cloud-storage", "google-cloud-dataflow-client>=0.13,<0.14"],
        "dev": [
            "pytest", "pytest-xdist", "pytest-timeout", "coverage", "hypothesis", "moto[server]",
            "httpx2", "playwright", "ruff", "mypy", "import-linter", "types-requests",
            "boto3-stubs", "kubernetes-validate", "jsonschema", "pyyaml", "types-jsonschema", "types-pyyaml",
            "aiosmtpd", "marimo", "google-cloud-storage", "google-cloud-dataflow-client>=0.13,<0.14",
        ],
    },
)  # fmt: skip
