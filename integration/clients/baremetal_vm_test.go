//go:build vm

package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/servers"
)

// baremetal is the command, ready for any number of command lines.
type baremetal struct {
	t      *testing.T
	url    string
	in     *json.Encoder
	out    *bufio.Reader
	common []string
}

func newBaremetal(t *testing.T, url string) *baremetal {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), servers.Python, "baremetal.py")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() //nolint:errcheck // it ends by that
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("%v: %s", err, said.String())
		}
	})
	return &baremetal{t: t, url: url, in: json.NewEncoder(in), out: bufio.NewReader(out), common: []string{"--os-auth-type", "none", "--os-endpoint", url}}
}

// run gives the exit status, standard output and standard error of a command line.
func (b *baremetal) run(line string) (status int, out, said string) {
	b.t.Helper()
	if err := b.in.Encode(append(slices.Clone(b.common), words(line)...)); err != nil {
		b.t.Fatal(err)
	}
	text, err := b.out.ReadBytes('\n')
	if err != nil {
		b.t.Fatalf("baremetal %s: %v", line, err)
	}
	var answer [3]any
	if err := json.Unmarshal(text, &answer); err != nil {
		b.t.Fatalf("baremetal %s: %v: %s", line, err, text)
	}
	n, ok := answer[0].(float64)
	if !ok {
		n = 1 // an exit with words
	}
	return int(n), fmt.Sprint(answer[1]), fmt.Sprint(answer[2])
}

// words parts a command line at spaces that are not within single quotes.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

// do runs a command line that must work, with JSON output where the command has any, decoded into the answer.
func (b *baremetal) do(line string) string {
	b.t.Helper()
	status, out, said := b.run(line)
	if status != 0 {
		b.t.Fatalf("baremetal %s: exit status %d: %s", line, status, said)
	}
	return out
}

// refused runs a command line that must fail with these words.
func (b *baremetal) refused(line, want string) {
	b.t.Helper()
	if status, out, said := b.run(line); status == 0 || !strings.Contains(strings.ToLower(said), strings.ToLower(want)) {
		b.t.Errorf("baremetal %s: exit status %d, expected a failure with %q: %s%s", line, status, want, out, said)
	}
}

// object runs a command that shows one object.
func (b *baremetal) object(line string) map[string]any {
	b.t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(b.do(line+" -f json")), &v); err != nil {
		b.t.Fatalf("baremetal %s: %v", line, err)
	}
	return v
}

// list runs a command that lists objects.
func (b *baremetal) list(line string) []map[string]any {
	b.t.Helper()
	var v []map[string]any
	if err := json.Unmarshal([]byte(b.do(line+" -f json")), &v); err != nil {
		b.t.Fatalf("baremetal %s: %v", line, err)
	}
	return v
}

// state fails unless the node is in the state.
func (b *baremetal) state(node, want string) map[string]any {
	b.t.Helper()
	n := b.object("node show " + node)
	if n["provision_state"] != want {
		b.t.Fatalf("the node is %v (%v), expected %s", n["provision_state"], n["last_error"], want)
	}
	return n
}

// server is our program with machines of fake hardware.
func server(t *testing.T, args ...string) *servers.Server {
	t.Helper()
	dir := t.TempDir()
	program, err := servers.Build(t.Context(), "../..", dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := servers.Bessemer(t.Context(), servers.BessemerConfig{Program: program, Dir: dir, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server said last:\n%s", s.Said())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestBaremetalTakesANodeThroughItsLife is Debian's client, unchanged, from a node's creation to its deletion.
func TestBaremetalTakesANodeThroughItsLife(t *testing.T) {
	t.Parallel()
	b := newBaremetal(t, server(t, "--allow-origin", "127.0.0.0/8").URL) // that is where its image is

	drivers := b.list("driver list")
	if !slices.ContainsFunc(drivers, func(d map[string]any) bool { return d["Supported driver(s)"] == "fake-hardware" }) {
		t.Fatalf("drivers %v", drivers)
	}
	if d := b.object("driver show fake-hardware"); d["name"] != "fake-hardware" || d["default_power_interface"] != "fake" {
		t.Errorf("driver %v", d)
	}
	b.list("driver property list fake-hardware")
	if c := b.list("conductor list"); len(c) != 1 || c[0]["Alive"] != true {
		t.Errorf("conductors %v", c)
	}

	n := b.object("node create --driver fake-hardware --name n1 --resource-class metal --property cpu_arch=x86_64 --driver-info x_password=secret --extra k=v")
	if n["provision_state"] != "enroll" || n["name"] != "n1" || strings.Contains(fmt.Sprint(n["driver_info"]), "secret") {
		t.Fatalf("created %v", n)
	}
	uuid := fmt.Sprint(n["uuid"])
	b.refused("node create --driver fake-hardware --name n1", "n1")
	b.refused("node create --driver nosuch", "nosuch")
	b.do("node set n1 --property memory_mb=4096 --extra owner=lab --description 'first of all' --resource-class metal2")
	b.do("node unset n1 --extra k")
	n = b.object("node show n1")
	if n["description"] != "first of all" || n["resource_class"] != "metal2" || strings.Contains(fmt.Sprint(n["extra"]), "k:") {
		t.Errorf("set %v", n)
	}
	b.do("node set n1 --resource-class metal")
	if n = b.object("node show " + uuid + " --fields name driver"); len(n) != 2 || n["name"] != "n1" {
		t.Errorf("two fields: %v", n)
	}

	p := b.object("port create 52:54:00:aa:bb:01 --node " + uuid)
	port := fmt.Sprint(p["uuid"])
	b.do("port set " + port + " --extra k=v")
	if p = b.object("port show " + port); p["address"] != "52:54:00:aa:bb:01" || p["node_uuid"] != uuid {
		t.Errorf("port %v", p)
	}
	if all := b.list("port list --node " + uuid); len(all) != 1 {
		t.Errorf("ports %v", all)
	}
	b.refused("port create 52:54:00:aa:bb:01 --node "+uuid, "52:54:00:aa:bb:01")
	g := b.object("port group create --node " + uuid + " --name g1")
	if all := b.list("port group list"); len(all) != 1 || all[0]["Name"] != "g1" {
		t.Errorf("port groups %v", all)
	}
	b.do("port group delete " + fmt.Sprint(g["uuid"]))

	b.do("node add trait n1 CUSTOM_FAST HW_CPU_X86_VMX")
	b.do("node remove trait n1 HW_CPU_X86_VMX")
	if traits := b.list("node trait list n1"); len(traits) != 1 || traits[0]["Traits"] != "CUSTOM_FAST" {
		t.Errorf("traits %v", traits)
	}
	b.refused("node add trait n1 bad", "bad")
	b.do("node maintenance set n1 --reason fan")
	if n = b.object("node show n1"); n["maintenance"] != true || n["maintenance_reason"] != "fan" {
		t.Errorf("maintenance %v", n)
	}
	b.do("node maintenance unset n1")
	b.list("node validate n1")
	b.refused("node provide n1", "provide")

	b.do("node manage n1 --wait 30")
	b.state("n1", "manageable")
	b.do("node power on n1 --power-timeout 30")
	b.power("n1", "power on")
	b.do("node reboot n1")
	b.power("n1", "power on")
	b.do("node power off n1 --soft --power-timeout 30")
	b.power("n1", "power off")
	b.do("node boot device set n1 pxe")
	if d := b.object("node boot device show n1"); d["boot_device"] != "pxe" {
		t.Errorf("boot device %v", d)
	}
	b.reach("node inspect n1", "manageable")
	b.reach(`node clean n1 --clean-steps '[{"interface":"bios","step":"apply_configuration","args":{"settings":[{"name":"boost","value":"on"}]}}]'`, "manageable")
	if s := b.list("node bios setting list n1"); len(s) != 1 || s[0]["BIOS setting name"] != "boost" || s[0]["BIOS setting value"] != "on" {
		t.Errorf("BIOS settings %v", s)
	}
	b.object("node bios setting show n1 boost")
	b.reach("node provide n1", "available")
	if all := b.list("node list --provision-state available --long"); len(all) != 1 {
		t.Errorf("available %v", all)
	}

	tmpl := b.object(`deploy template create CUSTOM_T --steps '[{"interface":"bios","step":"factory_reset","args":{},"priority":0}]'`)
	if all := b.list("deploy template list"); len(all) != 1 || all[0]["Name"] != "CUSTOM_T" {
		t.Errorf("deploy templates %v", all)
	}
	b.do("deploy template set CUSTOM_T --extra k=v")
	b.do("deploy template delete " + fmt.Sprint(tmpl["uuid"]))

	b.do("allocation create --name a1 --resource-class metal --trait CUSTOM_FAST --wait 30")
	a := b.object("allocation show a1")
	if a["state"] != "active" || a["node_uuid"] != uuid {
		t.Fatalf("allocation %v", a)
	}
	if n = b.object("node show n1"); n["allocation_uuid"] != a["uuid"] || n["instance_uuid"] != a["uuid"] {
		t.Errorf("an allocated node: %v", n)
	}
	b.do("allocation set a1 --extra k=v")
	b.do("node set n1 --instance-info image_source=http://127.0.0.1:9/os.raw --instance-info image_os_hash_algo=sha256 --instance-info image_os_hash_value=" + strings.Repeat("a", 64))
	b.do(`node deploy n1 --wait 60 --config-drive '{"meta_data":{"hostname":"h"}}'`)
	b.state("n1", "active")
	b.refused("allocation delete a1", "a1")
	b.refused("node delete n1", "n1")
	b.do("node set n1 --protected --protected-reason precious")
	b.refused("node undeploy n1", "protected")
	b.do("node unset n1 --protected")
	b.reach("node rebuild n1", "active")
	b.reach("node rescue n1 --rescue-password secret", "rescue")
	b.reach("node unrescue n1", "active")
	b.reach("node undeploy n1", "available")
	if n = b.state("n1", "available"); n["instance_uuid"] != nil || n["allocation_uuid"] != nil {
		t.Errorf("after undeploy: %v", n)
	}
	if all := b.list("allocation list"); len(all) != 0 {
		t.Errorf("allocations after undeploy: %v", all)
	}
	if h := b.list("node history list n1"); len(h) > 0 {
		b.object("node history get n1 " + fmt.Sprint(h[0]["UUID"]))
	}
	b.do("node manage n1 --wait 30")
	b.reach("node adopt n1", "active")
	b.reach("node undeploy n1", "available")

	c := b.object("chassis create --description rack")
	b.do("chassis delete " + fmt.Sprint(c["uuid"]))
	b.do("port delete " + port)
	b.do("node delete n1")
	b.refused("node show n1", "n1")
	if all := b.list("node list"); len(all) != 0 {
		t.Errorf("left over: %v", all)
	}
}

// TestBaremetalChoosesInterfaces: the client sets each kind of interface to each implementation that the driver says it has, and
// back to the default; any other is refused with a list of those that fit (requirements row 18).
func TestBaremetalChoosesInterfaces(t *testing.T) {
	b := newBaremetal(t, server(t).URL)
	driver := b.object("driver show fake-hardware")
	b.do("node create --driver fake-hardware --name n1")
	for _, kind := range []string{"bios", "boot", "console", "deploy", "inspect", "management", "network", "power", "raid", "rescue", "storage", "vendor"} {
		field := kind + "_interface"
		have := strings.FieldsFunc(fmt.Sprint(driver["enabled_"+field+"s"]), func(r rune) bool { return strings.ContainsRune("[], ", r) })
		if len(have) == 0 {
			t.Fatalf("the driver has no %s: %v", field, driver)
		}
		for _, value := range have {
			b.do("node set n1 --" + kind + "-interface " + value)
			if n := b.object("node show n1 --fields " + field); n[field] != value {
				t.Errorf("%s is %v after it was set to %s", field, n[field], value)
			}
		}
		b.refused("node set n1 --"+kind+"-interface nosuch", strings.Join(have, ", "))
		b.refused("node create --driver fake-hardware --"+kind+"-interface nosuch", strings.Join(have, ", "))
		b.do("node unset n1 --" + kind + "-interface")
		if n := b.object("node show n1 --fields " + field); n[field] != driver["default_"+field] {
			t.Errorf("%s is %v again, expected the default %v", field, n[field], driver["default_"+field])
		}
	}
	if all := b.list("node list"); len(all) != 1 {
		t.Errorf("nodes of refused requests: %v", all)
	}
}

// reach runs a command line that starts a flow of n1, and polls until the node has reached the state. The client's own
// --wait, which other lines have, looks every ten seconds only.
func (b *baremetal) reach(line, want string) {
	b.t.Helper()
	b.do(line)
	var n map[string]any
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
		n = b.object("node show n1 --fields provision_state target_provision_state last_error")
		if n["provision_state"] == want && n["target_provision_state"] == nil {
			return
		}
		if strings.HasSuffix(fmt.Sprint(n["provision_state"]), "failed") {
			break
		}
	}
	b.t.Fatalf("baremetal %s: the node is %v, expected %s", line, n, want)
}

// power waits for the end of a power act: the client has no option for that.
func (b *baremetal) power(node, want string) {
	b.t.Helper()
	var n map[string]any
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); {
		if n = b.object("node show " + node + " --fields power_state target_power_state reservation"); n["power_state"] == want && n["target_power_state"] == nil && n["reservation"] == nil {
			return
		}
	}
	b.t.Fatalf("power is %v, expected %s", n, want)
}

// TestBaremetalNegotiates: a client of any age finds a version that both have. The client asks for its newest first.
func TestBaremetalNegotiates(t *testing.T) {
	s := server(t)
	for _, version := range []string{"", "latest", "1.1", "1.38", "1.78"} {
		b := newBaremetal(t, s.URL)
		if version != "" {
			b.common = append(b.common, "--os-baremetal-api-version", version)
		}
		b.list("node list")
		b.list("driver list")
	}
	b := newBaremetal(t, s.URL)
	b.common = append(b.common, "--os-baremetal-api-version", "1.9")
	b.refused("conductor list", "1.9")
}

// TestBaremetalTriesAgain: a node that is busy is no error to the client as long as it has tries left.
func TestBaremetalTriesAgain(t *testing.T) {
	t.Parallel()
	b := newBaremetal(t, server(t, "--fake-delays", "power=8").URL) // longer than the server lets a request wait
	b.do("node create --driver fake-hardware --name n1")
	b.do("node manage n1 --wait 60")
	b.do("node power on n1")
	b.refused("--max-retries 0 node reboot n1", "HTTP 409")
	b.do("--retry-interval 1 --max-retries 60 node reboot n1")
	b.power("n1", "power on")
}

// TestProgramsAsInstalled: the commands themselves, as a shell runs them.
func TestProgramsAsInstalled(t *testing.T) {
	s := server(t)
	for _, line := range []string{
		"/usr/bin/baremetal --os-auth-type none --os-endpoint URL node create --driver fake-hardware --name n1 -f value -c name",
		"/usr/bin/openstack --os-auth-type none --os-endpoint URL baremetal node show n1 -f value -c name",
	} {
		args := words(strings.ReplaceAll(line, "URL", s.URL))
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != "n1" {
			t.Errorf("%s: %v: %s%s", line, err, out, said.String())
		}
	}
}
