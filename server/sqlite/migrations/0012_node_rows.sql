-- Prepared rows leave the table of nodes, so that what reads a node, or checks them all at the start, does not read them
-- too. of_version is the node's version that a row was made of: with another one it is out of date, and not shown.

CREATE TABLE node_rows (
	node       INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
	of_version INTEGER NOT NULL,
	form       TEXT NOT NULL,
	prepared   BLOB NOT NULL
) STRICT;
INSERT INTO node_rows (node, of_version, form, prepared)
	SELECT id, version, form, prepared FROM nodes WHERE prepared IS NOT NULL ORDER BY id;
ALTER TABLE nodes DROP COLUMN prepared;
ALTER TABLE nodes DROP COLUMN form;
