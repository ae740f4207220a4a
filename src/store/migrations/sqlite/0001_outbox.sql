-- Moments are Unix milliseconds. Ids of envelopes grow with arrival and are never reused.

-- Interned, never removed. `waiting` counts the rows of `ev`.
CREATE TABLE sink (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    waiting INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What waits, narrow: one scan of it rebuilds all lanes. No index by lane: the order of work lives in
-- memory.
CREATE TABLE ev (
    id       INTEGER PRIMARY KEY,
    sink     INTEGER NOT NULL,
    lane     INTEGER NOT NULL,
    rank     INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    attempts INTEGER NOT NULL, -- that count
    number   INTEGER NOT NULL, -- of the last attempt, counted or not
    started  INTEGER,          -- while an attempt is open
    mark     INTEGER
) STRICT;

CREATE TABLE body (
    id         INTEGER PRIMARY KEY,
    key        TEXT NOT NULL,
    accepted   INTEGER NOT NULL,
    order_json TEXT NOT NULL
) STRICT;

-- Every key, by the moment of its event: grows at one end. `hash` is the first 16 bytes of the key's
-- SHA-256.
CREATE TABLE known (
    at   INTEGER NOT NULL,
    hash BLOB NOT NULL,
    id   INTEGER NOT NULL,
    PRIMARY KEY (at, hash)
) STRICT, WITHOUT ROWID;

-- Attempts that ended otherwise than well, or are in doubt. One that ended well is in `done`, one that
-- is open in `ev`.
CREATE TABLE attempt (
    id      INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    started INTEGER NOT NULL,
    mark    INTEGER NOT NULL,
    ended   INTEGER,
    outcome TEXT NOT NULL,
    reason  TEXT,
    PRIMARY KEY (id, number)
) STRICT, WITHOUT ROWID;

-- What ended: done, or given up and then discarded. The last attempt only when it ended well.
CREATE TABLE done (
    id        INTEGER PRIMARY KEY,
    key       TEXT NOT NULL,
    sink      INTEGER NOT NULL,
    accepted  INTEGER NOT NULL,
    ended     INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    result    TEXT,
    number    INTEGER,
    started   INTEGER,
    mark      INTEGER
) STRICT;

CREATE TABLE dead (
    id         INTEGER PRIMARY KEY,
    key        TEXT NOT NULL,
    sink       INTEGER NOT NULL,
    lane       INTEGER NOT NULL,
    rank       INTEGER NOT NULL,
    accepted   INTEGER NOT NULL,
    died       INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    order_json TEXT NOT NULL
) STRICT;
CREATE INDEX dead_key ON dead (key);
CREATE INDEX dead_lane ON dead (lane, rank);
CREATE INDEX dead_died ON dead (died);

CREATE TABLE session (
    bridge       TEXT NOT NULL,
    thread       TEXT NOT NULL,
    contact      INTEGER NOT NULL,
    source_id    TEXT NOT NULL,
    conversation INTEGER NOT NULL,
    resolved     INTEGER NOT NULL,
    profile      INTEGER NOT NULL,
    PRIMARY KEY (bridge, thread)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (
    scope TEXT NOT NULL,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

-- One owner of all partitions, so one row. The owner is null once they were given back.
CREATE TABLE lease (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    epoch INTEGER NOT NULL,
    owner TEXT
) STRICT;
INSERT INTO lease VALUES (1, 0, NULL);

-- Files beside the database.
CREATE TABLE blob (
    id    TEXT NOT NULL PRIMARY KEY,
    bytes INTEGER NOT NULL,
    made  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `id`: the highest id ever given, as of the last time that rows were forgotten. `checks`: writes that
-- only asked whether writing works.
CREATE TABLE counter (
    name  TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter VALUES ('id', 0), ('checks', 0);
