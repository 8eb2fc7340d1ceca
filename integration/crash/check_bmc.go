package crash

import (
	"cmp"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/integration/qemu"
	"github.com/bessemer-metal/bessemer/server/conductor"
)

// A BMC knows nothing of steps and attempts. It sees an act, what is to be set (a value that the harness gives to one
// step alone), and the session of the server that asks. That a server was killed ends its sessions, and an attempt out
// of band never outlives its server: so an attempt and an act belong to each other by machine, act, value and life.
//
// What may be done again: after a crash the step is a new attempt (I14: what the BMC made of the first order is not
// known, so it is read, asked for and confirmed anew), and that attempt may write the same settings once more, or reset
// once more. Within one attempt nothing is done twice, as no BMC here loses an answer. Power on and off are absolute
// and may be asked for any number of times (F25); boot source and medium likewise. They are not judged, but for the
// ramdisk's power, which ends all that is done out of band.
//
// A firmware image is another matter: it is sent once, over all lives.

// actOf is the act by which a BMC sees that a step was run.
var actOf = map[string]string{
	"bios.apply_configuration": bmc.ActWriteBIOS, "bios.factory_reset": bmc.ActResetBIOS, "management.reset_bmc": bmc.ActResetBMC,
	updateStep: bmc.ActUpdate,
}

const updateStep = "firmware.update"

// deed is what ties attempts to acts. Lives count the servers from 1.
type deed struct {
	machine, act, value string
	life                int
}

// lives tells of a ledger which server's life things belong to.
type lives struct {
	began    []time.Time
	sessions map[string]int // life in which a session was made, by machine and id
}

func livesOf(lines []ledger.Line) lives {
	l := lives{sessions: map[string]int{}}
	for _, line := range lines {
		switch {
		case line.Kind == ledger.Serve:
			l.began = append(l.began, line.At)
		case line.Kind == ledger.Act && line.Name == bmc.ActLogin:
			l.sessions[line.Machine+"/"+line.Session] = len(l.began)
		}
	}
	return l
}

// at is the life that a time of the database falls into.
func (l lives) at(t time.Time) int {
	i, _ := slices.BinarySearchFunc(l.began, t, func(began, t time.Time) int { return cmp.Compare(began.UnixNano(), t.UnixNano()+1) })
	return i
}

// deeds counts the acts that are judged. What a dead server's connection still brings counts for that server.
func (l lives) deeds(lines []ledger.Line) map[deed]int {
	out := map[deed]int{}
	now := 0
	for _, line := range lines {
		switch {
		case line.Kind == ledger.Serve:
			now++
		case line.Kind == ledger.Act && judged(line.Name):
			life, known := l.sessions[line.Machine+"/"+line.Session]
			if !known {
				life = now
			}
			out[deed{line.Machine, line.Name, line.Value, life}]++
		}
	}
	return out
}

func judged(act string) bool {
	for _, a := range actOf {
		if a == act {
			return true
		}
	}
	return false
}

// outOfBand judges what the BMCs did.
func (c *checker) outOfBand() {
	names := map[conductor.NodeID]string{}
	for _, n := range c.Stored.Nodes {
		names[n.UUID] = n.Name
	}
	l := livesOf(c.After)
	begun, told := map[deed]int{}, map[deed]int{}
	for _, r := range c.steps {
		act := actOf[r.Step.Name]
		if act == "" || r.Started.IsZero() {
			continue
		}
		d := deed{names[r.Node], act, settings(r), l.at(r.Started)}
		begun[d]++
		if r.State == conductor.StepSucceeded {
			if wrote(r) {
				told[d]++
			}
			c.applied(d, r)
		}
		// Only the end of its server may leave open what became of an attempt.
		if c.Rest && r.State != conductor.StepSucceeded && r.State != conductor.StepFailed && (r.Ended.IsZero() || l.at(r.Ended) == d.life) {
			c.broken("I14", "step %s (%s) of %s is %s, and its server was not killed", r.ID, r.Step.Name, d.machine, r.State)
		}
	}
	for d, n := range l.deeds(c.Before) {
		if n > begun[d] {
			c.broken("I8", "the BMC of %s did %s for server %d: %d; attempts of that started in this server's life: %d", d.machine, strings.TrimSpace(d.act+" "+d.value), d.life, n, begun[d])
		}
	}
	done := l.deeds(c.After)
	for d, n := range told {
		if n > done[d] {
			c.broken("I10", "the BMC of %s did %s for server %d: %d; attempts that say they did it: %d", d.machine, strings.TrimSpace(d.act+" "+d.value), d.life, done[d], n)
		}
	}
	c.sentOnce()
	c.beforeTheRamdisk()
}

// sentOnce: no firmware image is sent twice, whatever was killed (I8).
func (c *checker) sentOnce() {
	sent := map[[2]string]int{}
	for _, line := range c.After {
		if line.Kind == ledger.Act && line.Name == bmc.ActUpdate {
			sent[[2]string{line.Machine, line.Value}]++
		}
	}
	for what, n := range sent {
		if n > 1 {
			c.broken("I8", "the BMC of %s was sent the image %s %d times", what[0], what[1], n)
		}
	}
}

// applied: settings are recorded as set only if a boot let them take effect (I10), whichever attempt wrote them.
func (c *checker) applied(d deed, r conductor.StepRecord) {
	if d.act == bmc.ActUpdate {
		install := "bios " + path.Base(d.value)
		if !slices.ContainsFunc(c.After, func(line ledger.Line) bool {
			return line.Kind == ledger.Act && line.Machine == d.machine && line.Name == bmc.ActInstall && line.Value == install
		}) {
			c.broken("I10", "step %s (%s) of %s succeeded, but no boot installed %s", r.ID, r.Step.Name, d.machine, install)
		}
		return
	}
	if d.act != bmc.ActWriteBIOS {
		return
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(d.value), &want); err != nil {
		c.broken("I10", "the arguments of step %s are no settings: %s", r.ID, d.value)
		return
	}
	set := func(line ledger.Line) bool {
		var have map[string]any
		if line.Kind != ledger.Act || line.Machine != d.machine || line.Name != bmc.ActApplyBIOS || json.Unmarshal([]byte(line.Value), &have) != nil {
			return false
		}
		for k, v := range want {
			if have[k] != v {
				return false
			}
		}
		return true
	}
	if !slices.ContainsFunc(c.After, set) {
		c.broken("I10", "step %s (%s) of %s succeeded, but no boot let %s take effect", r.ID, r.Step.Name, d.machine, d.value)
	}
}

// beforeTheRamdisk: nothing is done out of band while the ramdisk has power: the harness asks for such steps first (I10).
func (c *checker) beforeTheRamdisk() {
	up := map[string]bool{}
	for _, line := range c.After {
		switch {
		case line.Kind != ledger.Act:
		case line.Name == bmc.ActPowerOn:
			up[line.Machine] = line.Value == string(qemu.CD)
		case line.Name == bmc.ActPowerOff:
			up[line.Machine] = false
		case judged(line.Name) && up[line.Machine]:
			c.broken("I10", "the BMC of %s did %s %s while the ramdisk was up", line.Machine, line.Name, line.Value)
		}
	}
}

// settings is the value by which the BMC sees the step.
func settings(r conductor.StepRecord) string {
	if r.Step.Name == updateStep { // of one image
		list, _ := r.Args["settings"].([]any)
		for _, e := range list {
			entry, _ := e.(map[string]any)
			address, _ := entry["url"].(string)
			return address
		}
	}
	if r.Step.Name != "bios.apply_configuration" {
		return ""
	}
	out := map[string]any{}
	list, _ := r.Args["settings"].([]any)
	for _, e := range list {
		entry, _ := e.(map[string]any)
		name, _ := entry["name"].(string)
		out[name] = entry["value"]
	}
	return bmc.Settings(out)
}

// wrote tells whether a step that succeeded did its act itself: settings that an attempt before it has brought about
// are left as they are, and an image that one before it has sent is not sent again.
func wrote(r conductor.StepRecord) bool {
	if r.Step.Name == updateStep {
		return false
	}
	if !strings.HasPrefix(r.Step.Name, "bios.apply") {
		return true
	}
	if r.Result == nil {
		return false
	}
	changed, _ := r.Result.Data["changed"].([]any)
	return len(changed) > 0
}
