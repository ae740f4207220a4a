-- Small blobs, beside the other rows so that one sync makes them durable together. `n` is the beginning of
-- the id and grows with time: rows are added and forgotten at the ends.
--
-- `scope` and `name`: a cursor that the blob came with. While it is there, so is the blob.
CREATE TABLE kept (
    n     INTEGER PRIMARY KEY,
    id    TEXT NOT NULL,
    scope TEXT,
    name  TEXT,
    bytes BLOB NOT NULL
) STRICT;

ALTER TABLE blob ADD COLUMN scope TEXT;
ALTER TABLE blob ADD COLUMN name TEXT;
