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

// Methods are upstream's.
func (m *machine) Methods() []conductor.Method {
	post := []string{http.MethodPost}
	return []conductor.Method{
		{Name: "second_method", HTTP: post, Async: true, Exclusive: true, Doc: "Finds out whether the argument bar is kazoo, and tells nobody."},
		{Name: "third_method_sync", HTTP: post, Exclusive: true, Doc: "Tells whether the argument bar is meow."},
		{Name: "fourth_method_shared_lock", HTTP: post, Async: true, Doc: "Finds out whether the argument bar is woof, and tells nobody."},
		{Name: "log_passthrough", HTTP: post, Async: true, Exclusive: true, Doc: "Does nothing."},
	}
}

// Deferred: nothing is left of an asynchronous method to do later.
func (m *machine) Deferred(string, map[string]any) (conductor.Act, error) {
	return conductor.Act{}, nil
}

// Pass answers whether the argument bar is the method's word.
func (m *machine) Pass(ctx context.Context, method string, args map[string]any) (any, error) {
	if err := m.take(ctx, drivers.Vendor); err != nil || method == "log_passthrough" {
		return nil, err
	}
	if bar := args["bar"]; bar == nil || bar == "" {
		return nil, fault.New(fault.RequestInvalid, "%s needs the argument bar", method).WithHint("bessemer node passthru call NODE %s --arg bar=VALUE", method)
	}
	return args["bar"] == map[string]string{"second_method": "kazoo", "third_method_sync": "meow", "fourth_method_shared_lock": "woof"}[method], nil
}
