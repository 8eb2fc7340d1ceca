//go:build vm

package clients

import (
	"net/http"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/allocations"
	"github.com/gophercloud/gophercloud/v2/openstack/baremetal/v1/nodes"
)

// TestGophercloudAllocates: an allocation by gophercloud, as its acceptance tests and the Terraform provider make it.
func TestGophercloudAllocates(t *testing.T) {
	t.Parallel()
	m := connect(t, server(t).URL, 0)
	m.client.Microversion = "1.52"
	n, err := nodes.Create(m.ctx, m.client, nodes.CreateOpts{Name: "n1", Driver: "fake-hardware", ResourceClass: "metal"}).Extract()
	m.must(err, "create the node")
	m.id = n.UUID
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetManage}, nodes.Manageable, nodes.Enroll, nodes.Verifying)
	m.must(nodes.ChangePowerState(m.ctx, m.client, m.id, nodes.PowerStateOpts{Target: nodes.PowerOff}).ExtractErr(), "power off")
	m.power("power off")
	m.provision(nodes.ProvisionStateOpts{Target: nodes.TargetProvide}, nodes.Available, nodes.Manageable, nodes.Cleaning, nodes.CleanWait)

	settled := func(opts allocations.CreateOpts) *allocations.Allocation {
		t.Helper()
		a, err := allocations.Create(m.ctx, m.client, opts).Extract()
		m.must(err, "create the allocation")
		for began := time.Now(); a.State == "allocating"; {
			if time.Since(began) > 2*time.Minute {
				t.Fatalf("still allocating: %+v", a)
			}
			a, err = allocations.Get(m.ctx, m.client, a.UUID).Extract()
			m.must(err, "get the allocation")
		}
		return a
	}
	a := settled(allocations.CreateOpts{Name: "a1", ResourceClass: "metal", Extra: map[string]string{"k": "v"}})
	if a.State != "active" || a.NodeUUID != m.id || a.Extra["k"] != "v" {
		t.Fatalf("allocation %+v", a)
	}
	if n := m.node(); n.InstanceUUID != a.UUID {
		t.Errorf("the node's instance is %q, expected the allocation %s", n.InstanceUUID, a.UUID)
	}
	if b := settled(allocations.CreateOpts{ResourceClass: "metal"}); b.State != "error" || b.LastError == "" {
		t.Errorf("a second allocation of one node: %+v", b)
	}
	page, err := allocations.List(m.client, allocations.ListOpts{State: "active"}).AllPages(m.ctx)
	m.must(err, "list allocations")
	if all, err := allocations.ExtractAllocations(page); err != nil || len(all) != 1 || all[0].UUID != a.UUID {
		t.Errorf("active allocations %+v, %v", all, err)
	}
	m.must(allocations.Delete(m.ctx, m.client, a.UUID).ExtractErr(), "delete the allocation")
	if _, err := allocations.Get(m.ctx, m.client, a.UUID).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		t.Errorf("a deleted allocation: %v", err)
	}
	if n := m.node(); n.InstanceUUID != "" {
		t.Errorf("the node keeps the instance %s", n.InstanceUUID)
	}
}
