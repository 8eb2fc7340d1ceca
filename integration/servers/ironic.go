package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Python is Debian's own, which its Python packages belong to; another in PATH has none of them.
const Python = "/usr/bin/python3"

// library is where Debian's package has Ironic.
const library = "/usr/lib/python3/dist-packages/ironic/__init__.py"

// IronicConfig says how Ironic is run.
type IronicConfig struct {
	Dir      string // must exist
	Database string // an SQLAlchemy URL; empty is an SQLite file below Dir
	Split    bool   // API and conductor are processes of their own, as in a production site; otherwise both are in one
}

// Ironic starts Debian's Ironic and waits until its conductor has registered its drivers. It begins with an empty database,
// unless an earlier one ran in the same directory.
func Ironic(ctx context.Context, cfg IronicConfig) (*Server, error) {
	if _, err := os.Stat(library); err != nil {
		return nil, fmt.Errorf("the package python3-ironic of Debian is missing (make setup installs it): %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	ports, err := FreePorts(2)
	if err != nil {
		return nil, err
	}
	s := &Server{URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), Host: host, Dir: cfg.Dir, logged: filepath.Join(cfg.Dir, "ironic.log")}
	if cfg.Database == "" {
		cfg.Database = "sqlite:///" + filepath.Join(cfg.Dir, "ironic.sqlite")
	}
	conf := filepath.Join(cfg.Dir, "ironic.conf")
	_, err = os.Stat(conf)
	first := errors.Is(err, os.ErrNotExist)
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(ironicConf, host, cfg.Dir, cfg.Database, ports[0], ports[1])), 0o600); err != nil {
		return nil, err
	}
	for _, dir := range []string{"images", "tftpboot", "httpboot", "locks"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	// Its ipmi interfaces load only where there is an ipmitool. Here no BMC is reached: one that always fails will do.
	bin := filepath.Join(cfg.Dir, "bin")
	if first {
		if err := errors.Join(os.MkdirAll(bin, 0o700), os.Symlink("/bin/false", filepath.Join(bin, "ipmitool"))); err != nil {
			return nil, err
		}
		if err := s.command(ctx, "dbsync", conf, "create_schema"); err != nil {
			return nil, err
		}
	}
	// Lists that it makes of sets have the same order in every run with a given seed.
	env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "PYTHONWARNINGS=ignore", "PYTHONHASHSEED=0"}
	programs := []string{"singleprocess"}
	if cfg.Split {
		programs = []string{"conductor", "api"}
	}
	began := time.Now()
	for _, p := range programs {
		if err := s.run(env, Python, "-c", entry(p), "--config-file", conf); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	err = s.answers(ctx, 20*time.Millisecond, func(ask *http.Client) bool {
		if s.Start == 0 {
			if status, _ := get(ask, s.URL+"/v1", "1.1"); status != http.StatusOK {
				return false
			}
			s.Start = time.Since(began)
		}
		status, drivers := get(ask, s.URL+"/v1/drivers", "1.1")
		return status == http.StatusOK && bytes.Contains(drivers, []byte("fake-hardware"))
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// entry is a program of Ironic's, by the function that its console script calls: the scripts are in packages that
// also set up services.
func entry(program string) string {
	return "import sys; from ironic.cmd." + program + " import main; sys.argv[0] = 'ironic-" + program + "'; sys.exit(main())"
}

// command runs a program of Ironic's to its end.
func (s *Server) command(ctx context.Context, program, conf string, args ...string) error {
	cmd := exec.CommandContext(ctx, Python, append([]string{"-c", entry(program), "--config-file", conf}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ironic-%s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	return nil
}

// ironicConf is the configuration. What is not upstream's default, and why: no authentication, no message bus, no
// OpenStack services; all fake interfaces beside those of redfish and ipmi; no periodic work besides the conductor's
// heartbeat, which several writers of one SQLite file would only wait for.
const ironicConf = `[DEFAULT]
auth_strategy = noauth
host = %[1]s
my_ip = 127.0.0.1
rpc_transport = json-rpc
state_path = %[2]s
use_stderr = true
default_log_levels = ironic=WARNING,eventlet.wsgi.server=WARNING,oslo_service=WARNING
enabled_hardware_types = fake-hardware,ipmi,redfish
enabled_bios_interfaces = fake,redfish,no-bios
enabled_boot_interfaces = fake,ipxe,pxe,redfish-virtual-media
enabled_console_interfaces = fake,ipmitool-socat,no-console
enabled_deploy_interfaces = fake,direct,ramdisk
enabled_inspect_interfaces = fake,redfish,no-inspect
enabled_management_interfaces = fake,ipmitool,redfish,noop
enabled_network_interfaces = noop
enabled_power_interfaces = fake,ipmitool,redfish
enabled_raid_interfaces = fake,agent,redfish,no-raid
enabled_rescue_interfaces = fake,agent,no-rescue
enabled_storage_interfaces = fake,noop
enabled_vendor_interfaces = fake,ipmitool,redfish,no-vendor

[conductor]
sync_power_state_interval = 0
check_provision_state_interval = 0
check_allocations_interval = 0

[database]
connection = %[3]s

[api]
host_ip = 127.0.0.1
port = %[4]d

[json_rpc]
auth_strategy = noauth
host_ip = 127.0.0.1
port = %[5]d

[oslo_concurrency]
lock_path = %[2]s/locks

[pxe]
tftp_root = %[2]s/tftpboot
images_path = %[2]s/images
instance_master_path =
tftp_master_path =

[deploy]
http_root = %[2]s/httpboot

[service_catalog]
auth_type = none
endpoint_override = http://127.0.0.1:%[4]d
`
