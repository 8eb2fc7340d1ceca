-- For some hours 0013 was another: the journal compared columns of its own, which nobody writes any more, so a database of
-- that time would tell watchers of no change of power, target or error. Triggers and index are made again as 0006 and 0013
-- have them; elsewhere that changes nothing. The columns stay, as other databases do not have them to be dropped.

DROP TRIGGER node_created;
DROP TRIGGER node_changed;
DROP INDEX nodes_working;
CREATE INDEX nodes_working ON nodes (working) WHERE working = 1;

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
