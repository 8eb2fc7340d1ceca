INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, instance_uuid, fault, description, maintenance, retired, body)
VALUES ('11111111-1111-4111-8111-111111111111', 3, 'n1', 'available', 'fake-hardware', '', 'rack1', '', NULL, '', '', 0, 0, '{"uuid":"11111111-1111-4111-8111-111111111111","name":"n1"}');
INSERT INTO owner (id, holder, host, boot, pid, fence, renewals, expires) VALUES (1, 'h', 'here', 'b', 7, 4, 9, '2026-11-20T12:00:00Z');
INSERT INTO default_config (scope, name, flow, step, key, value, node) VALUES ('node', '11111111-1111-4111-8111-111111111111', 'clean', 'deploy.erase_devices', 'priority', '5', '11111111-1111-4111-8111-111111111111');
INSERT INTO ports (id, uuid, node, address, body) VALUES
	(2, 'a', '11111111-1111-4111-8111-111111111111', '52:54:00:00:00:02', '{"uuid":"a","node_uuid":"11111111-1111-4111-8111-111111111111","address":"52:54:00:00:00:02","name":"eth"}'),
	(5, 'b', '11111111-1111-4111-8111-111111111111', '52:54:00:00:00:01', '{"uuid":"b","node_uuid":"11111111-1111-4111-8111-111111111111","address":"52:54:00:00:00:01","name":"eth"}'),
	(6, 'c', '11111111-1111-4111-8111-111111111111', '52:54:00:00:00:03', '{"uuid":"c","node_uuid":"11111111-1111-4111-8111-111111111111","address":"52:54:00:00:00:03"}'),
	(7, 'd', '11111111-1111-4111-8111-111111111111', '52:54:00:00:00:04', '{"uuid":"d","node_uuid":"11111111-1111-4111-8111-111111111111","address":"52:54:00:00:00:04","name":"other"}');
