"""Versions of Flink and Spark are in one place, and the page says what Beam has."""

import re

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions

from runners import versions
from runners.flink.cluster import FLINK
from runners.flink.cluster import JOB_SERVER as FLINK_SERVER
from runners.spark.cluster import JOB_SERVER as SPARK_SERVER
from runners.spark.cluster import SPARK
from tests.deploy.support import DEPLOY

ROOT = DEPLOY.parent
PAGE = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")


def test_the_page_names_the_versions_that_are_installed_here() -> None:
    rows = dict(re.findall(r"^\| ([^|]+) \| ([\d.]+)\b", PAGE, re.MULTILINE))
    assert rows == {"Flink": versions.FLINK, "Spark": versions.SPARK, "Beam's Java libraries": versions.BEAM_JAVA}


def test_the_page_names_the_versions_of_flink_that_beam_has() -> None:
    named = re.findall(r"job servers for ([\d., ]+) \(", PAGE)
    assert named == [", ".join(FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS)]


def test_what_is_installed_has_these_versions() -> None:
    assert f"apache-flink-libraries=={versions.FLINK}" in FLINK.command
    assert f"pyspark=={versions.SPARK}" in SPARK.command
    for server in (FLINK_SERVER, SPARK_SERVER):
        assert f"-Dbeam.version={versions.BEAM_JAVA}" in server.command


@pytest.mark.parametrize("pom", ["runners/flink/pom.xml", "runners/spark/pom.xml"])
def test_no_pom_has_a_version_of_its_own(pom: str) -> None:
    text = (ROOT / pom).read_text(encoding="utf-8")
    for version in {versions.FLINK, versions.SPARK, versions.BEAM_JAVA, versions.BEAM_JOB_SERVICE}:
        assert version not in text
