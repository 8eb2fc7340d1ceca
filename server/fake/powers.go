package fake

import (
	"context"
	"net/http"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// What upstream's fake management and vendor interfaces have for clients to try. Nothing is behind any of it.
var (
	_ conductor.BootDeviceLister = (*machine)(nil)
	_ conductor.ModeSetter       = (*machine)(nil)
	_ conductor.StatusReader     = (*machine)(nil)
	_ conductor.Interrupter      = (*machine)(nil)
	_ conductor.Lamps            = (*machine)(nil)
	_ conductor.MediaHolder      = (*machine)(nil)
	_ conductor.Passer           = (*machine)(nil)
)

// extras is what a machine remembers of it.
type extras struct {
	lit    string // the indicator led@system
	images map[string]string
	mode   string // uefi or bios; "" until one is set
	secure *bool  // nil until it is set
}

// BootDevices is upstream's list.
func (m *machine) BootDevices(context.Context) ([]string, error) { return []string{"pxe"}, nil }

// SetBootMode remembers the mode.
func (m *machine) SetBootMode(ctx context.Context, mode string) error {
	if err := m.take(ctx, drivers.Management); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mode = mode
	return nil
}

// SetSecureBoot remembers it.
func (m *machine) SetSecureBoot(ctx context.Context, on bool) error {
	if err := m.take(ctx, drivers.Management); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.secure = &on
	return nil
}

// Status tells what was set.
func (m *machine) Status(ctx context.Context) (conductor.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return conductor.Status{Power: m.power, BootMode: m.mode, SecureBoot: m.secure}, ctx.Err()
}

// InjectNMI succeeds.
func (m *machine) InjectNMI(ctx context.Context) error { return m.take(ctx, drivers.Management) }

// Lights are upstream's two.
func (m *machine) Lights(context.Context) ([]conductor.Light, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lit := m.lit
	if lit == "" {
		lit = "off"
	}
	return []conductor.Light{
		{Component: "chassis", Name: "led-0", State: "off", ReadOnly: true, States: []string{"off", "on"}},
		{Component: "system", Name: "led", State: lit, States: []string{"blinking", "off", "on"}},
	}, nil
}

// SetLight switches led@system.
func (m *machine) SetLight(_ context.Context, component, name, state string) error {
	if component == "chassis" && name == "led-0" {
		return fault.New(fault.BMCUnsupported, "the indicator led-0@chassis can only be looked at")
	}
	if component != "system" || name != "led" {
		return fault.New(fault.LightNotFound, "there is no indicator %s@%s", name, component)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lit = state
	return nil
}

// Drives are one of each kind.
func (m *machine) Drives(context.Context) ([]conductor.Drive, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []conductor.Drive
	for _, d := range []struct {
		device string
		types  []string
	}{{"cdrom", []string{"CD", "DVD"}}, {"disk", []string{"USBStick"}}, {"floppy", []string{"Floppy"}}} {
		image := m.images[d.device]
		out = append(out, conductor.Drive{Image: image, Inserted: image != "", Types: d.types})
	}
	return out, nil
}

// Attach remembers the address; nothing is fetched.
func (m *machine) Attach(_ context.Context, device, url string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.images == nil {
		m.images = map[string]string{}
	}
	m.images[device] = url
	return nil
}

// Detach forgets it.
func (m *machine) Detach(_ context.Context, devices []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(devices) == 0 {
		m.images = nil
	}
	for _, d := range devices {
		delete(m.images, d)
	}
	return nil
}

// Methods is upstream's synchronous one.
func (m *machine) Methods() []conductor.Method {
	return []conductor.Method{{Name: "third_method_sync", HTTP: []string{http.MethodPost}, Exclusive: true, Doc: "Tells whether the argument bar is meow."}}
}

// Deferred: there is no asynchronous method.
func (m *machine) Deferred(method string, _ map[string]any) (conductor.Act, error) {
	return conductor.Act{}, fault.New(fault.NoMethod, "there is no method %.60q", method)
}

// Pass answers third_method_sync.
func (m *machine) Pass(ctx context.Context, _ string, args map[string]any) (any, error) {
	if err := m.take(ctx, drivers.Vendor); err != nil {
		return nil, err
	}
	if _, given := args["bar"]; !given {
		return nil, fault.New(fault.RequestInvalid, "third_method_sync needs the argument bar")
	}
	return args["bar"] == "meow", nil
}
