-- Lists of nodes read the prepared rows alone: the nodes themselves are larger. So every node has a row, whoever writes it:
-- triggers make it and put it out of date. A row without a form is out of date. parent_node is the node's parent, as
-- most lists are of nodes without one. Rows of before are kept for their size, so that the table grows no gaps when they are
-- made anew.

CREATE TABLE rows_alone (
	node        INTEGER PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
	parent_node TEXT NOT NULL,
	form        TEXT NOT NULL,
	prepared    BLOB NOT NULL
) STRICT;
INSERT INTO rows_alone (node, parent_node, form, prepared)
	SELECT id, parent, '', coalesce(prepared, zeroblob(length(CAST(body AS BLOB)))) FROM nodes LEFT JOIN node_rows ON node = id ORDER BY id;
DROP TABLE node_rows;
ALTER TABLE rows_alone RENAME TO node_rows;

CREATE TRIGGER node_row_made AFTER INSERT ON nodes BEGIN
	INSERT INTO node_rows (node, parent_node, form, prepared) VALUES (new.id, new.parent, '', x'');
END;
CREATE TRIGGER node_row_old AFTER UPDATE ON nodes BEGIN
	UPDATE node_rows SET parent_node = new.parent, form = '' WHERE node = new.id;
END;
