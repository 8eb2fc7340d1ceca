package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/profile"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

const madeToken = "canary-token-0123456789012345678901234567890"

// The fake conductor's part of the Ironic profile: every node has the one card cards names, and one token.
const theCard = "52:54:00:aa:00:01"

func (b *backend) RamdiskLookup(ctx context.Context, id string, addresses []string, source string, wantsToken bool) (conductor.Node, string, error) {
	for i, n := range b.nodes {
		if !profile.MayLookUp(n) || string(n.UUID) != id && (id != "" || !slices.Contains(addresses, theCard)) {
			continue
		}
		given := false
		var err error
		if wantsToken {
			given, _, err = profile.Admit(&b.nodes[i], madeToken, source, now)
		}
		if given {
			return b.nodes[i], madeToken, err
		}
		return b.nodes[i], "", err
	}
	return conductor.Node{}, "", profile.NotLookedUp()
}

func (b *backend) RamdiskHeartbeat(ctx context.Context, beat profile.Beat) error {
	_, err := profile.Heard(&b.nodes[b.at(beat.Node)], beat)
	return err
}

func (b *backend) RamdiskHeard(conductor.NodeID) time.Time { return now }

func (b *backend) RamdiskInspection(ctx context.Context, id string, addresses []string, raw json.RawMessage, plugin map[string]any, source string, wantsToken bool) (conductor.Node, string, error) {
	i := slices.IndexFunc(b.nodes, func(n conductor.Node) bool {
		return profile.Inspects(n, map[string]string{"inspect": "agent"}) && (string(n.UUID) == id || id == "" && slices.Contains(addresses, theCard))
	})
	if i < 0 {
		return conductor.Node{}, "", profile.NotLookedUp()
	}
	b.inventory = &conductor.StoredInventory{Node: b.nodes[i].UUID, Inventory: raw, Plugin: plugin}
	b.nodes[i].Ramdisk = &conductor.Ramdisk{Source: source}
	return b.nodes[i], madeToken, nil
}

const faked = "00000000-0000-4000-8000-00000000fa4e"

// withFake is a server with a node of fake-hardware in a state.
func withFake(t *testing.T, s state.State) *server {
	t.Helper()
	srv := newServer(t)
	srv.nodes = append(srv.nodes, conductor.Node{UUID: faked, Name: "f1", Driver: "fake-hardware", State: s, Created: now,
		DriverInfo: map[string]any{"fake_password": "canary-info"}, Properties: map[string]any{"cpus": 4},
		InstanceInfo: map[string]any{"configdrive": "canary-drive", "image_source": "http://images/x"}, Extra: map[string]any{}})
	return srv
}

func TestLookup(t *testing.T) {
	s := withFake(t, state.CleanWait)
	a := s.want(s.do("GET", "/v1/lookup?addresses=fa:00:00:00:00:01,52:54:00:AA:00:01", ""), 200)
	node, config := a.body["node"].(map[string]any), a.body["config"].(map[string]any)
	if node["uuid"] != faked || node["properties"].(map[string]any)["cpus"] != 4.0 || len(node) != 5 || len(node["links"].([]any)) != 2 {
		t.Errorf("node %v", node)
	}
	if config["agent_token"] != madeToken || config["heartbeat_timeout"] != 300.0 || config["agent_token_required"] != true || len(config) != 13 {
		t.Errorf("config %v", config)
	}
	again := s.want(s.do("GET", "/v1/lookup?node_uuid="+faked, ""), 200)
	if again.body["config"].(map[string]any)["agent_token"] != "******" {
		t.Errorf("the second lookup gives %v", again.body["config"])
	}
	if old := s.want(s.do("GET", "/v1/lookup?node_uuid="+faked, "", api.HeaderVersion+": 1.61"), 200); old.body["config"].(map[string]any)["agent_token"] != "******" {
		t.Errorf("an old version is given %v", old.body["config"])
	}
	for path, want := range map[string]int{
		"/v1/lookup": 400, "/v1/lookup?addresses=": 400, "/v1/lookup?addresses=nonsense": 400, "/v1/lookup?node_uuid=f1": 400,
		"/v1/lookup?addresses=52:54:00:00:00:99": 404, "/v1/lookup?other=1": 400, "/v1/lookup?node_uuid=11111111-1111-4111-8111-111111111111": 404,
	} {
		s.want(s.do("GET", path, ""), want)
	}
	s.want(s.do("GET", "/v1/lookup?node_uuid="+faked, "", api.HeaderVersion+": 1.21"), 404)
	s.want(s.do("POST", "/v1/lookup", "{}"), 405)
}

// No answer to a ramdisk, and no later look at the node, holds a secret (I22); the token is shown once.
func TestI22_RamdisksAreToldNoSecret(t *testing.T) {
	s := withFake(t, state.CleanWait)
	first := s.want(s.do("GET", "/v1/lookup?node_uuid="+faked, ""), 200)
	if !strings.Contains(first.Body.String(), madeToken) || strings.Contains(first.Body.String(), "canary-info") || strings.Contains(first.Body.String(), "canary-drive") {
		t.Errorf("the lookup answers %s", first.Body)
	}
	beat := fmt.Sprintf(`{"callback_url":"https://192.0.2.1:9999","agent_version":"1","agent_token":%q}`, madeToken)
	s.want(s.do("POST", "/v1/heartbeat/"+faked, beat), 202)
	for _, path := range []string{"/v1/nodes/" + faked, "/v1/nodes/detail", "/v1/lookup?node_uuid=" + faked} {
		a := s.want(s.do("GET", path, ""), 200)
		if strings.Contains(a.Body.String(), "canary") {
			t.Errorf("GET %s answers %s", path, a.Body)
		}
		if !strings.Contains(a.Body.String(), "https://192.0.2.1:9999") || !strings.Contains(a.Body.String(), "agent_last_heartbeat") {
			t.Errorf("GET %s does not show the ramdisk: %s", path, a.Body)
		}
	}
	if strings.Contains(s.log.String(), "canary") {
		t.Errorf("the log: %s", s.log)
	}
}

// Whatever is wrong with a lookup, its answer is the same: it tells nobody which nodes exist, nor in which state.
func TestI24_LookupsAreRefusedWithOneText(t *testing.T) {
	texts := map[string]bool{}
	for _, st := range []state.State{state.Enroll, state.Manageable, state.Available, state.Active, state.CleanFail, state.CleanHold, state.Servicing} {
		s := withFake(t, st)
		for _, q := range []string{"node_uuid=" + faked, "addresses=" + theCard, "addresses=52:54:00:00:00:99"} {
			texts[s.want(s.do("GET", "/v1/lookup?"+q, ""), 404).fault()] = true
		}
		if s.nodes[0].Ramdisk != nil {
			t.Errorf("a refused lookup leaves %+v", s.nodes[0].Ramdisk)
		}
	}
	if len(texts) != 1 {
		t.Errorf("texts %v", texts)
	}
	for _, st := range []state.State{state.Deploying, state.DeployWait, state.Cleaning, state.CleanWait, state.Inspecting, state.InspectWait, state.Rescuing, state.RescueWait, state.ServiceWait} {
		busy, _ := state.FlowOf(st)
		want := 200
		if st == busy.Doing {
			want = 409 // a token can't be made while the server is at work
		}
		s := withFake(t, st)
		s.want(s.do("GET", "/v1/lookup?node_uuid="+faked, ""), want)
		s.want(s.do("GET", "/v1/lookup?node_uuid="+faked, "", api.HeaderVersion+": 1.22"), 200)
	}
}

func TestHeartbeat(t *testing.T) {
	good := func(change ...string) string {
		body := map[string]any{"callback_url": "https://192.0.2.1:9999", "agent_version": "11.6.0", "agent_token": madeToken}
		for i := 0; i < len(change); i += 2 {
			if change[i+1] == "-" {
				delete(body, change[i])
			} else {
				body[change[i]] = change[i+1]
			}
		}
		text, _ := json.Marshal(body)
		return string(text)
	}
	at := func(v string) string { return api.HeaderVersion + ": " + v }
	for _, c := range []struct {
		name, node, body string
		version          string
		want             int
	}{
		{"good", "f1", good(), "latest", 202},
		{"by UUID", faked, good(), "1.62", 202},
		{"with all", "f1", good("agent_verify_ca", "PEM", "agent_status", "end", "agent_status_message", "done"), "1.72", 202},
		{"before the endpoint", "f1", good(), "1.21", 404},
		{"version too early", "f1", good(), "1.35", 400},
		{"certificate too early", "f1", good("agent_verify_ca", "PEM"), "1.67", 400},
		{"status too early", "f1", good("agent_status", "end"), "1.71", 400},
		{"no node", "nosuch", good(), "latest", 404},
		{"no node's name", "a%20b", good(), "latest", 400},
		{"bad scheme", "f1", good("callback_url", "ftp://192.0.2.1"), "latest", 400},
		{"scheme in disguise", "f1", good("callback_url", "gopher+http://192.0.2.1"), "latest", 400},
		{"no host", "f1", good("callback_url", "http:///x"), "latest", 400},
		{"password in the URL", "f1", good("callback_url", "http://a:b@192.0.2.1:9999"), "latest", 400},
		{"no URL", "f1", good("callback_url", "-"), "latest", 400},
		{"nobody to call", "f1", good("callback_url", "", "agent_version", "-", "agent_status", "start"), "latest", 202},
		{"no token", "f1", good("agent_token", "-"), "latest", 400},
		{"wrong token", "f1", good("agent_token", "wrong"), "latest", 400},
		{"masked token", "f1", good("agent_token", "******"), "latest", 400},
		{"bad status", "f1", good("agent_status", "maybe"), "latest", 400},
		{"neither version nor status", "f1", good("agent_version", "-"), "latest", 400},
		{"unknown field", "f1", good("more", "x"), "latest", 400},
		{"no string", "f1", `{"callback_url":7}`, "latest", 400},
		{"a list", "f1", `[]`, "latest", 400},
		{"no JSON", "f1", `{`, "latest", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := withFake(t, state.CleanWait)
			s.want(s.do("GET", "/v1/lookup?node_uuid="+faked, ""), 200)
			a := s.do("POST", "/v1/heartbeat/"+c.node, c.body, at(c.version))
			if a.Code != c.want {
				t.Errorf("status %d, expected %d: %s", a.Code, c.want, a.Body)
			}
			if c.want == 202 && a.Body.Len() != 0 {
				t.Errorf("the answer has the body %q", a.Body)
			}
		})
	}
	s := withFake(t, state.CleanWait)
	s.enrolled() // a real node
	texts := map[string]bool{}
	for _, node := range []string{"f1", "n1"} {
		texts[s.want(s.do("POST", "/v1/heartbeat/"+node, good()), 400).fault()] = true
	}
	if len(texts) != 1 {
		t.Errorf("a heartbeat without a lookup is answered by %v", texts)
	}
}

func TestContinueInspection(t *testing.T) {
	const body = `{"inventory":{"interfaces":[{"mac_address":"52:54:00:AA:00:01"}],"bmc_address":null,"memory":{"total":8589934592}},"root_disk":{"name":"sda"}}`
	at := func(v string) string { return api.HeaderVersion + ": " + v }
	s := withFake(t, state.InspectWait)
	a := s.want(s.do("POST", "/v1/continue_inspection?node_uuid="+faked, body), 202)
	if a.body["node"].(map[string]any)["uuid"] != faked || a.body["config"].(map[string]any)["agent_token"] != madeToken {
		t.Errorf("the answer is %v", a.body)
	}
	if s.inventory == nil || !strings.Contains(string(s.inventory.Inventory), "8589934592") || s.inventory.Plugin["root_disk"] == nil || s.inventory.Plugin["inventory"] != nil {
		t.Errorf("kept: %+v", s.inventory)
	}
	if a := s.want(s.do("POST", "/v1/continue_inspection", body, at("1.1")), 202); a.body["uuid"] != faked || len(a.body) != 1 {
		t.Errorf("the oldest version is answered by %v", a.body)
	}
	for _, c := range []struct {
		query, body, version string
		want                 int
	}{
		{"", body, "1.2", 404}, {"", body, "1.83", 404}, {"", body, "1.84", 202}, {"?node_uuid=" + faked, body, "1.1", 404}, {"?node_uuid=x", body, "1.84", 400}, {"?other=1", body, "1.84", 400},
		{"", `{}`, "latest", 400}, {"", `{"inventory":[]}`, "latest", 400}, {"", `{"inventory":{"interfaces":[]}}`, "latest", 400},
		{"", `{"inventory":{"interfaces":[{"name":"eth0"}]}}`, "latest", 400}, {"", `{"inventory":{"interfaces":[{"mac_address":"nonsense"}]}}`, "latest", 400},
		{"", `{"inventory":{"interfaces":[{"mac_address":"52:54:00:00:00:99"}]}}`, "latest", 404},
		{"", `{"inventory":{"interfaces":[{"mac_address":"52:54:00:aa:00:01"}],"bmc_address":7}}`, "latest", 400},
		{"?node_uuid=" + faked, `{"inventory":{"interfaces":[{"mac_address":"nonsense"}]}}`, "latest", 202},
	} {
		s := withFake(t, state.InspectWait)
		s.want(s.do("POST", "/v1/continue_inspection"+c.query, c.body, at(c.version)), c.want)
	}
	s = withFake(t, state.Manageable)
	s.want(s.do("POST", "/v1/continue_inspection", body), 404)
	s.want(s.do("GET", "/v1/continue_inspection", ""), 405)
}

// What ramdisks send is bounded (I25).
func TestI25_RamdisksAreBounded(t *testing.T) {
	s := withFake(t, state.CleanWait)
	long := strings.Repeat("x", 5000)
	for _, field := range []string{"callback_url", "agent_version", "agent_token", "agent_status", "agent_status_message"} {
		s.want(s.do("POST", "/v1/heartbeat/f1", fmt.Sprintf(`{%q:%q}`, field, long)), 400)
	}
	s.want(s.do("POST", "/v1/heartbeat/f1", `{"callback_url":"`+strings.Repeat("x", 2<<20)+`"}`), 413)
	deep := strings.Repeat(`{"a":`, 30) + "1" + strings.Repeat("}", 30)
	s.want(s.do("POST", "/v1/continue_inspection", `{"inventory":`+deep+`}`), 400)
	s.want(s.do("POST", "/v1/continue_inspection", `{"x":"`+strings.Repeat("x", 17<<20)+`"}`), 413)
	card := `{"mac_address":"52:54:00:aa:00:01"},`
	s.want(s.do("POST", "/v1/continue_inspection", `{"inventory":{"interfaces":[`+strings.Repeat(card, 4200)+`{}]}}`), 400)
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("52:54:00:00:%02x:%02x", i/256, i%256))
	}
	s.want(s.do("GET", "/v1/lookup?addresses="+strings.Join(many, ","), ""), 400)
}
