package input

import (
	"encoding/json"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// listed parts KEY=VALUE,KEY=VALUE. A comma inside JSON parts nothing.
func listed(text string) (out []string) {
	for text != "" {
		key, value, _ := strings.Cut(text, "=")
		end := strings.IndexByte(text, ',')
		if structured(value) && !strings.Contains(key, ",") {
			d := json.NewDecoder(strings.NewReader(value))
			var v json.RawMessage
			if d.Decode(&v) != nil {
				return append(out, text) // parse tells what is wrong with it
			}
			if end = len(key) + 1 + int(d.InputOffset()); end == len(text) {
				end = -1
			}
		}
		if end < 0 {
			return append(out, text)
		}
		out, text = append(out, text[:end]), strings.TrimPrefix(text[end:], ",")
	}
	return out
}

// WantedSteps reads steps from a file and from flags, in that order.
func (r *Reader) WantedSteps(file string, flags []string) ([]api.WantedStep, error) {
	var out []api.WantedStep
	if file != "" {
		content := []byte(file) // the list itself, as baremetal takes it
		if trimmed := strings.TrimSpace(file); trimmed[:min(1, len(trimmed))] != "[" {
			var err error
			if content, err = r.Read(file, "--steps"); err != nil {
				return nil, err
			}
		}
		var list []struct {
			Interface  string         `yaml:"interface"`
			Step       string         `yaml:"step"`
			Args       map[string]any `yaml:"args"`
			Priority   *int           `yaml:"priority"`
			OnChildren bool           `yaml:"execute_on_child_nodes"`
			Children   []string       `yaml:"limit_child_node_execution"`
		}
		d := yaml.NewDecoder(strings.NewReader(string(content)))
		d.KnownFields(true)
		if err := d.Decode(&list); err != nil {
			return nil, Usage("%s is no list of steps: %v", file, err)
		}
		for _, s := range list {
			out = append(out, api.WantedStep{Interface: s.Interface, Step: s.Step, Args: s.Args, Priority: s.Priority, OnChildren: s.OnChildren, Children: s.Children})
		}
	}
	for _, text := range flags {
		name, rest, _ := strings.Cut(text, ":")
		iface, short := step.Split(name)
		if iface == "" || short == "" {
			return nil, Usage("--step %q is not of the form INTERFACE.STEP[:KEY=VALUE,...]", text)
		}
		w := api.WantedStep{Interface: iface, Step: short}
		if rest != "" {
			args, err := r.Object(listed(rest), false)
			if err != nil {
				return nil, err
			}
			w.Args = args
		}
		out = append(out, w)
	}
	for i := range out {
		if out[i].Args == nil {
			out[i].Args = step.Args{}
		}
	}
	return out, nil
}
