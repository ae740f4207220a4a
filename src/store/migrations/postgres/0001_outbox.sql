-- Moments are Unix milliseconds, except where leases end: that is for the database's own clock. Ids of envelopes grow
-- with arrival and are never reused. Text is ordered by its bytes.
--
-- A migration that comes later only adds, so that a replica of the version before works on beside it.

CREATE SEQUENCE envelope_id AS bigint CACHE 1;

-- Interned, never removed.
CREATE TABLE sink (
    id   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

-- How much waits and how much is dead. Each writing connection counts in rows of its own, so that none waits for
-- another; the sum is what counts.
CREATE TABLE tally (
    sink    integer NOT NULL,
    slot    smallint NOT NULL,
    waiting bigint NOT NULL,
    dead    bigint NOT NULL,
    PRIMARY KEY (sink, slot)
) WITH (fillfactor = 50);

-- What waits, narrow: one scan of it rebuilds all lanes. No index by lane: the order of work lives in memory.
CREATE TABLE ev (
    id        bigint PRIMARY KEY,
    partition smallint NOT NULL,
    sink      integer NOT NULL,
    lane      bigint NOT NULL,
    rank      bigint NOT NULL,
    due       bigint NOT NULL,
    attempts  integer NOT NULL, -- that count
    number    integer NOT NULL, -- of the last attempt, counted or not
    started   bigint,           -- while an attempt is open
    mark      bigint
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE body (
    id         bigint PRIMARY KEY,
    key        text COLLATE "C" NOT NULL,
    accepted   bigint NOT NULL,
    order_json text COLLATE "C" NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- Every key, by the moment of its event: grows at one end, and keeps two replicas from taking the same in twice. `hash`
-- is the first 16 bytes of the key's SHA-256.
CREATE TABLE known (
    at   bigint NOT NULL,
    hash bytea NOT NULL,
    id   bigint NOT NULL,
    PRIMARY KEY (at, hash)
);

-- Attempts that ended otherwise than well, or are in doubt. One that ended well is in `done`, one that is open in `ev`.
CREATE TABLE attempt (
    id      bigint NOT NULL,
    number  integer NOT NULL,
    started bigint NOT NULL,
    mark    bigint NOT NULL,
    ended   bigint,
    outcome text COLLATE "C" NOT NULL,
    reason  text COLLATE "C",
    PRIMARY KEY (id, number)
);

-- What ended: done, or given up and then discarded. The last attempt only when it ended well.
CREATE TABLE done (
    id        bigint PRIMARY KEY,
    key       text COLLATE "C" NOT NULL,
    sink      integer NOT NULL,
    lane      bigint NOT NULL,
    accepted  bigint NOT NULL,
    ended     bigint NOT NULL,
    discarded boolean NOT NULL,
    result    text COLLATE "C",
    number    integer,
    started   bigint,
    mark      bigint
);

CREATE TABLE dead (
    id         bigint PRIMARY KEY,
    key        text COLLATE "C" NOT NULL,
    sink       integer NOT NULL,
    lane       bigint NOT NULL,
    rank       bigint NOT NULL,
    accepted   bigint NOT NULL,
    died       bigint NOT NULL,
    attempts   integer NOT NULL,
    number     integer NOT NULL,
    reason     text COLLATE "C" NOT NULL,
    order_json text COLLATE "C" NOT NULL
);
CREATE INDEX dead_key ON dead USING hash (key);
CREATE INDEX dead_lane ON dead (lane, rank);
CREATE INDEX dead_died ON dead (died, id);
CREATE INDEX dead_sink ON dead (sink, died, id);

CREATE TABLE session (
    bridge       text COLLATE "C" NOT NULL,
    thread       text COLLATE "C" NOT NULL,
    contact      bigint NOT NULL,
    source_id    text COLLATE "C" NOT NULL,
    conversation bigint NOT NULL,
    resolved     boolean NOT NULL,
    profile      bigint NOT NULL,
    home         bigint NOT NULL,
    PRIMARY KEY (bridge, thread)
);

CREATE TABLE cursor (
    scope text COLLATE "C" NOT NULL,
    name  text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (scope, name)
);

-- Who may work on which share of the lanes, and until when nobody may take it without asking. `epoch` fences: every
-- turn shows it. The owner is null once a partition was given back.
CREATE TABLE lease (
    partition smallint PRIMARY KEY,
    owner     text COLLATE "C",
    epoch     bigint NOT NULL,
    until     timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO lease SELECT n, NULL, 0, '-infinity' FROM generate_series(0, 255) AS n;

-- Small blobs. `n` is the beginning of the id and grows with time. `scope` and `name`: a cursor that the blob came
-- with. While it is there, so is the blob.
CREATE TABLE kept (
    n     bigint PRIMARY KEY,
    id    text COLLATE "C" NOT NULL,
    scope text COLLATE "C",
    name  text COLLATE "C",
    bytes bytea NOT NULL
);

-- Large blobs, in pieces. Without a size while they are on their way.
CREATE TABLE blob (
    id    text COLLATE "C" PRIMARY KEY,
    bytes bigint,
    made  bigint NOT NULL,
    scope text COLLATE "C",
    name  text COLLATE "C"
);
CREATE TABLE piece (
    blob  text COLLATE "C" NOT NULL,
    n     integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (blob, n)
);
ALTER TABLE kept ALTER COLUMN bytes SET STORAGE EXTERNAL;
ALTER TABLE piece ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- The last transaction of each writing connection, which it writes down in it: so it can find out, when the answer to
-- its commit was lost, what became of it, even of a server that took over from another.
CREATE TABLE writer (
    id     text COLLATE "C" PRIMARY KEY,
    number bigint NOT NULL,
    at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
