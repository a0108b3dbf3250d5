-- Times are seconds since the epoch.
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    payload BLOB NOT NULL,
    drone_id TEXT NOT NULL,
    plate_id TEXT,
    image_id TEXT,
    latitude REAL NOT NULL,
    longitude REAL NOT NULL,
    raised_at REAL NOT NULL,
    answered INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS open_alerts ON alerts (raised_at) WHERE answered = 0;
CREATE INDEX IF NOT EXISTS raised_alerts ON alerts (raised_at);
CREATE INDEX IF NOT EXISTS pictured_alerts ON alerts (image_id);
CREATE INDEX IF NOT EXISTS drones_of_alerts ON alerts (drone_id);
CREATE INDEX IF NOT EXISTS sizes_of_alerts ON alerts (answered, length(payload));

-- What pages show: older versions kept alerts with texts of any length, places off the earth and times of no calendar.
CREATE VIEW IF NOT EXISTS shown_alerts AS SELECT
    id,
    answered,
    iif(length(CAST(message_id AS BLOB)) > 800, substr(message_id, 1, 200), message_id) AS message_id,
    iif(length(CAST(drone_id AS BLOB)) > 800, substr(drone_id, 1, 200), drone_id) AS drone_id,
    iif(length(CAST(plate_id AS BLOB)) > 800, substr(plate_id, 1, 200), plate_id) AS plate_id,
    iif(length(CAST(image_id AS BLOB)) > 800, substr(image_id, 1, 200), image_id) AS image_id,
    max(-90.0, min(90.0, latitude)) AS latitude,
    max(-180.0, min(180.0, longitude)) AS longitude,
    raised_at AS kept_raised_at,  -- as the indexes have it
    max(0.0, min(7258118399.0, raised_at)) AS raised_at
FROM alerts;

CREATE TABLE IF NOT EXISTS leases (
    id TEXT PRIMARY KEY,
    alert INTEGER NOT NULL REFERENCES alerts (id),
    officer TEXT NOT NULL,
    taken_at REAL NOT NULL,
    deadline REAL NOT NULL,
    ended_at REAL,
    how TEXT  -- answered, handed back, deadline, gone
);
CREATE INDEX IF NOT EXISTS leases_of ON leases (alert);
-- No two officers hold one alert, and no officer two: whoever tries gets an error of the database.
CREATE UNIQUE INDEX IF NOT EXISTS held_alerts ON leases (alert) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS holding_officers ON leases (officer) WHERE ended_at IS NULL;

CREATE TABLE IF NOT EXISTS answers (
    message_id TEXT PRIMARY KEY,
    alert INTEGER NOT NULL REFERENCES alerts (id),
    lease TEXT NOT NULL UNIQUE REFERENCES leases (id),
    officer TEXT NOT NULL,
    violation_code INTEGER NOT NULL,
    answered_at REAL NOT NULL,
    counts INTEGER NOT NULL  -- 0: another answer to this alert came before
);
CREATE INDEX IF NOT EXISTS recent_answers ON answers (answered_at);
CREATE INDEX IF NOT EXISTS answers_to ON answers (alert);

-- Answered alerts that a second officer looks at; the officer's columns are NULL until that was done.
CREATE TABLE IF NOT EXISTS second_looks (
    alert INTEGER PRIMARY KEY REFERENCES alerts (id),
    lease TEXT UNIQUE REFERENCES leases (id),
    officer TEXT,
    violation_code INTEGER,
    answered_at REAL
);
CREATE INDEX IF NOT EXISTS waiting_second_looks ON second_looks (alert) WHERE lease IS NULL;
-- The leases under which a second officer looks: an answer under one of them is not published.
CREATE TABLE IF NOT EXISTS second_leases (lease TEXT PRIMARY KEY REFERENCES leases (id));

-- First answers by cell, hour of New York's clock and code; area '' is everywhere, hour -1 the whole day.
CREATE TABLE IF NOT EXISTS answered_before (
    area TEXT NOT NULL,
    hour INTEGER NOT NULL,
    code INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (area, hour, code)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS suggestions (
    lease TEXT PRIMARY KEY REFERENCES leases (id),
    shown TEXT NOT NULL,  -- shown, held out, off
    code INTEGER NOT NULL,  -- the likeliest
    content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS without_suggestions (officer TEXT PRIMARY KEY);

CREATE TABLE IF NOT EXISTS commands (
    command_id TEXT PRIMARY KEY,
    drone_id TEXT NOT NULL,
    command TEXT NOT NULL,
    supervisor TEXT NOT NULL,
    given_at REAL NOT NULL,
    confirmed_at REAL
);
CREATE INDEX IF NOT EXISTS commands_to ON commands (drone_id);

CREATE TABLE IF NOT EXISTS drone_events (
    event_id TEXT PRIMARY KEY,
    drone_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    began_at REAL NOT NULL,
    value REAL,
    battery_pct REAL,
    image_id TEXT
);
CREATE INDEX IF NOT EXISTS drone_events_by_time ON drone_events (began_at);

CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,  -- answers, commands
    message_id TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL,
    payload BLOB NOT NULL,
    published_at REAL
);
CREATE INDEX IF NOT EXISTS unpublished ON outbox (topic, number) WHERE published_at IS NULL;

-- How far each partition has been read; written together with what was read.
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
);
CREATE TABLE IF NOT EXISTS refused (
    number INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    reason TEXT NOT NULL,
    came_at REAL NOT NULL
);
-- How many were refused before those that are kept.
CREATE TABLE IF NOT EXISTS refused_before (
    topic TEXT PRIMARY KEY,
    n INTEGER NOT NULL
);
-- Empty: what is written to see whether anything can be.
CREATE TABLE IF NOT EXISTS written (filler BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pictures (
    image_id TEXT PRIMARY KEY,
    file TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    came_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS picture_files ON pictures (file);
CREATE INDEX IF NOT EXISTS pictures_in_the_lake ON pictures (came_at) WHERE bytes = 0;

CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    hash TEXT NOT NULL,
    must_change INTEGER NOT NULL,
    active INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE IF NOT EXISTS sessions (
    token_hash TEXT PRIMARY KEY,
    name TEXT NOT NULL REFERENCES accounts (name),
    csrf TEXT NOT NULL,
    expires_at REAL NOT NULL,
    note TEXT NOT NULL DEFAULT ''  -- what the next page says
);
DROP TABLE IF EXISTS failures;  -- of older versions
-- Attempts to log in and to change a password that have not succeeded.
CREATE TABLE IF NOT EXISTS attempts (
    name TEXT NOT NULL,
    origin TEXT NOT NULL,  -- an address, or a known browser, or a session; empty: all strangers
    failures INTEGER NOT NULL,
    last_at REAL NOT NULL,
    PRIMARY KEY (name, origin)
);
CREATE INDEX IF NOT EXISTS recent_attempts ON attempts (last_at);
-- Browsers in which someone has logged in, and from where.
CREATE TABLE IF NOT EXISTS devices (
    token_hash TEXT PRIMARY KEY,
    name TEXT NOT NULL REFERENCES accounts (name),
    address TEXT NOT NULL,
    used_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS devices_of ON devices (name, used_at);
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS audited_actions ON audit (action, number);
-- How many lines of an action there were before those that are kept.
CREATE TABLE IF NOT EXISTS audited_before (
    action TEXT PRIMARY KEY,
    n INTEGER NOT NULL
);
