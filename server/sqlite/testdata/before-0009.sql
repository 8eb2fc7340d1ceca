INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, instance_uuid, fault, description, maintenance, retired, body)
VALUES ('11111111-1111-4111-8111-111111111111', 3, 'n1', 'available', 'fake-hardware', '', 'rack1', '', NULL, '', '', 0, 0, '{"uuid":"11111111-1111-4111-8111-111111111111","name":"n1"}');
INSERT INTO owner (id, holder, host, boot, pid, fence, renewals, expires) VALUES (1, 'h', 'here', 'b', 7, 4, 9, '2026-11-20T12:00:00Z');
INSERT INTO records (kind, uuid, name, node, mark, body) VALUES ('port', 'a', NULL, '11111111-1111-4111-8111-111111111111', '52:54:00:00:00:01', '{"uuid":"a"}');
