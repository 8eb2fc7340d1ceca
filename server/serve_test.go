package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/images"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

func TestFirstStart(t *testing.T) {
	cfg := settings(t)
	r := start(t, cfg)
	if text := r.must(t, "GET", "/v1/nodes", nil); !strings.Contains(text, `"nodes": []`) && !strings.Contains(text, `"nodes":[]`) {
		t.Errorf("nodes of a new server: %s", text)
	}
	// Who has an answer finds all of it in the log.
	want := "bessemer --server " + r.url + " node create --name NAME"
	if !strings.Contains(r.String(), want) {
		t.Errorf("the first start does not say %q:\n%s", want, r)
	}
	if !strings.Contains(r.String(), "there is no ramdisk yet") || !strings.Contains(r.String(), "bessemer ramdisk build --output "+filepath.Dir(cfg.BaseISO)) {
		t.Errorf("the missing ramdisk is not told of:\n%s", r)
	}
	var made []string
	err := filepath.WalkDir(cfg.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if path == cfg.DataDir && info.Mode().Perm() != 0o700 {
			t.Errorf("the data directory has mode %v", info.Mode())
		}
		if !d.IsDir() {
			made = append(made, d.Name())
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, expected 0600", d.Name(), info.Mode())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"master.key", "bessemer.db", "agent-listener.pem"} {
		if !slices.Contains(made, file) {
			t.Errorf("%s was not made; there are %v", file, made)
		}
	}
	if err := r.stop(); err != nil {
		t.Errorf("a server that is stopped returns %v", err)
	}
}

// A restart keeps who the server is: its name in tokens, the key that boot media pin, the keys BMCs showed first.
func TestRestartKeepsIdentityAndPins(t *testing.T) {
	cfg := settings(t)
	address, stopBMC := bmc(t, "127.0.0.1:0", t.TempDir(), http.StatusUnauthorized)
	identity := func() (all []string) {
		inside(t, cfg, func(tx conductor.Tx) error {
			name, err := tx.Setting(installation)
			pin, err2 := tx.Setting("bmc pin " + address)
			all = append(all, name, pin)
			return errors.Join(err, err2)
		})
		for _, file := range []string{"master.key", "agent-listener.pem"} {
			text, err := os.ReadFile(filepath.Join(cfg.DataDir, file))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(text))
		}
		return all
	}

	r := start(t, cfg)
	r.must(t, "POST", "/v1/nodes", map[string]any{"name": "n1", "driver": "redfish", "driver_info": map[string]any{
		"redfish_address": address, "redfish_username": "admin", "redfish_password": "wrong", "redfish_verify_ca": false}})
	if n := r.provision(t, "n1", "manage"); n.State != state.Enroll || n.LastReason != string(fault.BMCAuth) {
		t.Fatalf("manage with a wrong password ends in %q with %q:\n%s", n.State, n.LastReason, r)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	before := identity()
	if slices.Contains(before, "") {
		t.Fatal("a part is empty")
	}

	stopBMC()
	bmc(t, strings.TrimPrefix(address, "https://"), t.TempDir(), http.StatusUnauthorized)
	r = start(t, cfg)
	if strings.Contains(r.String(), "first start") {
		t.Errorf("the second start takes itself for the first:\n%s", r)
	}
	if n := r.provision(t, "n1", "manage"); n.State != state.Enroll || n.LastReason != string(fault.BMCCertificate) {
		t.Errorf("manage of a BMC with another key ends in %q with %q:\n%s", n.State, n.LastReason, r)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if after := identity(); !slices.Equal(after, before) {
		t.Error("the restart changed who the server is")
	}
}

// A port of the machines' that is taken is told by name, with the flag that changes it; operators go on.
func TestTakenPortIsTold(t *testing.T) {
	for what, flag := range map[string]string{"agent channel": "--agent-listen", "boot files and images": "--boot-listen"} {
		t.Run(flag, func(t *testing.T) {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			cfg := settings(t)
			if flag == "--agent-listen" {
				cfg.AgentListen = taken.Addr().String()
			} else {
				cfg.BootListen = taken.Addr().String()
			}
			r := start(t, cfg)
			r.must(t, "GET", "/v1/nodes", nil)
			lines := slices.DeleteFunc(strings.Split(r.String(), "\n"), func(l string) bool { return !strings.Contains(l, "level=ERROR") })
			if len(lines) != 1 {
				t.Fatalf("%d errors in the log, expected 1:\n%s", len(lines), r)
			}
			for _, want := range []string{what, taken.Addr().String(), flag} {
				if !strings.Contains(lines[0], want) {
					t.Errorf("%q is missing in %s", want, lines[0])
				}
			}
		})
	}
	// Without its API a server is none.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := settings(t)
	cfg.Listen = taken.Addr().String()
	if err := refused(t, cfg); err == nil || !strings.Contains(err.Error(), "listen for the API on "+cfg.Listen) {
		t.Errorf("with the API's port taken: %v", err)
	}
}

func TestBasicAuth(t *testing.T) {
	cfg := settings(t)
	cfg.Auth = "basic"
	cfg.Users, cfg.Roles = filepath.Join(t.TempDir(), "users"), filepath.Join(t.TempDir(), "roles")
	err := refused(t, cfg)
	if err == nil || !strings.Contains(err.Error(), cfg.Users) || !strings.Contains(err.Error(), "bessemer user set NAME") {
		t.Errorf("without a user file: %v", err)
	}
	var users string
	for _, name := range []string{"ann", "eve", "ole"} {
		hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		users += name + ":" + string(hash) + "\n"
	}
	if err := os.WriteFile(cfg.Users, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, cfg); err == nil || !strings.Contains(err.Error(), cfg.Roles) || !strings.Contains(err.Error(), "USER:admin") {
		t.Errorf("without a roles file: %v", err)
	}
	if exists(cfg.DataDir) {
		t.Error("a start that failed for want of users made a data directory")
	}
	if err := os.WriteFile(cfg.Roles, []byte("ann:admin\nole:observer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg)
	as := func(user, password string) func(*http.Request) {
		return func(q *http.Request) {
			if user != "" {
				q.SetBasicAuth(user, password)
			}
		}
	}
	for _, c := range []struct {
		user, password string
		want           int
	}{{"", "", 401}, {"ann", "open", 401}, {"bob", "open sesame", 401}, {"ann", "open sesame", 200}, {"ann", "", 401},
		{"ole", "open sesame", 200}, {"eve", "open sesame", 403}} { // eve is a user without a role
		for _, path := range []string{"/v1/nodes", "/v1/drivers", "/v1/images"} {
			status, text := r.ask(t, "GET", path, nil, as(c.user, c.password))
			if status != c.want {
				t.Errorf("%s as %q with %q: %d %s", path, c.user, c.password, status, text)
			}
		}
	}
	if status, text := r.ask(t, "POST", "/v1/nodes", map[string]any{"driver": "fake-hardware"}, as("ole", "open sesame")); status != 403 || !strings.Contains(text, "node.create") {
		t.Errorf("an observer makes a node: %d %s", status, text)
	}
}

// The first start with basic makes one administrator and leaves the password in a file, not in the log. Nobody else reads
// the files it makes.
func TestI22_FirstAdministrator(t *testing.T) {
	cfg := settings(t)
	cfg.Auth, cfg.Users, cfg.Roles = "basic", filepath.Join(cfg.DataDir, "users"), filepath.Join(cfg.DataDir, "roles")
	r := start(t, cfg)
	_, after, _ := strings.Cut(r.String(), "the password is in ")
	file, _, _ := strings.Cut(after, "\n")
	text, err := os.ReadFile(file)
	password := strings.TrimSuffix(string(text), "\n")
	if err != nil || len(password) < 20 || file != filepath.Join(cfg.DataDir, "first-password") {
		t.Fatalf("the file told is %q, with %q in it (%v)", file, text, err)
	}
	if strings.Contains(r.String(), password) {
		t.Error("the password is in the log")
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", file, st.Mode(), err)
	}
	if status, text := r.ask(t, "GET", "/v1/nodes", nil, func(q *http.Request) { q.SetBasicAuth("admin", password) }); status != 200 {
		t.Errorf("the administrator is answered %d %s", status, text)
	}
	for _, name := range []string{cfg.Users, cfg.Roles} {
		st, err := os.Stat(name)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
		if text, err := os.ReadFile(name); err != nil || strings.Contains(string(text), password) {
			t.Errorf("%s holds the password (%v)", name, err)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, cfg)
	if strings.Contains(again.String(), "First start") {
		t.Error("a later start tells a password")
	}
	if status, _ := again.ask(t, "GET", "/v1/nodes", nil, func(q *http.Request) { q.SetBasicAuth("admin", password) }); status != 200 {
		t.Errorf("after a restart the administrator is answered %d", status)
	}
}

// Changed users and roles are taken over without a restart; a wrong file leaves them as they are.
func TestUsersAreReplacedWhileTheServerRuns(t *testing.T) {
	dir := t.TempDir()
	s := &server{cfg: config.Server{Users: filepath.Join(dir, "users"), Roles: filepath.Join(dir, "roles"), Auth: "basic"}, log: slog.New(slog.DiscardHandler)}
	write := func(users, roles string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(s.cfg.Users, []byte(users), 0o600), os.WriteFile(s.cfg.Roles, []byte(roles), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	line, err := login.UserLine("ann", "one")
	if err != nil {
		t.Fatal(err)
	}
	write(line, "ann:admin")
	auth, err := authenticator(s.cfg, false, io.Discard, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	b := auth.(*login.Basic)
	role := func() access.Role {
		q := httptest.NewRequest("GET", "/v1/nodes", nil)
		q.SetBasicAuth("ann", "one")
		_, grant, err := b.Authenticate(q)
		if err != nil {
			return access.Role(err.Error())
		}
		return grant.Role
	}
	for _, c := range []struct {
		users, roles string
		want         access.Role
	}{{line, "ann:admin", "admin"}, {line, "ann:observer", "observer"}, {line, "ann:king", "observer"}, {"broken", "ann:admin", "observer"}, {line, "", ""}} {
		write(c.users, c.roles)
		before := usersStamp(s.cfg)
		_ = s.replaceUsers(b)
		if got := role(); got != c.want {
			t.Errorf("with roles %q the role is %q, expected %q", c.roles, got, c.want)
		}
		write(c.users+"\n#", c.roles)
		if usersStamp(s.cfg) == before {
			t.Error("a change of the files is not seen")
		}
	}
	other, err := login.UserLine("ann", "two")
	if err != nil {
		t.Fatal(err)
	}
	write(other, "ann:admin")
	if err := s.replaceUsers(b); err != nil {
		t.Fatal(err)
	}
	if got := role(); !strings.HasPrefix(string(got), "Incorrect username or password") {
		t.Errorf("the old password still gives %q", got)
	}
}

// Beyond loopback the API speaks TLS 1.3 with a certificate that clients trust by its file, and nothing else.
func TestTLSBeyondLoopback(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(t.TempDir(), "own")
	s := &server{cfg: config.Server{DataDir: dir, PublicURL: "https://metal.example:6385/api"}, log: slog.New(slog.DiscardHandler), now: time.Now}
	serve := func(s *server) string {
		t.Helper()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		secured, err := s.secure(ln)
		if err != nil {
			t.Fatal(err)
		}
		srv := &httptest.Server{Listener: secured, Config: &http.Server{
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
			Handler:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") })}}
		srv.Start()
		t.Cleanup(srv.Close)
		return ln.Addr().String()
	}
	called := "" // what the client takes the server for; "" is its address
	get := func(url, ca string, newest uint16) (string, error) {
		t.Helper()
		text, err := os.ReadFile(ca)
		if err != nil {
			t.Fatal(err)
		}
		trusted := x509.NewCertPool()
		if !trusted.AppendCertsFromPEM(text) {
			t.Fatalf("%s holds no certificate", ca)
		}
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: called, MinVersion: tls.VersionTLS12, MaxVersion: newest}}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}

	at := serve(s)
	ca := filepath.Join(dir, "api.crt")
	if text, err := get("https://"+at, ca, tls.VersionTLS13); err != nil || text != "here" {
		t.Errorf("with the server's certificate: %q, %v", text, err)
	}
	if _, err := get("https://"+at, ca, tls.VersionTLS12); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
	if text, err := get("http://"+at, ca, 0); err == nil && strings.Contains(text, "here") {
		t.Error("plain HTTP was answered")
	}
	for name, trusted := range map[string]bool{"metal.example": true, "localhost": true, "other.example": false} {
		called = name
		if _, err := get("https://"+at, ca, 0); (err == nil) != trusted {
			t.Errorf("a client that calls the server %s, the host of public_url being metal.example: %v", name, err)
		}
	}
	called = ""
	if info, err := os.Stat(filepath.Join(dir, "api.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the certificate's key: %v, %v", info, err)
	}
	// The same certificate after a restart: clients have its file.
	if text, err := get("https://"+serve(s), ca, 0); err != nil || text != "here" {
		t.Errorf("after a restart: %q, %v", text, err)
	}

	if err := selfSigned(own+".crt", own+".key", "", time.Now()); err != nil {
		t.Fatal(err)
	}
	s = &server{cfg: config.Server{DataDir: dir, TLSCert: own + ".crt", TLSKey: own + ".key"}, log: s.log, now: time.Now}
	at = serve(s)
	if text, err := get("https://"+at, own+".crt", 0); err != nil || text != "here" {
		t.Errorf("with the operator's certificate: %q, %v", text, err)
	}
	if _, err := get("https://"+at, ca, 0); err == nil {
		t.Error("the operator's certificate was not used")
	}
	s.cfg.TLSCert = own + ".absent"
	if _, err := s.secure(nil); err == nil || !strings.Contains(err.Error(), own+".absent") {
		t.Errorf("with a certificate that is not there: %v", err)
	}
}

func TestF09_SecondServerOnOneDataDirectoryRefuses(t *testing.T) {
	cfg := settings(t)
	r := start(t, cfg)
	err := refused(t, cfg)
	if err == nil || !strings.Contains(err.Error(), "another server") || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("the second server: %v", err)
	}
	r.must(t, "POST", "/v1/nodes", map[string]any{"name": "n1", "driver": "fake-hardware"}) // the first goes on
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	start(t, cfg).must(t, "GET", "/v1/nodes/n1", nil)
}

// A server that another one has passed over grants nothing more, says why and ends.
func TestF09_I30_AServerThatLostItsDatabaseEnds(t *testing.T) {
	cfg := settings(t)
	r := start(t, cfg)
	db, err := sql.Open("sqlite3", filepath.Join(cfg.DataDir, "bessemer.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE owner SET fence = fence + 1, holder = 'another'"); err != nil {
		t.Fatal(err)
	}
	// It finds out by this write, or by itself a moment before: then nobody answers any more.
	answer, err := http.Post(r.url+"/v1/nodes", "application/json", strings.NewReader(`{"driver": "fake-hardware"}`))
	if err == nil {
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "storage.lost_lease") {
			t.Errorf("a write was answered %s %s, %v", answer.Status, text, err)
		}
	}
	select {
	case <-r.ended:
	case <-time.After(2 * time.Minute):
		t.Fatalf("the server goes on:\n%s", r)
	}
	if err := r.stop(); !fault.Has(err, fault.StorageLost) {
		t.Errorf("it ended with %v", err)
	}
	nodes := 0
	if err := db.QueryRow("SELECT count(*) FROM nodes").Scan(&nodes); err != nil || nodes != 0 {
		t.Errorf("%d nodes were written (%v)", nodes, err)
	}
}

func TestF37_WithoutItsMasterKeyAServerDoesNotStart(t *testing.T) {
	cfg := settings(t)
	key := filepath.Join(cfg.DataDir, "master.key")
	r := start(t, cfg)
	r.must(t, "POST", "/v1/nodes", map[string]any{"name": "n1", "driver": "redfish", "driver_info": map[string]any{
		"redfish_address": "https://192.0.2.10", "redfish_username": "admin", "redfish_password": "secret"}})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, cfg); err == nil || !strings.Contains(err.Error(), key+" is missing") {
		t.Errorf("without the key file: %v", err)
	}
	if exists(key) {
		t.Fatal("a lost key file was replaced")
	}
	if _, err := seal.Open(key, true); err != nil { // another installation's
		t.Fatal(err)
	}
	if err := refused(t, cfg); err == nil || !strings.Contains(err.Error(), "put the master key file back") {
		t.Errorf("with another key file: %v", err)
	}
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	start(t, cfg).must(t, "GET", "/v1/nodes/n1", nil)
}

// Neither a BMC's password nor a config drive is found in the data directory, in the log or in any answer, not even when
// a BMC repeats what it was told (I22), so that a stolen directory without its key is worth nothing (T15).
func TestI22_T15_SecretsStaySealed(t *testing.T) {
	cfg := settings(t)
	const password, inDrive = "canary-pa55word-7f3e", "canary-config-drive-91c2"
	address, _ := bmc(t, "127.0.0.1:0", t.TempDir(), http.StatusBadRequest)
	r := start(t, cfg)
	r.must(t, "POST", "/v1/nodes", map[string]any{"name": "real", "driver": "redfish", "driver_info": map[string]any{
		"redfish_address": address, "redfish_username": "admin", "redfish_password": password, "redfish_verify_ca": false}})
	if n := r.provision(t, "real", "manage"); n.State != state.Enroll || n.LastError == "" {
		t.Fatalf("manage ends in %q with %q", n.State, n.LastError)
	}
	r.ask(t, "PATCH", "/v1/nodes/real", []any{map[string]any{"op": "test", "path": "/driver_info/redfish_password", "value": "x"}})
	r.ask(t, "PUT", "/v1/nodes/real/states/power", map[string]any{"target": "power on"})

	r.must(t, "POST", "/v1/nodes", map[string]any{"name": "faked", "driver": "fake-hardware", "deploy_interface": "direct", "automated_clean": false, "instance_info": map[string]any{
		"image_source": "http://127.0.0.1:1/debian.raw", "image_os_hash_algo": "sha256", "image_os_hash_value": strings.Repeat("ab", 32)}})
	r.provision(t, "faked", "manage")
	if n := r.provision(t, "faked", "provide"); n.State != state.Available {
		t.Fatalf("provide ends in %q:\n%s", n.State, r)
	}
	r.must(t, "PUT", "/v1/nodes/faked/states/provision", map[string]any{"target": "active", "configdrive": map[string]any{
		"meta_data": map[string]any{"hostname": inDrive}, "user_data": "#cloud-config\npassword: " + inDrive + "\n"}})

	for _, node := range []string{"real", "faked"} {
		for _, rest := range []string{"", "/states", "/validate", "/history", "/steps", "/ports", "/management/boot_device"} {
			r.ask(t, "GET", "/v1/nodes/"+node+rest, nil)
		}
	}
	for _, path := range []string{"/v1/nodes", "/v1/nodes/detail", "/v1/drivers", "/v1/drivers/redfish/properties", "/v1/conductors", "/v1/images"} {
		r.must(t, "GET", path, nil)
	}
	if !strings.Contains(r.seen.String(), `******`) || !strings.Contains(r.seen.String(), address) {
		t.Errorf("the answers do not show a masked password and the BMC's address: nothing was looked at")
	}

	look := func(when string) {
		t.Helper()
		files := map[string]string{"the log": r.String(), "the answers": r.seen.String()}
		err := filepath.WalkDir(cfg.DataDir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			files[d.Name()] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(files["bessemer.db"]+files["bessemer.db-wal"], "fake-hardware") {
			t.Fatalf("%s: the database was not looked at", when)
		}
		for _, secret := range []string{password, inDrive} {
			forms := []string{secret}
			for shift := range 3 { // base64 of a longer text shows it in one of three forms
				all := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("-", shift) + secret))
				forms = append(forms, strings.TrimRight(all, "=")[4:len(all)-6])
			}
			for _, form := range forms {
				for name, text := range files {
					if strings.Contains(text, form) {
						t.Errorf("%s: %s shows %q", when, name, form)
					}
				}
			}
		}
	}
	look("while the server runs")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	look("after it was stopped")
	var kept []byte
	inside(t, cfg, func(tx conductor.Tx) error { // it is there, but sealed
		n, err := tx.NodeByName("real")
		if err != nil {
			return err
		}
		kept, err = tx.Secret(n.UUID, "driver_info.redfish_password")
		return err
	})
	if string(kept) != password {
		t.Error("the password was not kept")
	}
}

// A stored image may be deployed although its URL is in the server's own network; nothing else gets by so (T4).
func TestT04_OwnImagesPassTheOriginCheck(t *testing.T) {
	files, err := images.Open(t.TempDir(), 1<<20, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files.Close() })
	store := imageStore{files, "http://192.0.2.2:6387"}
	made, err := store.Put(t.Context(), "debian.raw", strings.NewReader(strings.Repeat("disk", 4096)))
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	check := store.origin(func(context.Context, string) error { return refused })
	if err := check(t.Context(), made.URL); err != nil {
		t.Errorf("the store's own %s: %v", made.URL, err)
	}
	for _, other := range []string{
		"http://192.0.2.2:6387/images/none.raw", "http://192.0.2.2:6387/images/", "http://192.0.2.2:6387/images/../boot/debian.raw",
		"http://192.0.2.2:6387/boot/debian.raw", "http://192.0.2.2:63870/images/debian.raw", "https://192.0.2.2:6387/images/debian.raw",
		"http://192.0.2.2:6387@127.0.0.1/images/debian.raw", "http://127.0.0.1:6387/images/debian.raw",
	} {
		if err := check(t.Context(), other); !errors.Is(err, refused) {
			t.Errorf("%s passed the check: %v", other, err)
		}
	}
}
