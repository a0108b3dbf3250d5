-- The lake in Athena (Glue catalogue), with partition projection: no crawler, no MSCK REPAIR; new months are
-- simply there. The range of months is that of the dates that the lake keeps; where yours has fewer, narrow it, or
-- say WHERE month BETWEEN ...: each month is a listing. Put the bucket and prefix of your lake in the place of
-- BUCKET/PREFIX, and send the statements one by one.
-- Trino with the Hive connector takes the views as they are; its tables: see the end.

CREATE EXTERNAL TABLE ledger_rows (
  `unit` string,
  `path` string,
  `range_start` bigint,
  `range_end` bigint,
  `rows_in` bigint,
  `positions` bigint,
  `qualified` bigint,
  `unqualified` bigint,
  `dead_letters` bigint,
  `images` bigint,
  `duplicates` bigint,
  `counted` bigint,
  `files` array<struct<dataset:string,path:string,rows:bigint,bytes:bigint>>,
  `committed_at` timestamp,
  `columns` array<string>,
  `replaces` array<string>,
  `moves` array<struct<unit:string,out_of:string,into:string,rows:bigint>>
)
PARTITIONED BY (`source` string)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/ledger/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.source.type' = 'enum', 'projection.source.values' = 'changes,drones,history,images',
  'storage.location.template' = 's3://BUCKET/PREFIX/ledger/source=${source}'
);

CREATE EXTERNAL TABLE positions_files (
  `unit` string,
  `record` bigint,
  `event_time` timestamp,
  `message_id` string,
  `drone_id` string,
  `sequence` bigint,
  `latitude` double,
  `longitude` double,
  `altitude_m` double,
  `battery_pct` double,
  `status` string,
  `extra` map<string,string>,
  `area` string,
  `published_at` timestamp
)
PARTITIONED BY (`source` string, `month` string)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/positions/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.source.type' = 'enum', 'projection.source.values' = 'drones,history,images',
  'projection.month.type' = 'date', 'projection.month.format' = 'yyyy-MM',
  'projection.month.interval' = '1', 'projection.month.interval.unit' = 'MONTHS',
  'storage.location.template' = 's3://BUCKET/PREFIX/positions/source=${source}/month=${month}'
);

CREATE EXTERNAL TABLE qualified_files (
  `unit` string,
  `record` bigint,
  `event_time` timestamp,
  `violation_code` smallint,
  `area` string,
  `plate_id` string,
  `repairs` array<string>,
  `message_id` string,
  `drone_id` string,
  `sequence` bigint,
  `latitude` double,
  `longitude` double,
  `altitude_m` double,
  `battery_pct` double,
  `status` string,
  `extra` map<string,string>,
  `image_id` string,
  `answers` string,
  `officer_id` string,
  `published_at` timestamp,
  `summons_number` bigint,
  `issue_date_text` string,
  `violation_time_text` string,
  `county` string,
  `precinct` smallint,
  `street` string,
  `house_number` string,
  `agency` string,
  `registration_state` string,
  `plate_type` string,
  `vehicle_body` string,
  `vehicle_make` string,
  `vehicle_color` string,
  `vehicle_year` smallint
)
PARTITIONED BY (`source` string, `month` string)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/qualified/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.source.type' = 'enum', 'projection.source.values' = 'drones,history,images',
  'projection.month.type' = 'date', 'projection.month.format' = 'yyyy-MM',
  'projection.month.interval' = '1', 'projection.month.interval.unit' = 'MONTHS',
  'storage.location.template' = 's3://BUCKET/PREFIX/qualified/source=${source}/month=${month}'
);

CREATE EXTERNAL TABLE unqualified_files (
  `unit` string,
  `record` bigint,
  `event_time` timestamp,
  `violation_code` smallint,
  `area` string,
  `plate_id` string,
  `repairs` array<string>,
  `message_id` string,
  `drone_id` string,
  `sequence` bigint,
  `latitude` double,
  `longitude` double,
  `altitude_m` double,
  `battery_pct` double,
  `status` string,
  `extra` map<string,string>,
  `image_id` string,
  `answers` string,
  `officer_id` string,
  `published_at` timestamp,
  `summons_number` bigint,
  `issue_date_text` string,
  `violation_time_text` string,
  `county` string,
  `precinct` smallint,
  `street` string,
  `house_number` string,
  `agency` string,
  `registration_state` string,
  `plate_type` string,
  `vehicle_body` string,
  `vehicle_make` string,
  `vehicle_color` string,
  `vehicle_year` smallint
)
PARTITIONED BY (`source` string, `month` string)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/unqualified/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.source.type' = 'enum', 'projection.source.values' = 'drones,history,images',
  'projection.month.type' = 'date', 'projection.month.format' = 'yyyy-MM',
  'projection.month.interval' = '1', 'projection.month.interval.unit' = 'MONTHS',
  'storage.location.template' = 's3://BUCKET/PREFIX/unqualified/source=${source}/month=${month}'
);

CREATE EXTERNAL TABLE dead_letters_files (
  `unit` string,
  `record` bigint,
  `reason` string,
  `detail` string,
  `payload` binary,
  `path` string,
  `offset` bigint,
  `published_at` timestamp,
  `source_id` string
)
PARTITIONED BY (`source` string)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/dead_letters/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.source.type' = 'enum', 'projection.source.values' = 'drones,history,images',
  'storage.location.template' = 's3://BUCKET/PREFIX/dead_letters/source=${source}'
);

CREATE EXTERNAL TABLE stats_files (
  `unit` string,
  `dataset` string,
  `window_start` timestamp,
  `window_seconds` int,
  `violation_code` smallint,
  `part_of_day` string,
  `area` string,
  `n` bigint
)
PARTITIONED BY (`source` string)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/stats/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.source.type' = 'enum', 'projection.source.values' = 'drones,history,images',
  'storage.location.template' = 's3://BUCKET/PREFIX/stats/source=${source}'
);

CREATE EXTERNAL TABLE images_files (
  `unit` string,
  `record` bigint,
  `image_id` string,
  `event_time` timestamp,
  `object` string,
  `bytes` bigint,
  `published_at` timestamp
)
PARTITIONED BY (`source` string, `month` string)
STORED AS PARQUET
LOCATION 's3://BUCKET/PREFIX/images/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.source.type' = 'enum', 'projection.source.values' = 'drones,history,images',
  'projection.month.type' = 'date', 'projection.month.format' = 'yyyy-MM',
  'projection.month.interval' = '1', 'projection.month.interval.unit' = 'MONTHS',
  'storage.location.template' = 's3://BUCKET/PREFIX/images/source=${source}/month=${month}'
);

-- The files that hold the lake's rows now: all that the ledger names, but for those that a change replaced.
CREATE OR REPLACE VIEW committed_files AS
SELECT f.path
FROM ledger_rows CROSS JOIN UNNEST(files) AS f (dataset, path, "rows", bytes)
WHERE f.path NOT IN (
  SELECT r.path FROM ledger_rows CROSS JOIN UNNEST(replaces) AS r (path)
);

-- Units of work; compaction and replay are rows of the ledger too, and none.
CREATE OR REPLACE VIEW units AS
SELECT * FROM ledger_rows WHERE source <> 'changes';

CREATE OR REPLACE VIEW positions AS
SELECT * FROM positions_files
WHERE substr("$path", length('s3://BUCKET/PREFIX/') + 1) IN (SELECT path FROM committed_files);

CREATE OR REPLACE VIEW qualified AS
SELECT * FROM qualified_files
WHERE substr("$path", length('s3://BUCKET/PREFIX/') + 1) IN (SELECT path FROM committed_files);

CREATE OR REPLACE VIEW unqualified AS
SELECT * FROM unqualified_files
WHERE substr("$path", length('s3://BUCKET/PREFIX/') + 1) IN (SELECT path FROM committed_files);

CREATE OR REPLACE VIEW dead_letters AS
SELECT * FROM dead_letters_files
WHERE substr("$path", length('s3://BUCKET/PREFIX/') + 1) IN (SELECT path FROM committed_files);

CREATE OR REPLACE VIEW stats AS
SELECT * FROM stats_files
WHERE substr("$path", length('s3://BUCKET/PREFIX/') + 1) IN (SELECT path FROM committed_files);

CREATE OR REPLACE VIEW images AS
SELECT * FROM images_files
WHERE substr("$path", length('s3://BUCKET/PREFIX/') + 1) IN (SELECT path FROM committed_files);

-- When in the day (New York)?
SELECT CASE WHEN hour(local_time) BETWEEN 6 AND 12 THEN 'morning'
            WHEN hour(local_time) BETWEEN 13 AND 19 THEN 'afternoon' ELSE 'other' END AS part_of_day, count(*) AS n
FROM (SELECT event_time AT TIME ZONE 'America/New_York' AS local_time FROM qualified)
GROUP BY 1 ORDER BY n DESC;

-- Trino's Hive connector: CREATE TABLE with the same columns (string is varchar, binary varbinary, int integer,
-- array<x> array(x), map<k,v> map(k,v), struct<a:x> row(a x)), partition columns last, and
--   WITH (format = 'PARQUET', external_location = 's3://BUCKET/PREFIX/qualified/', partitioned_by = ARRAY['source', 'month'])
-- then CALL system.sync_partition_metadata('SCHEMA', 'qualified_files', 'ADD') after new months. Set
-- hive.parquet.use-column-names = true: files of earlier versions have fewer columns.
