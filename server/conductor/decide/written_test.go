package decide

import (
	"maps"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/evidence"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// left is what the open step leaves when it has done all it was asked to.
func (l *life) left() map[string]any {
	l.t.Helper()
	r := l.running()
	return evidence.Left(r.Step.Name, r.Args, r.Command.Devices).Data
}

// TestI06_ActiveNeedsTheRecordOfTheImage: a manager that fits better than the stock one may offer the step, and do nothing.
func TestI06_ActiveNeedsTheRecordOfTheImage(t *testing.T) {
	id1, _ := nodetest.Disk1.ID()
	for name, c := range map[string]struct {
		spoil func(data map[string]any)
		says  string // "" when it is a proof
	}{
		"all of it":                   {func(map[string]any) {}, ""},
		"nothing":                     {func(d map[string]any) { clear(d) }, "left no record"},
		"no disk":                     {func(d map[string]any) { delete(d, "id") }, "expected serial S0"},
		"another disk":                {func(d map[string]any) { d["id"] = id1 }, "serial S1"},
		"no digest":                   {func(d map[string]any) { delete(d, "digest") }, "its digest is"},
		"another digest":              {func(d map[string]any) { d["digest"] = strings.Repeat("b", 64) }, "bbb"},
		"another algorithm":           {func(d map[string]any) { d["digest_algorithm"] = "sha512" }, "sha512"},
		"no bytes":                    {func(d map[string]any) { d["written_bytes"] = 0 }, "0 bytes were written"},
		"more bytes than there are":   {func(d map[string]any) { d["written_bytes"] = nodetest.Disk0.Size + 1 }, "were written to a disk of"},
		"no sum of the bytes":         {func(d map[string]any) { delete(d, "written_sha256") }, "no SHA-256"},
		"half a sum of the bytes":     {func(d map[string]any) { d["written_sha256"] = "aaaa" }, "no SHA-256"},
		"other bytes than served":     {func(d map[string]any) { d["format"] = "raw" }, "are not those served"},
		"qcow2 as it was served":      {func(d map[string]any) { d["format"], d["written_sha256"] = "qcow2", d["digest"] }, "not unpacked"},
		"packed as it was served":     {func(d map[string]any) { d["written_sha256"] = strings.ToUpper(d["digest"].(string)) }, "not unpacked"},
		"a record of another make":    {func(d map[string]any) { d["id"] = "the first disk" }, "can't be read"},
		"the digest in other letters": {func(d map[string]any) { d["digest"] = strings.ToUpper(d["digest"].(string)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			l.manageable()
			l.s.Node.State = state.Available
			l.verb(state.VerbDeploy)
			l.boot()
			data := maps.Clone(l.left())
			c.spoil(data)
			l.runStep("deploy.write_image", data)
			fin := l.take(conductor.EffectFinish)
			if c.says == "" {
				if l.want(state.Deploying); fin.Power != conductor.On {
					t.Errorf("it ends with %+v", fin)
				}
				return
			}
			l.want(state.DeployFail)
			if n := l.s.Node; n.LastReason != fault.ImageUnproven || !strings.Contains(n.LastError, c.says) || fin.Power != conductor.ForceOff || fin.Disk {
				t.Errorf("%s: %s; it ends with %+v", n.LastReason, n.LastError, fin)
			}
		})
	}
}

// TestI06_TheLastAttemptsRecordCounts: what an attempt that was cut off left proves nothing.
func TestI06_TheLastAttemptsRecordCounts(t *testing.T) {
	l := newLife(t)
	l.manageable()
	l.s.Node.State = state.Available
	l.verb(state.VerbDeploy)
	l.boot()
	good := l.left()
	l.claim()
	l.silence()
	l.boot()
	if r := l.running(); r.Attempt != 2 {
		t.Fatalf("attempt %d", r.Attempt)
	}
	l.alter(l.s.Steps[0].ID, func(_ *conductor.Node, r *conductor.StepRecord) { r.Result = &step.Result{Data: good} })
	l.runStep("deploy.write_image", nil)
	l.want(state.DeployFail)
	if l.s.Node.LastReason != fault.ImageUnproven {
		t.Errorf("%s", l.s.Node.LastError)
	}
}
