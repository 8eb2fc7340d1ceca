package rest

import (
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestSizesAreWholeNumbers(t *testing.T) {
	for _, good := range []any{nil, 0.0, 4096.0, "4096", "0"} {
		if err := checkProperties(map[string]any{"memory_mb": good, "other": "many"}); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	for _, bad := range []any{-1.0, 1.5, "many", "", "-1", true, []any{}} {
		for _, name := range []string{"cpus", "memory_mb", "local_gb"} {
			if err := checkProperties(map[string]any{name: bad}); err == nil {
				t.Errorf("%s may be %v", name, bad)
			}
		}
	}
}

func TestPathsAreCanonical(t *testing.T) {
	for _, c := range []struct {
		path string
		v    api.Version
		want string
	}{
		{"/", 82, "/"}, {"/v1.json", 82, "/v1"}, {"/v1/nodes.json", 82, "/v1/nodes"}, {"/nodes/", 1, "/v1/nodes"}, {"/v1/nodes/a.json", 91, "/v1/nodes/a.json"},
	} {
		if got := canonical(c.path, c.v); got != c.want {
			t.Errorf("%s in %s is %s, expected %s", c.path, c.v, got, c.want)
		}
	}
}
