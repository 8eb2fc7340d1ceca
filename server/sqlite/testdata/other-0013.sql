-- What a start asks of every node, and what the journal compares at each write, have columns: both took them out of the
-- JSON, which cost more than all else that they do. changed_at is the body's updated_at, or created_at until then.

DROP TRIGGER node_created;
DROP TRIGGER node_changed;
ALTER TABLE nodes ADD COLUMN working INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN target_provision_state TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN power_state TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN last_error TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN changed_at TEXT NOT NULL DEFAULT '';
UPDATE nodes SET
	working = body ->> '$.lease' IS NOT NULL OR body ->> '$.flow' IS NOT NULL AND body ->> '$.flow.phase' IS NOT 'ended',
	target_provision_state = coalesce(body ->> '$.target_provision_state', ''), power_state = coalesce(body ->> '$.power_state', ''),
	last_error = coalesce(body ->> '$.last_error', ''), changed_at = coalesce(body ->> '$.updated_at', '');
CREATE INDEX nodes_working ON nodes (uuid, working);

CREATE TRIGGER node_created AFTER INSERT ON nodes BEGIN
	INSERT INTO changes (node, name, state, target, power, maintenance, last_error, at, gone, told, owner, lessee, was_owner, was_lessee)
	VALUES (new.uuid, coalesce(new.name, ''), new.provision_state, new.target_provision_state, new.power_state, new.maintenance, new.last_error,
		new.changed_at, 0, 1, new.owner, new.lessee, '', '');
END;

CREATE TRIGGER node_changed AFTER UPDATE ON nodes BEGIN
	DELETE FROM changes WHERE node = new.uuid AND told = 0;
	INSERT INTO changes (node, name, state, target, power, maintenance, last_error, at, gone, told, owner, lessee, was_owner, was_lessee)
	VALUES (new.uuid, coalesce(new.name, ''), new.provision_state, new.target_provision_state, new.power_state, new.maintenance, new.last_error,
		new.changed_at, 0,
		new.name IS NOT old.name OR new.provision_state <> old.provision_state OR new.maintenance <> old.maintenance OR new.owner <> old.owner OR new.lessee <> old.lessee
			OR new.target_provision_state <> old.target_provision_state OR new.power_state <> old.power_state OR new.last_error <> old.last_error,
		new.owner, new.lessee, old.owner, old.lessee);
END;
