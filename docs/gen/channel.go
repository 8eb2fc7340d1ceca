package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// calls are the calls of the agent channel.
var calls = []struct {
	path            string
	request, answer reflect.Type // answer nil: an empty 200
	limit           int
	what            string
}{
	{api.PathLookup, reflect.TypeFor[api.LookupRequest](), reflect.TypeFor[api.LookupAnswer](), api.MaxLookup, "Who am I? Needs no token; only inside the lookup window of the node's current boot."},
	{api.PathHeartbeat, reflect.TypeFor[api.HeartbeatRequest](), reflect.TypeFor[api.HeartbeatAnswer](), api.MaxBody, "I live, and this is how far I am. Held open while work is expected."},
	{api.PathStart, reflect.TypeFor[api.StartRequest](), reflect.TypeFor[api.StartAnswer](), api.MaxBody, "May I run this attempt? It runs only after an answer that echoes the nonce."},
	{api.PathResult, reflect.TypeFor[api.ResultRequest](), nil, api.MaxBody, "This is how it ended. Repeated until acknowledged."},
	{api.PathSecret, reflect.TypeFor[api.SecretRequest](), reflect.TypeFor[api.SecretAnswer](), api.MaxBody, "A secret of a started step."},
	{api.PathLog, reflect.TypeFor[api.LogRequest](), nil, api.MaxBody, "Lines of the agent's log."},
}

// channel is the page of the agent channel's wire.
func channel(root string) (string, error) {
	src := &source{map[string]string{}, map[string][]string{}}
	for _, folder := range []string{"shared/api", "shared/step", "shared/inventory", "shared/state"} {
		if err := src.read(root, folder); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# The agent channel

The agent calls, the server answers; the server never calls an agent. Version %d of the protocol; a server answers the
versions from %d on. The types are those of [shared/api](../../shared/api/channel.go).

- HTTPS with TLS 1.3 on the agent listener (default port 6386). The server is known by the pin in the boot configuration, the
  agent by the client certificate it made in this boot.
- Every call is a POST with a JSON body; unknown fields, more than one value, more than %d levels or %d elements are refused.
- All calls but the lookup carry the token in `+"`Authorization: Bearer TOKEN`"+`; it lives %s and is renewed by heartbeats.
- Every body carries `+"`seq`"+`, a number that grows over the boot; a heartbeat with an old one changes nothing.

## Calls

| path | body | 200 answers | body at most | |
|---|---|---|---|---|
`, api.Protocol, api.MinProtocol, api.MaxDepth, api.MaxElements, short(api.TokenLife.String()))
	var roots []reflect.Type
	for _, c := range calls {
		answer := "empty"
		roots = append(roots, c.request)
		if c.answer != nil {
			answer = link(c.answer.Name())
			roots = append(roots, c.answer)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %d KiB | %s |\n", c.path, link(c.request.Name()), answer, c.limit>>10, c.what)
	}
	b.WriteString("\n## Errors\n\nAny other status comes with one body, " + link("Fault") + `; its reasons are on the page of [reasons](faults.md).
Only statuses that are worth trying again are repeated by the agent, with back-off and after ` + "`Retry-After`" + ` where there is one.

| status | code | worth trying again |
|---|---|---|
`)
	for _, c := range codes {
		fmt.Fprintf(&b, "| %d | %s | %s |\n", c.Status(), c, yes(c.Retriable()))
	}
	roots = append(roots, reflect.TypeFor[api.Fault](), reflect.TypeFor[inventory.Inventory](), reflect.TypeFor[api.BootConfig]())
	b.WriteString("\n## Bodies\n\nA field marked *optional* is left out when it is empty.\n")
	for _, t := range reachable(roots) {
		if err := body(&b, src, t); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// reachable lists the named types of ours that the roots are made of, each once, in the order they turn up.
func reachable(roots []reflect.Type) []reflect.Type {
	var out []reflect.Type
	seen := map[reflect.Type]bool{}
	var visit func(t reflect.Type)
	visit = func(t reflect.Type) {
		if ours(t) {
			if seen[t] {
				return
			}
			seen[t] = true
			out = append(out, t)
		}
		switch {
		case t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice:
			visit(t.Elem())
		case t.Kind() == reflect.Map:
			visit(t.Key())
			visit(t.Elem())
		case t.Kind() == reflect.Struct && ours(t):
			for f := range t.Fields() {
				if f.IsExported() && f.Tag.Get("json") != "-" {
					visit(f.Type)
				}
			}
		}
	}
	for _, r := range roots {
		visit(r)
	}
	return out
}

func ours(t reflect.Type) bool { return strings.Contains(t.PkgPath(), "/shared/") }

// body describes one type.
func body(b *strings.Builder, src *source, t reflect.Type) error {
	doc := src.doc(t)
	if doc == "" {
		return fmt.Errorf("type %s has no comment", t)
	}
	fmt.Fprintf(b, "\n### %s\n\n%s\n", t.Name(), doc)
	if t.Kind() != reflect.Struct {
		fmt.Fprintf(b, "\nJSON type: %s.", base(t))
		if values := src.values[t.String()]; len(values) > 0 {
			fmt.Fprintf(b, " One of: `%s`.", strings.Join(values, "`, `"))
		}
		b.WriteString("\n")
		return nil
	}
	b.WriteString("\n| field | type | |\n|---|---|---|\n")
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		what := src.field(t, f.Name)
		if strings.Contains(options, "omit") {
			what = strings.TrimSpace("*optional* " + what)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", cmp.Or(name, f.Name), kind(f.Type), strings.ReplaceAll(what, "|", `\|`))
	}
	return nil
}

// kind is how a Go type looks in JSON.
func kind(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Time]():
		return "string, RFC 3339"
	case reflect.TypeFor[time.Duration]():
		return "integer, nanoseconds"
	case reflect.TypeFor[json.RawMessage]():
		return link("Inventory")
	case reflect.TypeFor[[]byte]():
		return "string, base64"
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return kind(t.Elem()) + " or null"
	case t.Kind() == reflect.Slice:
		return "array of " + kind(t.Elem())
	case ours(t):
		return link(t.Name())
	}
	return base(t)
}

// base is the JSON type of a kind.
func base(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Map, reflect.Struct:
		return "object"
	case reflect.Interface:
		return "any"
	}
	return "integer"
}
