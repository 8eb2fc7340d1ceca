package bmc

import (
	"context"
	"encoding/json"
)

// The acts that a BMC tells of.
const (
	ActLogin     = "login"      // a client has a session from now on
	ActWriteBIOS = "bios_write" // settings are to change at the next boot; Value has them
	ActResetBIOS = "bios_reset" // the same, to the maker's defaults
	ActApplyBIOS = "bios_apply" // a boot lets settings take effect; Value has them
	ActUpdate    = "update"     // an image is to be fetched and installed; Value is its address, without keys
	ActInstall   = "install"    // firmware takes effect; Value is component and version
	ActResetBMC  = "bmc_reset"  // the BMC restarts
	// Volumes are told of by RAID type, drives and name.
	ActCreateVolume = "volume_create" // a RAID volume is to be made
	ActDeleteVolume = "volume_delete" // one is to go
	ActVolumeThere  = "volume_there"  // one has come to be
	ActPowerOn      = "power_on"      // the machine starts, from what Value names; a reset does so too
	ActPowerOff     = "power_off"
)

// Act is what a client had a BMC do, or what a boot made of it.
type Act struct {
	Name    string
	Value   string
	Session string // of the client; "" for what no client does by itself, or without a session
}

type askedBy struct{}

// AskedBy names the session that an order comes from.
func AskedBy(ctx context.Context, session string) context.Context {
	return context.WithValue(ctx, askedBy{}, session)
}

// did tells of an act.
func (m *Machine) did(ctx context.Context, name, value string) {
	if m.cfg.OnAct == nil {
		return
	}
	session, _ := ctx.Value(askedBy{}).(string)
	m.cfg.OnAct(Act{name, value, session})
}

// LoggedIn tells the machine's BMC of a session that it has given.
func (m *Machine) LoggedIn(session string) {
	m.did(AskedBy(context.Background(), session), ActLogin, "")
}

// Settings writes BIOS settings as an act's Value has them.
func Settings(s map[string]any) string {
	b, err := json.Marshal(s) // keys come sorted
	if err != nil {
		return ""
	}
	return string(b)
}
