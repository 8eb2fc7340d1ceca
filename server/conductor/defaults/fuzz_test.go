package defaults

import (
	"encoding/json"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// FuzzZ1_Defaults: whatever scope, flow, step, key and value are given, it is a default that a plan can use, or refused with the
// reason. A scope reads the same when it comes back, and no default leaves out what writes or erases.
func FuzzZ1_Defaults(f *testing.F) {
	for _, scope := range []string{"fleet", "group:rack1", "trait:CUSTOM_A", "node:n1", "group:a:b", "", "fleet:x", "node:\n"} {
		f.Add(scope, "clean", catalog.EraseStep, conductor.KeyPriority, "20")
	}
	f.Add("fleet", "clean", catalog.EraseStep, conductor.KeyPriority, "0")
	f.Add("fleet", "deploy", catalog.WriteStep, conductor.KeyPriority, "1e400")
	f.Add("fleet", "clean", catalog.EraseStep, conductor.KeyArgument+"method", `"overwrite"`)
	f.Add("fleet", "clean", "nosuch", conductor.KeyArgument, `[null]`)
	registry := nodetest.Snapshot().Registry
	f.Fuzz(func(t *testing.T, scope, flow, step, key, value string) {
		s, err := conductor.ParseScope(scope)
		if err != nil {
			if !fault.Has(err, fault.RequestInvalid) {
				t.Fatalf("%q: %v", scope, err)
			}
			return
		}
		if again, err := conductor.ParseScope(s.String()); err != nil || again != s || s.String() != scope {
			t.Fatalf("%q is %+v, then %+v, %v", scope, s, again, err)
		}
		d := conductor.Default{Scope: s, Flow: state.Flow(flow), Step: step, Key: key}
		if json.Unmarshal([]byte(value), &d.Value) != nil {
			return
		}
		err = Check(d, registry)
		if err != nil {
			if f := fault.From(err); f.Code == fault.Internal || f.Hint == "" {
				t.Fatalf("%+v: %v", d, err)
			}
			return
		}
		if d.Key == conductor.KeyPriority && d.Value == 0.0 && (step == catalog.EraseStep && d.Flow == state.Clean || step == catalog.WriteStep && d.Flow == state.Deploy) {
			t.Fatalf("%+v leaves out what must not be", d)
		}
		for _, e := range Explain(registry, []conductor.Default{d}) {
			if e.Flow == d.Flow && e.Step == d.Step && e.Key == d.Key && e.Note != "" {
				t.Fatalf("%+v is taken, and then wrong: %s", d, e.Note)
			}
		}
	})
}
