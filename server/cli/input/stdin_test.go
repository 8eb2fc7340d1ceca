package input_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
)

// Each of several nodes gets what stands in the standard input, not only the first one that asks; and a secret is never
// set to nothing by an input that has ended.
func TestStandardInputIsForAllNodes(t *testing.T) {
	var sent []string
	server := clitest.Recording(t, clitest.Changes(&sent), func(w http.ResponseWriter, r *http.Request) {
		name := strings.Split(r.URL.Path, "/")[3]
		_ = json.NewEncoder(w).Encode(map[string]any{"uuid": name, "name": name, "provision_state": "available", "maintenance": false, "driver": "redfish",
			"driver_info": map[string]any{}, "instance_info": map[string]any{"image_source": "x"}, "properties": map[string]any{}})
	})
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(in, line string) (code int, out string) {
		sent = nil
		var text bytes.Buffer
		code = cli.Run(t.Context(), strings.Fields(line), cli.Streams{In: strings.NewReader(in), Out: &text, Err: &text, Now: time.Now,
			Environment: config.Environment{Home: t.TempDir(), Variables: []string{"BESSEMER_SERVER=" + server.URL}}}, host.Programs{})
		return code, text.String()
	}
	password := `[{"op":"add","path":"/driver_info/redfish_password","value":"hunter2"}]`
	deploy := `{"target":"active","configdrive":%s}`
	for line, x := range map[string]struct{ in, want string }{
		"node set n1,n2,n3 --yes --driver-info redfish_password=@-":  {"hunter2\n", password},
		"configure n1,n2,n3 --yes --driver-info redfish_password=@-": {"hunter2\n", password},
		"node set n1,n2,n3 --yes --target-raid-config -":             {"logical_disks: []", `{"logical_disks":[]}`},
		"node deploy n1,n2,n3 --yes --user-data -":                   {"#cloud-config", fmt.Sprintf(deploy, `{"user_data":"#cloud-config"}`)},
		"node deploy n1,n2,n3 --yes --configdrive -":                 {"user_data: x", fmt.Sprintf(deploy, `{"user_data":"x"}`)},
		"node deploy n1,n2,n3 --yes --ssh-key -":                     {"ssh-ed25519 A", fmt.Sprintf(deploy, `{"meta_data":{"public_keys":{"key1":"ssh-ed25519 A"}}}`)},
	} {
		if code, out := command(x.in, line); code != cli.OK || !slices.Equal(sent, []string{x.want, x.want, x.want}) {
			t.Errorf("bessemer %s sends %q, expected %q three times: %d %s", line, sent, x.want, code, out)
		}
	}
	for line, want := range map[string]string{
		"node set n1 --driver-info redfish_password=@-":        "redfish_password is to be read from the standard input, which is empty",
		"node set n1 --driver-info redfish_password=@" + empty: "which is empty",
		"node create --driver-info redfish_password=@" + empty: "which is empty",
		"node rescue n1 --rescue-password-file -":              "the standard input is empty",
		"node set @- --driver-info redfish_password=@- --yes":  "name the nodes",
		"node deploy n1 --user-data - --ssh-key - --yes":       "can't be both --ssh-key and --user-data",
	} {
		if code, out := command("", line); code != cli.Usage || !strings.Contains(out, want) || len(sent) > 0 {
			t.Errorf("bessemer %s: %d %s, expected %q; sent %q", line, code, out, want, sent)
		}
	}
	if code, out := command("n1 n2", "node set @- --driver-info redfish_password=@- --yes"); code != cli.Failed || !strings.Contains(out, "can't be both the nodes and redfish_password") || len(sent) > 0 {
		t.Errorf("names as a password: %d %s; sent %q", code, out, sent)
	}
}
