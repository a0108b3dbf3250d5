-- Views over the tables `qualified` and `unqualified`, for DuckDB and Spark 3.5. Days are of the session's time zone:
-- before, DuckDB: SET TimeZone = 'America/New_York'; Spark: SET TIME ZONE 'America/New_York';

-- Violations of drones without a code, with the first officer's answer; seconds are whole ones.
CREATE OR REPLACE TEMPORARY VIEW alerts AS
SELECT u.message_id AS alert_id, u.event_time, u.drone_id, u.area, u.plate_id, u.image_id,
       a.answer_id IS NOT NULL AS answered, a.answer_id, a.answered_code, a.officer_id, a.answered_at,
       extract(DAY FROM a.answered_at - u.event_time) * 86400 + extract(HOUR FROM a.answered_at - u.event_time) * 3600
       + extract(MINUTE FROM a.answered_at - u.event_time) * 60
       + floor(extract(SECOND FROM a.answered_at - u.event_time))
       AS seconds_to_answer
FROM unqualified u LEFT JOIN (
  SELECT answers, message_id AS answer_id, violation_code AS answered_code, officer_id, event_time AS answered_at,
         row_number() OVER (PARTITION BY answers ORDER BY event_time, message_id, unit, record) AS place
  FROM qualified WHERE status = 'officer'
) AS a ON a.answers = u.message_id AND a.place = 1
WHERE u.message_id IS NOT NULL;

-- By day and code: how many violations of drones needed an officer, and how long they waited.
CREATE OR REPLACE TEMPORARY VIEW human_work AS
SELECT day, violation_code, count(*) AS violations, count(*) FILTER (WHERE needed) AS needed_officer,
       count(*) FILTER (WHERE needed) / count(*) AS share,
       count(*) FILTER (WHERE needed AND violation_code IS NULL) AS open,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds_to_answer) AS p50_seconds,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds_to_answer) AS p95_seconds
FROM (
  SELECT CAST(event_time AS DATE) AS day, violation_code, FALSE AS needed, NULL AS seconds_to_answer
  FROM qualified WHERE message_id IS NOT NULL AND status <> 'officer'
  UNION ALL
  SELECT CAST(event_time AS DATE), answered_code, TRUE, seconds_to_answer FROM alerts
) AS judged
GROUP BY day, violation_code;
