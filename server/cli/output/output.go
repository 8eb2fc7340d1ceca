// Package output is how the command writes: tables for people, JSON and YAML for programs, bars on a terminal, and the
// texts of times, sizes, states and progress. What comes from a machine can't steer the terminal.
package output

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/bessemer-metal/bessemer/shared/api"
)

// Printer writes what a command has to say.
type Printer struct {
	Out, Err io.Writer
	Terminal bool     // Out is a terminal: live bars instead of lines
	Format   string   // table, json, yaml, value, csv
	Columns  []string // the only ones to write; none is all
	Now      func() time.Time
}

// Emit writes v for programs when that is asked for, or some columns of it; else table writes it for people.
func (p *Printer) Emit(v any, table func(w io.Writer)) error {
	if len(p.Columns) > 0 || p.Format == "value" || p.Format == "csv" {
		return p.pick(v, p.Columns)
	}
	if p.Format == "json" || p.Format == "yaml" {
		return p.write(v)
	}
	return Columns(p.Out, table)
}

// write writes v as JSON or YAML.
func (p *Printer) write(v any) error {
	switch p.Format {
	case "json":
		e := json.NewEncoder(p.Out)
		e.SetEscapeHTML(false) // a terminal is no web page
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "yaml":
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode the output: %w", err)
		}
		var doc yaml.Node // JSON is YAML, and so the order of the fields stays
		if err := yaml.Unmarshal(text, &doc); err != nil {
			return fmt.Errorf("encode the output: %w", err)
		}
		plain(&doc)
		e := yaml.NewEncoder(p.Out)
		e.SetIndent(2)
		if err := e.Encode(&doc); err != nil {
			return fmt.Errorf("encode the output: %w", err)
		}
		return e.Close()
	}
	return nil
}

// EmitOnly writes v for programs; people have read it already.
func (p *Printer) EmitOnly(v any) error {
	if p.Format == "table" {
		return nil
	}
	return p.Emit(v, nil)
}

// Notes is where people read; programs read Out.
func (p *Printer) Notes() io.Writer {
	if p.Format == "table" {
		return p.Out
	}
	return p.Err
}

// Columns writes rows whose cells stand below each other.
func Columns(to io.Writer, rows func(w io.Writer)) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	rows(w)
	return w.Flush()
}

// plain turns JSON's flow style into YAML's own. A text that would read as something else stays quoted.
func plain(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		n.Style = 0
	} else if n.Style == yaml.DoubleQuotedStyle {
		var v any
		bare := yaml.Node{Kind: yaml.ScalarNode, Value: n.Value}
		if err := bare.Decode(&v); err == nil {
			if s, ok := v.(string); ok && s == n.Value && n.Value != "" {
				n.Style = 0
			}
		}
	}
	for _, child := range n.Content {
		plain(child)
	}
}

// Row writes cells with tabs; line breaks and tabs in them become spaces, other control characters visible.
func Row(w io.Writer, cells ...string) {
	for i, cell := range cells {
		cells[i] = oneLine(cell)
	}
	fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t "))
}

// blank are characters that part lines or columns, or begin what steers a terminal.
var blank = strings.NewReplacer("\n", " ", "\t", " ", "\r", " ", "\x1b", " ")

// oneLine is a cell on one line that does nothing to a terminal.
func oneLine(cell string) string { return Printable(blank.Replace(cell)) }

// Pair writes a name and its value when there is one.
func Pair(w io.Writer, name, value string) {
	if value != "" {
		Row(w, name, value)
	}
}

// Text is what p points to, "" for nil.
func Text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// Dash is a cell that may be empty.
func Dash(s string) string { return cmp.Or(s, "-") }

// Clock is a moment as the command shows it: in UTC, as the server's log has it.
func (p *Printer) Clock(t api.Time) string {
	if t.IsZero() {
		return ""
	}
	t.Time = t.UTC()
	if now := p.Now().UTC(); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05Z")
	}
	return t.Format("2006-01-02 15:04:05Z")
}

// Ago is how long something lasts.
func (p *Printer) Ago(t api.Time) string {
	if t.IsZero() {
		return ""
	}
	return Span(p.Now().Sub(t.Time))
}

// Span is a duration in two units at most.
func Span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < 0:
		return "0s"
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// Size is a number of bytes in decimal units, as disks are sold.
func Size(n float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB"} {
		if n < 1000 {
			if unit == "B" {
				return fmt.Sprintf("%.0f %s", n, unit)
			}
			return fmt.Sprintf("%.1f %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.1f TB", n)
}
