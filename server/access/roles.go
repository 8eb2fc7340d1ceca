package access

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds of the roles file (I25).
const (
	maxFile = 1 << 20
	maxName = 255
)

// ParseRoles reads a roles file: lines of user:role for a role over everything, or user:role:project for one within a
// project. Empty lines and # comments are left out. A user who is not in it has no grant.
func ParseRoles(r io.Reader) (map[string]Grant, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read roles file: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("the roles file is larger than %d bytes", maxFile)
	}
	out := map[string]Grant{}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, ":")
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || len(parts[0]) > maxName {
			return nil, fmt.Errorf("roles file, line %d: expected user:role or user:role:project", n)
		}
		if strings.TrimSpace(parts[0]) != parts[0] { // it would be nobody's: a name with a blank is another
			return nil, fmt.Errorf("roles file, line %d: there is a blank between the user %q and the colon", n, strings.TrimSpace(parts[0]))
		}
		g := Grant{Role: Role(parts[1])}
		if g.None() {
			return nil, fmt.Errorf("roles file, line %d: the role is %q, expected %s, %s or %s", n, parts[1], Admin, Operator, Observer)
		}
		if len(parts) == 3 {
			// An empty project would be a role over everything.
			if g.Project = parts[2]; g.Project == "" || len(g.Project) > maxName || strings.ContainsFunc(g.Project, blank) {
				return nil, fmt.Errorf("roles file, line %d: %q is no project: leave the second colon out for a role over everything", n, parts[2])
			}
		}
		if _, twice := out[parts[0]]; twice {
			return nil, fmt.Errorf("roles file, line %d: user %q is there twice", n, parts[0])
		}
		out[parts[0]] = g
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read roles file: %w", err)
	}
	return out, nil
}

func blank(r rune) bool { return slices.Contains([]rune(" \t\r\n"), r) }
