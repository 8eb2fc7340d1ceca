package storetest

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// ofDrivers is what nodes of a driver have that chose no interface.
var ofDrivers = map[string]string{"redfish": "m-default", "fake-hardware": "b-default"}

// shown is the value of a field as a list shows it: nil for none, else a bool, a text or a time.
func shown(t *testing.T, n *conductor.Node, f api.Field) any {
	t.Helper()
	if iface, ok := strings.CutSuffix(f.Name, "_interface"); ok {
		return cmp.Or(n.Interfaces[iface], ofDrivers[n.Driver])
	}
	if f.Name == "reservation" {
		if conductor.Busy(*n) {
			return "host"
		}
		return nil
	}
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	switch v := fields[f.Name].(type) {
	case bool:
		return v
	case string:
		if v == "" {
			return nil
		}
		if f.Kind != api.Stamp {
			return v
		}
		at, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			t.Fatal(err)
		}
		if at.IsZero() {
			return nil
		}
		return at
	case nil:
		if f.Kind == api.Flag || f.Name == "disable_power_off" {
			return false
		}
		return nil
	default:
		t.Fatalf("%s is a %T", f.Name, v)
		return nil
	}
}

// before compares two values of a field; none comes first.
func before(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(btoi(a != nil), btoi(b != nil))
	}
	switch x := a.(type) {
	case bool:
		return cmp.Compare(btoi(x), btoi(b.(bool)))
	case time.Time:
		return x.Compare(b.(time.Time))
	}
	return strings.Compare(a.(string), b.(string))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// testNodeOrder: nodes come in the order of each field that they may be sorted by, those of one value as they were made,
// in both directions and page by page.
func testNodeOrder(t *testing.T, s suite) {
	yes, no := true, false
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	var all []*conductor.Node
	for i := range 6 {
		n := Node(i + 1)
		n.Flow, n.Boot, n.SecureBoot, n.Interfaces = nil, nil, nil, nil
		word := []string{"b", "", "a", "c", "", "B"}[i]
		flag := i%2 == 0
		n.Name, n.Description, n.ResourceClass, n.Group, n.Owner, n.Lessee, n.Shard, n.InstanceName = word, word, word, word, word, word, word, word
		n.LastError, n.MaintenanceReason, n.ProtectedReason, n.RetiredReason, n.Fault, n.BootMode, n.Health = word, word, word, word, word, word, word
		n.Power, n.Target = conductor.Power(word), state.State(word)
		n.Maintenance, n.Protected, n.Retired, n.DisablePowerOff, n.Console = flag, flag, flag, flag, flag
		if word != "" {
			n.InstanceUUID = "i-" + word
			n.Interfaces = map[string]string{}
			for _, iface := range api.Interfaces() {
				n.Interfaces[iface] = word
			}
		}
		if i > 0 && word != "" {
			n.Parent = ID(1)
		}
		n.AutomatedClean = []*bool{&yes, nil, &no}[i%3]
		n.SecureBoot = []*bool{nil, &no, &yes}[i%3]
		n.Driver = []string{"redfish", "fake-hardware", "gone"}[i%3]
		n.StateSince = at.Add(time.Duration(i%3) * time.Millisecond)
		n.Created, n.InspectionStarted = at.Add(time.Duration(5-i)*time.Nanosecond*1e6), at.Add(time.Duration(i%4)*time.Second)
		n.Updated, n.InspectionFinished = time.Time{}, time.Time{}
		if flag {
			n.Updated, n.InspectionFinished = at.Add(time.Duration(9-i)*time.Second), at.Add(time.Duration(9-i)*time.Second)
		}
		all = append(all, n)
	}
	// Each way of being busy, and what comes near to it.
	all[0].State, all[2].PowerTarget, all[3].Act = state.Cleaning, conductor.PowerOn, &conductor.Act{}
	all[1].State, all[1].Lease = state.CleanWait, &conductor.Lease{Number: 1, Holder: string(state.Clean)}
	all[4].Lease = &conductor.Lease{Number: 1, Holder: conductor.HolderBootDevice}
	s.create(all...)
	keys := 0
	for _, f := range api.NodeFields() {
		if !f.Sort {
			continue
		}
		keys++
		want := slices.Clone(all)
		slices.SortStableFunc(want, func(a, b *conductor.Node) int { return before(shown(t, a, f), shown(t, b, f)) })
		for _, down := range []bool{false, true} {
			if down {
				slices.Reverse(want)
			}
			var got []conductor.NodeID
			s.view(func(tx conductor.Tx) error {
				whole := conductor.NodeFilter{SortKey: f.Name, Descending: down, Defaults: ofDrivers}
				list, err := tx.Nodes(whole)
				if err != nil {
					return err
				}
				page := whole
				page.Limit = 1
				for i, n := range list {
					got = append(got, n.UUID)
					one, err := tx.Nodes(page)
					if err != nil {
						return err
					}
					if len(one) != 1 || one[0].UUID != n.UUID {
						t.Errorf("by %s, descending %t: page %d is %v, want %s", f.Name, down, i, one, n.UUID)
						break
					}
					page.After = n.UUID
				}
				return nil
			})
			if !slices.EqualFunc(got, want, func(id conductor.NodeID, n *conductor.Node) bool { return id == n.UUID }) {
				var ids []conductor.NodeID
				for _, n := range want {
					ids = append(ids, n.UUID)
				}
				t.Errorf("by %s, descending %t: got %v, want %v", f.Name, down, got, ids)
			}
		}
	}
	if keys < 45 {
		t.Errorf("nodes may be sorted by %d fields", keys)
	}
}
