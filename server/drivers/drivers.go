// Package drivers is the hardware types as data: which implementations of each of Ironic's thirteen interfaces go with
// which type, which of them is the default, and which this server takes and shows but can't carry out. The API's checks,
// GET /v1/drivers, validate and the reference page are read from it. It reaches nothing and knows no node.
//
// Start at All, then lacks.go.
package drivers

import (
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// The interfaces.
const (
	BIOS       = "bios"
	Boot       = "boot"
	Console    = "console"
	Deploy     = "deploy"
	Firmware   = "firmware"
	Inspect    = "inspect"
	Management = "management"
	Network    = "network"
	Power      = "power"
	RAID       = "raid"
	Rescue     = "rescue"
	Storage    = "storage"
	Vendor     = "vendor"
)

// Kinds lists the interfaces in the order of the API's fields.
var Kinds = []string{BIOS, Boot, Console, Deploy, Firmware, Inspect, Management, Network, Power, RAID, Rescue, Storage, Vendor}

// StepKinds lists the interfaces of which steps may be asked for in cleaning and deployment.
var StepKinds = []string{BIOS, Deploy, Firmware, Management, Power, RAID, Vendor}

// HTTPBoot is the boot interface that has the machine's firmware load the ramdisk over HTTPS, from an address that its BMC is given.
const HTTPBoot = "redfish-https"

// VirtualMedia is the boot interface that has the BMC show the machine the ramdisk as a virtual CD.
const VirtualMedia = "redfish-virtual-media"

// Fake is the implementation that only pretends. fake-hardware alone has it: there is no machine behind it that could be
// harmed, or whose data could be left.
const Fake = "fake"

// Agent is the implementation that has the ramdisk do the work.
const Agent = "agent"

// Type is a hardware type.
type Type struct {
	Name      string
	Doc       string
	Own       string              // the implementation that speaks to the machines' own controllers
	Supported map[string][]string // implementations by interface, in order of support
	Default   map[string]string   // where it is not the first one
}

// What any machine that boots a ramdisk has.
var (
	netBoot  = []string{"ipxe", "pxe", "http-ipxe", "http"}
	deploys  = []string{"direct", "ramdisk", "custom-agent", "anaconda", "autodetect", "bootc", "ansible"}
	networks = []string{"noop", "flat", "neutron"}
	storages = []string{"noop", "cinder", "external"}
)

func with(first string, more []string) []string { return append([]string{first}, more...) }

// All lists the hardware types.
func All() []Type {
	return []Type{
		{
			Name: "redfish", Own: "redfish",
			Doc: "machines whose BMC speaks Redfish",
			Supported: map[string][]string{
				Power:      {"redfish"},
				Management: {"redfish", "noop"},
				Boot:       append(slices.Clone(netBoot), VirtualMedia, HTTPBoot),
				Deploy:     deploys,
				Inspect:    {"redfish", "agent", "no-inspect"},
				BIOS:       {"redfish", "no-bios"},
				RAID:       {"redfish", "no-raid", "agent"},
				Firmware:   {"redfish", "no-firmware"},
				Vendor:     {"redfish", "no-vendor"},
				Console:    {"no-console", "redfish-graphical", "ipmitool-socat"},
				Rescue:     {"no-rescue", "agent"},
				Storage:    storages,
				Network:    networks,
			},
			Default: map[string]string{Boot: VirtualMedia, Inspect: "agent", RAID: "no-raid"},
		},
		{
			Name: "ipmi", Own: "ipmitool",
			Doc: "machines whose BMC speaks IPMI: they are taken, checked and shown, but not driven yet",
			Supported: map[string][]string{
				Power:      {"ipmitool"},
				Management: {"ipmitool", "noop"},
				Boot:       netBoot,
				Deploy:     deploys,
				Inspect:    {"agent", "no-inspect"},
				BIOS:       {"no-bios"},
				RAID:       {"no-raid", "agent"},
				Firmware:   {"no-firmware"},
				Vendor:     {"ipmitool", "no-vendor"},
				Console:    {"ipmitool-socat", "no-console"},
				Rescue:     {"no-rescue", "agent"},
				Storage:    storages,
				Network:    networks,
			},
			Default: map[string]string{Console: "no-console"},
		},
		{
			Name: "fake-hardware", Own: Fake,
			Doc: "no machines: every act succeeds, for trying out and for tests of clients",
			Supported: map[string][]string{
				Power:      {Fake},
				Management: {Fake},
				Boot:       with(Fake, netBoot),
				Deploy:     with(Fake, deploys),
				Inspect:    {Fake, "agent", "no-inspect"},
				BIOS:       {Fake, "no-bios"},
				RAID:       {Fake, "no-raid", "agent"},
				Firmware:   {Fake, "no-firmware"},
				Vendor:     {Fake, "no-vendor"},
				Console:    {Fake, "no-console"},
				Rescue:     {Fake, "no-rescue", "agent"},
				Storage:    {Fake, "noop"},
				Network:    networks,
			},
			Default: map[string]string{Storage: "noop"},
		},
	}
}

// Pretends tells whether machines of a hardware type may be called cleaned without being so.
func Pretends(name string) bool {
	t, _ := Named(name)
	return slices.Contains(t.Supported[Deploy], Fake)
}

// Named finds a type.
func Named(name string) (Type, bool) {
	all := All()
	i := slices.IndexFunc(all, func(t Type) bool { return t.Name == name })
	if i < 0 {
		return Type{}, false
	}
	return all[i], true
}

// Choice names an implementation of an interface, as settings do.
type Choice struct{ Kind, Name string }

// ParseChoice reads INTERFACE=IMPLEMENTATION; request.invalid otherwise, and for what no type has.
func ParseChoice(text string) (Choice, error) {
	kind, name, ok := strings.Cut(text, "=")
	c := Choice{kind, name}
	if !ok || !slices.Contains(Kinds, kind) {
		return Choice{}, fault.New(fault.RequestInvalid, "%.80q is not of the form INTERFACE=IMPLEMENTATION", text).
			WithHint("the interfaces are %s", strings.Join(Kinds, ", "))
	}
	var known []string
	for _, t := range All() {
		for _, i := range t.Supported[kind] {
			if !slices.Contains(known, i) {
				known = append(known, i)
			}
		}
	}
	if !slices.Contains(known, name) {
		return Choice{}, fault.New(fault.RequestInvalid, "there is no %s interface %.80q", kind, name).WithHint("there are %s", strings.Join(known, ", "))
	}
	return c, nil
}

// Settings is what a server offers of the types. Types empty is all of them. An interface that Enabled does not name has
// all that a type supports; Default counts for the types that have it.
type Settings struct {
	Types   []string
	Enabled []Choice
	Default []Choice
}

// Offer is what is offered of each type that is enabled: the implementations of each interface, the default first, the
// others in order of support. It fails with driver.unknown, or request.invalid when a type is left without an
// implementation of an interface, which no node of it could do without.
func (s Settings) Offer() (map[string]map[string][]string, error) {
	types := s.Types
	if len(types) == 0 {
		for _, t := range All() {
			types = append(types, t.Name)
		}
	}
	out := map[string]map[string][]string{}
	for _, name := range types {
		t, ok := Named(name)
		if !ok {
			return nil, fault.New(fault.DriverUnknown, "there is no hardware type %.80q", name)
		}
		out[name] = map[string][]string{}
		for _, kind := range Kinds {
			list := s.of(t, kind)
			if len(list) == 0 {
				return nil, fault.New(fault.RequestInvalid, "no %s interface of hardware type %s is enabled", kind, name).
					WithHint("enable one of %s, or leave the type out", strings.Join(t.Supported[kind], ", "))
			}
			out[name][kind] = list
		}
	}
	return out, nil
}

// of is the implementations of one interface, the default first.
func (s Settings) of(t Type, kind string) []string {
	list := slices.Clone(t.Supported[kind])
	if slices.ContainsFunc(s.Enabled, func(c Choice) bool { return c.Kind == kind }) {
		list = slices.DeleteFunc(list, func(name string) bool { return !slices.Contains(s.Enabled, Choice{kind, name}) })
	}
	first := t.Default[kind]
	for _, c := range s.Default {
		if c.Kind == kind && slices.Contains(list, c.Name) {
			first = c.Name
		}
	}
	if i := slices.Index(list, first); i > 0 {
		list = slices.Insert(slices.Delete(list, i, i+1), 0, first)
	}
	return list
}

// Offered is what a server without settings offers of a type; nil for an unknown one.
func Offered(name string) map[string][]string {
	all, err := Settings{Types: []string{name}}.Offer()
	if err != nil {
		return nil
	}
	return all[name]
}

// Resolve is a node's implementation of each interface: its own choice, or else the default of what is offered.
func Resolve(offered map[string][]string, chosen map[string]string) map[string]string {
	out := make(map[string]string, len(offered))
	for kind, list := range offered {
		if out[kind] = chosen[kind]; out[kind] == "" && len(list) > 0 {
			out[kind] = list[0]
		}
	}
	return out
}
