package conductor

import (
	"time"

	"github.com/bessemer-metal/bessemer/shared/step"
)

// EffectKind is a kind of act upon the outside world.
type EffectKind string

// The effects. Each may be carried out again after a crash: acts are absolute, or fenced by run, generation and step.
const (
	EffectVerify   EffectKind = "verify"   // read the BMC: credentials, power, facts
	EffectPrepare  EffectKind = "prepare"  // read whether the BMC can do what the flow needs, before any act
	EffectInspect  EffectKind = "inspect"  // read what the machine is made of through its BMC; nothing is done to it
	EffectBoot     EffectKind = "boot"     // off, confirmed; medium in; boot device; on
	EffectEject    EffectKind = "eject"    // medium out, after the lookup
	EffectDetach   EffectKind = "detach"   // media out of drives that no ramdisk uses, when the instance they were for is gone
	EffectOffer    EffectKind = "offer"    // hand Step to the agent
	EffectWithdraw EffectKind = "withdraw" // take Step back from its agent, or abort it
	EffectRunStep  EffectKind = "run_step" // run Step out of band
	EffectFinish   EffectKind = "finish"   // end the boot: medium out, boot device, power as Power says
	EffectPower    EffectKind = "power"    // an operator's power act
	EffectAct      EffectKind = "act"      // the node's Act
	EffectLook     EffectKind = "look"     // read how the machine is now
)

// Effect is stored in the transaction that decided it and done after the commit.
type Effect struct {
	ID         int64         `json:"id"`
	Node       NodeID        `json:"node"`
	Kind       EffectKind    `json:"kind"`
	Run        string        `json:"run,omitempty"`
	Generation uint64        `json:"generation,omitempty"`
	Step       step.ID       `json:"step,omitempty"`
	Power      PowerAction   `json:"power,omitempty"`  // finish, power: the final state wanted
	Reboot     bool          `json:"reboot,omitempty"` // power: off, confirmed, on; finish: the same
	Disk       bool          `json:"disk,omitempty"`   // finish: the instance is booted from now on: the node's LiveISO, or else the disk
	Timeout    time.Duration `json:"timeout,omitempty"`
	Once       bool          `json:"once,omitempty"`  // it is tried once: a BMC that is away keeps nothing else waiting
	Lease      uint64        `json:"lease,omitempty"` // of the node, under which it was decided
	Created    time.Time     `json:"created"`
}

// Wanted tells whether an effect still serves the node's work. Ending a boot, power acts and taking out what an instance
// left are always carried out, but nothing is done to the machine of an unverified node; reading its BMC is no act.
func Wanted(n Node, e Effect) bool {
	if n.Unverified != nil && e.Kind != EffectVerify && e.Kind != EffectLook {
		return false
	}
	switch e.Kind {
	case EffectLook:
		return true
	case EffectFinish:
		if e.Power == On { // a start of an instance, which nothing is to follow when its work has failed
			break
		}
		return e.Generation == n.Generation || e.Run == "" || n.Flow == nil || n.Flow.Run == e.Run
	case EffectPower, EffectDetach:
		return true
	case EffectAct:
		return n.Act != nil
	case EffectBoot:
		// It begins with power off: once the ramdisk has looked itself up a repeat would cut it off.
		return n.Boot != nil && n.Boot.Generation == e.Generation && !n.Boot.Ended && n.Boot.Redeemed.IsZero()
	case EffectEject:
		return n.Boot != nil && n.Boot.Generation == e.Generation && !n.Boot.Ended
	}
	return n.Flow != nil && n.Flow.Run == e.Run && n.Flow.Phase != PhaseEnded
}
