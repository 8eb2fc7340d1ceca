package rest_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/access"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// least is a row of the expected access: the least role by standing, "" for nobody. It is written by hand, apart from
// server/access, so that a slip in one of the two shows.
type least struct {
	system, owner, lessee access.Role
	project               access.Role // of users of a project, where the path names no object with an owner
	of                    string      // whose the object of the path is: "" its node's, "owner" its own owner's, "nobody" no project's
}

const (
	admin    = access.Admin
	operator = access.Operator
	observer = access.Observer
	nobody   = access.Role("")
	open     = access.Role("open")
)

// expected is who may use which route.
var expected = map[string]least{
	"HEAD /": {system: open}, "OPTIONS /": {system: open}, "HEAD /v1": {system: open},
	"GET /":   {system: open},
	"GET /v1": {system: open},

	"GET /v1/nodes":                                         {system: observer, project: observer},
	"GET /v1/nodes/detail":                                  {system: observer, project: observer},
	"POST /v1/nodes":                                        {system: admin, project: admin},
	"GET /v1/nodes/{node}":                                  {system: observer, owner: observer, lessee: observer},
	"PATCH /v1/nodes/{node}":                                {system: operator, owner: operator, lessee: operator},
	"DELETE /v1/nodes/{node}":                               {system: admin, owner: admin},
	"GET /v1/nodes/{node}/validate":                         {system: observer, owner: observer, lessee: admin},
	"GET /v1/nodes/{node}/states":                           {system: observer, owner: observer, lessee: observer},
	"PUT /v1/nodes/{node}/states/power":                     {system: operator, owner: operator, lessee: operator},
	"PUT /v1/nodes/{node}/states/provision":                 {system: operator, owner: operator, lessee: admin},
	"PUT /v1/nodes/{node}/states/out_of_service":            {system: operator, owner: operator, lessee: admin},
	"PUT /v1/nodes/{node}/maintenance":                      {system: operator, owner: operator, lessee: admin},
	"DELETE /v1/nodes/{node}/maintenance":                   {system: operator, owner: operator, lessee: admin},
	"GET /v1/nodes/{node}/management/boot_device":           {system: observer, owner: observer},
	"PUT /v1/nodes/{node}/management/boot_device":           {system: operator, owner: operator},
	"GET /v1/nodes/{node}/management/boot_device/supported": {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/traits":                           {system: observer, owner: observer, lessee: observer},
	"PUT /v1/nodes/{node}/traits":                           {system: operator, owner: admin},
	"DELETE /v1/nodes/{node}/traits":                        {system: operator, owner: admin},
	"PUT /v1/nodes/{node}/traits/{trait}":                   {system: operator, owner: admin},
	"DELETE /v1/nodes/{node}/traits/{trait}":                {system: operator, owner: admin},
	"GET /v1/nodes/{node}/inventory":                        {system: observer, owner: observer},
	"GET /v1/nodes/{node}/history":                          {system: observer, owner: observer},
	"GET /v1/nodes/{node}/history/{entry}":                  {system: observer, owner: observer},
	"GET /v1/nodes/{node}/ports":                            {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/ports/detail":                     {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/steps":                            {system: observer, owner: observer},
	"GET /v1/nodes/{node}/plan":                             {system: observer, owner: observer},
	"GET /v1/nodes/{node}/default_config":                   {system: observer, owner: observer},
	"GET /v1/nodes/{node}/logs":                             {system: observer, owner: observer},
	"GET /v1/nodes/{node}/doctor":                           {system: observer, owner: observer},
	"POST /v1/nodes/{node}/doctor":                          {system: operator, owner: operator},
	"PUT /v1/nodes/{node}/confirm":                          {system: operator},

	"PUT /v1/nodes/{node}/states/boot_mode":              {system: operator, owner: operator},
	"PUT /v1/nodes/{node}/states/secure_boot":            {system: operator, owner: operator},
	"PUT /v1/nodes/{node}/states/raid":                   {system: operator, owner: operator},
	"PUT /v1/nodes/{node}/states/console":                {system: operator, owner: operator},
	"GET /v1/nodes/{node}/states/console":                {system: observer, owner: observer},
	"PUT /v1/nodes/{node}/management/inject_nmi":         {system: operator, owner: operator},
	"GET /v1/nodes/{node}/management/indicators":         {system: observer, owner: observer},
	"GET /v1/nodes/{node}/management/indicators/{light}": {system: observer, owner: observer},
	"PUT /v1/nodes/{node}/management/indicators/{light}": {system: operator, owner: operator},
	"GET /v1/nodes/{node}/vmedia":                        {system: observer, owner: observer},
	"POST /v1/nodes/{node}/vmedia":                       {system: operator, owner: operator},
	"DELETE /v1/nodes/{node}/vmedia":                     {system: operator, owner: operator},
	"GET /v1/nodes/{node}/bios":                          {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/bios/{setting}":                {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/firmware":                      {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/vifs":                          {system: observer, owner: observer, lessee: observer},
	"POST /v1/nodes/{node}/vifs":                         {system: operator, owner: operator},
	"DELETE /v1/nodes/{node}/vifs/{vif}":                 {system: operator, owner: operator},
	"GET /v1/nodes/{node}/vendor_passthru/methods":       {system: admin},
	"GET /v1/nodes/{node}/vendor_passthru":               {system: admin},
	"GET /v1/nodes/{node}/vendor_passthru/{method}":      {system: admin},
	"POST /v1/nodes/{node}/vendor_passthru":              {system: admin},
	"POST /v1/nodes/{node}/vendor_passthru/{method}":     {system: admin},
	"PUT /v1/nodes/{node}/vendor_passthru":               {system: admin},
	"PUT /v1/nodes/{node}/vendor_passthru/{method}":      {system: admin},
	"PATCH /v1/nodes/{node}/vendor_passthru":             {system: admin},
	"PATCH /v1/nodes/{node}/vendor_passthru/{method}":    {system: admin},
	"DELETE /v1/nodes/{node}/vendor_passthru":            {system: admin},
	"DELETE /v1/nodes/{node}/vendor_passthru/{method}":   {system: admin},

	"GET /v1/ports":             {system: observer, project: observer},
	"GET /v1/ports/detail":      {system: observer, project: observer},
	"POST /v1/ports":            {system: operator, project: admin},
	"GET /v1/ports/{record}":    {system: observer, owner: observer, lessee: observer},
	"PATCH /v1/ports/{record}":  {system: operator, owner: admin},
	"DELETE /v1/ports/{record}": {system: operator, owner: admin},

	"GET /v1/lookup":               {system: open},
	"POST /v1/heartbeat/{node}":    {system: open},
	"POST /v1/continue_inspection": {system: open},

	"GET /v1/portgroups":                       {system: observer, project: observer},
	"GET /v1/portgroups/detail":                {system: observer, project: observer},
	"POST /v1/portgroups":                      {system: operator, project: admin},
	"GET /v1/portgroups/{record}":              {system: observer, owner: observer, lessee: observer},
	"PATCH /v1/portgroups/{record}":            {system: operator, owner: admin},
	"DELETE /v1/portgroups/{record}":           {system: operator, owner: admin},
	"GET /v1/portgroups/{record}/ports":        {system: observer, owner: observer, lessee: observer},
	"GET /v1/portgroups/{record}/ports/detail": {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/portgroups":          {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/portgroups/detail":   {system: observer, owner: observer, lessee: observer},

	"GET /v1/allocations":                  {system: observer, project: observer},
	"POST /v1/allocations":                 {system: operator, project: operator},
	"GET /v1/allocations/{record}":         {system: observer, owner: observer, of: "owner"},
	"PATCH /v1/allocations/{record}":       {system: operator, owner: operator, of: "owner"},
	"DELETE /v1/allocations/{record}":      {system: operator, owner: operator, of: "owner"},
	"GET /v1/nodes/{node}/allocation":      {system: observer, owner: observer, of: "owner"},
	"DELETE /v1/nodes/{node}/allocation":   {system: operator, owner: operator, of: "owner"},
	"GET /v1/deploy_templates":             {system: observer},
	"GET /v1/deploy_templates/detail":      {system: observer},
	"POST /v1/deploy_templates":            {system: admin},
	"GET /v1/deploy_templates/{record}":    {system: observer, of: "nobody"},
	"PATCH /v1/deploy_templates/{record}":  {system: admin, of: "nobody"},
	"DELETE /v1/deploy_templates/{record}": {system: admin, of: "nobody"},
	"GET /v1/runbooks":                     {system: observer, project: observer},
	"GET /v1/runbooks/detail":              {system: observer, project: observer},
	"POST /v1/runbooks":                    {system: admin, project: operator},
	"GET /v1/runbooks/{record}":            {system: observer, owner: observer, of: "owner"},
	"PATCH /v1/runbooks/{record}":          {system: admin, owner: operator, of: "owner"},
	"DELETE /v1/runbooks/{record}":         {system: admin, owner: operator, of: "owner"},

	"GET /v1/chassis":                       {system: observer},
	"GET /v1/chassis/detail":                {system: observer},
	"POST /v1/chassis":                      {system: admin},
	"GET /v1/chassis/{record}":              {system: observer, of: "nobody"},
	"PATCH /v1/chassis/{record}":            {system: admin, of: "nobody"},
	"DELETE /v1/chassis/{record}":           {system: admin, of: "nobody"},
	"GET /v1/chassis/{record}/nodes":        {system: observer, of: "nobody"},
	"GET /v1/chassis/{record}/nodes/detail": {system: observer, of: "nobody"},

	"GET /v1/volume":                                {system: observer, project: observer},
	"GET /v1/volume/connectors":                     {system: observer, project: observer},
	"GET /v1/volume/connectors/detail":              {system: observer, project: observer},
	"POST /v1/volume/connectors":                    {system: operator, project: operator},
	"GET /v1/volume/connectors/{record}":            {system: observer, owner: observer, lessee: observer},
	"PATCH /v1/volume/connectors/{record}":          {system: operator, owner: operator},
	"DELETE /v1/volume/connectors/{record}":         {system: operator, owner: operator},
	"GET /v1/volume/targets":                        {system: observer, project: observer},
	"GET /v1/volume/targets/detail":                 {system: observer, project: observer},
	"POST /v1/volume/targets":                       {system: operator, project: operator},
	"GET /v1/volume/targets/{record}":               {system: observer, owner: observer, lessee: observer},
	"PATCH /v1/volume/targets/{record}":             {system: operator, owner: operator},
	"DELETE /v1/volume/targets/{record}":            {system: operator, owner: operator},
	"GET /v1/nodes/{node}/volume":                   {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/volume/connectors":        {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/volume/connectors/detail": {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/volume/targets":           {system: observer, owner: observer, lessee: observer},
	"GET /v1/nodes/{node}/volume/targets/detail":    {system: observer, owner: observer, lessee: observer},

	"GET /v1/nodes/{node}/children": {system: observer, owner: observer, lessee: observer},
	"GET /v1/shards":                {system: observer},
	"POST /v1/events":               {system: admin},

	"GET /v1/inspection_rules":           {system: observer},
	"POST /v1/inspection_rules":          {system: admin},
	"GET /v1/inspection_rules/{rule}":    {system: observer},
	"PATCH /v1/inspection_rules/{rule}":  {system: admin},
	"DELETE /v1/inspection_rules/{rule}": {system: admin},

	"GET /v1/drivers":                     {system: observer, project: observer},
	"GET /v1/drivers/{driver}":            {system: observer, project: observer},
	"GET /v1/drivers/{driver}/properties": {system: observer, project: observer},
	"GET /v1/drivers/{driver}/steps":      {system: observer, project: observer},

	"GET /v1/drivers/{driver}/raid/logical_disk_properties": {system: observer, project: observer},
	"GET /v1/drivers/{driver}/vendor_passthru/methods":      {system: observer, project: observer},
	"GET /v1/drivers/{driver}/vendor_passthru":              {system: admin},
	"GET /v1/drivers/{driver}/vendor_passthru/{method}":     {system: admin},
	"POST /v1/drivers/{driver}/vendor_passthru":             {system: admin},
	"POST /v1/drivers/{driver}/vendor_passthru/{method}":    {system: admin},
	"PUT /v1/drivers/{driver}/vendor_passthru":              {system: admin},
	"PUT /v1/drivers/{driver}/vendor_passthru/{method}":     {system: admin},
	"PATCH /v1/drivers/{driver}/vendor_passthru":            {system: admin},
	"PATCH /v1/drivers/{driver}/vendor_passthru/{method}":   {system: admin},
	"DELETE /v1/drivers/{driver}/vendor_passthru":           {system: admin},
	"DELETE /v1/drivers/{driver}/vendor_passthru/{method}":  {system: admin},

	"GET /v1/conductors":            {system: observer, project: observer},
	"GET /v1/conductors/{host}":     {system: observer, project: observer},
	"GET /v1/doctor":                {system: observer},
	"GET /v1/events":                {system: observer, project: observer},
	"GET /v1/openapi":               {system: observer, project: observer},
	"GET /v1/webhooks":              {system: admin, project: admin},
	"POST /v1/webhooks":             {system: admin, project: admin},
	"GET /v1/webhooks/{webhook}":    {system: admin, owner: admin},
	"PUT /v1/webhooks/{webhook}":    {system: admin, owner: admin},
	"DELETE /v1/webhooks/{webhook}": {system: admin, owner: admin},
	"GET /v1/usage":                 {system: observer, project: observer},
	"POST /v1/nodes:batchGet":       {system: observer, project: observer},
	"GET /v1/default_config":        {system: observer},
	"PUT /v1/default_config":        {system: operator},
	"DELETE /v1/default_config":     {system: operator},
	"GET /v1/images":                {system: observer, project: observer},
	"GET /v1/images/{image}":        {system: observer, project: observer},
	"PUT /v1/images/{image}":        {system: operator},
	"DELETE /v1/images/{image}":     {system: operator},
}

// fill is what stands for a path variable that names no object with an owner; "x" where nothing is said.
var fill = map[string]string{"trait": "CUSTOM_A", "driver": "redfish", "host": "lab", "method": "eject_vmedia"}

// owners are the nodes of the matrix: what stands for {node} and {record}, and who owns and leases them. The caller's
// project is "blue".
var owners = []struct {
	node, port, owner, lessee string
	standing                  access.Standing
}{
	{"own", "00000000-0000-4000-9000-000000000001", "blue", "", access.Owner},
	{"lent", "00000000-0000-4000-9000-000000000002", "blue", "red", access.Owner},
	{"leased", "00000000-0000-4000-9000-000000000003", "red", "blue", access.Lessee},
	{"both", "00000000-0000-4000-9000-000000000004", "blue", "blue", access.Owner},
	{"foreign", "00000000-0000-4000-9000-000000000005", "red", "red", access.Stranger},
	{"free", "00000000-0000-4000-9000-000000000006", "", "", access.Stranger},
}

// as is an authenticator of tests: everybody is who the test says.
type as struct{ access.Grant }

func (a as) Authenticate(*http.Request) (string, access.Grant, error) { return "ann", a.Grant, nil }
func (as) Realm() string                                              { return "test" }

// tenancy is an API whose caller, records, images and log each case of a matrix gets anew. The table of routes stays: to
// compile it takes longer than all that a case asks.
type tenancy struct {
	rest.Backend
	as
	*store
	log  *strings.Builder
	rows *nodewire.Preparer
	api  *rest.API
}

func (c *tenancy) Write(line []byte) (int, error) { return c.log.Write(line) }

func newTenancy(t *testing.T) *tenancy {
	c := &tenancy{Backend: newBackend(), store: &store{}}
	var err error
	if c.rows, err = nodewire.NewPreparer(c.Drivers()); err != nil {
		t.Fatal(err)
	}
	c.api = rest.New(rest.Config{Backend: c, Form: c.rows.Form(), Images: c.store, Auth: c, Hostname: "lab", Started: now, Now: func() time.Time { return now },
		Log: slog.New(slog.NewTextHandler(c, nil))})
	return c
}

// tenants is a server with the nodes of owners, full of canaries, to a caller of the given grant.
func tenants(t *testing.T, g access.Grant) *server { return newTenancy(t).tenants(t, g) }

func (c *tenancy) tenants(t *testing.T, g access.Grant) *server {
	b := newBackend()
	c.Backend, c.as, c.store.images, c.log = b, as{g}, map[string]string{}, &strings.Builder{}
	s := &server{T: t, backend: b, handler: c.api, images: c.store, log: c.log}
	for i, o := range owners {
		n := conductor.Node{UUID: conductor.NodeID("00000000-0000-4000-8000-00000000000" + string(rune('1'+i))), Name: o.node, Owner: o.owner, Lessee: o.lessee,
			Driver: "redfish", DriverInfo: map[string]any{"redfish_address": "https://canary-address." + o.node, "redfish_password": conductor.Masked, "x": "canary-typo"},
			InstanceInfo: map[string]any{"image_source": "http://u:canary-pw@192.0.2.1/i", "configdrive": "canary-drive"},
			Properties:   map[string]any{"cpu_arch": "x86_64"}, State: state.CleanFail, Target: state.Available, LastError: "canary-error of " + o.node,
			Boot: &conductor.Boot{Generation: 1, Salt: []byte("canary-salt"), AgentVersion: "canary-internal." + o.node}, Created: now, Updated: now, StateSince: now}
		b.nodes = append(b.nodes, n)
		b.hooks = append(b.hooks, conductor.Webhook{UUID: "hook-" + o.node, Project: o.owner, URL: "https://hooks.example/"})
		b.nodes[i].Allocation = o.port
		h := conductor.Head{UUID: o.port, Created: now}
		b.beside = append(b.beside, &conductor.Port{Head: h, Node: n.UUID, Address: "52:54:00:00:00:0" + string(rune('1'+i))},
			&conductor.Portgroup{Head: h, Node: n.UUID}, &conductor.Allocation{Head: h, Node: n.UUID, Owner: o.owner, State: conductor.AllocationOn},
			&conductor.Runbook{Head: h, Owner: o.owner}, &conductor.Template{Head: h}, &conductor.Chassis{Head: h},
			&conductor.Connector{Head: h, Node: n.UUID}, &conductor.Target{Head: h, Node: n.UUID})
	}
	b.rows = c.rows
	return s
}

var variable = regexp.MustCompile(`\{(\w+)\}`)

// TestI26_EveryRouteHasARule compares the table of routes with what is expected.
func TestI26_EveryRouteHasARule(t *testing.T) {
	s := tenants(t, access.Grant{Role: admin})
	seen := map[string]bool{}
	for _, r := range s.handler.(*rest.API).Served() {
		key := r.Method + " " + r.Path
		seen[key] = true
		if _, ok := access.Lookup(r.Need); !ok && r.Need != access.Open {
			t.Errorf("%s has no right, so it answers 403 to everybody: write need: access.… in its row of the routes; the rights are the rows of Rules in server/access/rules.go, and a new one goes there", key)
		}
		if _, ok := expected[key]; !ok {
			t.Errorf("%s is not in the table of expected access: add to expected in server/rest/access_test.go\n\t%q: {system: observer, owner: observer, lessee: observer},\nwith who shall have it (project: … instead of owner and lessee where the path names no object with an owner)", key, key)
		}
		for _, v := range variable.FindAllStringSubmatch(r.Path, -1) {
			if known := slices.Contains([]string{"node", "record", "webhook"}, v[1]); slices.Contains(serve.Owned(), v[1]) && !known && fill[v[1]] == "" {
				t.Errorf("%s: say in owners (server/rest/access_test.go) which object stands for {%s} under each owner", key, v[1])
			}
		}
	}
	for key := range expected {
		if !seen[key] {
			t.Errorf("%s is expected and not served", key)
		}
	}
}

// hiding are the reasons that tell of an object with an owner that it is not there.
var hiding = []fault.Reason{fault.NodeNotFound, fault.PortNotFound, fault.PortgroupNotFound, fault.AllocationNotFound, fault.TemplateNotFound, fault.RunbookNotFound,
	fault.ChassisNotFound, fault.VolumeNotFound, fault.WebhookNotFound}

// outcome is what an answer says of access.
func outcome(a answer) access.Verdict {
	var body api.ErrorBody
	if a.Code >= 400 {
		_ = json.Unmarshal(a.Body.Bytes(), &body)
	}
	switch {
	case a.Code == 403 && body.Fault != nil && body.Fault.Reason == string(fault.RequestForbidden):
		return access.Refused
	case a.Code == 404 && body.Fault != nil && slices.Contains(hiding, fault.Reason(body.Fault.Reason)):
		return access.Hidden
	}
	return access.Granted
}

// TestI26_T16_RouteRoleOwnerMatrix asks for every route in every role over every object: it is granted to those
// expected, refused to those who see the object, and hidden from all others, in the same words as an object that is
// not there. No answer to anybody holds a secret, and none to a lessee or stranger what only the owner is shown (I22).
func TestI26_T16_RouteRoleOwnerMatrix(t *testing.T) {
	asked := 0
	c := newTenancy(t)
	routes := c.api.Served()
	for _, r := range routes {
		want := expected[r.Method+" "+r.Path]
		objects := variable.MatchString(r.Path) && strings.ContainsAny(r.Path, "{") && slices.ContainsFunc(serve.Owned(), func(v string) bool { return strings.Contains(r.Path, "{"+v+"}") })
		for _, g := range grants() {
			for _, o := range owners {
				if !objects && o.node != "own" {
					continue
				}
				path := variable.ReplaceAllStringFunc(r.Path, func(v string) string {
					switch name := strings.Trim(v, "{}"); {
					case name == "node":
						return o.node
					case name == "record":
						return o.port
					case name == "webhook":
						return "hook-" + o.node
					case fill[name] != "":
						return fill[name]
					}
					return "x"
				})
				s := c.tenants(t, g)
				a := s.ask(r.Method, path)
				asked++
				standing := o.standing
				if strings.Contains(r.Path, "{webhook}") && standing == access.Lessee {
					standing = access.Stranger // a webhook is its project's, whatever that leases
				}
				verdict := outcome(a)
				if got := verdict; got != wanted(want, g, standing, objects) {
					t.Errorf("%s %s as %q of project %q: %s, expected %s: %d %s", r.Method, path, g.Role, g.Project, got, wanted(want, g, standing, objects), a.Code, a.Body)
				}
				s.noSecrets(a, g, o.standing, objects)
				if verdict == access.Hidden && g.Project != "" {
					s.sameAsMissing(r, path, o.node, o.port, a)
				}
			}
		}
	}
	t.Logf("%d requests over %d routes", asked, len(routes))
}

// grants are all there are: each role over everything and in a project, and none.
func grants() []access.Grant {
	out := []access.Grant{{}}
	for _, r := range access.Roles() {
		out = append(out, access.Grant{Role: r}, access.Grant{Role: r, Project: "blue"})
	}
	return out
}

// wanted works a row of expected out.
func wanted(w least, g access.Grant, standing access.Standing, objects bool) access.Verdict {
	mighty := []access.Role{observer, operator, admin}
	has := func(r access.Role) access.Verdict {
		if r != nobody && slices.Index(mighty, g.Role) >= slices.Index(mighty, r) {
			return access.Granted
		}
		return access.Refused
	}
	switch {
	case w.system == open:
		return access.Granted
	case g.Role == nobody:
		return access.Refused
	case g.Project == "":
		return has(w.system)
	case !objects:
		return has(w.project)
	case w.of == "nobody" || w.of == "owner" && standing != access.Owner:
		return access.Hidden
	case standing == access.Owner:
		return has(w.owner)
	case standing == access.Lessee:
		return has(w.lessee)
	}
	return access.Hidden
}

// ask sends a request with a body that every route refuses or takes, but none crashes on. A stream is cut at once.
func (s *server) ask(method, path string) answer {
	s.Helper()
	body := "{}"
	if method == "PATCH" {
		body = "[]"
	}
	r := httptest.NewRequest(method, "http://127.0.0.1:6385"+path, strings.NewReader(body))
	r.Header.Set(api.HeaderVersion, "latest")
	if strings.HasPrefix(path, "/v1/events") {
		close(s.changed) // the stream ends after the present state
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return answer{ResponseRecorder: w}
}

// noSecrets looks through an answer, and through the log.
func (s *server) noSecrets(a answer, g access.Grant, standing access.Standing, objects bool) {
	s.Helper()
	text := a.Body.String() + s.log.String()
	for _, secret := range []string{"canary-pw", "canary-typo", "canary-drive", "canary-salt"} {
		if form := leaks(text, secret); form != "" {
			s.Errorf("%s is shown (%s) to %q of %q: %s", secret, form, g.Role, g.Project, text)
		}
	}
	if g.Project == "" && !g.None() {
		return
	}
	for _, o := range owners {
		if o.standing == access.Owner && !g.None() {
			continue
		}
		for _, inside := range []string{"canary-address." + o.node, "canary-error of " + o.node, "canary-internal." + o.node} {
			if strings.Contains(text, inside) {
				s.Errorf("%s of a node that the caller does not own is shown to %q of %q: %s", inside, g.Role, g.Project, text)
			}
		}
		if o.standing == access.Stranger && strings.Contains(a.Body.String(), `"`+o.node+`"`) {
			s.Errorf("the name of a node that the caller may not see is shown to %q of %q: %s", g.Role, g.Project, a.Body)
		}
	}
}

// sameAsMissing compares with the answer for an object that is not there.
func (s *server) sameAsMissing(r rest.Served, path, node, port string, hidden answer) {
	s.Helper()
	const noPort = "00000000-0000-4000-9000-0000000000ff"
	if at := s.at(node); strings.HasSuffix(path, "/allocation") && s.nodes[at].Lessee == "blue" { // the node is seen, its allocation is not
		s.nodes[at].Allocation, node = "", "no-such-node"
	}
	missing := s.ask(r.Method, strings.NewReplacer("/"+node, "/absent", "/hook-"+node, "/hook-absent", port, noPort).Replace(path))
	clean := func(a answer, from, to string) string {
		text := strings.NewReplacer(from, "?", to, "?").Replace(a.Body.String())
		return regexp.MustCompile(`req-[0-9a-f-]+`).ReplaceAllString(text, "")
	}
	if x, y := clean(hidden, node, port), clean(missing, "absent", noPort); x != y || hidden.Code != missing.Code {
		s.Errorf("%s: a hidden object is told apart from a missing one:\n%s\n%s", path, x, y)
	}
}
