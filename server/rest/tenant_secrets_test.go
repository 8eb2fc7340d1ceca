package rest_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// A secret that each place which may hold one is given, and what sounds like its name.
const told = "canary-everywhere"

// hide puts it under names that sound like a secret, also deep inside.
func hide() map[string]any {
	return map[string]any{"api_token": told, "deep": []any{map[string]any{"bmc_password": told, "cpus": 64}}, "cpu_arch": "x86_64"}
}

// crammed fills what an answer may be made of with secrets, as an older release or another program may have stored them: all but the maps that
// are an operator's own (extra, properties of a node, and their like), which are shown as they were given, as Ironic shows them.
func (s *server) crammed() {
	for i := range s.nodes {
		n := &s.nodes[i]
		n.DriverInfo["snmp_auth_key"], n.DriverInfo["unheard_of"] = told, told
		n.InstanceInfo["image_pull_secret"], n.InstanceInfo["registry"] = told, hide()
		n.InstanceInfo["image_url"] = "http://192.0.2.1/i?sig=" + told
		n.State = state.CleanWait
		n.Flow = &conductor.Flow{Run: "r", Flow: state.Clean}
		n.Boot.Key = told
		s.changes(*n, false)
	}
	args := step.Args{"bios_password": told, "list": []any{map[string]any{"secret": told}}}
	s.records = []conductor.StepRecord{{ID: "i", Nonce: told, State: conductor.StepStarted, Step: step.Step{Name: "deploy.x", Args: []step.Arg{{Name: "key", Secret: true}, {Name: "bios_password"}, {Name: "list"}}},
		Args: step.Args{"key": told, "bios_password": told, "list": args["list"], "undeclared": told}, Command: &api.Command{Args: args},
		Result: &step.Result{Data: map[string]any{"password": told}}}}
	s.entries = []conductor.Entry{{UUID: "e", Node: s.nodes[0].UUID, Time: now, Severity: "INFO", Event: "cleaned"}}
	s.logs = map[uint64]string{1: "the agent speaks\n"}
	password, plain := told, "Enabled"
	s.bios = []conductor.BIOSSetting{{Name: "AdminPassword", Value: &password}, {Name: "Other", Value: &password, Type: "Password"}, {Name: "SecureBoot", Value: &plain}}
	s.inventory = &conductor.StoredInventory{Node: s.nodes[0].UUID, Inventory: []byte("{}")}
	s.firmware = []conductor.FirmwareComponent{{Component: "bmc", Current: "1"}}
	for _, r := range s.beside {
		switch r := r.(type) {
		case *conductor.Runbook:
			r.Steps = []conductor.RequestedStep{{Interface: "bios", Step: "apply_configuration", Args: hide()}}
		case *conductor.Template:
			r.Steps = []conductor.RequestedStep{{Interface: "bios", Step: "apply_configuration", Args: hide()}}
		case *conductor.Target:
			r.Properties = hide()
		}
	}
}

// TestI22_I26_NoAnswerTellsATenantASecret reads every endpoint there is, as each of a project's users, with secrets wherever one is
// kept, and looks for them in answer and log (requirements row 70); nothing of another project's nodes is told either. Each endpoint
// has to answer somebody of the project with 200, so that none is passed over. A new one is read here as soon as it has a route.
func TestI22_I26_NoAnswerTellsATenantASecret(t *testing.T) {
	unread := []string{ // the others hold nothing of a node but a light's state
		"GET /v1/events", // a stream; changes_test.go reads it
		"GET /v1/drivers/{driver}/raid/logical_disk_properties", "GET /v1/nodes/{node}/management/indicators/{light}", "GET /v1/images/{image}",
	}
	bodies := map[string]string{
		"POST /v1/nodes:batchGet": `{"ids": ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003", "00000000-0000-4000-8000-000000000004", "00000000-0000-4000-8000-000000000005", "00000000-0000-4000-8000-000000000006"]}`,
	}
	queries := map[string][]string{
		"GET /v1/nodes":              {"?fields=uuid,driver_info,instance_info,extra,properties,network_data,raid_config,target_raid_config,driver_internal_info", "?limit=1", "?changed_since="},
		"GET /v1/nodes/{node}/plan":  {"?target=clean", "?target=active", "?target=deleted", "?target=provide"},
		"GET /v1/nodes/{node}/bios":  {"?detail=true"},
		"GET /v1/nodes/{node}/steps": {"?run=r"},
	}
	c := newTenancy(t)
	for _, r := range c.api.Served() {
		key := r.Method + " " + r.Path
		want := expected[key]
		if r.Method != "GET" && bodies[key] == "" || slices.Contains(unread, key) || want.owner == nobody && want.lessee == nobody && want.project == nobody {
			continue
		}
		answered := 0
		for _, g := range grants() {
			if g.Project == "" {
				continue
			}
			for _, o := range owners {
				path := variable.ReplaceAllStringFunc(r.Path, func(v string) string {
					switch name := strings.Trim(v, "{}"); name {
					case "node":
						return o.node
					case "record":
						return o.port
					case "webhook":
						return "hook-" + o.node
					case "setting":
						return "AdminPassword"
					case "entry":
						return "e"
					default:
						if fill[name] != "" {
							return fill[name]
						}
						return "x"
					}
				})
				for _, query := range append([]string{""}, queries[key]...) {
					s := c.tenants(t, g)
					s.crammed()
					q := httptest.NewRequest(r.Method, "http://127.0.0.1:6385"+path+query, strings.NewReader(bodies[key]))
					q.Header.Set(api.HeaderVersion, "latest")
					w := httptest.NewRecorder()
					s.handler.ServeHTTP(w, q)
					if w.Code == http.StatusOK {
						answered++
					}
					if form := leaks(w.Body.String()+s.log.String(), told); form != "" {
						t.Errorf("%s%s tells %q of %q a secret (%s):\n%s", key, query, g.Role, g.Project, form, w.Body)
					}
					s.noSecrets(answer{ResponseRecorder: w}, g, o.standing, true)
				}
			}
		}
		if answered == 0 {
			t.Errorf("%s answers no user of a project: its answers were not looked at", key)
		}
	}
}
