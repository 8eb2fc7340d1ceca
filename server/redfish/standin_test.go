package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
)

const (
	origin   = "http://bmc.test:80"
	user     = "operator"
	password = "canary-password-1f9a"
	medium   = "http://192.0.2.7:6387/boot/canarytoken0123456789abcdef/bessemer.iso"
)

// standIn is a BMC in memory with one machine. Tests set what it does wrong.
type standIn struct {
	mu       sync.Mutex
	sessions map[string]bool
	made     int // sessions made, ever
	logins   int // credentials checked
	refused  int // credentials refused
	log      []string
	resets   []string

	firmware string // the BIOS's version
	staged   string // that the next power-on installs

	power    string
	boot     map[string]any
	image    string
	inserted bool
	bios     map[string]any
	pending  map[string]any // attributes that the next power-on applies
	defaults bool           // a reset to defaults is pending
	tasks    map[string]string
	percent  any  // that the tasks say they are at; nil: they don't
	away     bool // restarting: every connection is cut
	lastBoot int

	// before runs first, without the lock; true means that it has answered.
	before func(w http.ResponseWriter, r *http.Request) bool
	// lie changes an object before it is sent.
	lie func(path string, object map[string]any)
	// system is the id in paths.
	system     string
	neighbours map[string]map[string]any // other machines, by the id in their paths
	noSessions bool
	absolute   bool // all links are written with the origin
	stuck      bool // power acts are accepted and ignored
	stubborn   map[string]bool
}

func newStandIn() *standIn {
	return &standIn{
		sessions: map[string]bool{}, power: "Off", system: "1", firmware: "2.1",
		boot:  map[string]any{"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideMode": "UEFI", "BootSourceOverrideMode@Redfish.AllowableValues": []string{"UEFI", "Legacy"}, "BootSourceOverrideTarget@Redfish.AllowableValues": []string{"None", "Pxe", "Cd", "Hdd", "UefiHttp"}},
		bios:  map[string]any{"BootMode": "Uefi", "ProcHyperthreading": "Enabled", "NumCores": float64(8)},
		tasks: map[string]string{}, stubborn: map[string]bool{},
	}
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.log = append(s.log, r.Method+" "+r.URL.RequestURI())
	away, before := s.away, s.before
	s.mu.Unlock()
	if away {
		panic(http.ErrAbortHandler)
	}
	if before != nil && before(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path == "/redfish/v1" && r.Method == http.MethodGet {
		s.send(w, path, s.objects()[path])
		return
	}
	if path == "/redfish/v1/SessionService/Sessions" && r.Method == http.MethodPost {
		s.login(w, r)
		return
	}
	if !s.authorized(r) {
		s.fail(w, http.StatusUnauthorized, "who are you")
		return
	}
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	switch r.Method {
	case http.MethodGet:
		if o, ok := s.objects()[path]; ok {
			s.send(w, path, o)
			return
		}
		s.fail(w, http.StatusNotFound, "no such object")
	case http.MethodPost:
		s.post(w, path, body)
	case http.MethodPatch:
		s.patch(w, r, path, body)
	case http.MethodDelete:
		id, isTask := strings.CutPrefix(path, "/redfish/v1/TaskService/Tasks/")
		switch {
		case !isTask:
		case s.stubborn[id]:
			s.fail(w, http.StatusMethodNotAllowed, "tasks can't be deleted here")
			return
		default:
			delete(s.tasks, id)
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *standIn) login(w http.ResponseWriter, r *http.Request) {
	if s.noSessions {
		s.fail(w, http.StatusNotFound, "no sessions here")
		return
	}
	var c struct{ UserName, Password string }
	_ = json.NewDecoder(r.Body).Decode(&c)
	if s.logins++; c.UserName != user || c.Password != password {
		s.refused++
		s.fail(w, http.StatusUnauthorized, "bad password "+c.Password)
		return
	}
	s.made++
	token := fmt.Sprintf("token-%d", s.made)
	s.sessions[token] = true
	w.Header().Set("X-Auth-Token", token)
	w.Header().Set("Location", s.link("/redfish/v1/SessionService/Sessions/"+token))
	w.WriteHeader(http.StatusCreated)
}

func (s *standIn) authorized(r *http.Request) bool {
	if s.sessions[r.Header.Get("X-Auth-Token")] {
		return true
	}
	u, p, ok := r.BasicAuth()
	if !ok {
		return false
	}
	s.logins++
	if u != user || p != password {
		s.refused++
		return false
	}
	return true
}

func (s *standIn) link(path string) string {
	if s.absolute {
		return origin + path
	}
	return path
}

func (s *standIn) ref(path string) map[string]any { return map[string]any{"@odata.id": s.link(path)} }

func (s *standIn) refs(paths ...string) []any {
	out := []any{}
	for _, p := range paths {
		out = append(out, s.ref(p))
	}
	return out
}

// objects is the tree, made anew for each request.
func (s *standIn) objects() map[string]map[string]any {
	sys := "/redfish/v1/Systems/" + s.system
	tasks := []string{}
	out := map[string]map[string]any{}
	for _, id := range slices.Sorted(maps.Keys(s.tasks)) {
		p := "/redfish/v1/TaskService/Tasks/" + id
		tasks = append(tasks, p)
		out[p] = map[string]any{"Id": id, "TaskState": s.tasks[id], "Messages": []any{map[string]any{"Message": "task " + id}}}
		if s.percent != nil {
			out[p]["PercentComplete"] = s.percent
		}
	}
	maps.Copy(out, map[string]map[string]any{
		"/redfish/v1": {
			"Id": "RootService", "Systems": s.ref("/redfish/v1/Systems"), "Managers": s.ref("/redfish/v1/Managers"),
			"Tasks": s.ref("/redfish/v1/TaskService"), "UpdateService": s.ref("/redfish/v1/UpdateService"), "Links": map[string]any{"Sessions": s.ref("/redfish/v1/SessionService/Sessions")},
		},
		"/redfish/v1/Systems":  {"Members": s.refs(sys)},
		"/redfish/v1/Managers": {"Members": s.refs("/redfish/v1/Managers/bmc")},
		sys: {
			"@odata.id": s.link(sys), "Id": s.system, "UUID": "AAAAAAAA-0000-4000-8000-000000000001", "Manufacturer": "Acme", "Model": "M1",
			"SerialNumber": "S1", "BiosVersion": s.firmware, "PowerState": s.power, "Status": map[string]any{"HealthRollup": "OK"},
			"Boot":               maps.Clone(s.boot),
			"EthernetInterfaces": s.ref(sys + "/EthernetInterfaces"), "Bios": s.ref(sys + "/Bios"), "SecureBoot": s.ref(sys + "/SecureBoot"),
			"MemorySummary":    map[string]any{"TotalSystemMemoryGiB": 64},
			"ProcessorSummary": map[string]any{"Count": 2, "LogicalProcessorCount": 32, "Model": "P9"},
			"Processors":       s.ref(sys + "/Processors"), "Memory": s.ref(sys + "/Memory"), "Storage": s.ref(sys + "/Storage"), "SimpleStorage": s.ref(sys + "/SimpleStorage"),
			"Links": map[string]any{"ManagedBy": s.refs("/redfish/v1/Managers/bmc")},
			"Actions": map[string]any{"#ComputerSystem.Reset": map[string]any{"target": s.link(sys + "/Actions/ComputerSystem.Reset"),
				"ResetType@Redfish.AllowableValues": []string{"On", "ForceOff", "GracefulShutdown", "PushPowerButton"}}},
		},
		sys + "/EthernetInterfaces":   {"Members": s.refs(sys+"/EthernetInterfaces/1", sys+"/EthernetInterfaces/2")},
		sys + "/EthernetInterfaces/1": {"Id": "1", "PermanentMACAddress": "52:54:00:AA:00:01", "SpeedMbps": 25000, "LinkStatus": "LinkUp", "Status": map[string]any{"State": "Enabled"}},
		sys + "/EthernetInterfaces/2": {"Id": "2", "MACAddress": "52-54-00-AA-00-02", "Status": map[string]any{"State": "Disabled"}},
		sys + "/Processors":           {"Members": s.refs(sys+"/Processors/GPU", sys+"/Processors/1", sys+"/Processors/2")},
		sys + "/Processors/GPU":       {"Id": "GPU", "ProcessorType": "GPU", "ProcessorArchitecture": "OEM"},
		sys + "/Processors/1":         {"Id": "1", "ProcessorType": "CPU", "ProcessorArchitecture": "x86", "InstructionSet": "x86-64", "MaxSpeedMHz": 3100, "TotalCores": 8, "TotalThreads": 16},
		sys + "/Processors/2":         {"Id": "2", "ProcessorType": "CPU", "ProcessorArchitecture": "x86", "InstructionSet": "x86-64", "MaxSpeedMHz": 3100, "TotalCores": 8, "TotalThreads": 16},
		sys + "/Memory":               {"Members": s.refs(sys + "/Memory/1")},
		sys + "/Memory/1":             {"Id": "1", "CapacityMiB": 65536},
		sys + "/Storage":              {"Members": s.refs(sys + "/Storage/RAID")},
		sys + "/Storage/RAID":         {"Id": "RAID", "Drives": s.refs(sys+"/Storage/RAID/Drives/0", sys+"/Storage/RAID/Drives/1"), "Volumes": s.ref(sys + "/Storage/RAID/Volumes")},
		sys + "/Storage/RAID/Volumes": {"Members": s.refs(sys + "/Storage/RAID/Volumes/1")},
		sys + "/Storage/RAID/Volumes/1": {"Id": "1", "Name": "system", "RAIDType": "RAID1", "CapacityBytes": 960197124096, "Links": map[string]any{"Drives": s.refs(sys + "/Storage/RAID/Drives/0")},
			"Identifiers": []any{map[string]any{"DurableName": "600508B1001C", "DurableNameFormat": "NAA"}}},
		sys + "/Storage/RAID/Drives/0": {"Id": "0", "CapacityBytes": 960197124096},
		sys + "/Storage/RAID/Drives/1": {"Id": "1", "Name": "Bay 1", "Manufacturer": "Acme", "Model": "D1", "SerialNumber": "DS1", "CapacityBytes": 16000900661248, "MediaType": "HDD", "Protocol": "SAS"},
		sys + "/SimpleStorage":         {"Members": s.refs(sys + "/SimpleStorage/1")},
		sys + "/SimpleStorage/1":       {"Id": "1", "Devices": []any{map[string]any{"Name": "the same once more", "CapacityBytes": 960197124096}}},
		sys + "/SecureBoot":            {"Id": "SecureBoot", "SecureBootCurrentBoot": "Disabled"},
		sys + "/Bios": {
			"@odata.id": s.link(sys + "/Bios"), "Id": "Bios", "Attributes": maps.Clone(s.bios), "ResetBiosToDefaultsPending": s.defaults,
			"@Redfish.Settings": map[string]any{"SettingsObject": s.ref(sys + "/Bios/Settings"), "SupportedApplyTimes": []string{"OnReset"}},
			"Actions":           map[string]any{"#Bios.ResetBios": map[string]any{"target": s.link(sys + "/Bios/Actions/Bios.ResetBios")}},
		},
		sys + "/Bios/Settings": {"Id": "Settings", "Attributes": maps.Clone(s.pending)},
		"/redfish/v1/Managers/bmc": {
			"@odata.id": s.link("/redfish/v1/Managers/bmc"), "Id": "bmc", "Model": "B1", "FirmwareVersion": "7.0", "LastResetTime": fmt.Sprintf("2026-01-01T00:00:%02dZ", s.lastBoot),
			"VirtualMedia": s.ref("/redfish/v1/Managers/bmc/VirtualMedia"),
			"Actions": map[string]any{"#Manager.Reset": map[string]any{"target": s.link("/redfish/v1/Managers/bmc/Actions/Manager.Reset"),
				"ResetType@Redfish.AllowableValues": []string{"ForceRestart", "GracefulRestart"}}},
		},
		"/redfish/v1/Managers/bmc/VirtualMedia":        {"Members": s.refs("/redfish/v1/Managers/bmc/VirtualMedia/Floppy", "/redfish/v1/Managers/bmc/VirtualMedia/Cd")},
		"/redfish/v1/Managers/bmc/VirtualMedia/Floppy": {"Id": "Floppy", "MediaTypes": []string{"Floppy"}, "Inserted": false},
		"/redfish/v1/Managers/bmc/VirtualMedia/Cd": {
			"@odata.id": s.link("/redfish/v1/Managers/bmc/VirtualMedia/Cd"), "Id": "Cd", "MediaTypes": []string{"CD", "DVD"}, "Inserted": s.inserted, "Image": s.image,
			"Actions": map[string]any{
				"#VirtualMedia.InsertMedia": map[string]any{"target": s.link("/redfish/v1/Managers/bmc/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia")},
				"#VirtualMedia.EjectMedia":  map[string]any{"target": s.link("/redfish/v1/Managers/bmc/VirtualMedia/Cd/Actions/VirtualMedia.EjectMedia")}},
		},
		"/redfish/v1/UpdateService": {"Id": "UpdateService", "ServiceEnabled": true,
			"Actions": map[string]any{"#UpdateService.SimpleUpdate": map[string]any{"target": s.link("/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate")}}},
		"/redfish/v1/TaskService":       {"Id": "TaskService", "Tasks": s.ref("/redfish/v1/TaskService/Tasks")},
		"/redfish/v1/TaskService/Tasks": {"Members": s.refs(tasks...)},
	})
	systems := out["/redfish/v1/Systems"]
	for _, id := range slices.Sorted(maps.Keys(s.neighbours)) {
		p := "/redfish/v1/Systems/" + id
		o := map[string]any{"@odata.id": s.link(p), "Id": id, "PowerState": "On", "Links": map[string]any{"ManagedBy": s.refs("/redfish/v1/Managers/bmc")},
			"Actions": map[string]any{"#ComputerSystem.Reset": map[string]any{"target": s.link(p + "/Actions/ComputerSystem.Reset")}}}
		maps.Copy(o, s.neighbours[id])
		out[p] = o
		systems["Members"] = append(systems["Members"].([]any), s.ref(p))
	}
	return out
}

func (s *standIn) send(w http.ResponseWriter, path string, o map[string]any) {
	if s.lie != nil {
		s.lie(path, o)
	}
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, len(raw)))
	_, _ = w.Write(raw)
}

func (s *standIn) fail(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": "general", "@Message.ExtendedInfo": []any{map[string]any{"Message": message}}}})
}

func (s *standIn) post(w http.ResponseWriter, path string, body map[string]any) {
	switch {
	case strings.HasSuffix(path, "/Actions/ComputerSystem.Reset"):
		kind, _ := body["ResetType"].(string)
		s.resets = append(s.resets, kind)
		if !s.stuck {
			s.reset(kind)
		}
	case strings.HasSuffix(path, "/Actions/Manager.Reset"):
		s.resets = append(s.resets, "manager "+fmt.Sprint(body["ResetType"]))
		clear(s.sessions)
		s.lastBoot++
		s.image, s.inserted = "", false
	case strings.HasSuffix(path, "/Actions/VirtualMedia.InsertMedia"):
		if s.inserted {
			s.fail(w, http.StatusConflict, "a medium is in")
			return
		}
		s.image, _ = body["Image"].(string)
		s.inserted = true
	case strings.HasSuffix(path, "/Actions/VirtualMedia.EjectMedia"):
		if !s.inserted {
			s.fail(w, http.StatusBadRequest, "no medium is in")
			return
		}
		s.image, s.inserted = "", false
	case strings.HasSuffix(path, "/Actions/Bios.ResetBios"):
		s.defaults = true
	case strings.HasSuffix(path, "/Actions/UpdateService.SimpleUpdate"):
		s.staged, s.tasks["FW"] = "2.2", "Completed"
		w.Header().Set("Location", s.link("/redfish/v1/TaskService/Tasks/FW"))
		w.WriteHeader(http.StatusAccepted)
		return
	default:
		s.fail(w, http.StatusNotFound, "no such action")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *standIn) reset(kind string) {
	switch kind {
	case "On":
		s.power = "On"
		maps.Copy(s.bios, s.pending)
		s.pending = nil
		if s.staged != "" {
			s.firmware, s.staged = s.staged, ""
		}
		if s.defaults {
			s.bios, s.defaults = map[string]any{"BootMode": "Uefi", "ProcHyperthreading": "Enabled", "NumCores": float64(8)}, false
		}
	case "ForceOff", "GracefulShutdown":
		s.power = "Off"
	}
}

func (s *standIn) patch(w http.ResponseWriter, r *http.Request, path string, body map[string]any) {
	switch {
	case strings.HasSuffix(path, "/Bios/Settings"):
		s.pending, _ = body["Attributes"].(map[string]any)
	case path == "/redfish/v1/Systems/"+s.system:
		if r.Header.Get("If-Match") == "" {
			s.fail(w, http.StatusPreconditionRequired, "no tag given")
			return
		}
		boot, _ := body["Boot"].(map[string]any)
		maps.Copy(s.boot, boot)
	default:
		s.fail(w, http.StatusMethodNotAllowed, "read only")
		return
	}
	w.WriteHeader(http.StatusOK)
}

// do changes the stand-in under its lock.
func (s *standIn) do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *standIn) count(prefix string) (n int) {
	s.do(func() {
		for _, l := range s.log {
			if strings.HasPrefix(l, prefix) {
				n++
			}
		}
	})
	return n
}

// cables connect a driver to stand-ins through pipes, so that all of it can run in a bubble of fake time.
type cables struct {
	mu    sync.Mutex
	hosts map[string]*pipes // by host:port
	asked []string          // every address dialled
	drop  map[string]bool   // hosts that never answer a dial
}

type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func newCables() *cables { return &cables{hosts: map[string]*pipes{}, drop: map[string]bool{}} }

// serve makes a handler answer at a host until the test ends.
func (w *cables) serve(t *testing.T, host string, h http.Handler) {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	w.hosts[host] = p
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(p) }()
	t.Cleanup(func() { _ = srv.Close(); <-served })
}

func (w *cables) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	w.mu.Lock()
	w.asked = append(w.asked, addr)
	p, drop := w.hosts[addr], w.drop[addr]
	w.mu.Unlock()
	if p == nil || drop {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lab is a driver, its log and one stand-in.
type lab struct {
	*standIn
	wire   *cables
	driver *Driver
	logged *safeBuffer
}

func newLab(t *testing.T) *lab {
	l := &lab{standIn: newStandIn(), wire: newCables(), logged: &safeBuffer{}}
	l.wire.serve(t, "bmc.test:80", l.standIn)
	l.driver = New(Config{Dial: l.wire.dial, Log: slog.New(slog.NewTextHandler(l.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	t.Cleanup(func() { l.driver.Close(context.Background()) })
	return l
}

func info(change ...string) map[string]any {
	out := map[string]any{target.KeyAddress: "http://bmc.test", target.KeyUsername: user, target.KeyPassword: conductor.Masked}
	for i := 0; i < len(change); i += 2 {
		out[change[i]] = change[i+1]
	}
	return out
}

// bmc opens the machine; change alters driver_info.
func (l *lab) bmc(t *testing.T, change ...string) conductor.BMC {
	t.Helper()
	return l.with(t, password, change...)
}

func (l *lab) with(t *testing.T, password string, change ...string) conductor.BMC {
	t.Helper()
	b, err := l.driver.Open(t.Context(), conductor.Access{Node: "n1", Info: info(change...), Secrets: map[string]string{target.KeyPassword: password}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
