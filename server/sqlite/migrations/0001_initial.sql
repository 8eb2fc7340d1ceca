-- What is filtered, sorted or unique has a column; the object itself is the JSON in body.

CREATE TABLE nodes (
	id              INTEGER PRIMARY KEY AUTOINCREMENT, -- order of creation
	uuid            TEXT NOT NULL UNIQUE,
	name            TEXT UNIQUE,
	version         INTEGER NOT NULL,
	provision_state TEXT NOT NULL,
	driver          TEXT NOT NULL,
	resource_class  TEXT NOT NULL,
	conductor_group TEXT NOT NULL,
	owner           TEXT NOT NULL,
	instance_uuid   TEXT UNIQUE,
	fault           TEXT NOT NULL,
	description     TEXT NOT NULL,
	maintenance     INTEGER NOT NULL,
	retired         INTEGER NOT NULL,
	body            TEXT NOT NULL
) STRICT;
CREATE INDEX nodes_state ON nodes (provision_state);

CREATE TABLE ports (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	uuid    TEXT NOT NULL UNIQUE,
	node    TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
	address TEXT NOT NULL UNIQUE,
	body    TEXT NOT NULL
) STRICT;
CREATE INDEX ports_node ON ports (node);

CREATE TABLE steps (
	seq     INTEGER PRIMARY KEY AUTOINCREMENT,
	id      TEXT NOT NULL UNIQUE,
	node    TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
	run     TEXT NOT NULL,
	place   INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	state   TEXT NOT NULL,
	nonce   TEXT NOT NULL,
	body    TEXT NOT NULL
) STRICT;
CREATE INDEX steps_run ON steps (node, run, place, attempt);
CREATE INDEX steps_open ON steps (node) WHERE state IN ('offered', 'started');

CREATE TABLE secrets (
	node   TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
	field  TEXT NOT NULL,
	key_id TEXT NOT NULL,
	sealed BLOB NOT NULL,
	PRIMARY KEY (node, field)
) STRICT, WITHOUT ROWID;
CREATE INDEX secrets_key ON secrets (key_id);

CREATE TABLE history (
	seq  INTEGER PRIMARY KEY AUTOINCREMENT,
	uuid TEXT NOT NULL UNIQUE,
	node TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
	body TEXT NOT NULL
) STRICT;
CREATE INDEX history_node ON history (node, seq);

CREATE TABLE inventories (
	node       TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
	generation INTEGER NOT NULL,
	accepted   INTEGER NOT NULL,
	body       TEXT NOT NULL,
	PRIMARY KEY (node, generation)
) STRICT;

CREATE TABLE effects (
	id   INTEGER PRIMARY KEY AUTOINCREMENT,
	node TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
	body TEXT NOT NULL
) STRICT;
CREATE INDEX effects_node ON effects (node);

CREATE TABLE settings (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The audit outlives the nodes it speaks of: no reference. Each hash covers the one before (audit.go).
CREATE TABLE audit (
	seq  INTEGER PRIMARY KEY AUTOINCREMENT,
	body TEXT NOT NULL,
	hash BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_fixed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
