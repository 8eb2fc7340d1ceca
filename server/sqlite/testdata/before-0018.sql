INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, instance_uuid, fault, description, maintenance, retired, body, working) VALUES
	('11111111-1111-4111-8111-111111111111', 7, 'one', 'available', 'redfish', '', '', 'blue', NULL, '', '', 0, 0, '{"power_state": "power on"}', 0);
