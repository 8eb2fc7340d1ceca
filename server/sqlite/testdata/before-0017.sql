INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, instance_uuid, fault, description, maintenance, retired, body, working) VALUES
	('11111111-1111-4111-8111-111111111111', 7, 'one', 'available', 'redfish', '', '', 'blue', NULL, '', '', 0, 0, '{"power_state": "power on"}', 0);
INSERT INTO steps (id, node, run, place, attempt, state, nonce, body) VALUES
	('s1', '11111111-1111-4111-8111-111111111111', 'r1', 0, 1, 'succeeded', 'n', '{"id":"s1","step":{"name":"deploy.erase_devices"}}'),
	('s2', '11111111-1111-4111-8111-111111111111', 'r1', 1, 1, 'failed', '', '{"id":"s2"}');
INSERT INTO history (uuid, node, body) VALUES ('h1', '11111111-1111-4111-8111-111111111111', '{"uuid":"h1","event":"moved"}');
