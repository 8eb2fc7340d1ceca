INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, lessee, instance_uuid, fault, description, maintenance, retired, body)
VALUES ('11111111-1111-4111-8111-111111111111', 3, 'n1', 'available', 'fake-hardware', '', 'rack1', 'blue', 'red', NULL, '', '', 0, 0, '{"uuid":"11111111-1111-4111-8111-111111111111","name":"n1","power_state":"power on"}');
INSERT INTO records (kind, uuid, name, node, mark, body) VALUES ('port', 'a', NULL, '11111111-1111-4111-8111-111111111111', '52:54:00:00:00:02', '{"uuid":"a"}');
