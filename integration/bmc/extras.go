package bmc

import (
	"maps"
	"slices"
	"strconv"
)

// What a fake machine's BMC has beside power, boot and settings: nothing in the machine depends on it.

// Subscription is one to the BMC's events. No event is ever sent.
type Subscription struct {
	ID          string
	Destination string
	Context     string
	Protocol    string
	EventTypes  []string
	Headers     []any
}

// Certificate is one that the machine's firmware trusts for HTTPS boot.
type Certificate struct {
	ID  string
	PEM string
	DER []byte
}

// extras are kept under the machine's lock.
type extras struct {
	legacy     bool              // it boots the old way
	chassisLED bool              // lit
	drives     map[string]string // the image in each further virtual drive
	events     []Subscription
	eventsMade int
	trust      []Certificate
	trustMade  int
	nmis       int
}

// Extras is what there is of them now.
type Extras struct {
	Legacy     bool
	ChassisLED bool
	Drives     map[string]string
	Events     []Subscription
	NMIs       int // how often the machine was interrupted
}

// Extras returns the state as it is.
func (m *Machine) Extras() Extras {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.extras
	return Extras{x.legacy, x.chassisLED, maps.Clone(x.drives), slices.Clone(x.events), x.nmis}
}

// Trust makes the machine's firmware trust another certificate for HTTPS boot, from its next boot on.
func (m *Machine) Trust(pem string, der []byte) Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.extras.trustMade++
	c := Certificate{strconv.Itoa(m.extras.trustMade), pem, der}
	m.extras.trust = append(m.extras.trust, c)
	return c
}

// Trusted lists what the firmware trusts.
func (m *Machine) Trusted() []Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.extras.trust)
}

// Distrust takes a certificate back; false if there is none of this id.
func (m *Machine) Distrust(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.extras.trust)
	m.extras.trust = slices.DeleteFunc(m.extras.trust, func(c Certificate) bool { return c.ID == id })
	return len(m.extras.trust) < before
}

// SetLegacy says whether the machine boots the old way.
func (m *Machine) SetLegacy(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.extras.legacy = on
}

// SetChassisLED switches the light of the chassis.
func (m *Machine) SetChassisLED(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.extras.chassisLED = on
}

// SetDrive puts an image into one of the further drives; "" takes it out. Nothing is fetched.
func (m *Machine) SetDrive(drive, url string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.extras.drives == nil {
		m.extras.drives = map[string]string{}
	}
	m.extras.drives[drive] = url
	if url == "" {
		delete(m.extras.drives, drive)
	}
}

// Subscribe keeps a subscription and gives it its id.
func (m *Machine) Subscribe(s Subscription, id func(n int) string) Subscription {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.extras.eventsMade++
	s.ID = id(m.extras.eventsMade)
	m.extras.events = append(m.extras.events, s)
	return s
}

// Unsubscribe forgets a subscription; false when there is none.
func (m *Machine) Unsubscribe(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.extras.events)
	m.extras.events = slices.DeleteFunc(m.extras.events, func(s Subscription) bool { return s.ID == id })
	return len(m.extras.events) < before
}
