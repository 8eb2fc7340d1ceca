package differential

import (
	"fmt"
	"regexp"
	"strings"
)

// Entry is a row of docs/reference/differences.md.
type Entry struct {
	Line     int
	What     string
	Patterns []Pattern
}

// Pattern is a code span of an entry's last column: "METHOD PATH: PART" or "LABEL: PART". In all of them * stands for
// anything but a slash, ** for anything at all. A path without ? is that of requests with any query.
type Pattern struct {
	Text    string
	subject *regexp.Regexp
	part    *regexp.Regexp
	label   bool
	query   bool
}

// heading is the last column of the table that is read.
const heading = "seen by the differential test"

var span = regexp.MustCompile("`([^`]+)`")

// Listed reads the page. An entry with "no" in the last column, or without that column, is one that the test cannot see.
func Listed(page string) ([]Entry, error) {
	var out []Entry
	table := false
	for i, line := range strings.Split(page, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		last := strings.TrimSpace(cells[len(cells)-1])
		switch {
		case !strings.HasPrefix(line, "|"):
			table = false
		case last == heading:
			table = true
		case table && !strings.HasPrefix(last, "---"):
			e := Entry{Line: i + 1, What: strings.TrimSpace(cells[0])}
			if len(cells) == 4 {
				cells, last = append(cells, "no"), "no"
			}
			if len(cells) != 5 {
				return nil, fmt.Errorf("line %d: %d columns, expected 5", e.Line, len(cells))
			}
			for j, c := range cells {
				if strings.TrimSpace(c) == "" {
					return nil, fmt.Errorf("line %d: column %d is empty", e.Line, j+1)
				}
			}
			for _, m := range span.FindAllStringSubmatch(last, -1) {
				p, err := pattern(m[1])
				if err != nil {
					return nil, fmt.Errorf("line %d: %w", e.Line, err)
				}
				e.Patterns = append(e.Patterns, p)
			}
			if len(e.Patterns) == 0 && last != "no" {
				return nil, fmt.Errorf("line %d: the last column is %q, expected requests in code spans, or no", e.Line, last)
			}
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the page has no table whose last column is %q", heading)
	}
	return out, nil
}

func pattern(text string) (Pattern, error) {
	p := Pattern{Text: text}
	subject, part, found := strings.Cut(text, ": ")
	if !found {
		return p, fmt.Errorf("%q is not of the form REQUEST: PART", text)
	}
	p.label = !strings.Contains(subject, " ")
	p.query = strings.Contains(subject, "?")
	p.subject, p.part = glob(subject), glob(part)
	return p, nil
}

func glob(s string) *regexp.Regexp {
	q := regexp.QuoteMeta(s)
	q = strings.ReplaceAll(q, `\*\*`, "\x00")
	q = strings.ReplaceAll(q, `\*`, `[^/]*`)
	return regexp.MustCompile("^" + strings.ReplaceAll(q, "\x00", `.*`) + "$")
}

// Matches tells whether a difference is what the pattern speaks of.
func (p Pattern) Matches(d Difference) bool {
	subject := d.Request
	switch {
	case p.label:
		subject = d.Label
	case !p.query:
		subject, _, _ = strings.Cut(subject, "?")
	}
	return p.subject.MatchString(subject) && p.part.MatchString(d.Part)
}

// Judge parts the differences by the list: those that no pattern speaks of, and patterns that no difference needs.
func Judge(entries []Entry, found []Difference) (unlisted []Difference, idle []string) {
	used := map[string]bool{}
	for _, d := range found {
		known := false
		for _, e := range entries {
			for _, p := range e.Patterns {
				if p.Matches(d) {
					known, used[p.Text] = true, true
				}
			}
		}
		if !known {
			unlisted = append(unlisted, d)
		}
	}
	for _, e := range entries {
		for _, p := range e.Patterns {
			if !used[p.Text] {
				idle = append(idle, fmt.Sprintf("line %d: %s: %s", e.Line, e.What, p.Text))
			}
		}
	}
	return unlisted, idle
}
