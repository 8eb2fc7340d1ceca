package disks

import (
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/evidence"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/nodetest"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestI06_WrittenIsWhatHasARecord of the last attempt; a plan without the step needs none.
func TestI06_WrittenIsWhatHasARecord(t *testing.T) {
	id, _ := nodetest.Disk0.ID()
	args := step.Args{"digest_algorithm": "sha256", "digest": strings.Repeat("a", 64)}
	left := evidence.Left(catalog.WriteStep, args, []inventory.DeviceID{id})
	attempt := func(s conductor.StepState, r *step.Result, disks ...inventory.DeviceID) conductor.StepRecord {
		return conductor.StepRecord{Step: step.Step{Name: catalog.WriteStep}, Args: args, State: s, Result: r, Command: &api.Command{Devices: disks}}
	}
	other := conductor.StepRecord{Step: step.Step{Name: catalog.EraseStep}, State: conductor.StepSucceeded, Result: &left}
	unasked := attempt(conductor.StepSucceeded, &left, id)
	unasked.Command = nil
	for name, c := range map[string]struct {
		steps  []conductor.StepRecord
		proven bool
	}{
		"no step":                  {nil, true},
		"no such step":             {[]conductor.StepRecord{other}, true},
		"a record":                 {[]conductor.StepRecord{attempt(conductor.StepSucceeded, &left, id), other}, true},
		"after one that was cut":   {[]conductor.StepRecord{attempt(conductor.StepInterrupted, nil, id), attempt(conductor.StepSucceeded, &left, id)}, true},
		"only before a cut":        {[]conductor.StepRecord{attempt(conductor.StepSucceeded, &left, id), attempt(conductor.StepInterrupted, nil, id)}, false},
		"another step's":           {[]conductor.StepRecord{attempt(conductor.StepSucceeded, nil, id), other}, false},
		"a failure's":              {[]conductor.StepRecord{attempt(conductor.StepFailed, &left, id)}, false},
		"an empty one":             {[]conductor.StepRecord{attempt(conductor.StepSucceeded, &step.Result{}, id)}, false},
		"of a step without a disk": {[]conductor.StepRecord{attempt(conductor.StepSucceeded, &left)}, false},
		"of a step with two disks": {[]conductor.StepRecord{attempt(conductor.StepSucceeded, &left, id, id)}, false},
		"of a step never offered":  {[]conductor.StepRecord{unasked}, false},
	} {
		if err := Written(c.steps); (err == nil) != c.proven || err != nil && !fault.Has(err, fault.ImageUnproven) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
