package command_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli"
	"github.com/bessemer-metal/bessemer/server/cli/host"
	"github.com/bessemer-metal/bessemer/server/config"
)

// Which server is asked, and as whom: flags, --os-cloud, BESSEMER_*, OS_*, in that order, and never one's password at
// another's server.
func TestWhichServerIsAsked(t *testing.T) {
	asked := ""
	at := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			asked = strings.TrimSuffix(name+" "+user+":"+password, " :")
			fmt.Fprint(w, `{"nodes": []}`)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	flag, ours, os1, lab := at("flag"), at("ours"), at("os"), at("lab")
	home := t.TempDir()
	dir := filepath.Join(home, ".config", "openstack")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(dir, "clouds.yaml"): "clouds:\n  lab:\n    auth_type: http_basic\n    auth: {endpoint: \"" + lab + "\", username: ann}\n",
		filepath.Join(dir, "secure.yaml"): "clouds: {lab: {auth: {password: labsecret}}}\n",
		filepath.Join(home, "password"):   "fromfile\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bessemer := []string{"BESSEMER_SERVER=" + ours, "BESSEMER_USER=bob", "BESSEMER_PASSWORD=oursecret"}
	openstack := []string{"OS_ENDPOINT=" + os1, "OS_USERNAME=olga", "OS_PASSWORD=ossecret"}
	both := append(append([]string{"OS_CLOUD=lab"}, bessemer...), openstack...)
	for _, x := range []struct {
		name      string
		variables []string
		args      string
		want      string
	}{
		{"flags are first, and another server's password is not for theirs", both, "--server " + flag, "flag"},
		{"neither is one that stands in a file", append([]string{"BESSEMER_PASSWORD_FILE=" + filepath.Join(home, "password")}, bessemer[:2]...), "--server " + flag, "flag"},
		{"--server names the server of BESSEMER_SERVER", both, "--server " + ours + "/", "ours bob:oursecret"},
		{"BESSEMER_USER without a server are of any", bessemer[1:], "--server " + flag, "flag bob:oursecret"},
		{"another user has no password of BESSEMER_USER's", bessemer, "--user eve", "ours eve:"},
		{"a password of nobody is the flag user's", []string{bessemer[0], bessemer[2]}, "--user eve", "ours eve:oursecret"},
		{"the same user has it", bessemer, "--user bob", "ours bob:oursecret"},
		{"what OS_ENDPOINT names does not get the password of OS_CLOUD", []string{"OS_CLOUD=lab", "OS_ENDPOINT=" + os1, "OS_AUTH_TYPE=none"}, "", "os"},
		{"a flag's user has no other's password", append([]string{"BESSEMER_PASSWORD="}, openstack...), "--user eve", "os eve:"},
		{"a password file is of the flags", both, "--server " + flag + " --user eve --password-file " + filepath.Join(home, "password"), "flag eve:fromfile"},
		{"--os-cloud is before the variables", both, "--os-cloud lab", "lab ann:labsecret"},
		{"BESSEMER_* are before OS_*", both, "", "ours bob:oursecret"},
		{"OS_* are before OS_CLOUD", append([]string{"OS_CLOUD=lab"}, openstack...), "", "os olga:ossecret"},
		{"OS_CLOUD alone", []string{"OS_CLOUD=lab"}, "", "lab ann:labsecret"},
		{"none sends no password", append([]string{"OS_AUTH_TYPE=none"}, openstack...), "", "os"},
		{"BESSEMER_PASSWORD does not go to OS_ENDPOINT", append(openstack[:1:1], bessemer[1:]...), "", "os"},
	} {
		asked = ""
		var out bytes.Buffer
		code := cli.Run(t.Context(), append(strings.Fields(x.args), "node", "list"), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now,
			Environment: config.Environment{Home: home, Variables: x.variables}}, host.Programs{})
		if code != cli.OK || asked != x.want {
			t.Errorf("%s: asked %q, expected %q: %s", x.name, asked, x.want, out.String())
		}
	}
	for args, want := range map[string]string{"--os-cloud nosuch node list": "has no cloud", "--os-cloud lab --server http://x node list": "not both"} {
		var out bytes.Buffer
		code := cli.Run(t.Context(), strings.Fields(args), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now, Environment: config.Environment{Home: home}}, host.Programs{})
		if code != cli.Usage || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %d %s", args, code, out.String())
		}
	}
}
