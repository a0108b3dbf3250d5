"""The bench's job in PySpark: one scan that is cached, repairs by broadcast joins on distinct values, a file a month.

``python -m tests.benchmarks.pyspark_job INPUT OUTPUT MASTER_URL CORES``

How: Spark's own CSV reader parses the columns that are needed, all rows once, and keeps them in memory and on disk. The
distinct texts of the columns that need repair are asked for in one job each; the rules give small tables, which are
broadcast. No Python touches a row. Each month and branch is sorted by time within its files.

What is lost compared with the product: a record with a quoted newline is two rows here, for a reader that allows for
them (``multiLine``) cannot split a file; dead letters hold the mandatory columns and not the row;
repairs are a mask of bits.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.history import Reason, Repair
from tests.benchmarks import rules

_LOOKUPS: dict[str, tuple[Callable[[str | None], tuple[Any, ...]], str]] = {
    "violation_time_text": (rules.time_of, "minutes INT, part STRING, time_bits INT, time_reason INT"),
    "issue_date_text": (
        rules.date_of,
        "start BIGINT, before BIGINT, after BIGINT, switch INT, moved INT, month INT, date_bits INT, date_reason INT",
    ),
    "code": (rules.code_of, "violation_code INT, code_reason INT"),
    "precinct_text": (rules.number_of, "precinct INT, precinct_bits INT"),
    "year_text": (rules.number_of, "vehicle_year INT, year_bits INT"),
    "county_text": (rules.county_of, "county STRING, county_bits INT"),
}
"""For each column with rules the rule and the columns that it gives."""
_KEPT = (
    "summons", "summons_number", "event_time", "violation_code", "plate_id", "bits", "county", "precinct", "street",
    "house_number", "agency", "registration_state", "plate_type", "vehicle_body", "vehicle_make", "vehicle_color",
    "vehicle_year", "issue_date_text", "violation_time_text",
)  # fmt: skip


def main(source: str, output: str, master: str, cores: str) -> None:
    """Run the job."""
    from pyspark.sql import SparkSession  # noqa: PLC0415  # of the cluster's own installation, not of this project's
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    settings = {
        "spark.cores.max": cores,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.memory": "3g",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": cores,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "zstd",
    }
    builder = SparkSession.builder.master(master).appName("bench")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    schema = ", ".join(f"`{name}` STRING" for name in rules.columns_of(source))
    cells = (
        spark.read.csv(source, header=True, schema=f"{schema}, corrupt STRING", columnNameOfCorruptRecord="corrupt")
        .select(*rules.TEXTS, *rules.INPUTS, "corrupt")
        .cache()
    )
    rows = cells
    for column, (rule, columns) in _LOOKUPS.items():
        texts = [row[0] for row in cells.select(column).distinct().collect()]
        table = spark.createDataFrame([(text, *rule(text)) for text in texts], f"key STRING, {columns}")
        rows = rows.join(F.broadcast(table), F.col(column).eqNullSafe(F.col("key")), "left").drop("key")
    blank = F.col("plate_id").isin(rules.BLANKS)
    odd = F.col("plate_id").rlike(rules.ODD_PLATE)
    moved = (F.col("minutes") >= F.col("switch") - 60) & (F.col("minutes") < F.col("switch"))
    offset = F.when(F.col("minutes") < F.col("switch"), F.col("before")).otherwise(F.col("after"))
    masks = ["time_bits", "date_bits", "precinct_bits", "year_bits", "county_bits"]
    bits = F.when(moved, F.col("moved")).otherwise(0) + F.when(blank, rules.bit(Repair.PLATE_BLANK)).when(
        odd, rules.bit(Repair.PLATE_ODD)
    ).otherwise(0)
    for mask in masks:
        bits = bits.bitwiseOR(F.col(mask))
    reason = (
        F.when(F.col("corrupt").isNotNull(), rules.reason_number(Reason.CUT_SHORT))
        .when(F.col("summons").isNull(), rules.reason_number(Reason.SUMMONS_MISSING))
        .when(F.col("summons_number").isNull(), rules.reason_number(Reason.SUMMONS_UNREADABLE))
        .when(F.col("code_reason") > 0, F.col("code_reason"))
        .when(F.col("date_reason") > 0, F.col("date_reason"))
        .otherwise(F.col("time_reason"))
    )
    rows = (
        rows.withColumn("summons_number", F.col("summons").cast("bigint"))
        .withColumn("second", F.col("start") + F.col("minutes") * 60 - offset)
        .withColumn("event_time", F.timestamp_seconds("second"))
        .withColumn("bits", bits)
        .withColumn("plate_id", F.when(blank, None).otherwise(F.col("plate_id")))
        .withColumn("reason", reason)
    )
    good = rows.where("reason = 0")
    month = F.format_string("%d-%02d", F.floor(F.col("month") / 12), F.col("month") % 12 + 1)
    branch = F.when(F.col("violation_code") > 0, "qualified").otherwise("unqualified")
    (
        good.select(*_KEPT, month.alias("month"), branch.alias("branch"))
        .repartition("branch", "month")
        .sortWithinPartitions("branch", "month", "event_time")
        .write.partitionBy("branch", "month")
        .parquet(f"{output}/rows")
    )
    for name in ("qualified", "unqualified"):
        Path(f"{output}/rows/branch={name}").rename(f"{output}/{name}")
    dead = rows.where("reason > 0").select("reason", "summons", "issue_date_text", "violation_time_text", "code")
    dead.coalesce(1).write.parquet(f"{output}/dead_letters/source=history")
    counts = good.withColumn("window_start", F.date_trunc("hour", "event_time"))
    counts = counts.groupBy("window_start", "violation_code", "part", "county").agg(F.count("*").alias("n"))
    counts.coalesce(1).write.parquet(f"{output}/stats/source=history")
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
