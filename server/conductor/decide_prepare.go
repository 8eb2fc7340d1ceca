package conductor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Known is what a node's BMC said of itself when it was asked last: at verify, and before the first act of a flow. It
// lets a verb that the machine can't carry out be refused at once. An empty list means that the BMC does not say.
type Known struct {
	BootModes    []string      `json:"boot_modes,omitempty"` // "uefi", "bios": what it can be told to boot in
	BootDevices  []string      `json:"boot_devices,omitempty"`
	PowerActs    []PowerAction `json:"power_acts,omitempty"`
	SecureBoot   *bool         `json:"secure_boot,omitempty"` // on or off now; nil: the BMC does not show it
	VirtualMedia bool          `json:"virtual_media"`
	Unread       []string      `json:"unread,omitempty"` // parts that could not be read: nothing follows from them
	BIOSVersion  string        `json:"bios_version,omitempty"`
	BMCModel     string        `json:"bmc_model,omitempty"`
	BMCFirmware  string        `json:"bmc_firmware,omitempty"`
	Doubts       []Doubt       `json:"doubts,omitempty"` // what should be looked after, and keeps nothing from being done
}

// Doubt is something about a BMC that does not stop work but will trouble somebody.
type Doubt struct {
	Reason  fault.Reason `json:"reason"`
	Message string       `json:"message"`
}

// clockSkew is how far a BMC's clock may be off: beyond it, its logs mislead and certificates that it checks seem expired.
const clockSkew = 5 * time.Minute

// doubts are found by every reading of the facts.
func doubts(f Facts) (out []Doubt) {
	add := func(r fault.Reason, format string, args ...any) {
		out = append(out, Doubt{r, fmt.Sprintf(format, args...)})
	}
	if a := f.ClockAhead; a != nil && a.Abs() > clockSkew {
		side := "ahead of"
		if *a < 0 {
			side = "behind"
		}
		add(fault.BMCClock, "the BMC's clock is %s %s the server's, expected at most %s", a.Abs(), side, clockSkew)
	}
	switch {
	case f.BIOSVersion == "" && f.BMCFirmware == "" && !slices.Contains(f.Unread, PartManager):
		add(fault.BMCVersion, "the BMC tells neither its own version nor that of the machine's firmware")
	case f.BIOSVersion == "":
		add(fault.BMCVersion, "the BMC does not tell the version of the machine's firmware")
	case f.BMCFirmware == "" && !slices.Contains(f.Unread, PartManager):
		add(fault.BMCVersion, "the BMC does not tell its own version")
	}
	if f.NoSession != "" {
		add(fault.BMCSessions, "the BMC gives no session, so each request logs in by itself: %s", f.NoSession)
	}
	if len(f.Unread) > 0 {
		add(fault.BMCUnread, "the BMC lists parts that can't be read: %s", strings.Join(f.Unread, ", "))
	}
	if f.Health == "Critical" || f.Health == "Warning" {
		add(fault.BMCHealth, "the BMC gives the machine's health as %s", f.Health)
	}
	return out
}

// The parts of Facts that may be among Unread.
const (
	PartManager    = "manager"
	PartMedia      = "virtual media"
	PartCards      = "network cards"
	PartSecureBoot = "secure boot"
	PartBIOS       = "BIOS"
)

// known keeps of facts what later decisions need.
func known(f Facts) *Known {
	return &Known{
		BootModes: f.BootModes, BootDevices: f.BootDevices, PowerActs: f.PowerActs, SecureBoot: f.SecureBoot, VirtualMedia: f.VirtualMedia,
		Unread: f.Unread, BIOSVersion: f.BIOSVersion, BMCModel: f.BMCModel, BMCFirmware: f.BMCFirmware, Doubts: doubts(f),
	}
}

// learn takes over what a BMC has just said.
func (d *decider) learn(f *Facts) {
	if f == nil {
		return
	}
	d.n.BMC, d.Changed = known(*f), true
	if f.Power != "" {
		d.n.Power = f.Power
	}
	d.n.BootMode, d.n.SecureBoot, d.n.Health = f.BootMode, f.SecureBoot, f.Health
	d.n.Vendor, d.n.Model = f.Vendor, f.Model
}

// firstAid tells a step that makes a BMC well from one that needs a BMC that is well.
func firstAid(s step.Step) bool {
	return s.Where == step.OutOfBand && strings.HasPrefix(s.Name, "management.")
}

// prepare asks the BMC what it can do before the first act of a flow that boots the machine, and not again in the same
// run. It is true while the answer is waited for.
func (d *decider) prepare() bool {
	f := d.n.Flow
	if f.Prepared {
		return false
	}
	d.doing()
	f.Phase = PhasePrepare
	d.wait("bmc", "the BMC to say whether it can do what the work needs", d.s.Timeouts.BMC+d.s.Timeouts.Power, fault.BMCUnreachable)
	d.effect(Effect{Kind: EffectPrepare})
	return true
}

// impossible refuses a verb whose flow the BMC is known not to be able to carry out. A deletion is not held up by that:
// the cleaning after it says so.
func (d *decider) impossible(f state.Flow, plan Plan) error {
	if d.tearDown || plan.Boots == 0 && f != state.Deploy && f != state.Inspect {
		return nil
	}
	if err := unfitFor(*d.n, d.s.Interfaces, f); err != nil {
		return err.At(string(d.n.UUID), "")
	}
	return nil
}

// fits finds out whether the machine can do what the plan needs. A deletion's cleaning asks the BMC anew.
func (b *builder) fits() {
	if b.in.Ask.Verb == state.VerbDelete || b.Boots == 0 && b.Flow != state.Deploy && b.Flow != state.Inspect {
		return
	}
	if f := unfitFor(b.in.Node, b.in.Interfaces, b.Flow); f != nil {
		b.problem(f, "")
	}
}

// unprepared tells whether the flow has yet to ask the BMC before it goes on with r. A step of first aid goes first: the
// BMC may be of no use before it. What is left of a clean whose ramdisk runs already needs no further boot.
func (d *decider) unprepared(r StepRecord) bool {
	f := d.n.Flow
	if f.Prepared || f.Pretend || firstAid(r.Step) || f.Flow != state.Deploy && r.Step.Where == step.InBand && d.live() {
		return false
	}
	return f.Flow == state.Deploy || slices.ContainsFunc(d.s.Steps, func(s StepRecord) bool {
		return s.State == StepPlanned && s.Step.Where == step.InBand
	})
}

// prepared goes on when the BMC can do what the flow needs. Nothing has been done to the machine so far.
func (d *decider) prepared(e EffectDone) {
	if e.Fault != nil {
		d.fail(e.Fault)
		return
	}
	d.learn(e.Facts)
	f := d.n.Flow
	if err := unfitFor(*d.n, d.s.Interfaces, f.Flow); err != nil {
		d.fail(err)
		return
	}
	f.Prepared, d.Changed = true, true
	if f.Flow == state.Inspect && f.Pretend {
		d.finish()
		return
	}
	if f.Flow == state.Inspect {
		d.boot()
		return
	}
	f.Phase = PhaseSteps
	d.next()
}

// unfit says why a flow that boots the machine can't succeed, by what the BMC is known to be able to do; nil when nothing
// speaks against it.
func unfit(n Node, flow state.Flow) *fault.Fault {
	mode, secure, from, err := wantedBoot(n)
	if err != nil {
		return fault.From(err)
	}
	k := n.BMC
	if k == nil {
		k = &Known{VirtualMedia: true, Unread: []string{PartSecureBoot}}
	}
	lacks := func(have []string, want string) bool { return len(have) > 0 && !slices.Contains(have, want) }
	acts := make([]string, 0, len(k.PowerActs))
	for _, a := range k.PowerActs {
		acts = append(acts, string(a))
	}
	switch {
	case lacks(k.BootModes, mode):
		return fault.New(fault.BMCBootMode, "boot mode %s is needed (%s), but the BMC offers %s only", mode, from, strings.Join(k.BootModes, ", "))
	case mode != bootUEFI:
		return fault.New(fault.BMCBootMode, "boot mode %s is asked for (%s), but this server boots machines in mode uefi only", mode, from).
			WithHint("use an image for UEFI and take boot_mode out of the capabilities")
	case secure && k.SecureBoot == nil && !slices.Contains(k.Unread, PartSecureBoot):
		return fault.New(fault.BMCSecureBoot, "secure boot is asked for (%s), but the BMC shows none", from)
	case secure && k.SecureBoot != nil && !*k.SecureBoot:
		return fault.New(fault.BMCSecureBoot, "secure boot is asked for (%s), but it is off, and this server does not switch it on", from)
	case !k.VirtualMedia && !slices.Contains(k.Unread, PartMedia):
		return fault.New(fault.BMCNoMedia, "the ramdisk boots from a virtual CD, but the BMC has no virtual CD drive")
	case lacks(k.BootDevices, "cdrom"):
		return fault.New(fault.BMCBootDevice, "the ramdisk boots from a virtual CD, but the BMC can only boot the machine from %s", strings.Join(k.BootDevices, ", "))
	case flow == state.Deploy && lacks(k.BootDevices, "disk"):
		return fault.New(fault.BMCBootDevice, "a deployment ends with a boot from disk, but the BMC can only boot the machine from %s", strings.Join(k.BootDevices, ", "))
	}
	for _, a := range []PowerAction{On, ForceOff} {
		if lacks(acts, string(a)) {
			return fault.New(fault.BMCPowerActs, "the power act %s is needed, but the BMC offers %s only", a, strings.Join(acts, ", "))
		}
	}
	return nil
}

const (
	bootUEFI = "uefi"
	bootBIOS = "bios"
)

// wantedBoot is the boot mode and whether secure boot is asked for, with where that stands, as Ironic reads it: the
// capabilities of instance_info before those of properties. Without a word of it the mode is UEFI, as the ramdisk needs.
func wantedBoot(n Node) (mode string, secure bool, from string, err error) {
	mode, from = bootUEFI, "the ramdisk's and the default"
	for _, p := range []struct {
		name string
		from map[string]any
	}{{"properties.capabilities", n.Properties}, {"instance_info.capabilities", n.InstanceInfo}} {
		c, err := capabilities(p.from["capabilities"])
		if err != nil {
			return "", false, "", fault.New(fault.RequestInvalid, "%s %s", p.name, err).
				WithHint("write boot_mode:uefi,secure_boot:true, or an object with these keys")
		}
		if v := c["boot_mode"]; v != "" {
			mode, from = v, p.name
		}
		if v := c["secure_boot"]; v != "" {
			secure, from = strings.EqualFold(v, "true"), p.name
		}
	}
	if v, _ := n.InstanceInfo["deploy_boot_mode"].(string); v != "" {
		mode, from = v, "instance_info.deploy_boot_mode"
	}
	if mode != bootUEFI && mode != bootBIOS {
		return "", false, "", fault.New(fault.RequestInvalid, "%s names the boot mode %.40q", from, mode).WithHint("boot_mode is uefi or bios")
	}
	return mode, secure, from, nil
}

// capabilities reads Ironic's forms: "a:1,b:2", an object, or an object as text.
func capabilities(v any) (map[string]string, error) {
	out := map[string]string{}
	switch v := v.(type) {
	case nil:
		return out, nil
	case map[string]any:
		for k, x := range v {
			out[k] = fmt.Sprint(x)
		}
		return out, nil
	case string:
		if strings.HasPrefix(strings.TrimSpace(v), "{") {
			var m map[string]any
			if json.Unmarshal([]byte(v), &m) != nil {
				return nil, fmt.Errorf("is no JSON object")
			}
			return capabilities(m)
		}
		for pair := range strings.SplitSeq(v, ",") {
			if strings.TrimSpace(pair) == "" {
				continue
			}
			k, x, ok := strings.Cut(pair, ":")
			if !ok {
				return nil, fmt.Errorf("has the entry %.40q, expected KEY:VALUE", pair)
			}
			out[strings.TrimSpace(k)] = strings.TrimSpace(x)
		}
		return out, nil
	}
	return nil, fmt.Errorf("is neither text nor an object")
}
