package bmc

import (
	"slices"
	"testing"
)

// TestActsAreTold: a BMC tells of what it does and for whom, in the order in which it is done.
func TestActsAreTold(t *testing.T) {
	var told []Act
	m := machine(t, Config{OnAct: func(a Act) { told = append(told, a) }})
	m.LoggedIn("7")
	ctx := AskedBy(t.Context(), "7")
	for _, order := range []func() error{
		func() error { return m.SetBIOS(ctx, map[string]any{"ServerLabel": "x"}) },
		func() error { return m.SetBoot(ctx, Override{Enabled: "Once", Target: "Cd"}) },
		func() error { return m.Reset(ctx, "On") },
		func() error { return m.Reset(ctx, "ForceOff") },
		func() error { return m.Reset(ctx, "ForceOff") }, // it is off: nothing is done
		func() error { return m.ResetBIOS(ctx) },
		func() error { m.Restart(ctx); return nil },
	} {
		if err := order(); err != nil {
			t.Fatal(err)
		}
	}
	want := []Act{
		{ActLogin, "", "7"}, {ActWriteBIOS, `{"ServerLabel":"x"}`, "7"}, {ActApplyBIOS, `{"ServerLabel":"x"}`, ""}, {ActPowerOn, "Cd", ""}, {ActPowerOff, "", ""},
		{ActResetBIOS, "", "7"}, {ActResetBMC, "", "7"},
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %v, expected %v", told, want)
	}
}
