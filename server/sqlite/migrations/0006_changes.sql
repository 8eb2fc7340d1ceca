-- The journal of nodes: a row for each change, written by triggers, so that no writer can forget it. told is an event:
-- what a watcher is told has changed. Of the others only the last one of a node is kept. Owners before and after are
-- there, since who loses a node is told of it too. keptChanges and pruneEvery in changes.go repeat the two numbers.

CREATE TABLE changes (
	seq         INTEGER PRIMARY KEY AUTOINCREMENT,
	node        TEXT NOT NULL,
	name        TEXT NOT NULL,
	state       TEXT NOT NULL,
	target      TEXT NOT NULL,
	power       TEXT NOT NULL,
	maintenance INTEGER NOT NULL,
	last_error  TEXT NOT NULL,
	at          TEXT NOT NULL,
	gone        INTEGER NOT NULL,
	told        INTEGER NOT NULL,
	owner       TEXT NOT NULL,
	lessee      TEXT NOT NULL,
	was_owner   TEXT NOT NULL,
	was_lessee  TEXT NOT NULL
) STRICT;
CREATE INDEX changes_node ON changes (node, seq);

INSERT INTO changes (node, name, state, target, power, maintenance, last_error, at, gone, told, owner, lessee, was_owner, was_lessee)
	SELECT uuid, coalesce(name, ''), provision_state, coalesce(body ->> '$.target_provision_state', ''), coalesce(body ->> '$.power_state', ''), maintenance,
		coalesce(body ->> '$.last_error', ''), coalesce(body ->> '$.updated_at', ''), 0, 0, owner, lessee, owner, lessee
	FROM nodes ORDER BY id;

CREATE TRIGGER node_created AFTER INSERT ON nodes BEGIN
	INSERT INTO changes (node, name, state, target, power, maintenance, last_error, at, gone, told, owner, lessee, was_owner, was_lessee)
	VALUES (new.uuid, coalesce(new.name, ''), new.provision_state, coalesce(new.body ->> '$.target_provision_state', ''), coalesce(new.body ->> '$.power_state', ''),
		new.maintenance, coalesce(new.body ->> '$.last_error', ''), coalesce(new.body ->> '$.created_at', ''), 0, 1, new.owner, new.lessee, '', '');
END;

CREATE TRIGGER node_changed AFTER UPDATE ON nodes BEGIN
	DELETE FROM changes WHERE node = new.uuid AND told = 0;
	INSERT INTO changes (node, name, state, target, power, maintenance, last_error, at, gone, told, owner, lessee, was_owner, was_lessee)
	VALUES (new.uuid, coalesce(new.name, ''), new.provision_state, coalesce(new.body ->> '$.target_provision_state', ''), coalesce(new.body ->> '$.power_state', ''),
		new.maintenance, coalesce(new.body ->> '$.last_error', ''), coalesce(new.body ->> '$.updated_at', ''), 0,
		new.name IS NOT old.name OR new.provision_state <> old.provision_state OR new.maintenance <> old.maintenance OR new.owner <> old.owner OR new.lessee <> old.lessee
			OR new.body ->> '$.target_provision_state' IS NOT old.body ->> '$.target_provision_state'
			OR new.body ->> '$.power_state' IS NOT old.body ->> '$.power_state' OR new.body ->> '$.last_error' IS NOT old.body ->> '$.last_error',
		new.owner, new.lessee, old.owner, old.lessee);
END;

CREATE TRIGGER node_deleted AFTER DELETE ON nodes BEGIN
	DELETE FROM changes WHERE node = old.uuid AND told = 0;
	INSERT INTO changes (node, name, state, target, power, maintenance, last_error, at, gone, told, owner, lessee, was_owner, was_lessee)
	VALUES (old.uuid, coalesce(old.name, ''), '', '', '', 0, '', '', 1, 1, '', '', old.owner, old.lessee);
END;

-- Old entries go, but for the last one of a node that is there: by it a reader that begins at 0 finds the node.
CREATE TRIGGER changes_pruned AFTER INSERT ON changes WHEN new.seq % 4096 = 0 BEGIN
	DELETE FROM changes WHERE seq <= new.seq - 500000
		AND (gone = 1 OR EXISTS (SELECT 1 FROM changes later WHERE later.node = changes.node AND later.seq > changes.seq));
END;
