package nodewire

import "testing"

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
