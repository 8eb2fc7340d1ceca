INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, instance_uuid, fault, description, maintenance, retired, body, parent) VALUES
	('11111111-1111-4111-8111-111111111111', 7, 'one', 'active', 'redfish', '', '', 'blue', NULL, '', '', 0, 0, '{"power_state": "power on"}', ''),
	('22222222-2222-4222-8222-222222222222', 2, NULL, 'available', 'redfish', '', '', '', NULL, '', '', 0, 0, '{}', '11111111-1111-4111-8111-111111111111'),
	('33333333-3333-4333-8333-333333333333', 2, NULL, 'available', 'redfish', '', '', '', NULL, '', '', 0, 0, '{}', '');
INSERT INTO node_rows (node, of_version, form, prepared) VALUES (1, 7, 'f', x'010203'), (2, 1, 'g', x'0102');
