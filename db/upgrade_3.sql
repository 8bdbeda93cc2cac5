-- Version 3 of the schema, after db/schema.sql: how long submodels take. A store of version 2 gains
-- it when it is next opened to be written.

-- One measurement of a model on one device. Several of the same things are never averaged: the
-- newest stands.
CREATE TABLE latency (
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
CREATE TABLE latency_part (
  latency INTEGER NOT NULL REFERENCES latency,
  layer   INTEGER NOT NULL CHECK (layer >= -1),
  width   INTEGER NOT NULL CHECK (width >= 0),
  seconds REAL NOT NULL CHECK (seconds >= 0),  -- the median
  spread  REAL NOT NULL CHECK (spread >= 0),   -- between the quartiles
  PRIMARY KEY (latency, layer, width)
) WITHOUT ROWID, STRICT;

-- Submodels that were measured whole in the same minutes: how far the sum is off.
CREATE TABLE latency_check (
  latency   INTEGER NOT NULL REFERENCES latency,
  widths    TEXT NOT NULL CHECK (widths <> ''),
  predicted REAL NOT NULL CHECK (predicted >= 0),
  seconds   REAL NOT NULL CHECK (seconds > 0),
  spread    REAL NOT NULL CHECK (spread >= 0),
  PRIMARY KEY (latency, widths)
) WITHOUT ROWID, STRICT;

PRAGMA user_version = 3;
