package differential

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	lines, err := Parse(`# words
version 1.50
GET /v1/nodes?limit=1
GET /v1/nodes 1.8-1.10
bad: POST /v1/nodes 1.5 {"a": 1}
no-json: POST /v1/nodes {"a
POST /v1/nodes - {}
save x /nodes/0/uuid
until n1 clean failed
until-allocated a
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Line{
		{Number: 3, Kind: "request", Method: "GET", Path: "/v1/nodes?limit=1", Versions: []string{"1.50"}},
		{Number: 4, Kind: "request", Method: "GET", Path: "/v1/nodes", Versions: []string{"1.8", "1.9", "1.10"}},
		{Number: 5, Kind: "request", Label: "bad", Method: "POST", Path: "/v1/nodes", Versions: []string{"1.5"}, Body: `{"a": 1}`},
		{Number: 6, Kind: "request", Label: "no-json", Method: "POST", Path: "/v1/nodes", Versions: []string{"1.50"}, Body: `{"a`},
		{Number: 7, Kind: "request", Method: "POST", Path: "/v1/nodes", Versions: []string{"-"}, Body: "{}"},
		{Number: 8, Kind: "save", Name: "x", Value: "/nodes/0/uuid"},
		{Number: 9, Kind: "until", Name: "n1", Value: "clean failed"},
		{Number: 10, Kind: "until-allocated", Name: "a"},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %+v", len(lines), lines)
	}
	for i, l := range lines {
		w := want[i]
		if !slices.Equal(l.Versions, w.Versions) {
			t.Errorf("line %d: versions %q, expected %q", w.Number, l.Versions, w.Versions)
		}
		l.Versions, w.Versions = nil, nil
		if l.Number != w.Number || l.Kind != w.Kind || l.Label != w.Label || l.Method != w.Method || l.Path != w.Path || l.Body != w.Body || l.Name != w.Name || l.Value != w.Value {
			t.Errorf("read %+v, expected %+v", l, w)
		}
	}
	for _, bad := range []string{"nonsense", "get /v1", "GET v1", "until n1", "save x", "GET /v1 1.9-1.5"} {
		if lines, err := Parse(bad); err == nil && !(len(lines) == 1 && lines[0].Body != "") {
			t.Errorf("%q is read as %+v", bad, lines)
		}
	}
}

// The files themselves: several hundred requests, labels that are unique, ids of the form that the normaliser keeps.
func TestRequests(t *testing.T) {
	files, err := filepath.Glob("requests/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	labels, n := map[string]string{}, 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		for _, l := range lines {
			n += len(l.Versions)
			if other := labels[l.Label]; l.Label != "" && other != "" {
				t.Errorf("%s, line %d: the label %s is in %s too", f, l.Number, l.Label, other)
			}
			labels[l.Label] = f
		}
		for _, id := range madeID.FindAllString(string(text), -1) {
			if !strings.Contains(id, requests) {
				t.Errorf("%s: the id %s would be taken for one that a server made", f, id)
			}
		}
	}
	if n < 1000 {
		t.Errorf("%d requests", n)
	}
}

func answer(status int, body string, header ...string) Answer {
	a := Answer{Status: status, Body: []byte(body), Header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		a.Header.Set(header[i], header[i+1])
	}
	return a
}

func TestCompare(t *testing.T) {
	l := Line{Label: "x", Method: "GET", Path: "/v1/nodes"}
	theirs, ours := Normaliser{URL: "http://127.0.0.1:1", Host: "their-host"}, Normaliser{URL: "http://127.0.0.1:2", Host: "our-host"}
	same := func(a, b Answer) []string {
		var parts []string
		for _, d := range Compare(l, "1.1", theirs.Answer(a), ours.Answer(b)) {
			parts = append(parts, d.Part)
		}
		return parts
	}
	for name, c := range map[string]struct {
		a, b Answer
		want []string
	}{
		"the same": {answer(200, `{"a": 1, "b": [1, {"c": null}]}`), answer(200, `{"b":[1,{"c":null}],"a":1}`), nil},
		"made things": {answer(200, `{"uuid": "aaaaaaaa-0000-1000-8000-aaaaaaaaaaaa", "at": "2026-01-02T03:04:05.123456+00:00", "href": "http://127.0.0.1:1/v1/nodes", "conductor": "their-host"}`),
			answer(200, `{"uuid": "bbbbbbbb-0000-1000-8000-bbbbbbbbbbbb", "at": "2026-02-02T03:04:05+00:00", "href": "http://127.0.0.1:2/v1/nodes", "conductor": "our-host"}`), nil},
		"ids that were given":    {answer(200, `"10000000-0000-4000-8000-000000000001"`), answer(200, `"10000000-0000-4000-8000-000000000002"`), []string{"body /"}},
		"a time of another form": {answer(200, `{"at": "2026-01-02T03:04:05+00:00"}`), answer(200, `{"at": "2026-01-02T03:04:05Z"}`), []string{"body /at"}},
		"a time against none":    {answer(200, `{"at": "2026-01-02T03:04:05+00:00"}`), answer(200, `{"at": null}`), []string{"body /at"}},
		"status":                 {answer(200, `{"a": 1}`), answer(400, `{"b": 1}`), []string{"status 200→400"}},
		"keys":                   {answer(200, `{"a": {"x": 1}}`), answer(200, `{"a": {"y": 1}, "b": 1}`), []string{"body /a/x", "body /a/y", "body /b"}},
		"lists":                  {answer(200, `{"l": [{"x": 1}, {"x": 2}]}`), answer(200, `{"l": [{"x": 1}, {"x": 3}]}`), []string{"body /l/*/x"}},
		"longer lists":           {answer(200, `{"l": [1]}`), answer(200, `{"l": [1, 2]}`), []string{"body /l"}},
		"errors": {answer(400, `{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"x\", \"debuginfo\": null}"}`),
			answer(400, `{"error_message": "{\"faultcode\": \"Server\", \"faultstring\": \"x\", \"debuginfo\": null, \"hint\": \"y\"}"}`),
			[]string{"body /error_message/faultcode", "body /error_message/hint"}},
		"no JSON":           {answer(404, "<html>"), answer(404, ""), []string{"body"}},
		"headers":           {answer(201, "", "Location", "http://127.0.0.1:1/v1/nodes/x"), answer(201, "", "Location", "/v1/nodes/x"), []string{"header Location"}},
		"forms of one type": {answer(200, "{}", "Content-Type", "application/json; charset=UTF-8"), answer(200, "{}", "Content-Type", "application/json"), nil},
		"another type":      {answer(200, "{}", "Content-Type", "text/plain"), answer(200, "{}", "Content-Type", "application/json"), []string{"header Content-Type"}},
	} {
		if got := same(c.a, c.b); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, expected %q", name, got, c.want)
		}
	}
}

const table = `# Page

| what | Ironic | this server | why | ` + heading + ` |
|---|---|---|---|---|
| one | 500 | 400 | better | ` + "`bad: status 500→400`, `GET /v1/nodes/*: body /a`" + ` |
| two | a | b | because | ` + "`**: header X`" + ` |
| three | a | b | newer | no |
`

func TestJudge(t *testing.T) {
	entries, err := Listed(table)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%+v, %v", entries, err)
	}
	unlisted, idle := Judge(entries, []Difference{
		{Label: "bad", Request: "POST /v1/nodes", Part: "status 500→400"},
		{Label: "other", Request: "POST /v1/nodes", Part: "status 500→400"},
		{Request: "GET /v1/nodes/n1?fields=a", Part: "body /a"},
		{Request: "GET /v1/nodes/n1/ports", Part: "body /a"},
		{Request: "GET /v1/nodes/n1", Part: "body /a/b"},
	})
	if len(unlisted) != 3 || unlisted[0].Label != "other" || unlisted[1].Request != "GET /v1/nodes/n1/ports" || unlisted[2].Part != "body /a/b" {
		t.Errorf("not listed: %v", unlisted)
	}
	if len(idle) != 1 || !strings.Contains(idle[0], "**: header X") {
		t.Errorf("idle: %q", idle)
	}
	for _, bad := range []string{"# no table", strings.Replace(table, "| no |", "| perhaps |", 1), strings.Replace(table, "| newer |", "| |", 1), strings.Replace(table, "because", "because | x", 1), strings.Replace(table, "`**: header X`", "`nonsense`", 1)} {
		if _, err := Listed(bad); err == nil {
			t.Errorf("is read:\n%s", bad)
		}
	}
}

// The page itself can be read, also where Debian's Ironic is not.
func TestPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listed(string(text)); err != nil {
		t.Error(err)
	}
}
