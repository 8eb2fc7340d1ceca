// Package figures is how a measurement gets from where it is taken (the demo, a virtual machine test) to the page that
// shows it: a small JSON file, which make bench turns into a page of docs/benchmarks. It measures nothing itself.
// Start at Set.
package figures

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Dir is where sets are kept, below the root of the source tree.
const Dir = "build/bench"

// Set is what one run measured: it becomes one page.
type Set struct {
	Title  string   `json:"title"`
	Method string   `json:"method"` // how it was measured, in sentences
	Rows   []Figure `json:"rows"`
}

// Figure is one measured value.
type Figure struct {
	What   string  `json:"what"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target string  `json:"target,omitempty"` // what it is to reach, for people: "≤ 20"
}

// Save keeps the set as root/build/bench/name.json, in place of the one of the last run.
func (s Set) Save(root, name string) error {
	dir := filepath.Join(root, Dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("keep figures %s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), append(b, '\n'), 0o644)
}

// Load reads all sets that were kept, by name.
func Load(root string) (map[string]Set, error) {
	files, err := filepath.Glob(filepath.Join(root, Dir, "*.json"))
	if err != nil {
		return nil, err
	}
	out := map[string]Set{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var s Set
		if err := json.Unmarshal(b, &s); err != nil {
			return nil, fmt.Errorf("read figures %s: %w", f, err)
		}
		name := filepath.Base(f)
		out[name[:len(name)-len(".json")]] = s
	}
	return out, nil
}
