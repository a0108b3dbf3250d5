-- What the lake shows, for Athena and Trino: views over the tables of athena.sql or trino.sql. Replace BUCKET/PREFIX
-- here, too.

-- The current files of the lake: all that the ledger names, except those that a change replaced.
CREATE OR REPLACE VIEW committed_files AS
SELECT f.path
FROM ledger_rows CROSS JOIN UNNEST(files) AS f (dataset, path, "rows", bytes)
WHERE f.path NOT IN (
  SELECT r.path FROM ledger_rows CROSS JOIN UNNEST(replaces) AS r (path)
);

-- Files outside the range of the partition projection: widen the range where you need them.
CREATE OR REPLACE VIEW out_of_range AS
SELECT path FROM committed_files
WHERE regexp_extract(path, '/month=(\d{4})', 1) NOT BETWEEN '2010' AND '2039';

-- Units of work, without undone ones; changes of files are ledger rows, but not units.
CREATE OR REPLACE VIEW units AS
SELECT * FROM ledger_rows WHERE source <> 'changes' AND unit NOT IN (
  SELECT m.moved FROM ledger_rows CROSS JOIN UNNEST(moves) AS m (moved, out_of, into_, "rows") GROUP BY m.moved
  HAVING sum(CASE WHEN m.into_ = 'undone' THEN m."rows" WHEN m.out_of = 'undone' THEN -m."rows" ELSE 0 END) > 0
);

CREATE OR REPLACE VIEW positions AS
SELECT * FROM positions_files
WHERE substr("$path", length('s3://BUCKET/PREFIX/') + 1) IN (SELECT path FROM committed_files);

CREATE OR REPLACE VIEW qualified AS
SELECT * FROM qualified_files
WHERE substr("$path", length('s3://BUCKET/PREFIX/') + 1) IN (SELECT path FROM committed_files);

CREATE OR REPLACE VIEW unqualified AS
SELECT * FROM unqualified_files
WHERE substr("$path", length('s3://BUCKET/PREFIX/') + 1) IN (SELECT path FROM committed_files);

-- Of the rows with one message_id one counts: an officer's answer, whose signature was verified, before what anybody can
-- send; then what was published first. The others are copies, until the next compaction, or claim the id for other content.
CREATE OR REPLACE VIEW first_of_messages AS
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

CREATE OR REPLACE VIEW positions_once AS
SELECT * FROM positions
WHERE message_id IS NULL OR ROW(unit, record) IN (SELECT unit, record FROM first_of_messages);

CREATE OR REPLACE VIEW qualified_once AS
SELECT * FROM qualified
WHERE message_id IS NULL OR ROW(unit, record) IN (SELECT unit, record FROM first_of_messages);

CREATE OR REPLACE VIEW unqualified_once AS
SELECT * FROM unqualified
WHERE message_id IS NULL OR ROW(unit, record) IN (SELECT unit, record FROM first_of_messages);

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
FROM (SELECT with_timezone(event_time, 'UTC') AT TIME ZONE 'America/New_York' AS local_time FROM qualified_once)
GROUP BY 1 ORDER BY n DESC;
