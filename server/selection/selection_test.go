package selection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const example = `{"name": "rack7-a", "provision_state": "clean failed", "maintenance": true, "resource_class": null, "owner": "x,y",
	"properties": {"cpu_arch": "x86_64", "memory_mb": 4096, "root_device": {"serial": "S1"}, "capabilities": {}},
	"traits": ["CUSTOM_A", "HW_B"], "automated_clean": null, "last_error": "disk.io: read", "description": "two * stars", "created_at": "2026-11-20T10:00:00+00:00"}`

func TestMatch(t *testing.T) {
	var node map[string]any
	if err := json.Unmarshal([]byte(example), &node); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"name=rack7-a": true, "name=rack7": false, "name=rack7*": true, "name=*7*a": true, "name=r*k8*": false, "name=*rack7-a*": true,
		"name=ra*ack7-a": false, "name=rack7-a*rack7-a": false, "name!=rack8-a": true, "name=x|rack7-a": true, "name!=x|rack7-a": false,
		"state=clean failed": true, "state=clean failed|enroll": true, "state!=enroll": true, "state=enroll, name=rack7-a": false,
		"maintenance=yes": true, "maintenance=0": false, "class=": true, "class!=": false, "resource_class=big": false, "automated_clean=": true, "automated_clean=false": false,
		"properties.cpu_arch=x86_64": true, "properties.memory_mb>=4096": true, "properties.memory_mb>900": true, "properties.memory_mb<4096": false,
		"properties.memory_mb<=4096": true, "properties.cpus>1": false, "properties.cpus<1": false, "properties.cpus=": true, "properties.capabilities=": true,
		"properties.root_device.serial=S1": true, "properties.root_device.serial.x=": true, `properties.root_device={"serial":"S1"}`: true,
		"traits=CUSTOM_A": true, "traits=CUSTOM_*": true, "traits=CUSTOM": false, "trait!=HW_B": false, "trait!=HW_C": true, "traits~USTOM": true, "traits=": false,
		`owner="x,y"`: true, "owner~x": true, "owner!~z": true, "last_error~disk.io:": true, `description="two * stars"`: true, `description="two *"`: false, "description=two *": true,
		`description="two *"|two*`: true, `description=two*|"two *"`: true, `description!="a,b"|two*`: false, `name!="a,b"|rack7-*`: false, `description="two *"|x*`: false,
		"created_at<2026-12": true, "created_at>2026-12": false,
	} {
		q, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := q.Match(node); got != want {
			t.Errorf("%s matches: %v", text, got)
		}
	}
	if !(Query{}).Match(node) {
		t.Error("the empty query leaves a node out")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"": "empty", "name": "no comparison", "=x": "no comparison", "name!x": "no comparison", "nosuch=1": "no field", "provision=x": "did you mean",
		"state=ready": "is no provision state", "maintenance=maybe": "boolean", "name.x=1": "leads nowhere", `name="x`: "not closed", "name=a,": "no comparison", "name<a|b": "one value",
		"owner~": "owner~ has no value", "owner!~": "no value", `owner~""`: "no value", "properties.memory_mb>": "no value", "created_at>=  ": "no value", "created_at<=": "no value", "created_at<": "no value",
		`state="clean*"`: "is no provision state",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, expected %q", text, err, want)
		}
	}
}

func TestFilters(t *testing.T) {
	for text, want := range map[string]string{
		"state=manageable": "provision_state=manageable", "state=manageable,class=big": "provision_state=manageable&resource_class=big",
		"state!=manageable": "", "state=manageable|enroll": "", "class=b*": "", "class=": "", "maintenance=yes": "maintenance=true", "name=x": "",
		"properties.driver=x": "", "owner=a,owner=b": "owner=a",
	} {
		q, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := q.Filters().Encode(); got != want {
			t.Errorf("%s: filters %q, expected %q", text, got, want)
		}
	}
}

// fleet is a server's nodes; change is called before each node is looked at again.
type fleet struct {
	nodes  []map[string]any
	change func(uuid string)
}

func (f *fleet) EachNode(_ context.Context, q url.Values, fn func(map[string]any) error) error {
	for _, n := range f.nodes {
		if s := q.Get("provision_state"); s != "" && s != n["provision_state"] {
			continue
		}
		if err := fn(n); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) NodeFields(_ context.Context, node string, fields []string) (map[string]any, error) {
	if !slices.Contains(fields, "provision_state") {
		return nil, fmt.Errorf("fields %v", fields)
	}
	if f.change != nil {
		f.change(node)
	}
	for _, n := range f.nodes {
		if n["uuid"] == node || n["name"] == node {
			return n, nil
		}
	}
	return nil, fault.New(fault.NodeNotFound, "node %s is not there", node)
}

func node(i int, s state.State) map[string]any {
	return map[string]any{"uuid": fmt.Sprintf("u%d", i), "name": fmt.Sprintf("n%d", i), "provision_state": string(s), "maintenance": false, "owner": "me"}
}

// Of ten new and ten available nodes, a run over the new ones touches the new ones alone, also when nodes move into the
// selected state or out of it while it runs (requirements 129 and 133).
func TestRunNeverWidens(t *testing.T) {
	f := &fleet{}
	for i := range 20 {
		s := state.Available
		if i < 10 {
			s = state.Manageable
		}
		f.nodes = append(f.nodes, node(i, s))
	}
	q, err := Parse("state=manageable,owner=me")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Find(t.Context(), f, q)
	if err != nil || len(s.Nodes) != 10 || s.Nodes[3].Label() != "n3" {
		t.Fatalf("selected %v, %v", s.Nodes, err)
	}
	// Meanwhile an available one becomes manageable, and of the selected ones four change.
	f.nodes[15]["provision_state"] = "manageable"
	f.nodes[1]["provision_state"] = "available"
	f.nodes[2]["maintenance"] = true
	f.nodes[3]["owner"] = "you"
	f.nodes = slices.Delete(f.nodes, 4, 5)
	var touched []string
	results := s.Run(t.Context(), f, 1, func(_ context.Context, n Node) error {
		touched = append(touched, n.UUID)
		switch n.UUID {
		case "u5":
			return errors.New("broken")
		case "u6":
			return &Skip{"not now"}
		}
		return nil
	})
	if got := strings.Join(touched, " "); got != "u0 u5 u6 u7 u8 u9" {
		t.Errorf("touched %s", got)
	}
	for i, want := range []string{"", `"available" now`, "maintenance", "does not match", "deleted", "broken", "not now", "", "", ""} {
		r := results[i]
		outcome := map[bool]Outcome{true: Done, false: Skipped}[want == ""]
		if want == "broken" {
			outcome = Failed
		}
		if r.Outcome != outcome || !strings.Contains(r.Reason, want) {
			t.Errorf("node %d: %s %q, expected %s %q", i, r.Outcome, r.Reason, outcome, want)
		}
	}
	if Worst(results) != Failed || Worst(results[:3]) != Skipped || Worst(results[:1]) != Done || Worst(nil) != Done {
		t.Error("the worst result is another")
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	f := &fleet{nodes: []map[string]any{node(1, state.Enroll), node(2, state.Enroll)}}
	s, err := Named(t.Context(), f, []string{"n2", "u2", "n1"})
	if err != nil || len(s.Nodes) != 2 || s.Nodes[0].UUID != "u2" {
		t.Fatalf("selected %v, %v", s.Nodes, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	results := s.Run(ctx, f, 1, func(context.Context, Node) error { cancel(); return nil })
	if results[0].Outcome != Done || results[1].Outcome != Skipped {
		t.Errorf("results %v", results)
	}
	if _, err := Named(t.Context(), f, []string{"n1", "nosuch"}); !fault.Has(err, fault.NodeNotFound) {
		t.Errorf("an unknown node: %v", err)
	}
}
