package redfish

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	ourUUID   = "AAAAAAAA-0000-4000-8000-000000000001" // the stand-in's
	otherUUID = "BBBBBBBB-0000-4000-8000-000000000002"
)

// known opens the machine as one that was verified.
func (l *lab) known(t *testing.T, i conductor.Identity, change ...string) conductor.BMC {
	t.Helper()
	b, err := l.driver.Open(t.Context(), conductor.Access{Node: "n1", Info: info(change...), Machine: i, Secrets: map[string]string{target.KeyPassword: password}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// acts does everything to a machine that a flow does, and more.
func acts(t *testing.T, b conductor.BMC) map[string]error {
	out := map[string]error{
		"ForceOff": b.SetPower(t.Context(), conductor.ForceOff),
		"On":       b.SetPower(t.Context(), conductor.On),
		"SetMedia": b.SetMedia(t.Context(), medium),
		"eject":    b.SetMedia(t.Context(), ""),
		"SetBoot":  b.SetBoot(t.Context(), conductor.BootTarget{Device: "cdrom", UEFI: true}),
		"Attach":   b.(conductor.MediaHolder).Attach(t.Context(), "cdrom", "http://192.0.2.1/x.iso"),
		"Detach":   b.(conductor.MediaHolder).Detach(t.Context(), nil),
		"mode":     b.(conductor.ModeSetter).SetBootMode(t.Context(), "bios"),
		"secure":   b.(conductor.ModeSetter).SetSecureBoot(t.Context(), true),
		"NMI":      b.(conductor.Interrupter).InjectNMI(t.Context()),
	}
	_, out["Power"] = b.Power(t.Context())
	_, out["Facts"] = b.Facts(t.Context())
	return out
}

// written lists what was sent to the BMC beside log-ins.
func (l *lab) written() (out []string) {
	l.do(func() {
		for _, line := range l.log {
			if !strings.HasPrefix(line, http.MethodGet) && !strings.Contains(line, "/SessionService/") {
				out = append(out, line)
			}
		}
	})
	return out
}

func TestF24_ChangedIDIsFoundByUUID(t *testing.T) {
	for _, system := range []string{"/redfish/v1/Systems/1", "1", ""} {
		l := newLab(t)
		b := l.known(t, conductor.IdentityOf(ourUUID, "S1"), target.KeySystem, system)
		l.do(func() { l.system, l.neighbours = "Self", map[string]map[string]any{"7": {"UUID": otherUUID}} })
		if err := b.SetPower(t.Context(), conductor.On); err != nil || l.power != "On" {
			t.Errorf("%q: after the id changed: %v, power %s", system, err, l.power)
		}
	}
}

// The chassis manager restarts, and two machines have changed places: whoever of them is meant is acted upon (F24).
func TestF24_SwappedIDsAreToldApart(t *testing.T) {
	l := newLab(t)
	l.system, l.neighbours = "2", map[string]map[string]any{"1": {"UUID": otherUUID, "SerialNumber": "S2"}}
	b := l.known(t, conductor.IdentityOf(ourUUID, "S1"), target.KeySystem, "/redfish/v1/Systems/1")
	if err := b.SetPower(t.Context(), conductor.On); err != nil {
		t.Fatal(err)
	}
	if err := b.SetBoot(t.Context(), conductor.BootTarget{Device: "cdrom", UEFI: true}); err != nil {
		t.Fatal(err)
	}
	for _, w := range l.written() {
		if !strings.Contains(w, "/Systems/2") {
			t.Errorf("the neighbour was acted upon: %s", w)
		}
	}
	if f, err := b.Facts(t.Context()); err != nil || f.Serial != "S1" || f.Power != conductor.PowerOn {
		t.Errorf("facts are %+v, %v", f, err)
	}
}

// A machine that is nowhere at the BMC is not replaced by another one.
func TestF24_AnotherMachineIsNotTouched(t *testing.T) {
	for name, c := range map[string]struct {
		was  conductor.Identity
		uuid any
	}{
		"another UUID":                  {conductor.IdentityOf(otherUUID, "S1"), ourUUID},
		"another serial number":         {conductor.IdentityOf("", "S9"), ourUUID},
		"no UUID, another number":       {conductor.IdentityOf(otherUUID, "S9"), ""},
		"all zero, and another number":  {conductor.IdentityOf(otherUUID, "S9"), "00000000-0000-0000-0000-000000000000"},
		"the same path, another's UUID": {conductor.IdentityOf(ourUUID, "S1"), otherUUID},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.lie = func(_ string, o map[string]any) {
					if o["UUID"] != nil {
						o["UUID"] = c.uuid
					}
				}
				for _, system := range []string{"/redfish/v1/Systems/1", ""} {
					for act, err := range acts(t, l.known(t, c.was, target.KeySystem, system)) {
						if !fault.Has(err, fault.BMCOtherMachine) {
							t.Errorf("%s gives %v", act, err)
						}
					}
				}
				if w := l.written(); len(w) > 0 {
					t.Errorf("the machine was sent %v", w)
				}
			})
		})
	}
}

// A BMC that tells nothing of a machine that it told apart before may have yet to read it: it is asked again (F24).
func TestF24_UntoldMachineIsWaitedFor(t *testing.T) {
	l := newLab(t)
	l.lie = func(_ string, o map[string]any) {
		if o["UUID"] != nil {
			o["UUID"], o["SerialNumber"] = "00000000-0000-0000-0000-000000000000", "To be filled by O.E.M."
		}
	}
	b := l.known(t, conductor.IdentityOf(ourUUID, "S1"))
	for act, err := range acts(t, b) {
		if !fault.Has(err, fault.BMCBusy) {
			t.Errorf("%s gives %v", act, err)
		}
	}
	if w := l.written(); len(w) > 0 {
		t.Errorf("the machine was sent %v", w)
	}
	l.do(func() { l.lie = nil })
	if err := b.SetPower(t.Context(), conductor.On); err != nil || l.power != "On" {
		t.Errorf("%v, power %s", err, l.power)
	}
}

// What is no other machine is not taken for one.
func TestF24_TheSameMachineInOtherWords(t *testing.T) {
	for name, c := range map[string]struct {
		was  conductor.Identity
		uuid any
	}{
		"nothing known":           {conductor.Identity{}, otherUUID},
		"another case":            {conductor.IdentityOf(strings.ToLower(ourUUID), ""), ourUUID},
		"the other order":         {conductor.IdentityOf("04030201-0605-0807-090a-0b0c0d0e0f10", ""), "01020304-0506-0708-090A-0B0C0D0E0F10"},
		"no UUID now":             {conductor.IdentityOf(ourUUID, "S1"), ""},
		"no UUID, not before":     {conductor.IdentityOf("", "S1"), ""},
		"a UUID since, not then":  {conductor.IdentityOf("", "S1"), ourUUID},
		"another serial number":   {conductor.IdentityOf(ourUUID, "S7"), ourUUID},
		"no UUID and zero before": {conductor.IdentityOf("00000000-0000-0000-0000-000000000000", "S1"), ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t)
			l.lie = func(_ string, o map[string]any) {
				if o["UUID"] != nil {
					o["UUID"] = c.uuid
				}
			}
			if err := l.known(t, c.was, target.KeySystem, "/redfish/v1/Systems/1").SetPower(t.Context(), conductor.On); err != nil || l.power != "On" {
				t.Errorf("%s: %v, power %s", name, err, l.power)
			}
		})
	}
}

// Two machines with one UUID are told apart by nothing: neither is taken where the path does not say which.
func TestF24_AUUIDThatTwoHaveIsNoProof(t *testing.T) {
	l := newLab(t)
	l.neighbours = map[string]map[string]any{"2": {"UUID": ourUUID}}
	err := l.known(t, conductor.IdentityOf(ourUUID, ""), target.KeySystem, "/redfish/v1/Systems/9").SetPower(t.Context(), conductor.ForceOff)
	if !fault.Has(err, fault.BMCOtherMachine) || len(l.written()) > 0 {
		t.Errorf("%v; sent %v", err, l.written())
	}
}

// What an operator names is not followed elsewhere: a node that was not verified yet, or is verified anew.
func TestF24_WithoutAnIdentityThePathDecides(t *testing.T) {
	l := newLab(t)
	b := l.bmc(t, target.KeySystem, "/redfish/v1/Systems/1")
	if _, err := b.Power(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.do(func() {
		l.system, l.neighbours = "2", map[string]map[string]any{"1": {"UUID": otherUUID, "SerialNumber": "S2"}}
	})
	if f, err := b.Facts(t.Context()); err != nil || f.Serial != "S2" {
		t.Errorf("facts are %+v, %v", f, err)
	}
}
