-- The store: every score ever taken of a nested model's submodels. docs/formats.md tells how to
-- read it without this program. Needs SQLite 3.37; the view `pareto` also its exp(), which Debian's
-- and the official builds have.
--
-- Rows are added, never changed or deleted, but for a run's status and owner and the members of
-- fronts. A record gains scores of metrics that are measured later than its loss. Ids ascend in the
-- order of recording.

-- An older store becomes this one when it is opened for writing (db/migrate.cpp). Version 3 added
-- `verification` and latencies, 4 the fronts over them; 5 put the scores of all metrics into one
-- table, and sessions into a column; 6 added `latency_whole`. 1 is not read any more.

PRAGMA application_id = 0x6d6e6d73;  -- "mnms"
PRAGMA user_version = 6;             -- of this schema

-- A checkpoint.
CREATE TABLE IF NOT EXISTS model (
  id            INTEGER PRIMARY KEY,
  fingerprint   TEXT NOT NULL UNIQUE CHECK (fingerprint <> ''),  -- docs/formats.md says of what
  name          TEXT NOT NULL,  -- the directory's
  family        TEXT NOT NULL,
  config        TEXT NOT NULL,  -- config.json
  granularities TEXT NOT NULL   -- of the first layer, for people: "64,128,256,512"
) STRICT;

-- The examples that scores were taken on.
CREATE TABLE IF NOT EXISTS data (
  id          INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE CHECK (fingerprint <> ''),  -- of inputs, targets, positions
  name        TEXT NOT NULL,                                   -- the file's
  context     INTEGER NOT NULL CHECK (context > 0),            -- positions per example: tokens
  sequences   INTEGER NOT NULL CHECK (sequences > 0),          -- examples
  kind        TEXT NOT NULL DEFAULT 'tokens'                   -- what an example is
) STRICT;

-- One measuring run of the program.
CREATE TABLE IF NOT EXISTS run (
  id           INTEGER PRIMARY KEY,
  model        INTEGER NOT NULL REFERENCES model,
  data         INTEGER NOT NULL REFERENCES data,
  -- What the run used the data for: to choose submodels, to confirm what others chose, or neither.
  part         TEXT NOT NULL CHECK (part IN ('search', 'confirm', '')),
  dtype        TEXT NOT NULL CHECK (dtype IN ('f32', 'f16', 'bf16')),  -- of the arithmetic
  command      TEXT NOT NULL,     -- "search", "eval"
  strategy     TEXT NOT NULL,     -- '' where the command has none
  seed         INTEGER NOT NULL,  -- an unsigned 64-bit number, read as signed
  settings     TEXT NOT NULL,     -- JSON: what resuming needs
  command_line TEXT NOT NULL,
  build        TEXT NOT NULL,
  device       TEXT NOT NULL,
  started      TEXT NOT NULL,     -- ISO 8601, UTC
  status       TEXT NOT NULL CHECK (status IN ('running', 'done', 'stopped')),
  -- The process that may add to it while it is 'running'. Its start, in clock ticks after boot,
  -- and the boot tell it from a later process of the same number.
  owner_host   TEXT,
  owner_boot   TEXT,
  owner_pid    INTEGER,
  owner_start  INTEGER,
  -- The first run of the search that this one belongs to, which is resumed and confirmed as a
  -- whole; NULL for that first run, and for a run of its own.
  session      INTEGER REFERENCES run,
  CHECK ((status = 'running') = (owner_pid IS NOT NULL))
) STRICT;

-- What the runs of a model used its datasets for: 'search', 'confirm', 'search+confirm' or ''.
-- A score on data that a search of the same model used may have been chosen for being lucky.
CREATE VIEW IF NOT EXISTS data_use AS
SELECT model, data,
       CASE WHEN max(part = 'search') AND max(part = 'confirm') THEN 'search+confirm'
            ELSE max(part) END AS part
FROM run GROUP BY model, data;

-- One submodel scored on one dataset in one dtype of arithmetic: those of the run that measured it
-- first.
--
-- The CHECKs that run with every record spell out their alternatives: for IN with more than two,
-- SQLite builds a table anew each time, which halved the speed of recording.
CREATE TABLE IF NOT EXISTS record (
  id            INTEGER PRIMARY KEY,
  run           INTEGER NOT NULL REFERENCES run,  -- that measured it: how to reproduce it
  model         INTEGER NOT NULL REFERENCES model,
  data          INTEGER NOT NULL REFERENCES data,
  dtype         TEXT NOT NULL CHECK (dtype = 'f32' OR dtype = 'f16' OR dtype = 'bf16'),
  widths        TEXT NOT NULL CHECK (widths <> ''),  -- "512x4,256x8": width x layers, - is skipped
  samples       INTEGER NOT NULL CHECK (samples >= 0),  -- examples
  params        INTEGER NOT NULL CHECK (params >= 0),   -- a tied head counted once
  non_embedding INTEGER NOT NULL CHECK (non_embedding >= 0),
  bytes         INTEGER NOT NULL CHECK (bytes >= 0),        -- of the weights as stored
  flops         INTEGER NOT NULL CHECK (flops >= 0),        -- per token, forward, at data.context
  kv_bytes      INTEGER NOT NULL CHECK (kv_bytes >= 0),     -- per token
  state_bytes   INTEGER NOT NULL CHECK (state_bytes >= 0),  -- per sequence
  UNIQUE (model, data, dtype, widths)
) STRICT;

-- What a record once said stays so: fronts and paired comparisons rest on it.
CREATE TRIGGER IF NOT EXISTS record_stays BEFORE UPDATE ON record
BEGIN
  SELECT RAISE(ABORT, 'records are not changed');
END;

CREATE TRIGGER IF NOT EXISTS record_is_kept BEFORE DELETE ON record
BEGIN
  SELECT RAISE(ABORT, 'records are not deleted');
END;

-- What was measured of a record. The metrics, their units and which way they win are those of
-- eval/metrics.cpp: loss, kl (nats per token or image, the smaller wins), accuracy, accuracy5,
-- agreement, acceptance, confidence, knn, map, precision, recall (shares, the larger wins).
CREATE TABLE IF NOT EXISTS score (
  metric         TEXT NOT NULL CHECK (metric <> ''),
  record         INTEGER NOT NULL REFERENCES record,
  -- 'nan' or 'inf': the value is that. SQLite would store NaN as NULL, so value is NULL then.
  status         TEXT NOT NULL CHECK (status = 'ok' OR status = 'nan' OR status = 'inf'),
  value          REAL,                              -- the mean over the examples
  standard_error REAL CHECK (standard_error >= 0),  -- of the mean; NULL of one example
  PRIMARY KEY (metric, record),
  CHECK ((status = 'ok') = (value IS NOT NULL))
) WITHOUT ROWID, STRICT;

CREATE TRIGGER IF NOT EXISTS score_stays BEFORE UPDATE ON score
BEGIN
  SELECT RAISE(ABORT, 'scores are not changed');
END;

CREATE TRIGGER IF NOT EXISTS score_is_kept BEFORE DELETE ON score
BEGIN
  SELECT RAISE(ABORT, 'scores are not deleted');
END;

-- The same of every example, in the dataset's order: the mean over its targets, as little-endian
-- f32. Two records of one dataset are compared by the mean and the standard error of their
-- differences.
CREATE TABLE IF NOT EXISTS example_scores (
  record INTEGER NOT NULL REFERENCES record,
  metric TEXT NOT NULL CHECK (metric <> ''),
  f32    BLOB NOT NULL CHECK (length(f32) % 4 = 0),
  PRIMARY KEY (record, metric)
) WITHOUT ROWID, STRICT;

-- Which records a run asked for, in order. A record that was known already is not stored again.
CREATE TABLE IF NOT EXISTS run_record (
  run      INTEGER NOT NULL REFERENCES run,
  position INTEGER NOT NULL CHECK (position >= 0),  -- 0, 1, 2...
  record   INTEGER NOT NULL REFERENCES record,
  PRIMARY KEY (run, position)
) WITHOUT ROWID, STRICT;

-- What was written out.
CREATE TABLE IF NOT EXISTS artifact (
  id           INTEGER PRIMARY KEY,
  model        INTEGER NOT NULL REFERENCES model,
  record       INTEGER REFERENCES record,
  widths       TEXT NOT NULL CHECK (widths <> ''),
  format       TEXT NOT NULL,
  path         TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  bytes        INTEGER NOT NULL CHECK (bytes >= 0),
  "check"      TEXT NOT NULL,  -- JSON
  command_line TEXT NOT NULL,
  created      TEXT NOT NULL  -- ISO 8601, UTC
) STRICT;

-- What a runtime computed of the probe that an artifact carries: a row for each time that it was
-- asked. scripts/verify adds them.
CREATE TABLE IF NOT EXISTS verification (
  id        INTEGER PRIMARY KEY,
  artifact  INTEGER NOT NULL REFERENCES artifact,
  runtime   TEXT NOT NULL CHECK (runtime <> ''),         -- as scripts/verify spells it
  version   TEXT NOT NULL,                               -- of the runtime
  worst     REAL CHECK (worst >= 0),                     -- largest difference of a logit; NULL where
                                                         -- the runtime's is no number
  tolerance REAL NOT NULL CHECK (tolerance >= 0),        -- what rounding explains
  agrees    INTEGER NOT NULL CHECK (agrees IN (0, 1)),   -- whether worst is within it
  machine   TEXT NOT NULL,
  created   TEXT NOT NULL,                               -- ISO 8601, UTC
  CHECK (agrees = (worst IS NOT NULL AND worst <= tolerance))
) STRICT;

-- One measurement of a model on one device. Several of the same things are never averaged: the
-- newest stands.
CREATE TABLE IF NOT EXISTS latency (
  id           INTEGER PRIMARY KEY,
  model        INTEGER NOT NULL REFERENCES model,
  device       TEXT NOT NULL,     -- with its threads: "cpu, 2 threads, AVX2"
  dtype        TEXT NOT NULL CHECK (dtype IN ('f32', 'f16', 'bf16')),  -- of the arithmetic
  phase        TEXT NOT NULL CHECK (phase IN ('prefill', 'decode')),
  batch        INTEGER NOT NULL CHECK (batch > 0),     -- sequences
  length       INTEGER NOT NULL CHECK (length > 0),    -- tokens: of the pass, or cached before it
  repeats      INTEGER NOT NULL CHECK (repeats > 0),   -- that each median is of
  seed         INTEGER NOT NULL,  -- an unsigned 64-bit number, read as signed
  build        TEXT NOT NULL,
  command_line TEXT NOT NULL,
  created      TEXT NOT NULL      -- ISO 8601, UTC
) STRICT;

-- What each layer takes at each of its widths, in seconds of one pass; layer -1, width 0 is what
-- belongs to no layer. A submodel takes the sum.
CREATE TABLE IF NOT EXISTS latency_part (
  latency INTEGER NOT NULL REFERENCES latency,
  layer   INTEGER NOT NULL CHECK (layer >= -1),
  width   INTEGER NOT NULL CHECK (width >= 0),
  seconds REAL NOT NULL CHECK (seconds >= 0),  -- the median
  spread  REAL NOT NULL CHECK (spread >= 0),   -- between the quartiles
  PRIMARY KEY (latency, layer, width)
) WITHOUT ROWID, STRICT;

-- Submodels that were measured whole in the same minutes: how far the sum is off.
CREATE TABLE IF NOT EXISTS latency_check (
  latency   INTEGER NOT NULL REFERENCES latency,
  widths    TEXT NOT NULL CHECK (widths <> ''),
  predicted REAL NOT NULL CHECK (predicted >= 0),
  seconds   REAL NOT NULL CHECK (seconds > 0),
  spread    REAL NOT NULL CHECK (spread >= 0),
  PRIMARY KEY (latency, widths)
) WITHOUT ROWID, STRICT;

-- Submodels of a front, timed as wholes when their search ended. `predicted` beside `seconds` shows
-- how far off the sums are by then. Of several of one submodel the newest stands.
CREATE TABLE IF NOT EXISTS latency_whole (
  id        INTEGER PRIMARY KEY,
  latency   INTEGER NOT NULL REFERENCES latency,   -- the measurement that the search counted with
  run       INTEGER NOT NULL REFERENCES run,       -- the search, by its first run
  widths    TEXT NOT NULL CHECK (widths <> ''),
  predicted REAL NOT NULL CHECK (predicted >= 0),  -- seconds: the sum of the parts
  seconds   REAL NOT NULL CHECK (seconds > 0),     -- the median
  spread    REAL NOT NULL CHECK (spread >= 0),     -- between the quartiles
  repeats   INTEGER NOT NULL CHECK (repeats > 0),  -- that the median is of
  created   TEXT NOT NULL                          -- ISO 8601, UTC
) STRICT;

-- What fronts there are. Records are compared with records of the same front alone.
CREATE TABLE IF NOT EXISTS front (
  id        INTEGER PRIMARY KEY,
  model     INTEGER NOT NULL REFERENCES model,
  data      INTEGER NOT NULL REFERENCES data,
  dtype     TEXT NOT NULL CHECK (dtype IN ('f32', 'f16', 'bf16')),
  metric    TEXT NOT NULL CHECK (metric <> ''),
  cost_kind TEXT NOT NULL CHECK (cost_kind IN ('params', 'non-embedding', 'bytes', 'flops')),
  UNIQUE (model, data, dtype, metric, cost_kind)
) STRICT;

-- The members of each front: as costs ascend, objectives strictly descend. Kept by the transaction
-- that adds the records (db/fronts.h). A record that is beaten on arrival writes nothing here, and
-- a front is read without a look at the records it beats; an index on cost and score would be
-- written at a random place for every kind of cost with every record, and read whole.
CREATE TABLE IF NOT EXISTS member (
  front     INTEGER NOT NULL REFERENCES front,
  cost      INTEGER NOT NULL,
  objective REAL NOT NULL,  -- smaller wins: the metric, negated where larger wins
  record    INTEGER NOT NULL REFERENCES record,
  PRIMARY KEY (front, cost)
) WITHOUT ROWID, STRICT;

-- The measurements that stand: of several of the same things the newest.
CREATE VIEW IF NOT EXISTS latency_stands AS
SELECT model, max(id) AS latency FROM latency GROUP BY model, device, dtype, phase, batch, length;

-- The members of the fronts over latency, one front for each measurement that stands, dataset,
-- dtype and metric: as in `member`, which is older and of other costs. A record whose widths lie
-- outside what was measured is on none.
CREATE TABLE IF NOT EXISTS latency_member (
  latency   INTEGER NOT NULL REFERENCES latency,
  data      INTEGER NOT NULL REFERENCES data,
  dtype     TEXT NOT NULL CHECK (dtype IN ('f32', 'f16', 'bf16')),  -- of the records' arithmetic
  metric    TEXT NOT NULL CHECK (metric <> ''),
  cost      INTEGER NOT NULL CHECK (cost > 0),  -- nanoseconds of one pass: the sum of its parts
  objective REAL NOT NULL,
  record    INTEGER NOT NULL REFERENCES record,
  PRIMARY KEY (latency, data, dtype, metric, cost)
) WITHOUT ROWID, STRICT;

-- Every front, for people.
DROP VIEW IF EXISTS pareto;
CREATE VIEW pareto AS
SELECT model.name  AS model,
       data.name   AS data,
       coalesce(u.part, '') AS part,
       data.context AS context,
       m.dtype     AS dtype,
       m.metric    AS metric,
       m.cost_kind AS cost_kind,
       r.widths    AS widths,
       m.cost      AS cost,
       s.value     AS value,
       s.standard_error AS standard_error,
       exp(l.value) AS perplexity,
       r.id        AS record,
       m.latency   AS latency  -- the measurement, where that is the kind of cost
FROM (SELECT f.data, f.dtype, f.metric, f.cost_kind, NULL AS latency, m.cost, m.record
      FROM front f JOIN member m ON m.front = f.id
      UNION ALL
      SELECT data, dtype, metric, 'latency', latency, cost, record FROM latency_member) m
JOIN record r ON r.id = m.record
JOIN score s ON s.metric = m.metric AND s.record = m.record
LEFT JOIN score l ON l.metric = 'loss' AND l.record = m.record
JOIN model ON model.id = r.model
JOIN data ON data.id = m.data
LEFT JOIN data_use u ON u.model = r.model AND u.data = m.data
ORDER BY r.model, m.data, m.dtype, m.metric, m.cost_kind, m.latency, m.cost;
