package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// event is one line of go test -json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build's output
	Test       string
	Output     string
	Elapsed    float64
}

// record runs go test, writes its events to file and what go test prints without -v to out. The error is go test's.
func record(ctx context.Context, file string, args []string, out io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	kept, err := os.Create(file)
	if err != nil {
		return err
	}
	defer kept.Close()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	// An interrupt goes to go test, which ends its tests; only after a while is it killed.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	cmd.Stderr = out
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	shown := show(io.TeeReader(pipe, kept), out)
	if err := cmd.Wait(); err != nil {
		return err
	}
	return errors.Join(shown, kept.Close())
}

// show turns events back into what go test prints: the lines of packages, and all that a failed test said.
func show(r io.Reader, out io.Writer) error {
	said := map[string]*strings.Builder{} // by package and test
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(out, lines.Text()) // not an event: show it as it is
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			if e.Test == "" {
				if e.Output != "PASS\n" {
					fmt.Fprint(out, e.Output)
				}
				continue
			}
			if said[key] == nil {
				said[key] = &strings.Builder{}
			}
			if !strings.HasPrefix(e.Output, "=== ") {
				said[key].WriteString(e.Output)
			}
		case "fail":
			if e.Test != "" && said[key] != nil {
				fmt.Fprint(out, said[key])
			}
			// A package that ends in the middle of a test (a panic, a timeout) never tells that test's end.
			for k, s := range said {
				if e.Test == "" && strings.HasPrefix(k, e.Package+" ") {
					fmt.Fprint(out, s)
				}
			}
			fallthrough
		case "pass", "skip":
			delete(said, key)
		}
	}
	return lines.Err()
}

// readResults adds the last result of each test to results, by package and test.
func readResults(r io.Reader, results map[string]string) error {
	d := json.NewDecoder(r)
	for {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		switch e.Action {
		case "pass", "fail", "skip":
			if e.Test != "" {
				results[e.Package+" "+e.Test] = e.Action
			}
		}
	}
}
