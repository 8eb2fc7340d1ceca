package floors

// floors is the table. Floor 0 is the lowest; what each package answers for stands in its package comment.
var floors = map[string]int{
	"shared/fault":     0,
	"shared/failpoint": 0,
	"shared/crypt":     0,

	"shared/state":     1,
	"shared/inventory": 1,

	"shared/step": 2,

	"shared/api":      3,
	"server/origin":   3,
	"server/access":   3,
	"server/limit":    3,
	"shared/hardware": 3,
	"shared/catalog":  3,
	"server/drivers":  3,

	"server/conductor":              4,
	"server/client":                 4,
	"server/cloud":                  4,
	"server/migrate":                4,
	"server/register":               4,
	"server/resource":               4,
	"server/selection":              4,
	"server/logs":                   4,
	"server/netdata":                4,
	"server/config":                 4,
	"server/raid":                   4,
	"server/seal":                   4,
	"agent/run":                     4,
	"agent/managers":                4,
	"agent/system":                  4,
	"agent/block":                   4,
	"agent/disk/content":            4,
	"agent/meter":                   4,
	"agent/system/systemtest":       4,
	"hardware-managers/managertest": 4,
	"initramfs/media":               4,
	"integration/evidence":          4,

	"server/webhook":             5,
	"server/conductor/bmctest":   5,
	"server/conductor/storetest": 5,
	"server/conductor/nodetest":  5,
	"server/conductor/defaults":  5,
	"server/conductor/disks":     5,
	"server/conductor/doctor":    5,
	"server/conductor/fit":       5,
	"server/conductor/profile":   5,
	"server/sqlite":              5,
	"server/redfish":             6,
	"server/redfish/parts":       5,
	"server/fake":                5,
	"server/ipmi":                5,
	"server/channel":             5,
	"server/token":               5,
	"server/boot":                5,
	"server/images":              5,
	"server/cli/input":           4,
	"server/cli/output":          4,
	"server/cli/command":         5,
	"server/cli/work":            5,
	"server/cli/acts":            6,
	"server/cli/host":            6,
	"server/cli/flows":           7,
	"server/cli/observe":         7,
	"server/cli/parts":           7,
	"server/cli/record":          7,
	"server/cli/fleet":           8,
	"server/cli/resources":       8,
	"server/cli":                 9,
	"server/cli/clitest":         10, // of tests alone
	"agent/channel":              5,
	"agent/inventory":            5,
	"agent/disk":                 5,
	"agent/drivers":              5,

	"server/conductor/plan": 6,
	"agent/disk/disktest":   6,
	"agent/disk/erase":      6,
	"agent/network":         6,
	"agent/image":           6,

	"server/conductor/decide":   7,
	"server/rest/login":         4,
	"server/rest/shape":         4,
	"server/rest/mask":          5,
	"server/rest/serve":         5,
	"server/rest/records":       6,
	"server/rest/machine":       6,
	"server/rest/watch":         6,
	"server/rest/nodewire":      6,
	"server/rest/nodes":         7,
	"server/rest/ramdisk":       7,
	"server/rest/provision":     8,
	"server/rest":               9,
	"server/engine/machines":    6,
	"server/engine/recordtest":  9, // of tests alone
	"server/engine/medium":      7,
	"server/engine/management":  8,
	"server/engine/ramdisks":    7,
	"server/engine":             9,
	"server/engine/retry":       5,
	"server/engine/nodes":       6,
	"server/engine/allocations": 7,
	"server/engine/powersync":   8,
	"server/engine/records":     8,
	"server/engine/sessions":    5,
	"hardware-managers/generic": 7,
	"hardware-managers/example": 7,

	"hardware-managers/all": 8,
	"initramfs":             8,
	"integration/fleet":     8,

	"agent":    10,
	"server":   10,
	"docs/gen": 10,

	// Nothing below is part of a product program.
	"integration/bubbles":      10,
	"integration/efitest":      10,
	"integration/faults":       10,
	"integration/figures":      10,
	"integration/floors":       10,
	"integration/pure":         10,
	"integration/sim":          10,
	"integration/simnet":       10,
	"integration/blockdev":     10,
	"integration/image":        10,
	"integration/ledger":       10,
	"integration/image/testos": 10,
	"integration/lint":         10,
	"integration/login":        10,
	"integration/medium":       10,
	"integration/mutants":      10,
	"integration/ovmf":         10,
	"integration/safetyreport": 10,
	"integration/servers":      10,

	"integration/qemu": 11,

	"integration/bmc": 12,

	"integration/differential": 11,

	"integration/control": 13,

	"integration/emulator": 14,

	"integration/lab": 15,

	"integration":                      16,
	"integration/bench":                16,
	"integration/bench/bareinit":       0, // imports nothing of ours: the init that boots are measured against
	"integration/cmd/crash-agent":      16,
	"integration/cmd/demo":             16,
	"integration/crash":                16,
	"integration/cmd/redfish-emulator": 16,
	"integration/vm":                   16,
	"integration/clients":              17,
}

// neverInAgent names the modules that the agent's program must not reach, and why.
var neverInAgent = map[string]string{
	"github.com/mattn/go-sqlite3":  "it needs cgo, and the agent keeps no database",
	"github.com/stmcginnis/gofish": "the agent does not speak to BMCs over the network, and it costs megabytes",
	"github.com/gorilla/mux":       "the agent has no listening socket, so nothing to route",
}

// exceptions lists the modules that several packages of one program may import, and why.
var exceptions = map[string]struct {
	by  []string
	why string
}{
	"github.com/spf13/cobra": {[]string{"server/cli", "server/cli/acts", "server/cli/command", "server/cli/fleet", "server/cli/flows", "server/cli/host", "server/cli/observe",
		"server/cli/parts", "server/cli/record", "server/cli/resources"},
		"each subject of the operator's command makes its own part of one tree (docs/adr/0220-the-commands-parts.md)"},
	"gopkg.in/yaml.v3": {[]string{"server/cli/input", "server/cli/output"},
		"one reads what an operator gives, the other writes -o yaml; what both are made of is the library"},
	"github.com/u-root/mkuimage": {[]string{"initramfs", "integration/image"},
		"the demo builds a ramdisk and makes an image; the kernel's archive format is written in both, which must not depend on each other"},
	"github.com/u-root/u-root": {[]string{"agent/drivers", "agent/inventory", "agent/network", "agent/system"},
		"a collection, not one library: the inventory reads SMBIOS, and everything that changes the machine is in the others"},
}
