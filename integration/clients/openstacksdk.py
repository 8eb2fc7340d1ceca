# Drives the server at the URL given with openstacksdk, as Nova, Ansible's modules and people's own scripts do: each kind of
# record once, and a node through its life. What fails is told by the exception.
import sys

import openstack

url = sys.argv[1]
conn = openstack.connection.Connection(auth_type='none', endpoint=url, baremetal_endpoint_override=url, auth={'endpoint': url})
b = conn.baremetal


def check(found, expected):
    if found != expected:
        raise SystemExit('found %r, expected %r' % (found, expected))


check('fake-hardware' in [d.name for d in b.drivers()], True)
check([d.default_deploy_interface for d in b.drivers(details=True) if d.name == 'fake-hardware'], [b.get_driver('fake-hardware').default_deploy_interface])
check(len(list(b.conductors())), 1)
rack = b.create_chassis(description='rack', extra={'a': 'b'})
check([c.description for c in b.chassis(details=True)], ['rack'])
check(b.update_chassis(rack, description='row').description, 'row')

n = b.create_node(driver='fake-hardware', name='n1', resource_class='metal', chassis_id=rack.id)
check(b.get_node('n1', fields=['uuid', 'name']).id, n.id)
check(b.find_node('nosuch'), None)
check([x.name for x in b.nodes(details=True, resource_class='metal')], ['n1'])
n = b.update_node(n, extra={'k': 'v'}, owner='me')
n = b.patch_node(n, [{'op': 'add', 'path': '/extra/more', 'value': 1}])
check((n.extra, n.owner, n.provision_state), ({'k': 'v', 'more': 1}, 'me', 'available'))
b.set_node_traits(n, ['CUSTOM_A', 'CUSTOM_B'])
b.remove_node_trait(n, 'CUSTOM_B')
check(b.get_node(n).traits, ['CUSTOM_A'])
p = b.create_port(node_id=n.id, address='52:54:00:d1:00:01')
check(b.update_port(p, extra={'x': 1}).extra, {'x': 1})
check([x.address for x in b.ports(details=True, node=n.id)], ['52:54:00:d1:00:01'])
g = b.create_port_group(node_id=n.id, name='g1')
check([x.name for x in b.port_groups(details=True)], ['g1'])
b.delete_port_group(g)
b.attach_vif_to_node(n, 'vif1')
check(b.list_node_vifs(n), ['vif1'])
check(b.detach_vif_from_node(n, 'vif1'), True)
c = b.create_volume_connector(node_id=n.id, type='ip', connector_id='192.0.2.7')
check([x.connector_id for x in b.volume_connectors(details=True, node=n.id)], ['192.0.2.7'])
v = b.create_volume_target(node_id=n.id, volume_type='iscsi', volume_id='v', boot_index=0)
check([x.volume_id for x in b.volume_targets(details=True)], ['v'])

n = b.set_node_provision_state(n, 'manage', wait=True, timeout=60)
for target, power in (('power on', 'power on'), ('rebooting', 'power on'), ('soft power off', 'power off')):
    b.set_node_power_state(n, target, wait=True, timeout=60)
    check(b.get_node(n).power_state, power)
b.delete_volume_target(v)
b.delete_volume_connector(c)
b.set_node_maintenance(n, 'fan')
b.unset_node_maintenance(n)
b.set_node_boot_device(n, 'pxe', False)
b.validate_node(n, required=('boot', 'power'))
b.set_node_provision_state(n, 'inspect', wait=True, timeout=60)
b.set_node_provision_state(n, 'clean', clean_steps=[{'interface': 'bios', 'step': 'factory_reset'}], wait=True, timeout=60)
n = b.set_node_provision_state(n, 'provide', wait=True, timeout=60)
a = b.wait_for_allocation(b.create_allocation(resource_class='metal', name='a1', traits=['CUSTOM_A']), timeout=60)
check((a.state, a.node_id), ('active', n.id))
n = b.update_node(n, instance_info={'image_source': 'http://127.0.0.1:9/i', 'image_os_hash_algo': 'sha256', 'image_os_hash_value': 'a' * 64})
n = b.set_node_provision_state(n, 'active', config_drive={'meta_data': {}}, wait=True, timeout=60)
check((n.provision_state, n.instance_id), ('active', a.id))
n = b.set_node_provision_state(n, 'deleted', wait=True, timeout=60)
check((n.provision_state, list(b.allocations())), ('available', []))
t = b.create_deploy_template(name='CUSTOM_T', steps=[{'interface': 'bios', 'step': 'factory_reset', 'args': {}, 'priority': 10}])
check([x.name for x in b.deploy_templates(details=True)], ['CUSTOM_T'])
b.delete_deploy_template(t)
b.delete_port(p)
b.delete_node(n)
b.delete_chassis(rack)
check(list(b.nodes()), [])

# The layer for people's scripts.
conn.register_machine([{'mac': '52:54:00:d1:00:09'}], driver='fake-hardware', name='n2', wait=True, timeout=60)
check(conn.get_machine_by_mac('52:54:00:d1:00:09').name, 'n2')
conn.unregister_machine([{'mac': '52:54:00:d1:00:09'}], conn.get_machine('n2').id, timeout=60)
check(conn.list_machines(), [])
