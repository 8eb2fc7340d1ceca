package input_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
)

// A value is read by one rule wherever it stands: on the command line or in a file, of a step's argument or a field.
func TestValuesAreReadByOneRule(t *testing.T) {
	var sent []string
	server := clitest.Recording(t, clitest.Changes(&sent), func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"uuid": clitest.ID, "name": "n1", "provision_state": "active", "driver": "redfish",
			"driver_info": map[string]any{}, "properties": map[string]any{}, "extra": map[string]any{}})
	})
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"settings.json": "\n[{\"name\": \"A\",\n  \"value\": \"x\"}]\n", "number": "42\n", "text": "as it is\n", "password": "[12345]\n",
		"broken.json": "[{\"name\": }]", "wwn": "5000\n"} {
		if err := os.WriteFile(filepath.Join(".", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	service := func(args string) string {
		return `{"target":"service","service_steps":[{"interface":"bios","step":"apply_configuration","args":` + args + `}]}`
	}
	set := func(path, value string) string {
		return `[{"op":"add","path":"/` + path + `","value":` + value + `}]`
	}
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"service", "--step", "bios.apply_configuration:settings=@settings.json"}, service(`{"settings":[{"name":"A","value":"x"}]}`)},
		{[]string{"service", "--step", `bios.apply_configuration:a=1,settings=[{"name":"A,B","value":1},2],b={"c":[1,2]},d=x`},
			service(`{"a":1,"b":{"c":[1,2]},"d":"x","settings":[{"name":"A,B","value":1},2]}`)},
		{[]string{"service", "--step", `bios.apply_configuration:a=say "x,b=[1]`}, service(`{"a":"say \"x","b":[1]}`)},
		{[]string{"set", "--extra", "x=@settings.json"}, set("extra/x", `[{"name":"A","value":"x"}]`)},
		{[]string{"set", "--extra", "x=@number"}, set("extra/x", `42`)},
		{[]string{"set", "--extra", "x=@text"}, set("extra/x", `"as it is"`)},
		{[]string{"set", "--property", "wwn=@wwn"}, set("properties/wwn", `"5000"`)},
		{[]string{"set", "--driver-info", "redfish_username=@number"}, set("driver_info/redfish_username", `"42"`)},
		{[]string{"set", "--driver-info", "redfish_password=@password"}, set("driver_info/redfish_password", `"[12345]"`)},
		{[]string{"set", "--extra", "x=null"}, set("extra/x", `null`)},
	} {
		sent = nil
		out := clitest.Run(t, server.URL, false, append([]string{"node", x.args[0], "n1"}, x.args[1:]...)...)
		if !slices.Equal(sent, []string{x.want}) {
			t.Errorf("bessemer node %s sends %s\nexpected %s: %s", x.args, sent, x.want, out)
		}
	}
	sent = nil
	for _, arg := range []string{"x=@broken.json", "x=[1"} {
		if out := clitest.Run(t, server.URL, false, "node", "set", "n1", "--extra", arg); !strings.Contains(out, "begins like JSON but is none") || !strings.Contains(out, "exit 2") || len(sent) > 0 {
			t.Errorf("node set --extra %s: %s; sent %s", arg, out, sent)
		}
	}
	for _, key := range []string{"redfish_password", "snmp_community", "irmc_credential", "ssh_private_key"} { // what the server masks
		if out := clitest.Run(t, server.URL, false, "node", "set", "n1", "--driver-info", key+"=public"); !strings.Contains(out, key+" is a secret, which other users of this host could read") || len(sent) > 0 {
			t.Errorf("%s on the command line: %s", key, out)
		}
	}
	if out := clitest.Run(t, server.URL, false, "node", "service", "n1", "--step", "bios.apply_configuration:settings=[1,b=2"); !strings.Contains(out, "the value of settings begins like JSON") {
		t.Error(out)
	}
}
