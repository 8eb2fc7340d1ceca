-- What lists show of a node, prepared when the node is written (sqlite.Store.Prepare); form says by which rules. A row of
-- another form, or without one, is made from the body.

ALTER TABLE nodes ADD COLUMN form TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN prepared BLOB;
