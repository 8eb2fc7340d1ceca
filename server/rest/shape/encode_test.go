package shape

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// The short ways write what json.Marshal writes, to the byte.
func TestValuesAreAsJSONHasThem(t *testing.T) {
	text := "a \"quoted\" <tag> & \\ \u2028 \x00 \xff ä"
	values := []any{
		nil, "", "plain", text, &text, (*string)(nil), true, false, 7, int64(-3), []string{"x"}, []string(nil), []any{}, []any{1.5, nil, map[string]any{"k": text}},
		0.0, math.Copysign(0, -1), 1.0, -1.0, 131072.0, 0.1, 1.0 / 3, 1e-6, 9.99e-7, -1e-7, 1e20, 1e21, -1e21, 123456789012345678.0, math.MaxFloat64, math.SmallestNonzeroFloat64,
		map[string]any(nil), map[string]any{}, map[string]any{"b": 1.0, "a": nil, "": "", text: map[string]any{"z": []any{"<"}, "y": map[string]any(nil)}},
		api.Time{}, api.Time{Time: time.Unix(1, 5)}, json.RawMessage(`{"a" : 1}`), json.Number("12"),
		api.LinkPair("http://h/?a=1&b=2", "nodes/x"), []api.Link(nil), []api.Link{}, []api.Link{{Href: text, Rel: "self", Type: text}},
	}
	values = append(values, append([]any{}, values...))
	for _, v := range values {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := AppendValue([]byte("before"), v)
		if err != nil || string(got) != "before"+string(want) {
			t.Errorf("%#v: wrote %s (%v), json.Marshal writes %s", v, got, err, want)
		}
	}
	for _, v := range []any{math.NaN(), math.Inf(1), map[string]any{"deep": map[string]any{"f": func() {}}}} {
		if _, err := AppendValue(nil, v); err == nil {
			t.Errorf("%#v was written, which JSON can't hold", v)
		}
	}
}

// BenchmarkAppendValue writes what an answer about a node holds beside its texts and flags.
func BenchmarkAppendValue(b *testing.B) {
	v := map[string]any{"properties": map[string]any{"cpu_arch": "x86_64", "memory_mb": 131072.0, "cpus": 32.0, "local_gb": 1788.0, "capabilities": "boot_mode:uefi"},
		"extra": map[string]any{"rack": "r17", "unit": 12.0}, "links": api.LinkPair("http://127.0.0.1:6385", "nodes/00000000-0000-4000-8000-000000000001")}
	b.Run("json.Marshal", func(b *testing.B) {
		for b.Loop() {
			if _, err := json.Marshal(v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("AppendValue", func(b *testing.B) {
		for b.Loop() {
			if _, err := AppendValue(nil, v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
