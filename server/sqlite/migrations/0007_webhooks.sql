-- Destinations that are told of changes. Each has its own place in the journal: one that is dead holds nobody up.

CREATE TABLE webhooks (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	uuid         TEXT NOT NULL UNIQUE,
	project      TEXT NOT NULL,
	url          TEXT NOT NULL,
	key_id       TEXT NOT NULL,
	sealed       BLOB NOT NULL,
	created_at   TEXT NOT NULL,
	epoch        TEXT NOT NULL,
	seq          INTEGER NOT NULL,
	failures     INTEGER NOT NULL,
	last_error   TEXT NOT NULL,
	delivered_at TEXT NOT NULL
) STRICT;
