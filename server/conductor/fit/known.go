package fit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// clockSkew is how far a BMC's clock may be off: beyond it, its logs mislead and certificates that it checks seem expired.
const clockSkew = 5 * time.Minute

// doubts are found by every reading of the facts.
func doubts(n conductor.Node, f conductor.Facts) (out []conductor.Doubt) {
	add := func(r fault.Reason, format string, args ...any) {
		out = append(out, conductor.Doubt{Reason: r, Message: fmt.Sprintf(format, args...)})
	}
	if a := f.ClockAhead; a != nil && a.Abs() > clockSkew {
		side := "ahead of"
		if *a < 0 {
			side = "behind"
		}
		add(fault.BMCClock, "the BMC's clock is %s %s the server's, expected at most %s", a.Abs(), side, clockSkew)
	}
	switch {
	case f.BIOSVersion == "" && f.BMCFirmware == "" && !slices.Contains(f.Unread, conductor.PartManager):
		add(fault.BMCVersion, "the BMC tells neither its own version nor that of the machine's firmware")
	case f.BIOSVersion == "":
		add(fault.BMCVersion, "the BMC does not tell the version of the machine's firmware")
	case f.BMCFirmware == "" && !slices.Contains(f.Unread, conductor.PartManager):
		add(fault.BMCVersion, "the BMC does not tell its own version")
	}
	for _, what := range old(n, f) {
		add(fault.BMCFirmware, "%s", what)
	}
	if f.NoSession != "" {
		add(fault.BMCSessions, "the BMC gives no session, so each request logs in by itself: %s", f.NoSession)
	}
	if t := f.BootTrust; t != nil && !*t {
		add(fault.BootNotTrusted, "none of the certificates that the machine's firmware trusts for HTTPS boot fits the one that this server shows")
	}
	if len(f.Unread) > 0 {
		add(fault.BMCUnread, "the BMC lists parts that can't be read: %s", strings.Join(f.Unread, ", "))
	}
	if f.Health == "Critical" || f.Health == "Warning" {
		add(fault.BMCHealth, "the BMC gives the machine's health as %s", f.Health)
	}
	return out
}

// Known keeps of facts about a node's machine what later decisions need.
func Known(n conductor.Node, f conductor.Facts) *conductor.Known {
	return &conductor.Known{
		BootModes: f.BootModes, BootDevices: f.BootDevices, PowerActs: f.PowerActs, SecureBoot: f.SecureBoot, VirtualMedia: f.VirtualMedia, BootURI: f.BootURI,
		Unread: f.Unread, BIOSVersion: f.BIOSVersion, BMCModel: f.BMCModel, BMCFirmware: f.BMCFirmware, Doubts: doubts(n, f),
	}
}
