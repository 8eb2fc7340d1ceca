//go:build ironic

package differential

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/servers"
)

const (
	root = "../.."
	page = root + "/docs/reference/differences.md"
)

var (
	written = flag.String("differences", "", "write the differences that are not listed to this file")
	program = flag.String("program", "", "our server, built already; empty builds it from the tree")
	only    = flag.String("file", "", "play this file of requests only; the list is not judged as a whole then")
)

// TestAnswersLikeIronic is the comparison. It needs Debian's Ironic, which make setup installs.
func TestAnswersLikeIronic(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Minute)
	defer cancel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := Listed(string(text))
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	theirs, ours := sides(ctx, t)
	files, err := filepath.Glob("requests/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no requests: %v", err)
	}
	var found []Difference
	sent := 0
	for _, f := range files {
		if *only != "" && filepath.Base(f) != *only {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		began := time.Now()
		some, n, err := Play(ctx, lines, theirs, ours)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		t.Logf("%s: %d requests, %s", filepath.Base(f), n, time.Since(began).Round(time.Millisecond))
		found, sent = append(found, some...), sent+n
		if _, _, err := both(theirs, ours, func(s *Side) (struct{}, error) { return struct{}{}, s.Tidy(ctx) }); err != nil {
			t.Fatalf("after %s: %v", f, err)
		}
	}
	unlisted, idle := Judge(entries, found)
	for i, d := range unlisted {
		if i == 200 {
			t.Errorf("and %d more", len(unlisted)-i)
			break
		}
		t.Errorf("not in differences.md: %s", d)
	}
	if *only == "" {
		for _, e := range idle {
			t.Errorf("differences.md, %s: the answers no longer differ so", e)
		}
	}
	t.Logf("%d requests to each server, %d differences, %d of them not listed", sent, len(found), len(unlisted))
	if *written != "" {
		var b strings.Builder
		for _, d := range unlisted {
			fmt.Fprintln(&b, d)
		}
		if err := os.WriteFile(*written, []byte(b.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// sides starts both servers.
func sides(ctx context.Context, t *testing.T) (theirs, ours *Side) {
	t.Helper()
	side := func(s *servers.Server, err error) *Side {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s said last:\n%s", s.Dir, s.Said())
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return &Side{Normaliser: Normaliser{URL: s.URL, Host: s.Host}, Client: &http.Client{Timeout: patience}}
	}
	theirs = side(servers.Ironic(ctx, servers.IronicConfig{Dir: t.TempDir()}))
	a, err := theirs.send(ctx, http.MethodGet, "/v1", "1.1", "")
	if v := a.Header.Get("X-Openstack-Ironic-Api-Maximum-Version"); err != nil || v != latest {
		t.Fatalf("Debian's Ironic serves API %s (%v), and the page of differences is about %s: apt-get update, then install python3-ironic anew", v, err, latest)
	}
	dir := t.TempDir()
	built := *program
	if built == "" {
		var err error
		if built, err = servers.Build(ctx, root, dir); err != nil {
			t.Fatal(err)
		}
	}
	return theirs, side(servers.Bessemer(ctx, servers.BessemerConfig{Program: built, Dir: dir}))
}
