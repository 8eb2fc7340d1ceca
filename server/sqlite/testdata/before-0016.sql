INSERT INTO nodes (uuid, version, name, provision_state, driver, resource_class, conductor_group, owner, instance_uuid, fault, description, maintenance, retired, body, working) VALUES
	('11111111-1111-4111-8111-111111111111', 7, 'one', 'available', 'redfish', '', '', 'blue', NULL, '', '', 0, 0, '{"power_state": "power on"}', 0);
INSERT INTO inventories (node, generation, accepted, body) VALUES
	('11111111-1111-4111-8111-111111111111', 3, 1, '{"node":"11111111-1111-4111-8111-111111111111","generation":3,"taken":"2026-11-20T12:00:00Z","accepted":true,"inventory":{"disks":[{"name":"/dev/sda","serial":"S0","size":7}],"hostname":"old"},"plugin_data":{"a":1}}');
