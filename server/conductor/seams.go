package conductor

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/inventory"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Store keeps everything that must survive. View sees one consistent state; Update is one write transaction that
// commits all or nothing, durably, before it returns. fn may be called again after a busy store: it must have no
// effect outside its Tx. Errors that fn returns roll back and come back unchanged; the store's own are
// storage.unavailable.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Getters give copies; a missing object is the not_found fault of its kind. Writers in a View
// give an internal fault.
type Tx interface {
	Node(id NodeID) (Node, error)
	NodeByName(name string) (Node, error)
	NodeByAddress(mac string) (Node, error)
	Nodes(f NodeFilter) ([]Node, error) // in order of creation
	// PreparedNodes is Nodes for who shows them: rows that were prepared by the rules called form when the node was
	// written; a node without one comes as it is. each may keep what it gets.
	PreparedNodes(f NodeFilter, form string, each func(p PreparedNode) error) error
	// EachNode tells the id of every node, in order of creation, and whether work on it is open: a lease, or a flow that
	// has not ended. It costs a fraction of Nodes, as a start with a large fleet wants no more. each runs nothing else.
	EachNode(each func(id NodeID, open bool)) error
	CreateNode(n *Node) error   // sets Version; node.exists when UUID, name or instance is taken
	PutNode(n *Node) error      // compare-and-set on Version, then raises it (I11)
	DeleteNode(id NodeID) error // with all that belongs to it

	// Records beside nodes, by UUID or, where they have one, by name; a missing one is the kind's own fault, as is one
	// that is taken. RecordOf and RecordsOf give them their type.
	Record(kind Kind, ident string) (Record, error)
	Records(kind Kind, f RecordFilter) ([]Record, error)
	CreateRecord(r Record) error // node.not_found when it names a node that is not there
	PutRecord(r Record) error
	DeleteRecord(kind Kind, uuid string) error

	Step(id step.ID) (StepRecord, error)
	Steps(node NodeID, run string) ([]StepRecord, error) // by order, then attempt; run "" means all
	PutStep(r *StepRecord) error                         // insert or replace by ID
	OpenSteps(node NodeID) ([]StepRecord, error)         // offered or started

	Secret(node NodeID, field string) ([]byte, error)    // not_found when unset; opened by the store's Sealer
	PutSecret(node NodeID, field string, v []byte) error // nil deletes
	SecretFields(node NodeID) ([]string, error)

	AppendHistory(e Entry) error
	History(node NodeID, f HistoryFilter) ([]Entry, error)
	AppendAudit(a Audit) error // hash-chained by the store (I27)

	// Inventory is the one to show: what the BMC told since there was an accepted one, or else that.
	Inventory(node NodeID) (StoredInventory, error)
	HasInventory(node NodeID) (bool, error) // whether there is an accepted one; it is not read
	InventoryOf(node NodeID, generation uint64) (StoredInventory, error)
	// AcceptedDisks are those of the accepted one; the rest of it is not read. generation is the boot that InventoryOf has the same
	// for, 0 when that one has brought another since.
	AcceptedDisks(node NodeID) (d []inventory.Disk, generation uint64, err error)
	DisksOf(node NodeID, generation uint64) ([]inventory.Disk, error) // of InventoryOf, likewise
	// PutInventory replaces what the same boot brought before. Only an accepted one takes the place of the accepted one, and of
	// what the BMC told before it. What the BMC tells takes the place of what it told before, and of nothing else. One
	// whose bytes are there already is left as it is.
	PutInventory(i StoredInventory) error

	AddEffect(e *Effect) error  // sets ID
	Effects() ([]Effect, error) // not done yet, oldest first
	DoneEffect(id int64) error

	Shards() ([]Shard, error) // the largest first

	Defaults(scopes ...Scope) ([]Default, error) // of each scope in the order given, then by flow, step and key; without scopes all
	PutDefault(d Default) error                  // insert or replace by all but Value; a node's go with the node
	DeleteDefault(d Default) error               // may be called again

	Journal
	Webhooks
	PartsTx
	UsageTx

	Setting(key string) (string, error) // "" when unset
	PutSetting(key, value string) error
}

// NodeFilter selects nodes; zero fields select all. After is the UUID of the last node of the page before.
type NodeFilter struct {
	State         string
	Driver        string
	ResourceClass string
	Group         *string
	Owner         string
	Lessee        string
	Project       string // owner or lessee
	Chassis       string
	InstanceUUID  string
	InstanceName  string
	Parent        NodeID   // children of this node
	Roots         bool     // nodes that are no children
	Shards        []string // in one of them
	Sharded       *bool    // in any
	Fault         string
	Description   *string // substring; nodes without a description have none
	Associated    *bool
	Maintenance   *bool
	Retired       *bool
	IDs           []string // UUIDs and names; nil is all
	VisibleTo     string   // only what this project owns or leases; "" is all
	After         NodeID
	Limit         int
	SortKey       string // "" is order of creation; a field that shared/api lets be sorted by
	Descending    bool
	// Defaults are of a list that is sorted by an interface: what nodes have that chose none, by driver.
	Defaults map[string]string
}

// HistoryFilter is a page of a node's history. The zero value is all of it, oldest first.
type HistoryFilter struct {
	After      string // the UUID of the last entry of the page before
	Limit      int    // 0: all
	SortKey    string // one of HistoryKeys; "" is the order of writing
	Descending bool
}

// HistoryKeys are the fields that a history is sorted by.
func HistoryKeys() []string {
	return []string{"uuid", "created_at", "severity", "event_type", "event", "user"}
}

// PreparedNode is a node of a list: Row, or where there is none, Node.
type PreparedNode struct {
	UUID string
	Row  string
	Node *Node
}

// Audit is one entry of the append-only record of grants, destruction, level changes, power acts and log-ins.
type Audit struct {
	Time    time.Time      `json:"time"`
	Actor   string         `json:"actor"`
	Request string         `json:"request,omitempty"`
	Node    NodeID         `json:"node,omitempty"`
	Act     string         `json:"act"` // "power.off", "step.start", "secret.read", "lookup", "level.lower"
	Detail  map[string]any `json:"detail,omitempty"`
}

// PowerAction is an absolute power act; there are no toggles (F25).
type PowerAction string

// The acts.
const (
	On               PowerAction = "On"
	ForceOff         PowerAction = "ForceOff"
	GracefulShutdown PowerAction = "GracefulShutdown"
)

// BootTarget is what a machine boots from next; the zero BootTarget leaves it to the machine's own order.
type BootTarget struct {
	Device string // "cdrom", "disk", "pxe", "uefihttp"
	Always bool   // else the next boot only
	UEFI   bool
	URL    string // uefihttp only
}

// BMC is one machine's management controller. Every method keeps to the context's deadline and to the BMC's own
// budget; it returns bmc.* faults. Acts are absolute and may be repeated.
type BMC interface {
	Facts(ctx context.Context) (Facts, error)
	Power(ctx context.Context) (Power, error)
	SetPower(ctx context.Context, a PowerAction) error // asks once; the caller re-reads to confirm
	SetBoot(ctx context.Context, b BootTarget) error
	Boot(ctx context.Context) (BootTarget, error)
	SetMedia(ctx context.Context, url string) error // virtual CD in; "" takes it out
	Steps(ctx context.Context) ([]step.Bound, error)
}

// Facts is what a BMC says of its machine.
type Facts struct {
	Power        Power
	Vendor       string
	Model        string
	Serial       string
	UUID         string
	BMCModel     string
	BMCFirmware  string
	BIOSVersion  string
	BootMode     string        // "uefi" or "bios"; "" unknown
	BootModes    []string      // of these, what it can be told to boot in; empty: it does not say
	SecureBoot   *bool         // nil: the BMC does not show it
	Health       string        // "OK", "Warning", "Critical", ""
	BootDevices  []string      // empty: it does not say
	PowerActs    []PowerAction // empty: it does not say
	MACs         []string
	VirtualMedia bool
	BootURI      *bool          // it can be given the address of an HTTP boot; nil: it does not say
	BootTrust    *bool          // the machine's firmware is shown to trust Access.BootChain; nil: it does not say, or was not asked
	BIOS         map[string]any // attributes; nil when the BMC has none
	ClockAhead   *time.Duration // the BMC's clock against the server's; nil: it shows no clock
	NoSession    string         // why the BMC gave no session though it takes the log-in; "" when it gave one, or none was asked for
	Unread       []string       // parts (PartManager, ...) that it has but that could not be read
}

// Driver is a hardware type: how to reach machines of a kind.
type Driver interface {
	Name() string                       // "redfish"
	Interfaces() map[string][]string    // interface to the implementations it supports, default first
	Properties() map[string]string      // driver_info key to one sentence
	SecretKeys() []string               // driver_info keys that are sealed: "redfish_password"
	Validate(info map[string]any) error // driver.info_missing or request.invalid, naming the keys
	Steps() []step.Step                 // out-of-band steps offered
	Open(ctx context.Context, a Access) (BMC, error)
	Address(info map[string]any) string // the BMC's host for source checks; "" when it has none
}

// Health is how a BMC has answered lately. A driver that knows (HealthTeller) keeps a breaker for each BMC: when
// requests have failed too often in a row, it sends none until Next.
type Health struct {
	Origin string    // the BMC, as all nodes behind it share it; "" when the node has one of its own
	Failed int       // requests in a row that came to nothing; 0: the last one was answered
	Last   Exchange  // what was asked last
	Unsent Exchange  // what could last not be asked, as the BMC's budget was used up
	Next   time.Time // the breaker is open until then; zero: it is closed
}

// Exchange is what a BMC was asked, and what came of it: in words, without secrets. The zero Exchange: nothing was.
type Exchange struct {
	Asked string    // "GET /redfish/v1/Systems/1"
	Came  string    // "200 OK", "no answer in time"
	At    time.Time // when that came
}

func (x Exchange) String() string { return x.Asked + ": " + x.Came }

// HealthTeller is a Driver that knows how its BMCs are. Health makes no connection; info is driver_info.
type HealthTeller interface {
	Health(info map[string]any) Health
}

// Access is what a driver needs to open a BMC.
type Access struct {
	Node    NodeID
	Info    map[string]any
	Secrets map[string]string // by driver_info key
	Keep    []string          // URLs of media that operators attached: SetMedia leaves their drives alone
	ISO     string            // what the instance boots, and its drive holds: no other medium goes into that; "" for an instance on a disk
	Machine Identity          // which machine it is to be, whatever path it is found at; zero: the one named by Info
	// BootChain is the certificate that machines are shown which boot over HTTPS, with those that signed it, DER: Facts tells whether
	// the machine's firmware trusts it. nil: it does not matter.
	BootChain [][]byte
	Again     bool // an operator asked anew: credentials that were refused may be tried again (F27)
	// Held is asked before each request that changes anything at the BMC, also in the middle of a step, and its error ends
	// what was to be done, as it is: the server's lease of the store may have run out since (I16, F30). A step that can be
	// aborted is stopped only as long as it was not asked (F40). nil: all is allowed.
	Held func() error
}

// Dispatcher carries commands to agents. Offer replaces an earlier offer to that node; both are idempotent. What
// comes of an offer arrives through Conductor.Start and Conductor.Result.
type Dispatcher interface {
	Offer(node NodeID, generation uint64, c api.Command)
	Withdraw(node NodeID, id step.ID)               // abort of a started step, or the offer is taken back
	Drop(node NodeID)                               // the generation ended: held heartbeats end
	Heard(node NodeID, generation uint64) time.Time // when an agent of this generation was last heard; zero: never
}

// Logs keeps what agents say, by node and boot generation.
type Logs interface {
	Append(node NodeID, generation uint64, offset int64, data []byte) error // a repeat of known bytes is dropped
	Open(node NodeID, generation uint64, offset int64) (io.ReadCloser, error)
	Generations(node NodeID) ([]uint64, error)
	Delete(node NodeID) error
}

// ConfigDriver makes a config drive's image from its files ("openstack/latest/meta_data.json").
type ConfigDriver interface {
	ConfigDrive(files map[string][]byte) ([]byte, error)
}

// Peer is who speaks on the agent channel: the client certificate's thumbprint and the source address.
type Peer struct {
	Key  string
	Addr netip.Addr
}

// Session is an agent whose token was checked (safety.md §2.5): the token's signature, audience, lifetime and key are
// verified; whether node and generation still stand is checked again inside each call.
type Session struct {
	Claims api.Claims
	Peer   Peer
}

// Admission is the answer to a valid lookup.
type Admission struct {
	Node       NodeID
	Name       string
	Generation uint64
	Level      api.Level
	Interval   time.Duration
}
