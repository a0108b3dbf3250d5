-- The committed files of a lake, as DuckDB sees them. Set the variable lake, then read this file:
--
--   duckdb -cmd "SET VARIABLE lake = 'data/lake'" -init docs/sql/duckdb.sql
--
-- and query it, for example:  SELECT violation_code, count(*) FROM committed('qualified') GROUP BY ALL ORDER BY 2 DESC;

-- The ledger is read once, with this file; read the file again to see later commits. So a unit or a compaction that is
-- committed meanwhile is seen entirely or not at all.

-- The columns of the ledger and of each dataset. A dataset without a file is empty; columns that an earlier version did
-- not have are null.
CREATE OR REPLACE TEMP TABLE no_ledger (
    unit VARCHAR, source VARCHAR, path VARCHAR, range_start BIGINT, range_end BIGINT, rows_in BIGINT,
    positions BIGINT, qualified BIGINT, unqualified BIGINT, dead_letters BIGINT, images BIGINT, duplicates BIGINT,
    counted BIGINT, files STRUCT(dataset VARCHAR, path VARCHAR, "rows" BIGINT, bytes BIGINT)[],
    committed_at TIMESTAMP WITH TIME ZONE, columns VARCHAR[], replaces VARCHAR[], moves STRUCT(unit VARCHAR,
    out_of VARCHAR, "into" VARCHAR, "rows" BIGINT)[], sha256 VARCHAR[], separator VARCHAR
);
CREATE OR REPLACE TEMP TABLE no_positions (
    unit VARCHAR, record BIGINT, event_time TIMESTAMP WITH TIME ZONE, message_id VARCHAR, drone_id VARCHAR,
    sequence BIGINT, latitude DOUBLE, longitude DOUBLE, altitude_m DOUBLE, battery_pct DOUBLE, status VARCHAR,
    extra MAP(VARCHAR, VARCHAR), area VARCHAR, published_at TIMESTAMP WITH TIME ZONE, source VARCHAR, month VARCHAR
);
CREATE OR REPLACE TEMP TABLE no_qualified (
    unit VARCHAR, record BIGINT, event_time TIMESTAMP WITH TIME ZONE, violation_code SMALLINT, area VARCHAR,
    plate_id VARCHAR, repairs VARCHAR[], message_id VARCHAR, drone_id VARCHAR, sequence BIGINT, latitude DOUBLE,
    longitude DOUBLE, altitude_m DOUBLE, battery_pct DOUBLE, status VARCHAR, extra MAP(VARCHAR, VARCHAR),
    image_id VARCHAR, answers VARCHAR, officer_id VARCHAR, published_at TIMESTAMP WITH TIME ZONE,
    summons_number BIGINT, issue_date_text VARCHAR, violation_time_text VARCHAR, county VARCHAR, precinct SMALLINT,
    street VARCHAR, house_number VARCHAR, agency VARCHAR, registration_state VARCHAR, plate_type VARCHAR,
    vehicle_body VARCHAR, vehicle_make VARCHAR, vehicle_color VARCHAR, vehicle_year SMALLINT, source VARCHAR,
    month VARCHAR
);
CREATE OR REPLACE TEMP TABLE no_unqualified AS FROM no_qualified;
CREATE OR REPLACE TEMP TABLE no_dead_letters (
    unit VARCHAR, record BIGINT, reason VARCHAR, detail VARCHAR, payload BLOB, path VARCHAR, "offset" BIGINT,
    published_at TIMESTAMP WITH TIME ZONE, source_id VARCHAR, payload_bytes BIGINT, payload_object VARCHAR,
    source VARCHAR
);
CREATE OR REPLACE TEMP TABLE no_stats (
    unit VARCHAR, dataset VARCHAR, window_start TIMESTAMP WITH TIME ZONE, window_seconds INTEGER,
    violation_code SMALLINT, part_of_day VARCHAR, area VARCHAR, n BIGINT, source VARCHAR
);
CREATE OR REPLACE TEMP TABLE no_images (
    unit VARCHAR, record BIGINT, image_id VARCHAR, event_time TIMESTAMP WITH TIME ZONE, object VARCHAR,
    bytes BIGINT, published_at TIMESTAMP WITH TIME ZONE, source VARCHAR, month VARCHAR
);

SET VARIABLE ledger = (SELECT list(file) FROM glob(getvariable('lake') || '/ledger/**/*.parquet'));

-- The rows of a dataset: positions, qualified, unqualified, dead_letters, stats or images. The variable of its name is
-- the list of its files.
CREATE OR REPLACE MACRO committed(dataset_name) AS TABLE FROM query(
    'FROM no_' || dataset_name || CASE WHEN getvariable(dataset_name) IS NULL THEN '' ELSE
        ' UNION ALL BY NAME FROM read_parquet(getvariable(''' || dataset_name || '''), hive_partitioning = true, '
        || 'hive_types_autocast = false, union_by_name = true)' END
);

CREATE OR REPLACE TEMP TABLE ledger_rows AS FROM committed('ledger');

-- Units of work, as they were committed, without those that are undone; changes of files are rows of the ledger too, and none.
CREATE OR REPLACE TEMP TABLE undone_units AS
SELECT move.unit FROM (SELECT unnest(moves) AS move FROM ledger_rows) GROUP BY ALL
HAVING sum(CASE 'undone' WHEN move."into" THEN move."rows" WHEN move.out_of THEN -move."rows" ELSE 0 END) > 0;

CREATE OR REPLACE MACRO units() AS TABLE
FROM ledger_rows WHERE source <> 'changes' AND unit NOT IN (SELECT unit FROM undone_units);

-- The files that hold the lake's rows now: all that the ledger names, but for those that a change replaced.
CREATE OR REPLACE TEMP TABLE committed_files AS
SELECT file.dataset, getvariable('lake') || '/' || file.path AS path, file.rows, file.bytes
FROM (SELECT unnest(files) AS file FROM ledger_rows)
WHERE file.path NOT IN (SELECT unnest(replaces) FROM ledger_rows);

SET VARIABLE positions = (SELECT list(path) FROM committed_files WHERE dataset = 'positions');
SET VARIABLE qualified = (SELECT list(path) FROM committed_files WHERE dataset = 'qualified');
SET VARIABLE unqualified = (SELECT list(path) FROM committed_files WHERE dataset = 'unqualified');
SET VARIABLE dead_letters = (SELECT list(path) FROM committed_files WHERE dataset = 'dead_letters');
SET VARIABLE stats = (SELECT list(path) FROM committed_files WHERE dataset = 'stats');
SET VARIABLE images = (SELECT list(path) FROM committed_files WHERE dataset = 'images');

-- The rows of a dataset of messages, each once. Of the rows with one message_id one counts: an officer's answer, whose
-- signature was verified, before what anybody can send; then what was published first.
CREATE OR REPLACE MACRO once(dataset_name) AS TABLE
FROM committed(dataset_name)
WHERE message_id IS NULL OR (unit, record) IN (
    SELECT (unit, record) FROM (
        SELECT message_id, unit, record, status, published_at FROM committed('positions')
        UNION ALL SELECT message_id, unit, record, status, published_at FROM committed('qualified')
        UNION ALL SELECT message_id, unit, record, status, published_at FROM committed('unqualified')
    ) WHERE message_id IS NOT NULL
    QUALIFY row_number() OVER (
        PARTITION BY message_id ORDER BY status IS DISTINCT FROM 'officer', published_at NULLS LAST, unit, record
    ) = 1
);

-- The four questions.
CREATE OR REPLACE MACRO violations() AS TABLE
SELECT *, event_time AT TIME ZONE 'America/New_York' AS local_time
FROM (FROM once('qualified') UNION ALL BY NAME FROM once('unqualified'))
WHERE status IS DISTINCT FROM 'officer';

CREATE OR REPLACE MACRO parts_of_day() AS TABLE
SELECT CASE WHEN hour(local_time) BETWEEN 6 AND 12 THEN 'morning'
            WHEN hour(local_time) BETWEEN 13 AND 19 THEN 'afternoon' ELSE 'other' END AS part_of_day, count(*) AS n
FROM violations() GROUP BY ALL ORDER BY n DESC;

CREATE OR REPLACE MACRO working_days() AS TABLE
SELECT CASE WHEN isodow(local_time) <= 5 THEN 'working days' ELSE 'weekends' END AS days, count(*) AS n
FROM violations() GROUP BY ALL ORDER BY n DESC;

CREATE OR REPLACE MACRO quarters() AS TABLE
SELECT 'Q' || quarter(local_time) AS quarter, count(*) AS n FROM violations() GROUP BY ALL ORDER BY quarter;

CREATE OR REPLACE MACRO codes() AS TABLE
SELECT violation_code, count(*) AS n FROM violations() GROUP BY ALL ORDER BY n DESC, violation_code;
