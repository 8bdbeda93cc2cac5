-- The store: every score ever taken of a nested model's submodels. docs/formats.md tells how to
-- read it without this program. Needs SQLite 3.37; the view `pareto` also its exp(), which Debian's
-- and the official builds have.
--
-- Rows are added, never changed or deleted, but for a run's status and owner, a record's kl and
-- agreement, which may be measured later than its loss, and the members of fronts. Ids ascend in
-- the order of recording.

-- A later version only adds: an older store becomes this one when it is opened for writing, by
-- carrying out this file once more. Version 3 added `verification` and latencies, 4 the fronts
-- over them; 1 is not read any more.

PRAGMA application_id = 0x6d6e6d73;  -- "mnms"
PRAGMA user_version = 4;             -- of this schema

-- A checkpoint.
CREATE TABLE IF NOT EXISTS model (
  id            INTEGER PRIMARY KEY,
  fingerprint   TEXT NOT NULL UNIQUE CHECK (fingerprint <> ''),  -- docs/formats.md says of what
  name          TEXT NOT NULL,  -- the directory's
  family        TEXT NOT NULL,
  config        TEXT NOT NULL,  -- config.json
  granularities TEXT NOT NULL   -- of the first layer, for people: "64,128,256,512"
) STRICT;

-- The sequences that scores were taken on.
CREATE TABLE IF NOT EXISTS data (
  id          INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE CHECK (fingerprint <> ''),  -- of the tokens and the context
  name        TEXT NOT NULL,                                   -- the file's
  context     INTEGER NOT NULL CHECK (context > 0),            -- tokens per sequence
  sequences   INTEGER NOT NULL CHECK (sequences > 0)
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
  CHECK ((status = 'running') = (owner_pid IS NOT NULL))
) STRICT;

-- What the runs of a model used its datasets for: 'search', 'confirm', 'search+confirm' or ''.
-- A score on data that a search of the same model used may have been chosen for being lucky.
CREATE VIEW IF NOT EXISTS data_use AS
SELECT model, data,
       CASE WHEN max(part = 'search') AND max(part = 'confirm') THEN 'search+confirm'
            ELSE max(part) END AS part
FROM run GROUP BY model, data;

-- One submodel scored on one dataset in one dtype of arithmetic.
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
  -- 'nan' or 'inf': the loss is that. SQLite would store NaN as NULL, so loss is NULL then.
  status        TEXT NOT NULL CHECK (status = 'ok' OR status = 'nan' OR status = 'inf'),
  samples       INTEGER NOT NULL CHECK (samples >= 0),  -- sequences
  loss          REAL,                                   -- nats per token
  loss_se       REAL CHECK (loss_se >= 0),  -- standard error of the mean; NULL of one sequence
  kl            REAL,                                   -- KL(full model || this), nats per token
  kl_se         REAL CHECK (kl_se >= 0),
  agreement     REAL CHECK (agreement >= 0 AND agreement <= 1),  -- with the full model's top token
  agreement_se  REAL CHECK (agreement_se >= 0),
  params        INTEGER NOT NULL CHECK (params >= 0),   -- a tied head counted once
  non_embedding INTEGER NOT NULL CHECK (non_embedding >= 0),
  bytes         INTEGER NOT NULL CHECK (bytes >= 0),        -- of the weights as stored
  flops         INTEGER NOT NULL CHECK (flops >= 0),        -- per token, forward, at data.context
  kv_bytes      INTEGER NOT NULL CHECK (kv_bytes >= 0),     -- per token
  state_bytes   INTEGER NOT NULL CHECK (state_bytes >= 0),  -- per sequence
  UNIQUE (model, data, dtype, widths),
  CHECK ((status = 'ok') = (loss IS NOT NULL))
) STRICT;

-- What a record once said stays so: fronts and paired comparisons rest on it.
CREATE TRIGGER IF NOT EXISTS record_stays BEFORE UPDATE ON record
WHEN (old.id, old.run, old.model, old.data, old.dtype, old.widths, old.status, old.samples,
      old.loss, old.loss_se, old.params, old.non_embedding, old.bytes, old.flops, old.kv_bytes,
      old.state_bytes)
     IS NOT
     (new.id, new.run, new.model, new.data, new.dtype, new.widths, new.status, new.samples,
      new.loss, new.loss_se, new.params, new.non_embedding, new.bytes, new.flops, new.kv_bytes,
      new.state_bytes)
  OR (old.kl IS NOT NULL AND new.kl IS NOT old.kl)
  OR (old.agreement IS NOT NULL AND new.agreement IS NOT old.agreement)
BEGIN
  SELECT RAISE(ABORT, 'records are not changed');
END;

CREATE TRIGGER IF NOT EXISTS record_is_kept BEFORE DELETE ON record
BEGIN
  SELECT RAISE(ABORT, 'records are not deleted');
END;

-- The mean loss of every sequence, in the dataset's order: little-endian f32. Two records of one
-- dataset are compared by the mean and the standard error of their differences.
CREATE TABLE IF NOT EXISTS losses (
  record INTEGER PRIMARY KEY REFERENCES record,
  f32    BLOB NOT NULL CHECK (length(f32) % 4 = 0)
) STRICT;

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

-- What fronts there are. Records are compared with records of the same front alone.
CREATE TABLE IF NOT EXISTS front (
  id        INTEGER PRIMARY KEY,
  model     INTEGER NOT NULL REFERENCES model,
  data      INTEGER NOT NULL REFERENCES data,
  dtype     TEXT NOT NULL CHECK (dtype IN ('f32', 'f16', 'bf16')),
  metric    TEXT NOT NULL CHECK (metric IN ('loss', 'kl', 'agreement')),
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
  metric    TEXT NOT NULL CHECK (metric IN ('loss', 'kl', 'agreement')),
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
       CASE m.metric WHEN 'loss' THEN r.loss WHEN 'kl' THEN r.kl ELSE r.agreement END AS value,
       CASE m.metric WHEN 'loss' THEN r.loss_se WHEN 'kl' THEN r.kl_se ELSE r.agreement_se END
                   AS standard_error,
       exp(r.loss) AS perplexity,
       r.id        AS record,
       m.latency   AS latency  -- the measurement, where that is the kind of cost
FROM (SELECT f.data, f.dtype, f.metric, f.cost_kind, NULL AS latency, m.cost, m.record
      FROM front f JOIN member m ON m.front = f.id
      UNION ALL
      SELECT data, dtype, metric, 'latency', latency, cost, record FROM latency_member) m
JOIN record r ON r.id = m.record
JOIN model ON model.id = r.model
JOIN data ON data.id = m.data
LEFT JOIN data_use u ON u.model = r.model AND u.data = m.data
ORDER BY r.model, m.data, m.dtype, m.metric, m.cost_kind, m.latency, m.cost;
