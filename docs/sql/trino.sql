-- The lake's tables in Trino (Hive connector), with partition projection: no sync_partition_metadata, new months
-- appear by themselves. Replace BUCKET/PREFIX by the bucket and prefix of your lake; in a schema of its own:
--
--   sed 's#BUCKET/PREFIX#city/lake#' docs/sql/trino.sql docs/sql/views.sql > /tmp/lake.sql
--   trino --catalog hive --schema prestacop --file /tmp/lake.sql
--
-- The catalogue needs hive.timestamp-precision=MICROSECONDS and hive.parquet.use-column-names=true (the default).
-- Trino projects no dates by the month: the month of a directory is two columns here, year and month. A month that a query
-- does not rule out is a listing, so the range is 2010 to 2039; the lake keeps 1900 to 2199. The view out_of_range lists what
-- yours has beyond it: tickets with wrong dates. Filter by year where you can.

CREATE TABLE ledger_rows (
  "unit" varchar,
  "path" varchar,
  "range_start" bigint,
  "range_end" bigint,
  "rows_in" bigint,
  "positions" bigint,
  "qualified" bigint,
  "unqualified" bigint,
  "dead_letters" bigint,
  "images" bigint,
  "duplicates" bigint,
  "counted" bigint,
  "files" array(row("dataset" varchar, "path" varchar, "rows" bigint, "bytes" bigint)),
  "committed_at" timestamp(6),
  "columns" array(varchar),
  "replaces" array(varchar),
  "moves" array(row("unit" varchar, "out_of" varchar, "into" varchar, "rows" bigint)),
  "sha256" array(varchar),
  "separator" varchar,
  "source" varchar WITH (partition_projection_type = 'ENUM', partition_projection_values = ARRAY['changes', 'drones', 'history', 'images'])
) WITH (
  format = 'PARQUET', external_location = 's3://BUCKET/PREFIX/ledger/', partitioned_by = ARRAY['source'],
  partition_projection_enabled = true, partition_projection_location_template = 's3://BUCKET/PREFIX/ledger/source=${source}'
);

CREATE TABLE positions_files (
  "unit" varchar,
  "record" bigint,
  "event_time" timestamp(6),
  "message_id" varchar,
  "drone_id" varchar,
  "sequence" bigint,
  "latitude" double,
  "longitude" double,
  "altitude_m" double,
  "battery_pct" double,
  "status" varchar,
  "extra" map(varchar, varchar),
  "area" varchar,
  "published_at" timestamp(6),
  "source" varchar WITH (partition_projection_type = 'ENUM', partition_projection_values = ARRAY['drones', 'history', 'images']),
  "year" integer WITH (partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['2010', '2039']),
  "month" integer WITH (
    partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['1', '12'], partition_projection_digits = 2
  )
) WITH (
  format = 'PARQUET', external_location = 's3://BUCKET/PREFIX/positions/', partitioned_by = ARRAY['source', 'year', 'month'],
  partition_projection_enabled = true, partition_projection_location_template = 's3://BUCKET/PREFIX/positions/source=${source}/month=${year}-${month}'
);

CREATE TABLE qualified_files (
  "unit" varchar,
  "record" bigint,
  "event_time" timestamp(6),
  "violation_code" smallint,
  "area" varchar,
  "plate_id" varchar,
  "repairs" array(varchar),
  "message_id" varchar,
  "drone_id" varchar,
  "sequence" bigint,
  "latitude" double,
  "longitude" double,
  "altitude_m" double,
  "battery_pct" double,
  "status" varchar,
  "extra" map(varchar, varchar),
  "image_id" varchar,
  "answers" varchar,
  "officer_id" varchar,
  "published_at" timestamp(6),
  "summons_number" bigint,
  "issue_date_text" varchar,
  "violation_time_text" varchar,
  "county" varchar,
  "precinct" smallint,
  "street" varchar,
  "house_number" varchar,
  "agency" varchar,
  "registration_state" varchar,
  "plate_type" varchar,
  "vehicle_body" varchar,
  "vehicle_make" varchar,
  "vehicle_color" varchar,
  "vehicle_year" smallint,
  "source" varchar WITH (partition_projection_type = 'ENUM', partition_projection_values = ARRAY['drones', 'history', 'images']),
  "year" integer WITH (partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['2010', '2039']),
  "month" integer WITH (
    partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['1', '12'], partition_projection_digits = 2
  )
) WITH (
  format = 'PARQUET', external_location = 's3://BUCKET/PREFIX/qualified/', partitioned_by = ARRAY['source', 'year', 'month'],
  partition_projection_enabled = true, partition_projection_location_template = 's3://BUCKET/PREFIX/qualified/source=${source}/month=${year}-${month}'
);

CREATE TABLE unqualified_files (
  "unit" varchar,
  "record" bigint,
  "event_time" timestamp(6),
  "violation_code" smallint,
  "area" varchar,
  "plate_id" varchar,
  "repairs" array(varchar),
  "message_id" varchar,
  "drone_id" varchar,
  "sequence" bigint,
  "latitude" double,
  "longitude" double,
  "altitude_m" double,
  "battery_pct" double,
  "status" varchar,
  "extra" map(varchar, varchar),
  "image_id" varchar,
  "answers" varchar,
  "officer_id" varchar,
  "published_at" timestamp(6),
  "summons_number" bigint,
  "issue_date_text" varchar,
  "violation_time_text" varchar,
  "county" varchar,
  "precinct" smallint,
  "street" varchar,
  "house_number" varchar,
  "agency" varchar,
  "registration_state" varchar,
  "plate_type" varchar,
  "vehicle_body" varchar,
  "vehicle_make" varchar,
  "vehicle_color" varchar,
  "vehicle_year" smallint,
  "source" varchar WITH (partition_projection_type = 'ENUM', partition_projection_values = ARRAY['drones', 'history', 'images']),
  "year" integer WITH (partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['2010', '2039']),
  "month" integer WITH (
    partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['1', '12'], partition_projection_digits = 2
  )
) WITH (
  format = 'PARQUET', external_location = 's3://BUCKET/PREFIX/unqualified/', partitioned_by = ARRAY['source', 'year', 'month'],
  partition_projection_enabled = true, partition_projection_location_template = 's3://BUCKET/PREFIX/unqualified/source=${source}/month=${year}-${month}'
);

CREATE TABLE dead_letters_files (
  "unit" varchar,
  "record" bigint,
  "reason" varchar,
  "detail" varchar,
  "payload" varbinary,
  "path" varchar,
  "offset" bigint,
  "published_at" timestamp(6),
  "source_id" varchar,
  "payload_bytes" bigint,
  "payload_object" varchar,
  "source" varchar WITH (partition_projection_type = 'ENUM', partition_projection_values = ARRAY['drones', 'history', 'images'])
) WITH (
  format = 'PARQUET', external_location = 's3://BUCKET/PREFIX/dead_letters/', partitioned_by = ARRAY['source'],
  partition_projection_enabled = true, partition_projection_location_template = 's3://BUCKET/PREFIX/dead_letters/source=${source}'
);

CREATE TABLE stats_files (
  "unit" varchar,
  "dataset" varchar,
  "window_start" timestamp(6),
  "window_seconds" integer,
  "violation_code" smallint,
  "part_of_day" varchar,
  "area" varchar,
  "n" bigint,
  "source" varchar WITH (partition_projection_type = 'ENUM', partition_projection_values = ARRAY['drones', 'history', 'images'])
) WITH (
  format = 'PARQUET', external_location = 's3://BUCKET/PREFIX/stats/', partitioned_by = ARRAY['source'],
  partition_projection_enabled = true, partition_projection_location_template = 's3://BUCKET/PREFIX/stats/source=${source}'
);

CREATE TABLE images_files (
  "unit" varchar,
  "record" bigint,
  "image_id" varchar,
  "event_time" timestamp(6),
  "object" varchar,
  "bytes" bigint,
  "published_at" timestamp(6),
  "source" varchar WITH (partition_projection_type = 'ENUM', partition_projection_values = ARRAY['drones', 'history', 'images']),
  "year" integer WITH (partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['2010', '2039']),
  "month" integer WITH (
    partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['1', '12'], partition_projection_digits = 2
  )
) WITH (
  format = 'PARQUET', external_location = 's3://BUCKET/PREFIX/images/', partitioned_by = ARRAY['source', 'year', 'month'],
  partition_projection_enabled = true, partition_projection_location_template = 's3://BUCKET/PREFIX/images/source=${source}/month=${year}-${month}'
);
