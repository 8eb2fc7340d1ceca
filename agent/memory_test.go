package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsToldWhenItFalls(t *testing.T) {
	root := t.TempDir()
	set := func(mb int) {
		t.Helper()
		text := fmt.Sprintf("MemTotal:         480000 kB\nMemFree:          1 kB\nMemAvailable:     %d kB\n", mb<<10)
		if err := os.WriteFile(filepath.Join(root, "proc/meminfo"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "proc"), 0o700); err != nil {
		t.Fatal(err)
	}
	set(300)
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- watchMemory(ctx, root, slog.New(slog.NewTextHandler(&out, nil))) }()
		for _, mb := range []int{300, 200, 198, 290, 100} {
			synctest.Wait()
			set(mb)
			time.Sleep(2 * memoryEvery)
		}
		stop()
		if err := <-ended; err != context.Canceled {
			t.Errorf("ended with %v", err)
		}
		told := strings.Count(out.String(), "msg=memory")
		if told != 3 || !strings.Contains(out.String(), fmt.Sprintf("least_available=%d total=%d", 100<<20, 480000<<10)) {
			t.Errorf("told %d times, expected 3 (300, 200, 100 MiB):\n%s", told, out.String())
		}
	})
}

func TestMemoryRefusesNonsense(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "proc"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "MemTotal: many kB\n"} {
		if err := os.WriteFile(filepath.Join(root, "proc/meminfo"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := memory(root); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
