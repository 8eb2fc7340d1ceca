package serve

import (
	"testing"

	"github.com/bessemer-metal/bessemer/shared/api"
)

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
