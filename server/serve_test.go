package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/images"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// settings are those of a server on free ports of loopback, with a data directory that is not there yet.
func settings(t *testing.T) config.Server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	return config.Server{
		DataDir: dir, Listen: "127.0.0.1:0", AgentListen: "127.0.0.1:0", BootListen: "127.0.0.1:0", Auth: "none",
		Users: filepath.Join(dir, "users"), BaseISO: filepath.Join(dir, "ramdisk", "bessemer.iso"), LogLevel: "debug",
		AllowOrigins: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
}

// journal is a server's log, of which a line may be waited for.
type journal struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed and made anew at each write
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.written)
	j.written = make(chan struct{})
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// running is a server under test.
type running struct {
	*journal
	url  string // of the API
	stop func() error
	seen bytes.Buffer // every answer it gave
}

var serving = regexp.MustCompile(`msg=serving api=(\S+)`)

// start runs a server until the test or stop ends it; stop gives what serve returned.
func start(t *testing.T, cfg config.Server) *running {
	t.Helper()
	r := &running{journal: &journal{written: make(chan struct{})}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = serve(ctx, cfg, r.journal, time.Now)
	}()
	r.stop = func() error {
		cancel()
		<-ended
		return err
	}
	t.Cleanup(func() { r.stop() })
	late := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		written := r.written
		r.mu.Unlock()
		if m := serving.FindStringSubmatch(r.String()); m != nil {
			r.url = m[1]
			return r
		}
		select {
		case <-written:
		case <-ended:
			t.Fatalf("the server did not start: %v\n%s", err, r)
		case <-late:
			t.Fatalf("the server did not start in time:\n%s", r)
		}
	}
}

// refused gives the error of a server that is not to start.
func refused(t *testing.T, cfg config.Server) error {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("it started"))
	defer cancel()
	return serve(ctx, cfg, io.Discard, time.Now)
}

// ask makes a request and gives status and body of the answer.
func (r *running) ask(t *testing.T, method, path string, body any, change ...func(*http.Request)) (int, string) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-OpenStack-Ironic-API-Version", "1.81")
	for _, c := range change {
		c(req)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&r.seen, "%s %s\n%v\n%s\n", method, path, resp.Header, answer)
	return resp.StatusCode, string(answer)
}

// must is ask where the answer has to be a good one.
func (r *running) must(t *testing.T, method, path string, body any) string {
	t.Helper()
	status, text := r.ask(t, method, path, body)
	if status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

// provision asks for a verb and waits until the node rests in a state again.
func (r *running) provision(t *testing.T, node, target string) api.StepsAnswer {
	t.Helper()
	r.must(t, "PUT", "/v1/nodes/"+node+"/states/provision", map[string]any{"target": target})
	again, late := time.NewTicker(10*time.Millisecond), time.After(30*time.Second)
	defer again.Stop()
	for {
		var n api.StepsAnswer
		text := r.must(t, "GET", "/v1/nodes/"+node+"/steps", nil)
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if _, going := state.FlowOf(n.State); !going && (n.Run == nil || !n.Run.Ended.IsZero()) {
			return n
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%s of node %s did not end: %s\n%s", target, node, text, r)
		}
	}
}

func TestFirstStart(t *testing.T) {
	cfg := settings(t)
	r := start(t, cfg)
	want := "bessemer --server " + r.url + " node create --name NAME"
	if !strings.Contains(r.String(), want) {
		t.Errorf("the first start does not say %q:\n%s", want, r)
	}
	if !strings.Contains(r.String(), "there is no ramdisk yet") || !strings.Contains(r.String(), "bessemer ramdisk build --output "+filepath.Dir(cfg.BaseISO)) {
		t.Errorf("the missing ramdisk is not told of:\n%s", r)
	}
	if text := r.must(t, "GET", "/v1/nodes", nil); !strings.Contains(text, `"nodes": []`) && !strings.Contains(text, `"nodes":[]`) {
		t.Errorf("nodes of a new server: %s", text)
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

// bmc answers every request but that for the service root with a status, and repeats in the answer all that it was told.
// It shows the certificate of dir, which is made when there is none.
func bmc(t *testing.T, addr, dir string, status int) (base string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "bmc.crt"), filepath.Join(dir, "bmc.key")
	if err := selfSigned(certFile, keyFile, time.Now()); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, Config: &http.Server{
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if strings.TrimSuffix(r.URL.Path, "/") == "/redfish/v1" {
				io.WriteString(w, `{"@odata.id": "/redfish/v1", "@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot", "Id": "Root", "Name": "Root", "RedfishVersion": "1.6.0",
					"Systems": {"@odata.id": "/redfish/v1/Systems"}, "Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}}}`)
				return
			}
			body, _ := io.ReadAll(r.Body)
			told := fmt.Sprintf("refused %s %s %s %v", r.Method, r.URL, body, r.Header)
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": "Base.1.0.GeneralError", "message": told,
				"@Message.ExtendedInfo": []any{map[string]any{"MessageId": "Base.1.0.GeneralError", "Message": told}}}})
		})}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, srv.Close
}

// inside looks into the data directory of a server that does not run.
func inside(t *testing.T, cfg config.Server, look func(tx conductor.Tx) error) {
	t.Helper()
	keys, err := seal.Open(filepath.Join(cfg.DataDir, "master.key"), false)
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(cfg.DataDir, "bessemer.db"), Sealer: keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.View(t.Context(), look), store.Close()); err != nil {
		t.Fatal(err)
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
		t.Fatalf("a part is empty: %q", before)
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
		t.Errorf("the restart changed who the server is:\n%q\n%q", before, after)
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
	err := refused(t, cfg)
	if err == nil || !strings.Contains(err.Error(), cfg.Users) || !strings.Contains(err.Error(), "htpasswd") {
		t.Errorf("without a user file: %v", err)
	}
	if exists(cfg.DataDir) {
		t.Error("a start that failed for want of the user file made a data directory")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Users = filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(cfg.Users, []byte("ann:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg)
	for _, c := range []struct {
		user, password string
		want           int
	}{{"", "", 401}, {"ann", "open", 401}, {"bob", "open sesame", 401}, {"ann", "open sesame", 200}, {"ann", "", 401}} {
		for _, path := range []string{"/v1/nodes", "/v1/drivers", "/v1/images"} {
			status, text := r.ask(t, "GET", path, nil, func(q *http.Request) {
				if c.user != "" {
					q.SetBasicAuth(c.user, c.password)
				}
			})
			if status != c.want {
				t.Errorf("%s as %q with %q: %d %s", path, c.user, c.password, status, text)
			}
		}
	}
}

// Beyond loopback the API speaks TLS 1.3 with a certificate that clients trust by its file, and nothing else.
func TestTLSBeyondLoopback(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(t.TempDir(), "own")
	s := &server{cfg: config.Server{DataDir: dir}, log: slog.New(slog.DiscardHandler), now: time.Now}
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
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12, MaxVersion: newest}}}
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
	if info, err := os.Stat(filepath.Join(dir, "api.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the certificate's key: %v, %v", info, err)
	}
	// The same certificate after a restart: clients have its file.
	if text, err := get("https://"+serve(s), ca, 0); err != nil || text != "here" {
		t.Errorf("after a restart: %q, %v", text, err)
	}

	if err := selfSigned(own+".crt", own+".key", time.Now()); err != nil {
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

	r.must(t, "POST", "/v1/nodes", map[string]any{"name": "faked", "driver": "fake-hardware", "automated_clean": false, "instance_info": map[string]any{
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
