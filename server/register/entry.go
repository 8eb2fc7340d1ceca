// Package register makes a server's nodes agree with a file of them: it reads the file, compares it with what is there,
// names the differences and the conflicts, and carries the differences over. What agrees already is not touched, so a
// second run changes nothing. It moves no node on: that is for verbs.
//
// Start at Parse, then Look and Server.Compare.
package register

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// Entry is a machine in a file: the fields of a node, its ports and traits.
type Entry struct {
	Name   string
	Fields map[string]any
	Ports  []map[string]any
	Traits []string // nil: the file does not say
}

// Parse reads a decoded file. secret gives the content of a file that a text @FILE in driver_info names. Errors are for the
// one who wrote the file; what can't be right is told before anything is done: names, addresses and BMCs that are there
// twice.
func Parse(doc any, secret func(file string) (string, error)) ([]Entry, error) {
	top, _ := doc.(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(top)) {
		if k != "nodes" {
			return nil, fmt.Errorf("%q is not known; the file has a list nodes", k)
		}
	}
	list, ok := top["nodes"].([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("it names no nodes; bessemer register --help shows the form")
	}
	var out []Entry
	taken := map[string]string{} // what must be unique, to the node that has it
	for n, x := range list {
		fields, _ := x.(map[string]any)
		e := Entry{Fields: maps.Clone(fields)}
		if e.Name, _ = fields["name"].(string); e.Name == "" {
			return nil, fmt.Errorf("node %d has no name", n+1)
		}
		if err := e.parts(); err != nil {
			return nil, fmt.Errorf("node %s: %w", e.Name, err)
		}
		if err := e.secrets(secret); err != nil {
			return nil, err
		}
		claims := []string{"the name " + e.Name}
		if a := api.BMCOf(object(e.Fields, "driver_info")); a != "" {
			claims = append(claims, "the BMC "+a)
		}
		for _, p := range e.Ports {
			claims = append(claims, "the address "+text(p, "address"))
		}
		for _, claim := range claims {
			if other, there := taken[claim]; there && claim == claims[0] {
				return nil, fmt.Errorf("node %s is there twice", other)
			} else if there {
				return nil, fmt.Errorf("node %s has %s, which node %s has too", e.Name, claim, other)
			}
			taken[claim] = e.Name
		}
		out = append(out, e)
	}
	return out, nil
}

// parts takes ports and traits out of the fields.
func (e *Entry) parts() error {
	ports, ok := e.Fields["ports"].([]any)
	if e.Fields["ports"] != nil && !ok {
		return fmt.Errorf("ports must be a list")
	}
	delete(e.Fields, "ports")
	for _, p := range ports {
		port, ok := p.(map[string]any)
		if s, isText := p.(string); isText {
			port, ok = map[string]any{"address": s}, true
		}
		if !ok || text(port, "address") == "" {
			return fmt.Errorf("a port is an address, or an object with one")
		}
		port = maps.Clone(port)
		port["address"] = strings.ToLower(text(port, "address"))
		e.Ports = append(e.Ports, port)
	}
	traits, ok := e.Fields["traits"].([]any)
	if e.Fields["traits"] != nil && !ok {
		return fmt.Errorf("traits must be a list")
	}
	delete(e.Fields, "traits")
	if ok {
		e.Traits = []string{}
		for _, t := range traits {
			e.Traits = append(e.Traits, fmt.Sprint(t))
		}
		slices.Sort(e.Traits)
	}
	return nil
}

func (e *Entry) secrets(read func(file string) (string, error)) error {
	info, ok := e.Fields["driver_info"].(map[string]any)
	if !ok {
		return nil
	}
	info = maps.Clone(info)
	for _, k := range slices.Sorted(maps.Keys(info)) {
		if file, found := strings.CutPrefix(fmt.Sprint(info[k]), "@"); found {
			content, err := read(file)
			if err != nil {
				return err
			}
			info[k] = content
		}
	}
	e.Fields["driver_info"] = info
	return nil
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func object(m map[string]any, key string) map[string]any {
	o, _ := m[key].(map[string]any)
	return o
}
