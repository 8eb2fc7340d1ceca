-- default_config: one value a row. node is set for the scope of one node, which goes with it.

CREATE TABLE default_config (
	scope TEXT NOT NULL,
	name  TEXT NOT NULL,
	flow  TEXT NOT NULL,
	step  TEXT NOT NULL,
	key   TEXT NOT NULL,
	value TEXT NOT NULL,
	node  TEXT REFERENCES nodes (uuid) ON DELETE CASCADE,
	PRIMARY KEY (scope, name, flow, step, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX default_config_node ON default_config (node);
