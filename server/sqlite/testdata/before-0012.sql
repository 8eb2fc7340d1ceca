INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, instance_uuid, fault, description, maintenance, retired, body, form, prepared) VALUES
	('11111111-1111-4111-8111-111111111111', 7, 'one', 'active', 'redfish', '', '', 'blue', NULL, '', '', 0, 0, '{"power_state": "power on"}', 'f', x'7b7d'),
	('22222222-2222-4222-8222-222222222222', 1, NULL, 'enroll', 'redfish', '', '', '', NULL, '', '', 0, 0, '{}', '', NULL);
