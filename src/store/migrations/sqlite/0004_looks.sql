-- How many dead letters each sink has, as `waiting` says how much waits.
ALTER TABLE sink ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;
UPDATE sink SET dead = (SELECT count(*) FROM dead WHERE dead.sink = sink.id);

CREATE INDEX dead_sink ON dead (sink, died);

-- By which a thread's finished messages are found. 0: finished before this was kept.
ALTER TABLE done ADD COLUMN lane INTEGER NOT NULL DEFAULT 0;
