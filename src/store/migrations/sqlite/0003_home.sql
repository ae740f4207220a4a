-- Which installation, account and inbox a session belongs to. Those from before are looked up anew.
ALTER TABLE session ADD COLUMN home INTEGER NOT NULL DEFAULT 0;
