// Package host has the commands that do something on this host: run the server, show its settings, keep its users, build
// the ramdisk, play a fleet. What they run is handed in as Programs, since all else in the command is a client of the
// REST API.
package host

import (
	"context"
	"time"

	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// Programs is what runs in this process.
type Programs struct {
	Version      string
	Serve        func(ctx context.Context, s config.Server) error
	BuildRamdisk func(ctx context.Context, r Ramdisk) error
	// Examine looks at the data directory of a server that does not run. It changes nothing; nil: it can't be done here.
	Examine  func(ctx context.Context, s config.Server) []api.Check
	Simulate func(ctx context.Context, s Simulation) error
	Users    Users
}

// Ramdisk is what bessemer ramdisk build is asked for. Empty fields are the builder's defaults.
type Ramdisk struct {
	Output      string
	Source      string
	Cache       string
	Agent       string
	AgentBinary string
	Flavour     string
	Bundles     []string
	Extra       []string
	Cmdline     []string
	CACerts     string
	Rescue      bool
	Refresh     bool
	Fast        bool
}

// Certificates is where Debian keeps the certificates that a host trusts: what a ramdisk trusts unless told
// otherwise.
const Certificates = "/etc/ssl/certs/ca-certificates.crt"

// User is a user of --auth basic, as the server's user and roles files have it.
type User struct {
	Name    string `json:"name"`
	Role    string `json:"role"`    // "": no access
	Project string `json:"project"` // "": everything
}

// Users keeps the user and roles files that a server's settings name, on this host. Nil functions: it can't be done here.
type Users struct {
	List func(s config.Server) ([]User, error)
	// Set makes a user or changes one: the password unless it is "", the role and project unless the role is "".
	Set    func(s config.Server, u User, password string) error
	Delete func(s config.Server, name string) error
}

// Simulation is what bessemer simulate is asked for.
type Simulation struct {
	API       *client.Client
	Socket    string
	Prefix    string
	Nodes     int
	Gather    bool
	Spread    time.Duration
	StepTime  time.Duration
	Inventory int // kB
	Beats     float64
	For       time.Duration
}
