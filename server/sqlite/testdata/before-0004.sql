INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, instance_uuid, fault, description, maintenance, retired, body)
VALUES ('11111111-1111-4111-8111-111111111111', 3, 'n1', 'available', 'fake-hardware', '', 'rack1', '', NULL, '', '', 0, 0, '{"uuid":"11111111-1111-4111-8111-111111111111","name":"n1"}');
INSERT INTO owner (id, holder, host, boot, pid, fence, renewals, expires) VALUES (1, 'h', 'here', 'b', 7, 4, 9, '2026-11-20T12:00:00Z');
INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, instance_uuid, fault, description, maintenance, retired, body)
VALUES ('22222222-2222-4222-8222-222222222222', 1, 'n2', 'active', 'redfish', '', '', 'p1', '33333333-3333-4333-8333-333333333333', '', '', 0, 0,
	'{"uuid":"22222222-2222-4222-8222-222222222222","name":"n2","lessee":"p2","shard":"s1","instance_info":{"display_name":"web-1"}}');
INSERT INTO default_config (scope, name, flow, step, key, value, node) VALUES ('node', '22222222-2222-4222-8222-222222222222', 'clean', 'deploy.erase_devices', 'priority', '5', '22222222-2222-4222-8222-222222222222');
