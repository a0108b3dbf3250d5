-- The lake in Spark 3.5 SQL. Replace LAKE by your lake (file:/data/lake, s3a://BUCKET/PREFIX):
--
--   sed 's#LAKE#file:/data/lake#' docs/sql/spark.sql > /tmp/lake.sql && spark-sql -i /tmp/lake.sql
--
-- and query it, for example:  SELECT violation_code, count(*) FROM qualified_once GROUP BY ALL ORDER BY 2 DESC;
-- Where the lake has no file of a dataset yet, such as images, leave its two statements out.

SET spark.sql.session.timeZone = UTC;
SET spark.sql.caseSensitive = true;

CREATE OR REPLACE TEMPORARY VIEW ledger_rows (
  `unit` STRING,
  `path` STRING,
  `range_start` BIGINT,
  `range_end` BIGINT,
  `rows_in` BIGINT,
  `positions` BIGINT,
  `qualified` BIGINT,
  `unqualified` BIGINT,
  `dead_letters` BIGINT,
  `images` BIGINT,
  `duplicates` BIGINT,
  `counted` BIGINT,
  `files` ARRAY<STRUCT<dataset:string,path:string,rows:bigint,bytes:bigint>>,
  `committed_at` TIMESTAMP,
  `columns` ARRAY<STRING>,
  `replaces` ARRAY<STRING>,
  `moves` ARRAY<STRUCT<unit:string,out_of:string,into:string,rows:bigint>>,
  `sha256` ARRAY<STRING>,
  `separator` STRING,
  `source` STRING
) USING parquet OPTIONS (path 'LAKE/ledger');

-- The current files of the lake: all that the ledger names, except those that a change replaced.
CREATE OR REPLACE TEMPORARY VIEW committed_files AS
SELECT file.path FROM (SELECT explode(files) AS file FROM ledger_rows)
WHERE file.path NOT IN (SELECT explode(replaces) FROM ledger_rows);

-- Units of work, without undone ones; changes of files are ledger rows, but not units.
CREATE OR REPLACE TEMPORARY VIEW units AS SELECT * FROM ledger_rows WHERE source <> 'changes' AND unit NOT IN (
  SELECT move.unit FROM (SELECT explode(moves) AS move FROM ledger_rows) GROUP BY move.unit
  HAVING sum(CASE WHEN move.`into` = 'undone' THEN move.`rows` WHEN move.out_of = 'undone' THEN -move.`rows` ELSE 0 END) > 0
);

CREATE OR REPLACE TEMPORARY VIEW positions_files (
  `unit` STRING,
  `record` BIGINT,
  `event_time` TIMESTAMP,
  `message_id` STRING,
  `drone_id` STRING,
  `sequence` BIGINT,
  `latitude` DOUBLE,
  `longitude` DOUBLE,
  `altitude_m` DOUBLE,
  `battery_pct` DOUBLE,
  `status` STRING,
  `extra` MAP<STRING,STRING>,
  `area` STRING,
  `published_at` TIMESTAMP,
  `source` STRING,
  `month` STRING
) USING parquet OPTIONS (path 'LAKE/positions');

CREATE OR REPLACE TEMPORARY VIEW positions AS
SELECT rows.* FROM (SELECT *, input_file_name() AS file FROM positions_files) AS rows
LEFT SEMI JOIN committed_files ON regexp_extract(file, '/(positions/source=.*)$', 1) = committed_files.path;

CREATE OR REPLACE TEMPORARY VIEW qualified_files (
  `unit` STRING,
  `record` BIGINT,
  `event_time` TIMESTAMP,
  `violation_code` SMALLINT,
  `area` STRING,
  `plate_id` STRING,
  `repairs` ARRAY<STRING>,
  `message_id` STRING,
  `drone_id` STRING,
  `sequence` BIGINT,
  `latitude` DOUBLE,
  `longitude` DOUBLE,
  `altitude_m` DOUBLE,
  `battery_pct` DOUBLE,
  `status` STRING,
  `extra` MAP<STRING,STRING>,
  `image_id` STRING,
  `answers` STRING,
  `officer_id` STRING,
  `published_at` TIMESTAMP,
  `summons_number` BIGINT,
  `issue_date_text` STRING,
  `violation_time_text` STRING,
  `county` STRING,
  `precinct` SMALLINT,
  `street` STRING,
  `house_number` STRING,
  `agency` STRING,
  `registration_state` STRING,
  `plate_type` STRING,
  `vehicle_body` STRING,
  `vehicle_make` STRING,
  `vehicle_color` STRING,
  `vehicle_year` SMALLINT,
  `source` STRING,
  `month` STRING
) USING parquet OPTIONS (path 'LAKE/qualified');

CREATE OR REPLACE TEMPORARY VIEW qualified AS
SELECT rows.* FROM (SELECT *, input_file_name() AS file FROM qualified_files) AS rows
LEFT SEMI JOIN committed_files ON regexp_extract(file, '/(qualified/source=.*)$', 1) = committed_files.path;

CREATE OR REPLACE TEMPORARY VIEW unqualified_files (
  `unit` STRING,
  `record` BIGINT,
  `event_time` TIMESTAMP,
  `violation_code` SMALLINT,
  `area` STRING,
  `plate_id` STRING,
  `repairs` ARRAY<STRING>,
  `message_id` STRING,
  `drone_id` STRING,
  `sequence` BIGINT,
  `latitude` DOUBLE,
  `longitude` DOUBLE,
  `altitude_m` DOUBLE,
  `battery_pct` DOUBLE,
  `status` STRING,
  `extra` MAP<STRING,STRING>,
  `image_id` STRING,
  `answers` STRING,
  `officer_id` STRING,
  `published_at` TIMESTAMP,
  `summons_number` BIGINT,
  `issue_date_text` STRING,
  `violation_time_text` STRING,
  `county` STRING,
  `precinct` SMALLINT,
  `street` STRING,
  `house_number` STRING,
  `agency` STRING,
  `registration_state` STRING,
  `plate_type` STRING,
  `vehicle_body` STRING,
  `vehicle_make` STRING,
  `vehicle_color` STRING,
  `vehicle_year` SMALLINT,
  `source` STRING,
  `month` STRING
) USING parquet OPTIONS (path 'LAKE/unqualified');

CREATE OR REPLACE TEMPORARY VIEW unqualified AS
SELECT rows.* FROM (SELECT *, input_file_name() AS file FROM unqualified_files) AS rows
LEFT SEMI JOIN committed_files ON regexp_extract(file, '/(unqualified/source=.*)$', 1) = committed_files.path;

-- Of the rows with one message_id one counts: an officer's answer, whose signature was verified, before what anybody can
-- send; then what was published first. The others are copies, until the next compaction, or claim the id for other content.
CREATE OR REPLACE TEMPORARY VIEW first_of_messages AS
SELECT message_id, unit, record FROM (
  SELECT message_id, unit, record, row_number() OVER (
    PARTITION BY message_id
    ORDER BY CASE WHEN status = 'officer' THEN 0 ELSE 1 END, published_at NULLS LAST, unit, record
  ) AS place
  FROM (
    SELECT message_id, unit, record, status, published_at FROM positions
    UNION ALL SELECT message_id, unit, record, status, published_at FROM qualified
    UNION ALL SELECT message_id, unit, record, status, published_at FROM unqualified
  ) AS messages WHERE message_id IS NOT NULL
) AS ordered WHERE place = 1;

CREATE OR REPLACE TEMPORARY VIEW positions_once AS
SELECT * FROM positions WHERE message_id IS NULL OR (unit, record) IN (SELECT unit, record FROM first_of_messages);

CREATE OR REPLACE TEMPORARY VIEW qualified_once AS
SELECT * FROM qualified WHERE message_id IS NULL OR (unit, record) IN (SELECT unit, record FROM first_of_messages);

CREATE OR REPLACE TEMPORARY VIEW unqualified_once AS
SELECT * FROM unqualified WHERE message_id IS NULL OR (unit, record) IN (SELECT unit, record FROM first_of_messages);

CREATE OR REPLACE TEMPORARY VIEW dead_letters_files (
  `unit` STRING,
  `record` BIGINT,
  `reason` STRING,
  `detail` STRING,
  `payload` BINARY,
  `path` STRING,
  `offset` BIGINT,
  `published_at` TIMESTAMP,
  `source_id` STRING,
  `payload_bytes` BIGINT,
  `payload_object` STRING,
  `source` STRING
) USING parquet OPTIONS (path 'LAKE/dead_letters');

CREATE OR REPLACE TEMPORARY VIEW dead_letters AS
SELECT rows.* FROM (SELECT *, input_file_name() AS file FROM dead_letters_files) AS rows
LEFT SEMI JOIN committed_files ON regexp_extract(file, '/(dead_letters/source=.*)$', 1) = committed_files.path;

CREATE OR REPLACE TEMPORARY VIEW stats_files (
  `unit` STRING,
  `dataset` STRING,
  `window_start` TIMESTAMP,
  `window_seconds` INT,
  `violation_code` SMALLINT,
  `part_of_day` STRING,
  `area` STRING,
  `n` BIGINT,
  `source` STRING
) USING parquet OPTIONS (path 'LAKE/stats');

CREATE OR REPLACE TEMPORARY VIEW stats AS
SELECT rows.* FROM (SELECT *, input_file_name() AS file FROM stats_files) AS rows
LEFT SEMI JOIN committed_files ON regexp_extract(file, '/(stats/source=.*)$', 1) = committed_files.path;

CREATE OR REPLACE TEMPORARY VIEW images_files (
  `unit` STRING,
  `record` BIGINT,
  `image_id` STRING,
  `event_time` TIMESTAMP,
  `object` STRING,
  `bytes` BIGINT,
  `published_at` TIMESTAMP,
  `source` STRING,
  `month` STRING
) USING parquet OPTIONS (path 'LAKE/images');

CREATE OR REPLACE TEMPORARY VIEW images AS
SELECT rows.* FROM (SELECT *, input_file_name() AS file FROM images_files) AS rows
LEFT SEMI JOIN committed_files ON regexp_extract(file, '/(images/source=.*)$', 1) = committed_files.path;
