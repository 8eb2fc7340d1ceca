package emulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/integration/faults"
	"github.com/bessemer-metal/bessemer/integration/login"
)

// object is a JSON object of Redfish.
type object = map[string]any

// request is one that was let in.
type request struct {
	*http.Request
	s   *service
	m   *Machine // of the path; nil where there is none
	who account
}

// reply is what comes back; a body that is an object gets its ETag here, not from its maker.
type reply struct {
	status int
	header http.Header
	body   object
}

type handler func(*request) reply

// route is one path and what it answers.
type route struct {
	path                     string
	get, patch, post, delete handler
	open                     bool // to everybody
}

// routes is the whole service. {m} is a machine, {id} a member of a collection.
func routes() []route {
	return []route{
		{path: "/redfish", get: (*request).versions, open: true},
		{path: "/redfish/v1", get: (*request).root, open: true},
		{path: "/redfish/v1/SessionService", get: (*request).sessionService},
		{path: "/redfish/v1/SessionService/Sessions", get: (*request).sessionList, post: (*request).login, open: true},
		{path: "/redfish/v1/SessionService/Sessions/{id}", get: (*request).session, delete: (*request).logout},
		{path: "/redfish/v1/Systems", get: (*request).systems},
		{path: "/redfish/v1/Systems/{m}", get: (*request).system, patch: (*request).patchSystem},
		{path: "/redfish/v1/Systems/{m}/Actions/ComputerSystem.Reset", post: (*request).resetSystem},
		{path: "/redfish/v1/Systems/{m}/Boot/Certificates", get: (*request).bootTrust, post: (*request).trustBoot},
		{path: "/redfish/v1/Systems/{m}/Boot/Certificates/{id}", get: (*request).bootCertificate, delete: (*request).distrustBoot},
		{path: "/redfish/v1/Systems/{m}/EthernetInterfaces", get: (*request).cards},
		{path: "/redfish/v1/Systems/{m}/EthernetInterfaces/{id}", get: (*request).card},
		{path: "/redfish/v1/Systems/{m}/Processors", get: (*request).processors},
		{path: "/redfish/v1/Systems/{m}/Processors/CPU1", get: (*request).processor},
		{path: "/redfish/v1/Systems/{m}/Memory", get: (*request).modules},
		{path: "/redfish/v1/Systems/{m}/Memory/DIMM1", get: (*request).module},
		{path: "/redfish/v1/Systems/{m}/Storage", get: (*request).stores},
		{path: "/redfish/v1/Systems/{m}/Storage/1", get: (*request).store},
		{path: "/redfish/v1/Systems/{m}/Storage/1/Drives/{id}", get: (*request).disk},
		{path: "/redfish/v1/Systems/{m}/Storage/RAID", get: raidOnly((*request).raidStore)},
		{path: "/redfish/v1/Systems/{m}/Storage/RAID/Controllers", get: raidOnly((*request).raidControllers)},
		{path: "/redfish/v1/Systems/{m}/Storage/RAID/Controllers/0", get: raidOnly((*request).raidController)},
		{path: "/redfish/v1/Systems/{m}/Storage/RAID/Drives/{id}", get: raidOnly((*request).raidDrive)},
		{path: "/redfish/v1/Systems/{m}/Storage/RAID/Volumes", get: raidOnly((*request).volumes), post: raidOnly((*request).createVolume)},
		{path: "/redfish/v1/Systems/{m}/Storage/RAID/Volumes/{id}", get: raidOnly((*request).volume), delete: raidOnly((*request).deleteVolume)},
		{path: "/redfish/v1/Systems/{m}/Bios", get: (*request).biosNow},
		{path: "/redfish/v1/Systems/{m}/Bios/Settings", get: (*request).biosSettings, patch: (*request).patchBios},
		{path: "/redfish/v1/Systems/{m}/Bios/Actions/Bios.ResetBios", post: (*request).resetBios},
		{path: "/redfish/v1/Systems/{m}/SecureBoot", get: (*request).secureBootState, patch: (*request).patchSecureBoot},
		{path: "/redfish/v1/Managers", get: (*request).managers},
		{path: "/redfish/v1/Managers/{m}", get: (*request).manager, patch: (*request).patchManager},
		{path: "/redfish/v1/Managers/{m}/Actions/Manager.Reset", post: (*request).resetManager},
		{path: "/redfish/v1/Managers/{m}/VirtualMedia", get: (*request).mediaList},
		{path: "/redfish/v1/Managers/{m}/VirtualMedia/Cd", get: (*request).cd},
		{path: "/redfish/v1/Managers/{m}/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia", post: (*request).insertMedia},
		{path: "/redfish/v1/Managers/{m}/VirtualMedia/Cd/Actions/VirtualMedia.EjectMedia", post: (*request).ejectMedia},
		{path: "/redfish/v1/Managers/{m}/VirtualMedia/{id}", get: (*request).drive},
		{path: "/redfish/v1/Managers/{m}/VirtualMedia/{id}/Actions/VirtualMedia.InsertMedia", post: (*request).insertDrive},
		{path: "/redfish/v1/Managers/{m}/VirtualMedia/{id}/Actions/VirtualMedia.EjectMedia", post: (*request).ejectDrive},
		{path: "/redfish/v1/Chassis", get: (*request).chassisList},
		{path: "/redfish/v1/Chassis/{m}", get: (*request).chassis, patch: (*request).patchChassis},
		{path: "/redfish/v1/Chassis/{m}/NetworkAdapters", get: (*request).adapters},
		{path: "/redfish/v1/Chassis/{m}/NetworkAdapters/{id}", get: (*request).adapter},
		{path: "/redfish/v1/Chassis/{m}/Thermal", get: (*request).thermal},
		{path: "/redfish/v1/Chassis/{m}/Power", get: (*request).powerDraw},
		{path: "/redfish/v1/Chassis/{m}/Sensors", get: (*request).sensors},
		{path: "/redfish/v1/Chassis/{m}/Sensors/{id}", get: (*request).sensor},
		{path: "/redfish/v1/TaskService", get: (*request).taskService},
		{path: "/redfish/v1/TaskService/Tasks", get: (*request).taskList},
		{path: "/redfish/v1/TaskService/Tasks/{id}", get: (*request).task, delete: (*request).deleteTask},
		{path: "/redfish/v1/TaskService/TaskMonitors/{id}", get: (*request).taskMonitor},
		{path: "/redfish/v1/UpdateService", get: (*request).updateService},
		{path: updatePath + simpleUpdate, post: (*request).simpleUpdate},
		{path: "/redfish/v1/UpdateService/FirmwareInventory", get: (*request).firmwareList},
		{path: "/redfish/v1/UpdateService/FirmwareInventory/{id}", get: (*request).firmwareItem},
		{path: eventPath, get: (*request).eventService},
		{path: eventPath + "/Subscriptions", get: (*request).subscriptions, post: (*request).subscribe},
		{path: eventPath + "/Subscriptions/{id}", get: (*request).subscription, delete: (*request).unsubscribe},
		{path: "/redfish/v1/Registries", get: (*request).registries},
		{path: "/redfish/v1/Registries/{id}", get: (*request).registry},
		{path: "/redfish/v1/Registries/{id}/Registry.json", get: (*request).registryFile},
	}
}

// service is one address: all machines, or one machine's BMC.
type service struct {
	e    *Emulator
	only *Machine
	mux  *http.ServeMux
}

func newService(e *Emulator, only *Machine) http.Handler {
	s := &service{e: e, only: only, mux: http.NewServeMux()}
	for _, rt := range routes() {
		s.mux.HandleFunc(rt.path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, rt) })
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, route{}) })
	return s
}

// ServeHTTP takes paths with and without a slash at their end, as the specification asks.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p := strings.TrimRight(r.URL.Path, "/"); p != r.URL.Path && p != "" {
		r2 := *r
		u := *r.URL
		u.Path, u.RawPath = p, ""
		r2.URL = &u
		r = &r2
	}
	s.mux.ServeHTTP(w, r)
}

// machine is the one a request concerns, whoever asks: its faults apply.
func (s *service) machine(r *http.Request) *Machine {
	if s.only != nil {
		if name := r.PathValue("m"); name != "" && name != s.only.Name() {
			return nil
		}
		return s.only
	}
	return s.e.Machine(r.PathValue("m"))
}

func (s *service) serve(w http.ResponseWriter, r *http.Request, rt route) {
	m := s.machine(r)
	status := 0
	if m != nil {
		defer func() { m.Note(r, status) }()
		if m.Away() {
			panic(http.ErrAbortHandler) // nobody is at home: the connection ends without a word
		}
		if m.Trouble().Use(faults.Restart, r) != nil {
			s.restart(r.Context(), m)
			if err := m.Do(func() error { return m.Eject(s.e.ctx) }); err != nil {
				s.e.log.Error("forget the medium", "machine", m.Name(), "err", err)
			}
			panic(http.ErrAbortHandler)
		}
		if status = m.Trouble().Disturb(w, r, s.refuse); status != 0 {
			return
		}
	}
	a := s.answer(r, rt, m)
	status = a.status
	if m != nil && r.Method != http.MethodGet && m.Trouble().Use(faults.CutAfter, r) != nil {
		panic(http.ErrAbortHandler)
	}
	s.send(w, r, m, a)
}

// refuse answers with an error that a fault asks for.
func (s *service) refuse(w http.ResponseWriter, r *http.Request, status int, message string) {
	s.send(w, r, nil, failure(status, "GeneralError", message))
}

// answer is the service without its faults.
func (s *service) answer(r *http.Request, rt route, m *Machine) reply {
	q := &request{Request: r, s: s, m: m}
	who, ok := s.authenticate(r)
	q.who = who
	open := rt.open && (r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodPost)
	if rt.path == "/redfish/v1/SessionService/Sessions" && r.Method != http.MethodPost {
		open = false
	}
	if !open && !ok {
		a := failure(http.StatusUnauthorized, "NoValidSession", "There is no valid session, or the user name or password is wrong.")
		a.header = http.Header{"Www-Authenticate": {`Basic realm="Redfish"`}}
		return a
	}
	hidden := rt.path == "" || strings.Contains(rt.path, "{m}") && (m == nil || !q.sees(m))
	if hidden {
		return notFound(r.URL.Path)
	}
	h := map[string]handler{http.MethodGet: rt.get, http.MethodHead: rt.get, http.MethodPatch: rt.patch, http.MethodPost: rt.post, http.MethodDelete: rt.delete}[r.Method]
	if h == nil {
		a := failure(http.StatusMethodNotAllowed, "OperationNotAllowed", fmt.Sprintf("%s is not served at %s.", r.Method, r.URL.Path))
		a.header = http.Header{"Allow": {rt.allow()}}
		return a
	}
	if want := r.Header.Get("If-Match"); want != "" && rt.get != nil && (r.Method == http.MethodPatch || r.Method == http.MethodDelete) {
		if current := rt.get(q); current.status == http.StatusOK && !matches(want, etag(current.body)) {
			return failure(http.StatusPreconditionFailed, "PreconditionFailed", "The resource changed since it was read: its ETag is another one.")
		}
	}
	return h(q)
}

func (rt route) allow() string {
	var l []string
	for name, h := range map[string]handler{"GET, HEAD": rt.get, "PATCH": rt.patch, "POST": rt.post, "DELETE": rt.delete} {
		if h != nil {
			l = append(l, name)
		}
	}
	slices.Sort(l)
	return strings.Join(l, ", ")
}

// account is who asks: it sees the machines that its name and password open.
type account struct{ user, password, session string }

func (a account) opens(user, password string) bool {
	name, word := login.Equal(a.user, user), login.Equal(a.password, password)
	return name && word
}

func (a account) sees(m *Machine) bool { return a.opens(m.Config().Username, m.Config().Password) }

// administers reports whether the account is the emulator's own, which sees every machine at the shared address.
func (a account) administers(e *Emulator) bool { return a.opens(e.cfg.Username, e.cfg.Password) }

// known reports whether the account opens anything at the service's address.
func (s *service) known(a account) bool {
	if s.only != nil {
		return a.sees(s.only)
	}
	return a.administers(s.e) || slices.ContainsFunc(s.e.Machines(), a.sees)
}

// address names the service to the sessions.
func (s *service) address() string {
	if s.only != nil {
		return s.only.Name()
	}
	return ""
}

// authenticate finds out who asks, by session or by basic authentication.
func (s *service) authenticate(r *http.Request) (account, bool) {
	if token := r.Header.Get("X-Auth-Token"); token != "" {
		x := s.e.sessions.Find(token, s.address())
		if x == nil {
			return account{}, false
		}
		return account{x.User, x.Password, x.ID}, true
	}
	user, password, ok := r.BasicAuth()
	a := account{user: user, password: password}
	return a, ok && s.known(a)
}

// sees reports whether the asker may know of a machine at this address.
func (q *request) sees(m *Machine) bool {
	if q.s.only != nil {
		return m == q.s.only
	}
	return q.who.administers(q.s.e) || q.who.sees(m)
}

func (q *request) visible() []*Machine {
	if q.s.only != nil {
		return []*Machine{q.s.only}
	}
	return slices.DeleteFunc(q.s.e.Machines(), func(m *Machine) bool { return !q.sees(m) })
}

// volatile are readings: they change by themselves, and an ETag that did so would make every change fail.
func volatile() []string {
	return []string{"PowerState", "BootProgress", "LastResetTime", "Reading", "Status", "DateTime"}
}

func etag(body object) string {
	body = maps.Clone(body)
	for _, k := range volatile() {
		delete(body, k)
	}
	b, err := json.Marshal(body) // keys come sorted
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return `W/"` + hex.EncodeToString(sum[:8]) + `"`
}

func matches(want, tag string) bool {
	bare := func(s string) string { return strings.Trim(strings.TrimPrefix(strings.TrimSpace(s), "W/"), `"`) }
	return slices.ContainsFunc(strings.Split(want, ","), func(w string) bool { return bare(w) == "*" || bare(w) == bare(tag) })
}

// send writes a reply, with the faults that change it.
func (s *service) send(w http.ResponseWriter, r *http.Request, m *Machine, a reply) {
	h := w.Header()
	maps.Copy(h, a.header)
	h.Set("OData-Version", "4.0")
	h.Set("Cache-Control", "no-store")
	if _, resource := a.body["@odata.id"]; resource && a.status == http.StatusOK {
		tag := etag(a.body)
		h.Set("ETag", tag)
		a.body["@odata.etag"] = tag
		if none := r.Header.Get("If-None-Match"); none != "" && matches(none, tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if m != nil {
		m.Trouble().Distort(r, h, a.body)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a.body); err != nil {
		s.e.log.Error("answer can't be encoded", "path", r.URL.Path, "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead {
		return
	}
	if m != nil && m.Trouble().Drip(w, r, b.Bytes()) {
		return
	}
	w.Write(b.Bytes()) // a client that is gone needs no answer
}

func ok(body object) reply { return reply{status: http.StatusOK, body: body} }

func noContent() reply { return reply{status: http.StatusNoContent} }

const (
	baseRegistry = "Base.1.13.0"
	maxBody      = 1 << 20
)

// failure is a Redfish error with one message (DSP0266 §8.6). related names the property at fault, where there is one.
func failure(status int, id, message string, related ...string) reply {
	severity := "Critical"
	if status < 500 {
		severity = "Warning"
	}
	info := object{"@odata.type": "#Message.v1_1_2.Message", "MessageId": baseRegistry + "." + id, "Message": message, "MessageArgs": []string{},
		"Severity": severity, "MessageSeverity": severity, "Resolution": "See the message."}
	if len(related) > 0 {
		info["RelatedProperties"] = related
	}
	return reply{status: status, body: object{"error": object{"code": baseRegistry + "." + id, "message": message, "@Message.ExtendedInfo": []object{info}}}}
}

func notFound(path string) reply {
	return failure(http.StatusNotFound, "ResourceMissingAtURI", "The resource at the URI "+path+" was not found.")
}

// decode reads a body into v. An empty one stands for {}, since clients differ in what they send with actions.
func (q *request) decode(v any) (reply, bool) {
	b, err := io.ReadAll(io.LimitReader(q.Body, maxBody+1))
	if err != nil || len(b) > maxBody {
		return failure(http.StatusBadRequest, "MalformedJSON", "The body could not be read, or is larger than 1 MiB."), false
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return reply{}, true
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
			return failure(http.StatusBadRequest, "PropertyUnknown", "The property "+name+" is not in the list of valid properties for the resource.", "#/"+strings.Trim(name, `"`)), false
		}
		return failure(http.StatusBadRequest, "MalformedJSON", "The body is not what is expected: "+err.Error()), false
	}
	return reply{}, true
}

func notInList(property, value string, list []string) reply {
	return failure(http.StatusBadRequest, "PropertyValueNotInList",
		fmt.Sprintf("The value %q for the property %s is not in the list of acceptable values: %s.", value, property, strings.Join(list, ", ")), "#/"+property)
}

func collection(path, kind, name string, members []string) reply {
	links := make([]object, len(members))
	for i, m := range members {
		links[i] = link(m)
	}
	return ok(object{"@odata.id": path, "@odata.type": "#" + kind + "." + kind, "Name": name, "Members": links, "Members@odata.count": len(links)})
}

func link(path string) object { return object{"@odata.id": path} }

func healthy() object { return object{"State": "Enabled", "Health": "OK"} }
