"""The versions of Flink, Spark and Beam's Java artifacts that are installed here (docs/clusters.md has others).

To try other ones change them here, then run the tests of ``tests/services/test_runner_limits.py``.
"""

from typing import Final

FLINK: Final = "1.19.3"
"""The cluster, from PyPI."""
FLINK_MINOR: Final = FLINK.rpartition(".")[0]
"""Beam has a runner for each of Flink's minor versions."""
SPARK: Final = "3.5.9"
"""The cluster, from PyPI."""
SPARK_MAJOR: Final = SPARK.partition(".")[0]
BEAM_JAVA: Final = "2.70.0"
"""The newest version of which all libraries can be had; it runs pipelines of newer Python SDKs."""
BEAM_JOB_SERVICE: Final = "2.65.0"
"""The newest version of the job service, which later versions of Beam have not changed."""

FLINK_POM: Final = {
    "beam.version": BEAM_JAVA,
    "beam.job-service.version": BEAM_JOB_SERVICE,
    "flink.version": FLINK,
    "flink.minor": FLINK_MINOR,
}
SPARK_POM: Final = {"beam.version": BEAM_JAVA, "beam.job-service.version": BEAM_JOB_SERVICE, "spark.major": SPARK_MAJOR}
"""The properties of the two pom.xml."""
