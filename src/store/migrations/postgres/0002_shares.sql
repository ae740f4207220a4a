-- Several gateways at once, each with its share of the partitions. A program of before took all of them for itself, so it
-- must not go on beside this: its leases end here, and what it would write names a column that is gone.

-- Which partition a row is in. Towards a network, that is its bridge's: see `Lane::partition`.
ALTER TABLE ev RENAME COLUMN partition TO share;
UPDATE ev SET share = get_byte(sha256(convert_to(sink.name, 'UTF8')), 0)
    FROM sink WHERE sink.id = ev.sink AND sink.name LIKE 'bridge:%';

-- Who works here, and until when it is taken to live without being heard of again.
CREATE TABLE replica (
    owner text COLLATE "C" PRIMARY KEY,
    until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- A partition is its owner's as long as that one lives. `orphaned`: nobody gave it back.
ALTER TABLE lease DROP COLUMN until;
ALTER TABLE lease ADD COLUMN orphaned boolean NOT NULL DEFAULT false;
UPDATE lease SET orphaned = true, owner = NULL, epoch = epoch + 1 WHERE owner IS NOT NULL;

-- What began to wait again, under its old number: dead letters that were put back. Stamps are given out under a lock, so
-- that they become visible in their order.
CREATE TABLE again (
    stamp bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id    bigint NOT NULL,
    at    timestamptz NOT NULL DEFAULT now()
);
