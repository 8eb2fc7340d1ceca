package resource

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestRowsAreWhole(t *testing.T) {
	word := regexp.MustCompile(`^[a-z][a-z-]*$`)
	nouns := []string{}
	for _, r := range append(slices.Clone(All), Port) {
		noun := strings.Join(r.Noun, " ")
		if slices.Contains(nouns, noun) || noun == "" || r.Short == "" || r.Key == "" || len(r.Columns) == 0 || r.Ident == "" && !r.Listed {
			t.Errorf("the row %q is twice, or lacks something", noun)
		}
		nouns = append(nouns, noun)
		flags := []string{}
		for _, f := range r.Fields {
			if !word.MatchString(f.FlagName()) || slices.Contains(flags, f.FlagName()) || f.Doc == "" || f.Kind == "" {
				t.Errorf("%s: the field %q lacks something, or its flag is twice", noun, f.Name)
			}
			flags = append(flags, f.FlagName())
		}
		if len(r.Fields) == 0 != (r.ReadOnly || r.Listed) {
			t.Errorf("%s: fields and verbs don't fit", noun)
		}
	}
}

// What can be changed of a port is what the server's table says, and no field is forgotten.
func TestPortFieldsAreTheServers(t *testing.T) {
	for _, f := range Port.Fields {
		if !slices.ContainsFunc(api.PortFields(), func(x api.Field) bool { return x.Name == f.Name || f.Name == "node_ident" }) {
			t.Errorf("ports have no field %s", f.Name)
		}
	}
}
