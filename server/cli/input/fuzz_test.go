package input

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzGiven: whatever an operator types for a value or a step, or has in a file, it is read or told as a mistake in words; what
// was read can be sent, and no secret is taken from the command line.
func FuzzGiven(f *testing.F) {
	for _, s := range []string{"a=1", "a/b=x", "root_device/serial=1", "a={\"b\": [1]}", "a=\"x", "password=x", "a=@", "=", "a", "deploy.x:a=1,b={\"c\": \"d,e\"},f", "a.b:", ".:",
		"- interface: deploy\n  step: x\n  args: {a: [1, null]}\n", "- {interface: deploy, step: x, order: 1}", "a: &a [*a]", "? [1]\n: 2", "a: .nan", "{", "1: 2"} {
		f.Add(s)
	}
	dir := f.TempDir()
	file := filepath.Join(dir, "given")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "@") {
			return // names a file
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		mistake := func(what string, err error) {
			if usage, ok := errors.AsType[UsageError](err); err != nil && (!ok || usage.Error() == "") {
				t.Fatalf("%s %q: %v", what, text, err)
			}
		}
		sendable := func(what string, v any, err error) {
			if mistake(what, err); err == nil {
				if _, err := json.Marshal(v); err != nil {
					t.Fatalf("%s %q can't be sent: %v", what, text, err)
				}
			}
		}
		r := &Reader{In: strings.NewReader(text)}
		values, err := r.Object([]string{text}, false)
		sendable("value", values, err)
		if _, there := values["password"]; there && values["password"] != "" {
			t.Fatalf("%q gives a secret on the command line", text)
		}
		steps, err := r.WantedSteps("", []string{text})
		sendable("step", steps, err)
		steps, err = r.WantedSteps(file, nil)
		sendable("file of steps", steps, err)
		doc, err := r.Document(file, "a file")
		sendable("document", doc, err)
	})
}
