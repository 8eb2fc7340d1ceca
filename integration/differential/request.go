package differential

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Line is a line of a file of requests that does something:
//
//	version 1.82                       requests from here on ask for this version unless they name one
//	[label:] METHOD PATH [1.N] [JSON]  a request; 1.A-1.B sends it once for each version of the range, "-" without any
//	save NAME POINTER                  keeps the value there in the last answer; {NAME} stands for it afterwards
//	until NODE STATE                   waits until both servers have the node in that provision state, unlocked
//	until-power NODE STATE             the same for the power state, with no power act under way
//	until-allocated ALLOCATION         waits until the allocation is no longer being made
//
// Empty lines and those that begin with # are for people. A label is a name of its own that differences.md can speak
// of. A body that is no JSON is sent as it stands: servers must refuse it.
type Line struct {
	Number   int
	Kind     string // request, save, until, until-power, until-allocated
	Label    string
	Method   string
	Path     string // with its query
	Versions []string
	Body     string
	Name     string // of save, until
	Value    string // of save, until
}

// Parse reads a file of requests.
func Parse(text string) ([]Line, error) {
	version := "1.1"
	var out []Line
	for i, text := range strings.Split(text, "\n") {
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		word, rest, _ := strings.Cut(text, " ")
		l := Line{Number: i + 1, Kind: word}
		switch word {
		case "version":
			version = strings.TrimSpace(rest)
			continue
		case "save", "until", "until-power", "until-allocated":
			l.Name, l.Value, _ = strings.Cut(strings.TrimSpace(rest), " ")
			if l.Name == "" || l.Value == "" && word != "until-allocated" {
				return nil, fmt.Errorf("line %d: %s lacks something", l.Number, word)
			}
		default:
			if err := l.request(text, version); err != nil {
				return nil, fmt.Errorf("line %d: %w", l.Number, err)
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func (l *Line) request(text, version string) error {
	l.Kind = "request"
	if word, rest, found := strings.Cut(text, " "); found && strings.HasSuffix(word, ":") {
		l.Label, text = strings.TrimSuffix(word, ":"), rest
	}
	words := strings.SplitN(text, " ", 3)
	if len(words) < 2 || strings.ToUpper(words[0]) != words[0] || !strings.HasPrefix(words[1], "/") {
		return fmt.Errorf("%q is no request", text)
	}
	l.Method, l.Path = words[0], words[1]
	if len(words) == 3 {
		l.Body = strings.TrimSpace(words[2])
		if word, rest, _ := strings.Cut(l.Body, " "); isVersion(word) {
			version, l.Body = word, strings.TrimSpace(rest)
		}
	}
	var err error
	l.Versions, err = versions(version)
	return err
}

func isVersion(word string) bool {
	if word == "-" || word == "latest" {
		return true
	}
	_, err := versions(word)
	return err == nil
}

// versions expands a range. What is no version of the form 1.N but looks like a number is kept: servers must refuse it.
func versions(word string) ([]string, error) {
	first, last, ranged := strings.Cut(word, "-")
	if !ranged || word == "-" {
		if _, err := strconv.ParseFloat(word, 64); err != nil && word != "-" && word != "latest" {
			return nil, fmt.Errorf("%q is no version", word)
		}
		return []string{word}, nil
	}
	a, errA := strconv.Atoi(strings.TrimPrefix(first, "1."))
	b, errB := strconv.Atoi(strings.TrimPrefix(last, "1."))
	if errA != nil || errB != nil || a < 1 || b < a {
		return nil, fmt.Errorf("%q is no range of versions", word)
	}
	var out []string
	for n := a; n <= b; n++ {
		out = append(out, "1."+strconv.Itoa(n))
	}
	return out, nil
}

// JSON tells whether the body is JSON.
func (l Line) JSON() bool { return json.Valid([]byte(l.Body)) }
