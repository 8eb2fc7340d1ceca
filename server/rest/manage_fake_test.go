package rest_test

import (
	"context"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// managed is what the fake conductor is asked about a machine's BMC, and what it answers.
type managed struct {
	acts     []conductor.Act
	raid     map[string]any
	on       bool
	switched string
	lights   []conductor.Light
	media    []conductor.Drive
	bios     []conductor.BIOSSetting
	firmware []conductor.FirmwareComponent
	vifs     []string
	passed   []string
	refuse   error
}

func (m *managed) Manage(_ context.Context, _ conductor.Caller, _ string, a conductor.Act) error {
	m.acts = append(m.acts, a)
	return m.refuse
}

func (m *managed) SetTargetRAID(_ context.Context, _ conductor.Caller, _ string, target map[string]any) error {
	m.raid = target
	return m.refuse
}

func (m *managed) Console(context.Context, string) (bool, error) { return m.on, m.refuse }

func (m *managed) SetConsole(_ context.Context, _ conductor.Caller, _ string, on bool) error {
	m.on = on
	return m.refuse
}

func (m *managed) BootDevices(context.Context, string) ([]string, error) {
	return []string{"cdrom", "pxe"}, m.refuse
}

func (m *managed) InjectNMI(context.Context, conductor.Caller, string) error { return m.refuse }

func (m *managed) Lights(context.Context, string) ([]conductor.Light, error) {
	return m.lights, m.refuse
}

func (m *managed) SetLight(_ context.Context, _ conductor.Caller, _, component, name, state string) error {
	m.switched = name + "@" + component + " " + state
	return m.refuse
}

func (m *managed) Drives(context.Context, string) ([]conductor.Drive, error) {
	return m.media, m.refuse
}

func (m *managed) BIOSSettings(context.Context, string) (conductor.Node, []conductor.BIOSSetting, error) {
	return conductor.Node{UUID: "u"}, m.bios, m.refuse
}

func (m *managed) Firmware(context.Context, string) (conductor.Node, []conductor.FirmwareComponent, error) {
	return conductor.Node{UUID: "u"}, m.firmware, m.refuse
}

func (m *managed) VIFs(context.Context, string) ([]string, error) { return m.vifs, m.refuse }

func (m *managed) AttachVIF(_ context.Context, _ conductor.Caller, _, id, port string) error {
	m.vifs = append(m.vifs, id+port)
	return m.refuse
}

func (m *managed) DetachVIF(context.Context, conductor.Caller, string, string) error { return m.refuse }

func (m *managed) Methods(context.Context, string) ([]conductor.Method, error) {
	return []conductor.Method{{Name: "eject_vmedia", HTTP: []string{"POST"}, Async: true, Exclusive: true, Doc: "d"}}, m.refuse
}

func (m *managed) Pass(_ context.Context, _ conductor.Caller, _, httpMethod, name string, args map[string]any) (bool, any, error) {
	m.passed = append(m.passed, httpMethod+" "+name)
	if name == "unknown" {
		return false, nil, fault.New(fault.NoMethod, "no")
	}
	return name == "eject_vmedia", args["echo"], m.refuse
}
