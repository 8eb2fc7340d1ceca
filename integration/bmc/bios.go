package bmc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Attribute is one BIOS setting.
type Attribute struct {
	Name, Kind string   // Kind: Enumeration, Integer, Boolean, String
	Default    any      // string, int or bool
	Values     []string // of an Enumeration
	Lower, Up  int      // of an Integer; of a String, Up is its longest
	ReadOnly   bool
	Help       string
}

// Attributes is every setting, by name.
func Attributes() []Attribute {
	return []Attribute{
		{Name: "BootMode", Kind: "Enumeration", Default: "Uefi", Values: []string{"Uefi"}, ReadOnly: true, Help: "How the system boots"},
		{Name: "BootTimeout", Kind: "Integer", Default: 0, Up: 60, Help: "Seconds to wait before booting"},
		{Name: "NumLock", Kind: "Enumeration", Default: "On", Values: []string{"On", "Off"}, Help: "Keyboard state after power-on"},
		{Name: "PowerProfile", Kind: "Enumeration", Default: "Balanced", Values: []string{"Balanced", "Performance", "PowerSaving"}, Help: "Speed against power"},
		{Name: "ProcVirtualization", Kind: "Enumeration", Default: "Enabled", Values: []string{"Enabled", "Disabled"}, Help: "Hardware virtualization"},
		{Name: "QuietBoot", Kind: "Boolean", Default: true, Help: "Hide diagnostic messages"},
		{Name: "ServerLabel", Kind: "String", Default: "", Up: 64, Help: "Free text"},
		{Name: "Sriov", Kind: "Enumeration", Default: "Disabled", Values: []string{"Enabled", "Disabled"}, Help: "I/O virtualization of PCI devices"},
	}
}

func defaults() map[string]any {
	m := map[string]any{}
	for _, a := range Attributes() {
		m[a.Name] = a.Default
	}
	return m
}

// Check turns a value as JSON brings it into the setting's, or says what is wrong with it.
func (a Attribute) Check(v any) (any, error) {
	if a.ReadOnly && v != a.Default {
		return nil, errors.New("it is read-only")
	}
	switch a.Kind {
	case "Enumeration":
		if s, is := v.(string); !is || !slices.Contains(a.Values, s) {
			return nil, fmt.Errorf("one of %s is expected", strings.Join(a.Values, ", "))
		}
	case "Integer":
		n, is := v.(float64)
		if !is || n != float64(int(n)) || int(n) < a.Lower || int(n) > a.Up {
			return nil, fmt.Errorf("a whole number from %d to %d is expected", a.Lower, a.Up)
		}
		return int(n), nil
	case "Boolean":
		if _, is := v.(bool); !is {
			return nil, errors.New("true or false is expected")
		}
	default:
		if s, is := v.(string); !is || len(s) > a.Up {
			return nil, fmt.Errorf("a string of at most %d bytes is expected", a.Up)
		}
	}
	return v, nil
}

// SetBIOS queues a job that changes settings at the next boot. The values must have passed Check.
func (m *Machine) SetBIOS(ctx context.Context, next map[string]any) error {
	m.did(ctx, ActWriteBIOS, Settings(next))
	return m.queueBIOS(ctx, next)
}

func (m *Machine) queueBIOS(ctx context.Context, next map[string]any) error {
	return m.set(ctx, func(s *state) {
		if s.biosNext == nil {
			s.biosNext = map[string]any{}
			m.addTask(&task{name: biosTask, state: "Pending"})
		}
		maps.Copy(s.biosNext, next)
	})
}

// ResetBIOS queues a job that brings all settings back to their defaults at the next boot.
func (m *Machine) ResetBIOS(ctx context.Context) error {
	m.did(ctx, ActResetBIOS, "")
	return m.queueBIOS(ctx, defaults())
}
