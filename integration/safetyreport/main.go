// Safetyreport runs go test and keeps what it said, and prints for each number of the safety page how many tests carry
// it and their last result. A number stands at the front of a test's name: TestI03_…, TestF31_…, FuzzZ1_….
//
//	safetyreport -record FILE -- ARGUMENTS   runs go test -json ARGUMENTS, prints what go test would, keeps FILE
//	safetyreport [-v] [FILE…]                prints the report (default: build/test/*.json); -v names every test
//
// A recorded run ends with go test's own status; the report with 1 when a number that is required does not pass. Start at
// record and report.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
)

func main() {
	file := flag.String("record", "", "run go test with the arguments after -- and keep its events in this file")
	verbose := flag.Bool("v", false, "name every test below its number")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *file, *verbose, flag.Args()); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			os.Exit(max(exit.ExitCode(), 1))
		}
		fmt.Fprintln(os.Stderr, "safetyreport:", err)
		if _, ok := errors.AsType[lack](err); ok {
			os.Exit(1)
		}
		os.Exit(2)
	}
}

func run(ctx context.Context, file string, verbose bool, args []string) error {
	if file != "" {
		return record(ctx, file, args, os.Stdout)
	}
	if len(args) == 0 {
		found, err := filepath.Glob("build/test/*.json")
		if err != nil {
			return err
		}
		args = found
	}
	tests, err := scan(".")
	if err != nil {
		return err
	}
	results := map[string]string{}
	for _, name := range args {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = readResults(f, results)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	return report(os.Stdout, tests, results, verbose)
}
