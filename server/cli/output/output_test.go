package output_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/bessemer-metal/bessemer/server/cli/output"
	"github.com/bessemer-metal/bessemer/shared/step"
)

func TestSpansAndSizes(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "0s", 1499 * time.Millisecond: "1s", time.Minute: "1m0s", time.Hour - time.Second: "59m59s",
		time.Hour - time.Millisecond: "1h0m", 24*time.Hour - time.Second: "23h59m", 50 * time.Hour: "2d2h"} {
		if got := output.Span(d); got != want {
			t.Errorf("%s is %s, expected %s", d, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 345678901: "345.7 MB", 4e12: "4.0 TB", 5e15: "5000.0 TB"} {
		if got := output.Size(n); got != want {
			t.Errorf("%.0f bytes are %s, expected %s", n, got, want)
		}
	}
}

// Nor can it in the forms for scripts, which people read too; 0x9b is an escape of its own, and a backspace hides what stands before it.
func TestScriptsFormsAreOneLine(t *testing.T) {
	for format, want := range map[string]string{"csv": "note\na b [2Jc\ufffdd\ufffd\n", "value": "a b [2Jc\ufffdd\ufffd\n", "table": "NOTE\na b [2Jc\ufffdd\ufffd\n"} {
		var out bytes.Buffer
		p := &output.Printer{Out: &out, Format: format}
		err := p.Objects([]map[string]any{{"note": "a\nb\x1b[2Jc\u009bd\b"}}, []string{"note"}, false)
		if err != nil || out.String() != want {
			t.Errorf("%s: %q, expected %q: %v", format, out.String(), want, err)
		}
	}
}

// What a machine or another user wrote can't part a row or steer the terminal.
func TestRowsAreOneLine(t *testing.T) {
	var out bytes.Buffer
	err := output.Columns(&out, func(w io.Writer) {
		output.Row(w, "NAME", "NOTE")
		output.Row(w, "n1", "a\tb\r\nc\x1b[2Jd")
		output.Pair(w, "empty", "")
	})
	if want := "NAME  NOTE\nn1    a b  c [2Jd\n"; err != nil || out.String() != want {
		t.Errorf("the table is %q, expected %q: %v", out.String(), want, err)
	}
	if got := output.Printable("a\tb\x07\x7f\u009b"); got != "a\tb\ufffd\ufffd\ufffd" {
		t.Errorf("printable is %q", got)
	}
}

// A program that reads the YAML has what one has that reads the JSON: a text stays a text, whatever it looks like.
func TestYAMLSaysWhatJSONSays(t *testing.T) {
	v := map[string]any{"text": "plain", "number": "42", "word": "true", "nothing": "null", "empty": "", "hex": "0x1f", "day": "2026-11-20", "lines": "a\nb",
		"html": "<a&b>", "list": []any{1.5, true, nil, map[string]any{"a": "- b"}}}
	written := map[string]string{}
	for _, format := range []string{"json", "yaml"} {
		var out bytes.Buffer
		p := &output.Printer{Out: &out, Format: format}
		if err := p.Emit(v, nil); err != nil {
			t.Fatal(err)
		}
		var back any
		if err := yaml.Unmarshal(out.Bytes(), &back); err != nil {
			t.Fatalf("%s: %v in %s", format, err, out.String())
		}
		text, err := json.Marshal(back)
		if err != nil {
			t.Fatal(err)
		}
		written[format] = string(text)
		if !strings.Contains(out.String(), "<a&b>") {
			t.Errorf("%s is written for a web page: %s", format, out.String())
		}
	}
	if want, err := json.Marshal(v); err != nil || written["json"] != string(want) || written["yaml"] != string(want) {
		t.Errorf("the JSON says %s\nthe YAML %s\nexpected %s: %v", written["json"], written["yaml"], want, err)
	}
}

// A step out of band tells of percent, by the minute.
func TestProgressInPercent(t *testing.T) {
	p := step.Progress{Percent: 40, Done: 40, Total: 100, Unit: "%", Rate: 0.25, Left: 4 * time.Minute, Item: "waiting for the BIOS"}
	if got, want := output.ProgressText(&p), "40%, 15.0 %/min, 4m0s left, waiting for the BIOS"; got != want {
		t.Errorf("got %q, expected %q", got, want)
	}
}
