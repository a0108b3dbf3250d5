-- The lake's tables in Athena (Glue catalogue), with partition projection: no crawler, no MSCK REPAIR, new months
-- appear by themselves. Replace BUCKET/PREFIX by the bucket and prefix of your lake and send the statements one by
-- one; then those of views.sql.
--
-- A month that a query does not rule out is a listing, so the range is 2010 to 2039; the lake keeps 1900 to 2199. The view
-- out_of_range lists what yours has beyond it: tickets with wrong dates. Filter by month where you can.

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
  `files` array<struct<dataset:string,path:string,`rows`:bigint,bytes:bigint>>,
  `committed_at` timestamp,
  `columns` array<string>,
  `replaces` array<string>,
  `moves` array<struct<unit:string,out_of:string,`into`:string,`rows`:bigint>>,
  `sha256` array<string>,
  `separator` string
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
  'projection.month.type' = 'date', 'projection.month.format' = 'yyyy-MM', 'projection.month.range' = '2010-01,2039-12',
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
  'projection.month.type' = 'date', 'projection.month.format' = 'yyyy-MM', 'projection.month.range' = '2010-01,2039-12',
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
  'projection.month.type' = 'date', 'projection.month.format' = 'yyyy-MM', 'projection.month.range' = '2010-01,2039-12',
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
  `source_id` string,
  `payload_bytes` bigint,
  `payload_object` string
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
  'projection.month.type' = 'date', 'projection.month.format' = 'yyyy-MM', 'projection.month.range' = '2010-01,2039-12',
  'projection.month.interval' = '1', 'projection.month.interval.unit' = 'MONTHS',
  'storage.location.template' = 's3://BUCKET/PREFIX/images/source=${source}/month=${month}'
);
